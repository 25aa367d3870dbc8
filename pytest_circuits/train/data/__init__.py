"""The text that a model is trained on, from what people have to rows of token ids."""
