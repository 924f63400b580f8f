"""The tables of keys in docs/study.md and docs/surveys.md, compared with the sections of a study and of a codebook."""

import re
import textwrap
from pathlib import Path

import pytest
import yaml
from pydantic_core import PydanticUndefined

from tests.docs.blocks import read_page
from valuestrata.scores.plan import Plan, PlannedComparison, Thresholds
from valuestrata.study.config import (
    AskSection,
    AuditSection,
    BuildSection,
    CalibrateSection,
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
from valuestrata.survey import load_codebook
from valuestrata.survey.codebook_schema import (
    AttributeEntry,
    CodebookFile,
    CountryEntry,
    DesignEntry,
    ItemEntry,
    LevelEntry,
    MissingEntry,
    ReplicateEntry,
    ScaleEntry,
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
    "calibrate": CalibrateSection,
    "score": ScoreSection,
    "audit": AuditSection,
    "tune": TuneSection,
    "open": OpenSection,
    "report": ReportSection,
}

CODEBOOK = {
    "Codebook": CodebookFile,
    "Design": DesignEntry,
    "Replicate weights": ReplicateEntry,
    "Class of missing": MissingEntry,
    "Scale": ScaleEntry,
    "Item": ItemEntry,
    "Attribute": AttributeEntry,
    "Level": LevelEntry,
    "Country": CountryEntry,
}


def text_under(heading: str, page: str = "study.md") -> str:
    return (DOCS / page).read_text().split(f"\n{heading}\n")[1].split("\n#")[0]


def keys_under(heading: str, page: str = "study.md") -> dict[str, str]:
    """Return key -> default in the table under a heading."""
    return dict(re.findall(r"^\| `([a-z_.]+)` \| ([^|]+) \|", text_under(heading, page), flags=re.MULTILINE))


def meanings_under(heading: str) -> dict[str, str]:
    """Return key -> meaning in the table under a heading, with the names of linked pages instead of links."""
    rows = re.findall(r"^\| `([a-z_.]+)` \| [^|]+ \| ?([^|]*?) ?\|$", text_under(heading), flags=re.MULTILINE)
    return {key: re.sub(r"\[([^\]]+)\]\([^)]+\)", lambda link: re.sub(r"^(\S+\.md)$", r"docs/\1", link[1]), text) for key, text in rows}


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


@pytest.mark.parametrize("name", ["", *SECTIONS])
def test_the_meaning_of_every_key_is_its_description(name):
    model = SECTIONS[name] if name else Study
    described = {key: field.description or "" for key, field in model.model_fields.items()}
    if name == "plan":
        described |= {f"thresholds.{key}": field.description for key, field in Thresholds.model_fields.items()}
    assert meanings_under(f"### {name}" if name else "## Keys") == described


@pytest.mark.parametrize("name", CODEBOOK)
def test_every_key_of_a_codebook_is_documented_with_its_default(name):
    model = CODEBOOK[name]
    written = keys_under(f"### {name}", "surveys.md")
    shared = set(ScaleEntry.model_fields) if model is ItemEntry else set()
    assert set(written) == set(model.model_fields) - shared
    for key, default in defaults_of(model).items():
        if key in shared:
            continue
        if default is PydanticUndefined:
            assert written[key] == "required", key
        elif default and not isinstance(default, DesignEntry):
            assert str(default).lower() == written[key].strip("`"), key
        else:
            assert written[key].startswith(("none", "of `", "those ")), key


@pytest.mark.parametrize("name", CODEBOOK)
def test_examples_of_the_keys_of_a_codebook_are_valid(name):
    required = {key: "x" for key, default in defaults_of(CODEBOOK[name]).items() if default is PydanticUndefined}
    filled = {"missing": {}, "items": [], "attributes": [], "levels": [{"label": "x"}], "code": 1, "columns": ["r1", "r2"], "type": "brr"}
    required = {key: filled.get(key, value) for key, value in required.items()}
    partner = {"codes": "labels: [a, b, c]", "labels": "codes: [1, 2, 3]", "range": "ends: [a, b]"}
    for key, example in re.findall(r"^\| `([a-z_]+)` .*\| `([^|]+)` \|$", text_under(f"### {name}", "surveys.md"), flags=re.MULTILINE):
        document = yaml.safe_load(example)
        if name == "Scale":
            document |= yaml.safe_load(partner.get(key, "{}"))
        assert next(iter(document)) == key
        CODEBOOK[name].model_validate(required | document)


def test_the_codebook_in_the_documentation_can_be_loaded(tmp_path):
    text = (DOCS / "surveys.md").read_text().split("An example of a codebook:\n")[1].split("\n\nA codebook is refused")[0]
    (tmp_path / "mine.yaml").write_text(textwrap.dedent(text.strip("\n")))
    assert [item.id for item in load_codebook(tmp_path / "mine.yaml").items] == ["Q1", "Q2"]


def test_every_section_and_every_key_of_a_comparison_is_named():
    assert list(keys_under("## Keys")) == list(Study.model_fields)
    assert set(SECTIONS) <= set(Study.model_fields)
    sentence = text_under("### plan").split("Of a comparison")[1]
    for key in PlannedComparison.model_fields:
        assert f"`{key}" in sentence


def test_the_smallest_study_is_valid():
    (block,) = [block for block in read_page(DOCS / "study.md").blocks if block.file == "study.yaml"]
    study = Study.model_validate(yaml.safe_load(block.text))
    assert (study.name, [model.run_name for model in study.models]) == ("first", ["baseline-item-mode"])
