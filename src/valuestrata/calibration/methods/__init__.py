"""Calibration methods: training gold and a model's answers -> predictor of shares."""

from __future__ import annotations

from collections.abc import Mapping

from valuestrata.calibration.methods.by_subgroup import fit_by_subgroup
from valuestrata.calibration.methods.shares import fit_shares
from valuestrata.calibration.methods.shrunken_persona import fit_shrunken_persona
from valuestrata.calibration.model_answers import CalibrationFit, ModelAnswers
from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.predictor import Predictor


def _fit_hybrid(gold: TrainingGold, answers: ModelAnswers) -> Predictor:
    from valuestrata.calibration.methods.hybrid import fit_hybrid

    return fit_hybrid(gold, answers)


METHODS: Mapping[str, CalibrationFit] = {
    "shares": fit_shares,
    "shrunken-persona": fit_shrunken_persona,
    "by-subgroup": fit_by_subgroup,
    "hybrid": _fit_hybrid,
}
PROBE = "probe"
"""The method that uses hidden states besides answers: see `probe.fit_probe`."""
