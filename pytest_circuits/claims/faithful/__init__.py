"""`faithful`: the circuit does the job as the whole model does it."""
