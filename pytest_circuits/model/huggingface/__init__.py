"""Hugging Face transformers: another adapter, of decoders in local directories."""
