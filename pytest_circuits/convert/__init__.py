"""Published weight-sparse models and circuits, read safely and written in our formats."""
