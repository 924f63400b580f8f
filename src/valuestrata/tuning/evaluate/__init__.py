"""Evaluation of tuned models: gains and forgetting."""
