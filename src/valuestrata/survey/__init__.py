"""Surveys: the codebook that describes one, and the reader that turns a file of it into respondents x items.

Start with `read.py` (`read_survey`), which goes through `files` (any format, header first), `rows` (countries, ids,
weight), `labels` and `meanings` (what a value means) and returns a `Survey`. `describe` says what was recognised.
"""

from valuestrata.survey.codebook import Attribute, AttributeLevel, Codebook, Item, Missing, builtin_codebooks, load_codebook
from valuestrata.survey.describe import describe, describe_dict
from valuestrata.survey.read import read_survey
from valuestrata.survey.survey import Findings, LabelProblem, Source, Survey

__all__ = [
    "Attribute",
    "AttributeLevel",
    "Codebook",
    "Findings",
    "Item",
    "LabelProblem",
    "Missing",
    "Source",
    "Survey",
    "builtin_codebooks",
    "describe",
    "describe_dict",
    "load_codebook",
    "read_survey",
]
