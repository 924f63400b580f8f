"""Baselines for unseen items, from the text, scale and topic of the question."""
