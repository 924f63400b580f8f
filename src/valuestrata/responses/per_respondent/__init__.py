"""Answers given once per respondent: reading, aggregation to pairs, and comparison with the same people's answers."""
