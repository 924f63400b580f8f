"""Estimators of disparity, gaps and changes on arrays."""
