"""The network's weights: their sources, the readers of their files, and the one form that all are brought into."""
