"""Runs answered through batch files."""
