"""Respondent models: whoever answers pairs. One protocol (`base`), baselines, and models run on this machine."""
