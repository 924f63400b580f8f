"""The report and its figures inside notebooks."""
