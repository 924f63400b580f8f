"""Pairs as tasks of evaluation harnesses, and logs of harnesses as runs."""
