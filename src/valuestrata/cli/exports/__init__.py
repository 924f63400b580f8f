"""Commands that write files for other tools."""
