"""A study from its YAML file: complete, repeated, with a plan, and with invalid keys."""

import re

import polars as pl
import pytest

from valuestrata.errors import InputDataError, UsageError
from valuestrata.study import run_study
from valuestrata.study.config import load_study
from valuestrata.study.data import build_or_load

STUDY = """
name: tiny
survey: {file: tiny.csv, codebook: tiny.yaml}
build: {draws: 50}
models:
  - baseline:item-mode
  - {model: baseline:nearest-parent, name: parent}
score: {bootstrap: 50, baselines: cheap}
"""


@pytest.mark.usefixtures("with_charts")
def test_a_study_is_complete_and_its_repetition_does_nothing(tiny):
    (tiny / "study.yaml").write_text(STUDY)
    messages: list[str] = []
    result = run_study(load_study(tiny / "study.yaml"), say=messages.append)
    folder = tiny / "runs" / "tiny"
    assert result.report == folder / "report.html"
    for name in ("data/dataset.json", "runs/parent/responses.parquet", "runs/baseline-item-mode/run.json", "scores.parquet", "study.yaml"):
        assert (folder / name).is_file(), name
    runs = {"baseline-item-mode", "parent", "baseline-uniform", "baseline-midpoint"}
    for table in ("scores", "relative", "structure"):
        assert set(pl.read_parquet(folder / f"{table}.parquet")["run"]) == runs
    assert pl.read_parquet(folder / "comparisons.parquet").height > 0
    assert set(pl.read_parquet(folder / "verdicts.parquet")["rule"]) >= {"below-item-mode", "below-nearest-parent"}
    assert any("building" in line for line in messages)

    built = (folder / "data" / "dataset.json").stat().st_mtime_ns
    stored = {file: file.read_bytes() for file in (folder / "runs").glob("*/store/*")}
    assert stored
    messages.clear()
    again = run_study(load_study(tiny / "study.yaml"), say=messages.append)
    assert any("already built" in line for line in messages)
    assert sum("already complete" in line for line in messages) == 2
    assert (folder / "data" / "dataset.json").stat().st_mtime_ns == built
    assert {file: file.read_bytes() for file in (folder / "runs").glob("*/store/*")} == stored
    assert again.scores.equals(result.scores)


def test_a_changed_file_is_built_again(tiny):
    (tiny / "study.yaml").write_text(STUDY)
    study, messages = load_study(tiny / "study.yaml"), []
    first = build_or_load(study, messages.append)
    assert build_or_load(study, messages.append).fingerprint == first.fingerprint
    assert messages[-1] == "data set: already built, kept"
    text = (tiny / "tiny.csv").read_text().splitlines()
    (tiny / "tiny.csv").write_text("\n".join(text[:-30]) + "\n")
    assert build_or_load(study, messages.append).meta["respondents"] == first.meta["respondents"] - 30


def test_a_study_says_what_is_left_out(tiny):
    text = (tiny / "tiny.csv").read_text().splitlines()
    place = text[0].split(",").index("area")
    rows = [line.split(",") for line in text[1:]]
    rows = [[*row[:place], "9", *row[place + 1 :]] if number % 10 == 0 else row for number, row in enumerate(rows)]
    rows[0][text[0].split(",").index("Q2")] = "Perhaps"
    (tiny / "tiny.csv").write_text("\n".join([text[0], *map(",".join, rows)]) + "\n")
    (tiny / "study.yaml").write_text(STUDY)
    messages: list[str] = []
    build_or_load(load_study(tiny / "study.yaml"), messages.append)
    assert [line for line in messages if line.startswith("Warning: area leaves out")]
    assert [line for line in messages if "labels are not in the codebook: Q2: 'Perhaps' (1)" in line]


PLAN = """
plan:
  metric: nmae
  comparisons:
    - {run: parent, against: baseline-midpoint}
    - {run: parent, against: baseline-uniform, metric: accuracy, by: level, key: "area=Town"}
"""


def test_declared_and_exploratory_comparisons_are_separate(tiny):
    messages: list[str] = []
    (tiny / "study.yaml").write_text(STUDY + PLAN)
    first = run_study(load_study(tiny / "study.yaml"), say=messages.append)
    assert any("was declared at" in line and "before any answer" in line for line in messages)
    declared = first.assessment.comparisons.filter(pl.col("status") == "declared")
    columns = ("run", "against", "metric", "by", "key", "adjustment")
    assert set(declared.select(columns).rows()) == {
        ("parent", "baseline-midpoint", "nmae", "all", "all", "holm"),
        ("parent", "baseline-uniform", "accuracy", "level", "area=Town", "holm"),
    }
    rest = first.assessment.comparisons.filter(pl.col("status") != "declared")
    assert set(rest["status"]) == {"exploratory"}
    assert set(rest["adjustment"].drop_nulls()) == {"benjamini-hochberg"}
    assert first.assessment.plan is not None
    assert first.assessment.plan.hash[:12] in first.report.read_text()

    for table in ("scores", "comparisons", "verdicts"):
        metadata = pl.read_parquet_metadata(tiny / "runs" / "tiny" / f"{table}.parquet")
        assert metadata["valuestrata_plan"] == first.assessment.plan.hash

    # After a changed threshold, nothing is declared; the report says so.
    (tiny / "study.yaml").write_text(STUDY + PLAN.replace("metric: nmae", "metric: nmae\n  thresholds: {smallest_gap: 0.5}"))
    second = run_study(load_study(tiny / "study.yaml"), say=messages.append)
    assert set(second.assessment.comparisons["status"]) == {"exploratory"}
    assert "was changed at" in second.report.read_text()

    (tiny / "study.yaml").write_text(STUDY + PLAN)
    back = run_study(load_study(tiny / "study.yaml"))
    assert back.assessment.comparisons.equals(first.assessment.comparisons)


def test_a_plan_with_an_unknown_run_is_refused(tiny):
    (tiny / "study.yaml").write_text(STUDY + PLAN.replace("run: parent, against: baseline-midpoint", "run: parents, against: parent"))
    with pytest.raises(UsageError, match=r"'parents', which this study does not make\. Did you mean 'parent'"):
        run_study(load_study(tiny / "study.yaml"))
    assert not (tiny / "runs" / "tiny" / "runs").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("area=Town", "area=Twon", "names the level 'area=Twon', which has no pair to ask. Did you mean 'area=Town'"),
        ("- baseline:item-mode", "- baseline:item-mod", "There is no baseline 'item-mod'"),
        ("- baseline:item-mode", "- control:shuffled-persona@baseline:item-mode", "a baseline does not use the persona"),
        ("name: tiny", "name: tiny\nsplit: {scheme: papr}", "Did you mean 'paper'"),
    ],
)
def test_invalid_names_are_refused_before_anything_is_declared_or_asked(tiny, old, new, message):
    (tiny / "study.yaml").write_text((STUDY + PLAN).replace(old, new))
    with pytest.raises(UsageError, match=re.escape(message)):
        run_study(load_study(tiny / "study.yaml"))
    assert not (tiny / "runs" / "tiny" / "runs").exists()
    assert not (tiny / "runs" / "tiny" / "plan.json").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("baselines: cheap", "baselines: chaep", "Did you mean 'cheap'"),
        ("build:", "biuld:", "Did you mean 'build'"),
        ("draws:", "drawz:", "build.drawz' is not known. Did you mean 'draws'"),
        ("name: parent", "nam: parent", "Did you mean 'name'"),
        ("draws: 50", "draws: many", "build.draws"),
        ("models:\n  - baseline:item-mode\n  - {model: baseline:nearest-parent, name: parent}", "models: []", "models"),
        ("name: tiny", "name: [", "YAML"),
    ],
)
def test_invalid_studies_are_refused_with_a_suggestion(tiny, old, new, message):
    (tiny / "study.yaml").write_text(STUDY.replace(old, new))
    with pytest.raises(InputDataError, match=message.replace(".", r"\.")) as error:
        load_study(tiny / "study.yaml")
    assert "study.yaml" in str(error.value)


def test_two_models_of_one_name_are_refused(tiny):
    (tiny / "study.yaml").write_text(STUDY.replace("name: parent", "name: baseline-item-mode"))
    with pytest.raises(UsageError, match="would both write the run"):
        load_study(tiny / "study.yaml")


def test_a_numeric_country_code_is_accepted(tiny):
    (tiny / "study.yaml").write_text(STUDY.replace("codebook: tiny.yaml", "codebook: tiny.yaml, countries: [702, SGP]"))
    assert load_study(tiny / "study.yaml").survey.countries == ["702", "SGP"]
