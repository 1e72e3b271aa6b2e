"""What is to be done: recipes, the terms of the loss, sizes, and the plan of a run."""
