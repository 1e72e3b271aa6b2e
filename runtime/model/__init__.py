"""Model folders: the files that an export writes, and the metadata of the graphs."""
