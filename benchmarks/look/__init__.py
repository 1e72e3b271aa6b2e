"""``make look``: how good pictures look, measured over many pairs of a photograph and a painting, and seen."""
