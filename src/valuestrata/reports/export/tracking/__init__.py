"""Scores in an experiment tracker: MLflow or Weights & Biases."""
