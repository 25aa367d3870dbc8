"""`stable`: the circuit beside what was accepted earlier."""
