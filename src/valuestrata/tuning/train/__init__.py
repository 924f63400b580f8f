"""Training: batches, forward pass, objectives, trainer."""
