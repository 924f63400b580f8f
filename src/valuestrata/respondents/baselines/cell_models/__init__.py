"""Baselines that model the shares of an item across training subgroups."""
