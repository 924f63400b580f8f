"""Run a whole study from one YAML file: build, ask, score, report; an interrupted study continues.

docs/study.md lists the keys of the file and the files of a study's folder.
"""

from valuestrata.study.ask import ModelResult
from valuestrata.study.data import read_study_survey
from valuestrata.study.pipeline import StudyResult, demo_study, run_study, run_study_until
from valuestrata.study.stages import StudyProgress, stages_of

__all__ = [
    "ModelResult",
    "StudyProgress",
    "StudyResult",
    "demo_study",
    "read_study_survey",
    "run_study",
    "run_study_until",
    "stages_of",
]
