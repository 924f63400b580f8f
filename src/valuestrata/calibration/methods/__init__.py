"""Calibration methods: training gold and a model's answers -> predictor of shares."""

from __future__ import annotations

from collections.abc import Mapping

from valuestrata.calibration.methods.shares import fit_shares
from valuestrata.calibration.model_answers import CalibrationFit

METHODS: Mapping[str, CalibrationFit] = {"shares": fit_shares}
PROBE = "probe"
"""The method that uses hidden states besides answers: see `probe.fit_probe`."""
