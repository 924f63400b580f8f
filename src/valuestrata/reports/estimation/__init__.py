"""The page of estimates: which estimator to use, what the model saves, and the estimates side by side."""
