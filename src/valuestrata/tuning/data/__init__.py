"""Training examples: from training gold to token ids."""
