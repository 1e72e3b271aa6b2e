"""Pictures: where they come from, how they are read, changed and written."""
