"""Make a weight-sparse model (Gao et al. 2025)."""
