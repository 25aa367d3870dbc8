"""The machine below: files, locks, progress and signals."""
