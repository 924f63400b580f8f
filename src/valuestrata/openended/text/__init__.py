"""Checks of open answers that need no judge."""
