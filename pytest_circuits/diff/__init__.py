"""What an update did to circuits: measured in both models, put into one word, and shown."""
