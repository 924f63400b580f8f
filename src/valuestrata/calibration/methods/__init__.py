"""Calibration methods: training gold and a model's answers -> predictor of shares."""
