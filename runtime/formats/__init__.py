"""File formats of pictures, as bytes: what stands in them beside the pixels."""
