"""Training gold shown in prompts."""
