"""Baselines for unseen items, from text, scale and topic."""
