"""File formats of pictures, as bytes: the metadata beside the pixels, and pixels that Pillow would misread."""
