"""Stances read from open answers, their scores, and their agreement with closed answers."""
