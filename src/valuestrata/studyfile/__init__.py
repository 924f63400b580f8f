"""What a study's YAML may say: its sections, read with the right key named where one is misspelt."""

from valuestrata.studyfile.opened import JudgeSection, OpenSection, ReaderSection
from valuestrata.studyfile.sections import (
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
from valuestrata.studyfile.taught import RecipeEntry, SplitEntry, TuneSection, TuningControl, split_name
from valuestrata.studyfile.whole import Study, load_study

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
