"""The tables of keys in docs/study.md, compared with the sections of a study."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic_core import PydanticUndefined

from valuestrata.scores.plan import Plan, PlannedComparison, Thresholds
from valuestrata.study.config import (
    AskSection,
    AuditSection,
    BuildSection,
    ModelSection,
    OpenSection,
    ReportSection,
    ScoreSection,
    SeedsSection,
    SplitSection,
    Study,
    SurveySection,
    TuneSection,
)

DOCS = Path(__file__).resolve().parents[2] / "docs"
SECTIONS = {
    "survey": SurveySection,
    "build": BuildSection,
    "split": SplitSection,
    "ask": AskSection,
    "models": ModelSection,
    "plan": Plan,
    "seeds": SeedsSection,
    "score": ScoreSection,
    "audit": AuditSection,
    "tune": TuneSection,
    "open": OpenSection,
    "report": ReportSection,
}


def text_under(heading: str) -> str:
    return (DOCS / "study.md").read_text().split(f"\n{heading}\n")[1].split("\n#")[0]


def keys_under(heading: str) -> dict[str, str]:
    """Return key -> default in the table under a heading."""
    return dict(re.findall(r"^\| `([a-z_.]+)` \| ([^|]+) \|", text_under(heading), flags=re.MULTILINE))


def defaults_of(model) -> dict[str, object]:
    """Return key -> default of a section; PydanticUndefined if required."""
    return {key: field.get_default(call_default_factory=True) for key, field in model.model_fields.items()}


@pytest.mark.parametrize("name", SECTIONS)
def test_every_key_is_documented_with_its_default(name):
    written = keys_under(f"### {name}")
    expected = defaults_of(SECTIONS[name])
    if name == "plan":
        expected |= {f"thresholds.{key}": default for key, default in defaults_of(Thresholds).items()}
    assert list(written) == list(expected)
    for key, default in expected.items():
        if default is PydanticUndefined:
            assert written[key] == "required", key
        elif isinstance(default, (str, int, float)) or (isinstance(default, list) and default):
            assert yaml.safe_load(written[key].strip("`")) == default, key
        else:
            # No value, or a section: the table describes it in words.
            assert "`" not in written[key] or written[key].startswith(("of `", "from `")), key


def test_every_section_and_every_key_of_a_comparison_is_named():
    assert list(keys_under("## Keys")) == list(Study.model_fields)
    assert set(SECTIONS) <= set(Study.model_fields)
    sentence = text_under("### plan").split("Of a comparison")[1]
    for key in PlannedComparison.model_fields:
        assert f"`{key}" in sentence


def test_the_smallest_study_is_valid():
    lines = (DOCS / "study.md").read_text().split("must be given:\n")[1].split("\nPaths")[0]
    study = Study.model_validate(yaml.safe_load(lines))
    assert (study.name, [model.run_name for model in study.models]) == ("first", ["baseline-item-mode"])
