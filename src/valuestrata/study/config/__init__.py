"""What a study's YAML may say: its sections, read with the right key named where one is misspelt."""

from valuestrata.study.config.open_answers import JudgeSection, OpenSection, ReaderSection
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
    "load_study",
    "split_name",
]
