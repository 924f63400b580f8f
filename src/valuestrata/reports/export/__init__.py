"""Results as terminal tables and LaTeX."""
