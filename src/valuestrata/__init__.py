"""When a language model is told who it is, does it answer as such people do?

    import valuestrata as vs

    survey = vs.read_survey("WVS.sav", "wvs7", countries=["SGP"])
    dataset = vs.build(survey)
    vs.write_dataset(dataset, Path("data/sgp"))

Names are loaded when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from valuestrata.auditing import Audit, audit, audit_verdicts
    from valuestrata.auditing.power import power
    from valuestrata.building import BuildSettings, build, paper_preset
    from valuestrata.dataset import Dataset, load_dataset, write_dataset
    from valuestrata.errors import InputDataError, MissingExtraError, RunFailedError, UsageError, ValuestrataError
    from valuestrata.openended.agreeing import closed_against_open
    from valuestrata.openended.asking import open_ask
    from valuestrata.openended.contestants import load_open_run
    from valuestrata.openended.files import load_judgements, load_stances
    from valuestrata.openended.judging import open_judge, plan_judging
    from valuestrata.openended.stance import open_stance, plan_stance
    from valuestrata.openended.stancescores import score_stances
    from valuestrata.openended.validity import judge_validity
    from valuestrata.openended.winrates import win_differences, winrates
    from valuestrata.report import write_audit, write_report
    from valuestrata.report.openpage import write_open_report
    from valuestrata.respondents.models import ModelSettings, make_respondent
    from valuestrata.responses.ask import ask
    from valuestrata.responses.beside import baselines_beside
    from valuestrata.responses.collecting import collect
    from valuestrata.responses.estimating import estimate_run
    from valuestrata.responses.importing import import_run
    from valuestrata.responses.planning import plan_asking
    from valuestrata.responses.run import Run, load_run
    from valuestrata.scores import compare, score
    from valuestrata.scores.assess import Assessment, assess
    from valuestrata.scores.variance import variance
    from valuestrata.splits import leakage_report
    from valuestrata.study import run_study
    from valuestrata.study.teaching import run_generalisation
    from valuestrata.studyfile import Study, load_study
    from valuestrata.survey.codebook import Codebook, load_codebook
    from valuestrata.survey.read import read_survey
    from valuestrata.tuning import load_recipe
    from valuestrata.tuning.tune import tune

_HOME = {
    "Audit": "auditing",
    "audit": "auditing",
    "audit_verdicts": "auditing",
    "power": "auditing.power",
    "BuildSettings": "building",
    "build": "building",
    "paper_preset": "building",
    "Dataset": "dataset",
    "load_dataset": "dataset",
    "write_dataset": "dataset",
    "InputDataError": "errors",
    "MissingExtraError": "errors",
    "RunFailedError": "errors",
    "UsageError": "errors",
    "ValuestrataError": "errors",
    "closed_against_open": "openended.agreeing",
    "open_ask": "openended.asking",
    "load_open_run": "openended.contestants",
    "load_judgements": "openended.files",
    "load_stances": "openended.files",
    "open_judge": "openended.judging",
    "plan_judging": "openended.judging",
    "open_stance": "openended.stance",
    "plan_stance": "openended.stance",
    "score_stances": "openended.stancescores",
    "judge_validity": "openended.validity",
    "win_differences": "openended.winrates",
    "winrates": "openended.winrates",
    "write_audit": "report",
    "write_report": "report",
    "write_open_report": "report.openpage",
    "ModelSettings": "respondents.models",
    "make_respondent": "respondents.models",
    "ask": "responses.ask",
    "baselines_beside": "responses.beside",
    "collect": "responses.collecting",
    "estimate_run": "responses.estimating",
    "import_run": "responses.importing",
    "plan_asking": "responses.planning",
    "Run": "responses.run",
    "load_run": "responses.run",
    "compare": "scores",
    "score": "scores",
    "Assessment": "scores.assess",
    "assess": "scores.assess",
    "variance": "scores.variance",
    "leakage_report": "splits",
    "Study": "studyfile",
    "load_study": "studyfile",
    "run_study": "study",
    "run_generalisation": "study.teaching",
    "Codebook": "survey.codebook",
    "load_codebook": "survey.codebook",
    "read_survey": "survey.read",
    "load_recipe": "tuning",
    "tune": "tuning.tune",
}

__all__ = [
    "Assessment",
    "Audit",
    "BuildSettings",
    "Codebook",
    "Dataset",
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
    "closed_against_open",
    "collect",
    "compare",
    "estimate_run",
    "import_run",
    "judge_validity",
    "leakage_report",
    "load_codebook",
    "load_dataset",
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
    "plan_stance",
    "power",
    "read_survey",
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
    "write_open_report",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'valuestrata' has no attribute {name!r}")
    return getattr(importlib.import_module(f"valuestrata.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
