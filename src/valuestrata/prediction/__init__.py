"""Predicted answers to new questions, with a backtest on the survey's own questions."""
