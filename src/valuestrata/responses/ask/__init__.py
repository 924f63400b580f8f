"""Plans, the asking loop and cost estimates."""
