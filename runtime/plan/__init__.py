"""Recipes, the terms of the loss, sizes, and the plan of a run."""
