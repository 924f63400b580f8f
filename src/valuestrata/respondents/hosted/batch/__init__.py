"""Providers' batch files: requests, submission and results."""
