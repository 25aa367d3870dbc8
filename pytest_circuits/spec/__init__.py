"""Specifications: YAML to frozen types, every problem at its line; no torch, no pytest."""
