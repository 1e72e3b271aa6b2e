"""Minimisation of a float32 function by an optimiser that is chosen by name."""
