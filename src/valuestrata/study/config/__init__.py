"""The YAML of a study: sections, defaults and checks."""

from valuestrata.study.config.calibrate import CalibrateSection
from valuestrata.study.config.open_answers import JudgeSection, OpenSection, ReaderSection
from valuestrata.study.config.paths import file_seen_from, model_seen_from, with_paths
from valuestrata.study.config.sections import (
    AskSection,
    AuditSection,
    BuildSection,
    CalledSection,
    ModelSection,
    ReportSection,
    ScoreSection,
    SeedsSection,
    SplitSection,
    SurveySection,
)
from valuestrata.study.config.study import Study, load_study
from valuestrata.study.config.tune import RecipeEntry, SplitEntry, TuneSection, TuningControl, split_name

__all__ = [
    "AskSection",
    "AuditSection",
    "BuildSection",
    "CalibrateSection",
    "CalledSection",
    "JudgeSection",
    "ModelSection",
    "OpenSection",
    "ReaderSection",
    "RecipeEntry",
    "ReportSection",
    "ScoreSection",
    "SeedsSection",
    "SplitEntry",
    "SplitSection",
    "Study",
    "SurveySection",
    "TuneSection",
    "TuningControl",
    "file_seen_from",
    "load_study",
    "model_seen_from",
    "split_name",
    "with_paths",
]
