"""Controls: the same model asked with another persona, or none."""
