"""The commands of `pytest-circuits`, one a file."""
