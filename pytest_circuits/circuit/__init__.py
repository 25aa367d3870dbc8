"""Run a model with nodes ablated, many circuits at once."""
