"""The report on closed answers: sections, charts and tables."""
