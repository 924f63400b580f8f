"""A run on disk: identity, store, responses."""
