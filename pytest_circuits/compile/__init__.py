"""A circuit of a weight-sparse GPT as a tiny network with the same logits."""
