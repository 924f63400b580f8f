"""Pairwise judging of open answers: prompts, verdicts and win rates."""
