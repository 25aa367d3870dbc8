"""What a model is to everything above, and how a directory becomes one."""
