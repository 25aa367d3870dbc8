"""A prompt space, changes of it, and what a tokenizer makes of it."""
