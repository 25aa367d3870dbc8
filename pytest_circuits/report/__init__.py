"""One evidence record, and what is made from it."""
