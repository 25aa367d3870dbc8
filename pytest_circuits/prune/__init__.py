"""Find the circuit of a behavior and write its specification."""
