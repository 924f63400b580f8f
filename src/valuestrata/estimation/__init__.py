"""Estimates for subgroups from the answers of a sample of people and of a model."""
