"""Minimisation: L-BFGS-B and Adam on any function of a float32 array."""
