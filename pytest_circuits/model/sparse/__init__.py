"""The weight-sparse GPT and its directory on disk: one adapter among others."""
