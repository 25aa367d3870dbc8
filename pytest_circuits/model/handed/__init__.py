"""Models whose sites are named: objects of other code, and directories of transformers."""
