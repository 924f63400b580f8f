"""Answers of a model compared with those of the same persons, person by person."""
