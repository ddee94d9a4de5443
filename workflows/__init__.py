"""See README.md for what this package is."""
