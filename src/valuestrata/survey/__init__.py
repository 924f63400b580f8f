"""Codebooks, and the reader that turns a survey file into respondents x items.

`read_survey` opens the file (`formats`), selects rows (`sample_selection`), reads weights and the sampling design (`sample`),
and decodes values with the codebook (`decode`, `labels`). `describe` lists what was recognised.
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
