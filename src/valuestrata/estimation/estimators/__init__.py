"""The five estimators, one module each."""
