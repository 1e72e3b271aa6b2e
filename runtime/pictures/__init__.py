"""Pictures: their places, and reading, changing and writing them."""
