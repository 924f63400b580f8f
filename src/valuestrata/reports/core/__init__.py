"""Parts shared by all reports: theme, tables, sections, rendering."""
