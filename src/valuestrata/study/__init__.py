"""Run a whole study from one YAML file: build, ask, score, report; an interrupted study continues.

docs/study.md lists the keys of the file and the files of a study's folder.
"""

from valuestrata.study.ask import ModelResult
from valuestrata.study.data import read_study_survey
from valuestrata.study.pipeline import StudyResult, demo_study, run_study

__all__ = ["ModelResult", "StudyResult", "demo_study", "read_study_survey", "run_study"]
