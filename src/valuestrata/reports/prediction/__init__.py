"""The page of a prediction: the backtest, then each new question."""
