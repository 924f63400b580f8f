"""Baselines that model the training subgroups of each item."""
