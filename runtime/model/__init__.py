"""Model folders: what an export leaves behind, and what its graphs say of themselves."""
