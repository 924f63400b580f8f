"""Test how closely language models, prompted with personas, match the survey answers of subgroups.

    import valuestrata as vs

    survey = vs.read_survey("WVS.sav", "wvs7", countries=["SGP"])
    dataset = vs.build(survey)
    vs.write_dataset(dataset, Path("data/sgp"))

Names are loaded when first used, which keeps the import of the package fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from valuestrata.assessment import Assessment, assess
    from valuestrata.building import BuildSettings, build, build_counts, paper_preset
    from valuestrata.calibration.calibrated import CalibrateResult, calibrate
    from valuestrata.claims.fairness.rules import audit_verdicts
    from valuestrata.dataset.tables import Dataset, load_dataset, write_dataset
    from valuestrata.errors import InputDataError, MissingExtraError, RunFailedError, UsageError, ValuestrataError
    from valuestrata.estimation.estimate import EstimateResult, estimate
    from valuestrata.estimation.plan.plan_sample import plan_sample
    from valuestrata.estimation.results.files import load_estimates
    from valuestrata.export.export import export_dataset
    from valuestrata.export.harness.harness_log import import_log
    from valuestrata.fairness import Audit, audit
    from valuestrata.fairness.power.power import power
    from valuestrata.openended.ask import open_ask
    from valuestrata.openended.files import load_judgements, load_stances
    from valuestrata.openended.open_runs import load_open_run
    from valuestrata.openended.pairwise.judge import open_judge, plan_judging
    from valuestrata.openended.pairwise.win_rates import win_differences, winrates
    from valuestrata.openended.stance.closed_vs_open import closed_against_open
    from valuestrata.openended.stance.read import open_stance, plan_stance
    from valuestrata.openended.stance.scores import score_stances
    from valuestrata.openended.validity.judge_validity import judge_validity
    from valuestrata.prediction.predict import predict
    from valuestrata.reports import plot_scores, report, write_audit, write_report
    from valuestrata.reports.estimation.page import write_estimates
    from valuestrata.reports.open.page import write_open_report
    from valuestrata.reports.prediction.page import write_prediction
    from valuestrata.respondents.models import ModelSettings, make_respondent
    from valuestrata.responses.ask.estimate import estimate_run
    from valuestrata.responses.ask.loop import ask
    from valuestrata.responses.ask.plan import plan_asking
    from valuestrata.responses.distributed.collect import collect
    from valuestrata.responses.import_runs import import_run
    from valuestrata.responses.import_shares import import_shares
    from valuestrata.responses.per_respondent.importing import import_respondents
    from valuestrata.responses.reference_baselines import baselines_beside
    from valuestrata.responses.run.folder import Run, load_run
    from valuestrata.scores import compare, score
    from valuestrata.scores.variance.table import variance
    from valuestrata.splits import leakage_report
    from valuestrata.study import run_study
    from valuestrata.study.config import Study, load_study
    from valuestrata.study.tuning_study import run_generalisation
    from valuestrata.survey.codebook import Codebook, load_codebook
    from valuestrata.survey.counts.read import read_counts
    from valuestrata.survey.read import read_survey
    from valuestrata.tuning import load_recipe
    from valuestrata.tuning.tune import tune

_HOME = {
    "Audit": "fairness",
    "audit": "fairness",
    "audit_verdicts": "claims.fairness.rules",
    "power": "fairness.power.power",
    "BuildSettings": "building",
    "build": "building",
    "build_counts": "building",
    "paper_preset": "building",
    "CalibrateResult": "calibration.calibrated",
    "calibrate": "calibration.calibrated",
    "Dataset": "dataset.tables",
    "load_dataset": "dataset.tables",
    "write_dataset": "dataset.tables",
    "InputDataError": "errors",
    "MissingExtraError": "errors",
    "RunFailedError": "errors",
    "UsageError": "errors",
    "ValuestrataError": "errors",
    "EstimateResult": "estimation.estimate",
    "estimate": "estimation.estimate",
    "load_estimates": "estimation.results.files",
    "export_dataset": "export.export",
    "closed_against_open": "openended.stance.closed_vs_open",
    "open_ask": "openended.ask",
    "load_open_run": "openended.open_runs",
    "load_judgements": "openended.files",
    "load_stances": "openended.files",
    "open_judge": "openended.pairwise.judge",
    "plan_judging": "openended.pairwise.judge",
    "open_stance": "openended.stance.read",
    "plan_stance": "openended.stance.read",
    "score_stances": "openended.stance.scores",
    "judge_validity": "openended.validity.judge_validity",
    "win_differences": "openended.pairwise.win_rates",
    "winrates": "openended.pairwise.win_rates",
    "plan_sample": "estimation.plan.plan_sample",
    "predict": "prediction.predict",
    "write_prediction": "reports.prediction.page",
    "write_estimates": "reports.estimation.page",
    "plot_scores": "reports",
    "report": "reports",
    "write_audit": "reports",
    "write_report": "reports",
    "write_open_report": "reports.open.page",
    "ModelSettings": "respondents.models",
    "make_respondent": "respondents.models",
    "ask": "responses.ask.loop",
    "baselines_beside": "responses.reference_baselines",
    "collect": "responses.distributed.collect",
    "estimate_run": "responses.ask.estimate",
    "import_respondents": "responses.per_respondent.importing",
    "import_log": "export.harness.harness_log",
    "import_run": "responses.import_runs",
    "import_shares": "responses.import_shares",
    "plan_asking": "responses.ask.plan",
    "Run": "responses.run.folder",
    "load_run": "responses.run.folder",
    "compare": "scores",
    "score": "scores",
    "Assessment": "assessment",
    "assess": "assessment",
    "variance": "scores.variance.table",
    "leakage_report": "splits",
    "Study": "study.config",
    "load_study": "study.config",
    "run_study": "study",
    "run_generalisation": "study.tuning_study",
    "Codebook": "survey.codebook",
    "load_codebook": "survey.codebook",
    "read_counts": "survey.counts.read",
    "read_survey": "survey.read",
    "load_recipe": "tuning",
    "tune": "tuning.tune",
}

__all__ = [
    "Assessment",
    "Audit",
    "BuildSettings",
    "CalibrateResult",
    "Codebook",
    "Dataset",
    "EstimateResult",
    "InputDataError",
    "MissingExtraError",
    "ModelSettings",
    "Run",
    "RunFailedError",
    "Study",
    "UsageError",
    "ValuestrataError",
    "ask",
    "assess",
    "audit",
    "audit_verdicts",
    "baselines_beside",
    "build",
    "build_counts",
    "calibrate",
    "closed_against_open",
    "collect",
    "compare",
    "estimate",
    "estimate_run",
    "export_dataset",
    "import_log",
    "import_respondents",
    "import_run",
    "import_shares",
    "judge_validity",
    "leakage_report",
    "load_codebook",
    "load_dataset",
    "load_estimates",
    "load_judgements",
    "load_open_run",
    "load_recipe",
    "load_run",
    "load_stances",
    "load_study",
    "make_respondent",
    "open_ask",
    "open_judge",
    "open_stance",
    "paper_preset",
    "plan_asking",
    "plan_judging",
    "plan_sample",
    "plan_stance",
    "plot_scores",
    "power",
    "predict",
    "read_counts",
    "read_survey",
    "report",
    "run_generalisation",
    "run_study",
    "score",
    "score_stances",
    "tune",
    "variance",
    "win_differences",
    "winrates",
    "write_audit",
    "write_dataset",
    "write_estimates",
    "write_open_report",
    "write_prediction",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'valuestrata' has no attribute {name!r}")
    return getattr(importlib.import_module(f"valuestrata.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
