"""The network's weights: found, read, and put in one form."""
