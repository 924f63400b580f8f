"""Asking: what to ask, the asking loop, and cost estimates."""
