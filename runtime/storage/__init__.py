"""What is kept in files: results put in place whole, plain data checked, arrays."""
