"""Build a data set from a survey, or from counts that a survey published."""

from valuestrata.building.from_counts import build_counts
from valuestrata.building.from_survey import build, preview
from valuestrata.building.settings import SHARE_DRAWS, BuildSettings, paper_preset

__all__ = ["SHARE_DRAWS", "BuildSettings", "build", "build_counts", "paper_preset", "preview"]
