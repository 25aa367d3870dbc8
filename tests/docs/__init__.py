"""The documentation: its blocks do what they say, its links lead somewhere, its site is built."""
