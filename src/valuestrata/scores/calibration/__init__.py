"""Calibration of option probabilities."""
