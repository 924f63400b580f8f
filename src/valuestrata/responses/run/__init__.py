"""Run folders: identity, store and table of responses."""
