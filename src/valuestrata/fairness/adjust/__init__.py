"""Gaps with other attributes held constant and at equal difficulty."""
