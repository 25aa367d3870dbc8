"""Print a circuit as a short program."""
