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
    from valuestrata.report import write_audit, write_report
    from valuestrata.respondents.models import make_respondent
    from valuestrata.responses.ask import ask
    from valuestrata.responses.beside import baselines_beside
    from valuestrata.responses.importing import import_run
    from valuestrata.responses.run import Run, load_run
    from valuestrata.scores import compare, score
    from valuestrata.scores.assess import Assessment, assess
    from valuestrata.splits import leakage_report
    from valuestrata.study import run_study
    from valuestrata.studyfile import Study, load_study
    from valuestrata.survey.codebook import Codebook, load_codebook
    from valuestrata.survey.read import read_survey

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
    "write_audit": "report",
    "write_report": "report",
    "make_respondent": "respondents.models",
    "ask": "responses.ask",
    "baselines_beside": "responses.beside",
    "import_run": "responses.importing",
    "Run": "responses.run",
    "load_run": "responses.run",
    "compare": "scores",
    "score": "scores",
    "Assessment": "scores.assess",
    "assess": "scores.assess",
    "leakage_report": "splits",
    "Study": "studyfile",
    "load_study": "studyfile",
    "run_study": "study",
    "Codebook": "survey.codebook",
    "load_codebook": "survey.codebook",
    "read_survey": "survey.read",
}

__all__ = [
    "Assessment",
    "Audit",
    "BuildSettings",
    "Codebook",
    "Dataset",
    "InputDataError",
    "MissingExtraError",
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
    "compare",
    "import_run",
    "leakage_report",
    "load_codebook",
    "load_dataset",
    "load_run",
    "load_study",
    "make_respondent",
    "paper_preset",
    "power",
    "read_survey",
    "run_study",
    "score",
    "write_audit",
    "write_dataset",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'valuestrata' has no attribute {name!r}")
    return getattr(importlib.import_module(f"valuestrata.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
