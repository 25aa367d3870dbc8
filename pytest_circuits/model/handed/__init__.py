"""Models that other code has built, and hands over as objects."""
