"""The report on open answers."""
