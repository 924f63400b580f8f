"""Calibration: runs improved by what the training pairs of a split show about a model."""
