"""Files: results put in place whole, plain data that is checked, arrays."""
