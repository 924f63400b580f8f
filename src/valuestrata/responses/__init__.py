"""Responses: asking, reading what was written, and the run on disk that keeps both."""
