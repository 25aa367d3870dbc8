"""What a specification will need and cost, before it is run."""
