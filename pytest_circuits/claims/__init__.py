"""The claims about a circuit: how each is searched, measured and decided."""
