"""Parsers: from a model's text to an answer or a failure status."""
