"""All checks together on runs made by hand, their files, and what they refuse."""

from __future__ import annotations

import json
from types import SimpleNamespace

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from valuestrata.cli.open.report import texts_
from valuestrata.dataset.tables import write_dataset
from valuestrata.errors import InputDataError, UsageError
from valuestrata.files import write_json
from valuestrata.openended.text.checks import text_checks, write_text_checks
from valuestrata.openended.text.schema import MARKERS, SIMILARITY, TEXT_RATES, TEXTS
from valuestrata.responses.run.folder import new_meta, write_table
from valuestrata.responses.run.schema import RESPONSES

SAID = {
    "sex_Male": "I work hard for my family and I do not complain about it at all.",
    "sex_Female": "As a woman, I know what care costs, and I do it for my family.",
    "age_x_ethnicity_16-24-years_SG:-Malay": "I am 20 years old and I want to see the world before I settle.",
}


def responses(said=SAID, **changed):
    rows = [
        {"pair_id": f"{item}_{subgroup}", "item": item, "subgroup": subgroup, "sample": 0, "text": text, "status": "answered"}
        | {"elicitation": "open", "template": "default", "template_version": "1", "paraphrase": 0, "order": "scale", "shown": []}
        | {"attempts": 1, "finish_reason": "stop"}
        for item in ("Q1", "Q182")
        for subgroup, text in said.items()
    ]
    rows[0] |= changed
    return RESPONSES.frame(rows)


def run(name="base", **changed):
    return SimpleNamespace(name=name, meta={"template": "default"}, responses=responses(**changed))


def value(found, measure, by="all", key="all"):
    return found.rates.filter((pl.col("measure") == measure) & (pl.col("by") == by) & (pl.col("key") == key))["value"].item()


def test_a_run_is_checked(handmade):
    found = text_checks(handmade, [run(status="refused", text="As an AI I have no views.", finish_reason="MAX_TOKENS")])
    assert value(found, "refused") == pytest.approx(1 / 6)
    assert value(found, "cut") == pytest.approx(1 / 6)
    assert value(found, "leak") == pytest.approx(4 / 5)
    assert value(found, "leak", "level", "sex=Male") == 0.0
    assert value(found, "leak", "subgroup", "sex_Female") == 1.0
    leaks = found.texts.filter(pl.col("leak").is_not_null())
    assert set(leaks["leak_text"]) == {"As a woman", "I am 20 years old"}
    assert found.similarity["key"].to_list() == ["sex", "all"]
    for schema, frame in ((TEXTS, found.texts), (TEXT_RATES, found.rates), (MARKERS, found.markers), (SIMILARITY, found.similarity)):
        assert frame.schema == schema.empty().schema


def test_an_empty_answer_is_counted_and_a_failed_call_is_not(handmade):
    empty = text_checks(handmade, [run(status="unparsed", text=" ...")])
    assert (value(empty, "empty"), empty.texts.height) == (pytest.approx(1 / 6), 6)
    failed = text_checks(handmade, [run(status="failed", text=None)])
    assert (value(failed, "empty"), failed.texts.height) == (0.0, 5)


def test_a_run_without_any_answer_has_rates_alone(handmade):
    silent = run(said=dict.fromkeys(SAID, ""))
    found = text_checks(handmade, [silent])
    assert value(found, "empty") == 1.0
    assert found.similarity.is_empty()
    assert found.markers.is_empty()


def test_rows_come_in_the_order_of_the_data_set(handmade):
    mixed = run()
    mixed.responses = mixed.responses.sample(fraction=1.0, shuffle=True, seed=3)
    one, two = text_checks(handmade, [run()]), text_checks(handmade, [mixed])
    for name, frame in one.tables().items():
        assert frame.equals(two.tables()[name]), name


def test_what_cannot_be_checked_is_refused(handmade):
    with pytest.raises(UsageError, match="Two runs are named 'base'"):
        text_checks(handmade, [run(), run()])
    with pytest.raises(UsageError, match="no run"):
        text_checks(handmade, [])
    with pytest.raises(InputDataError, match="'sex_Other' first"):
        text_checks(handmade, [run(subgroup="sex_Other")])


def saved(dataset, folder, elicitation="open"):
    write_json(folder / "run.json", new_meta(dataset, folder.name, "open", template="default", elicitation=elicitation))
    write_table(folder, responses(), None)
    return folder


def test_tables_are_written(handmade, tmp_path):
    write_text_checks(text_checks(handmade, [run()]), tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {
        f"{name}.{ending}" for name in ("texts", "text_rates", "markers", "similarity") for ending in ("csv", "parquet")
    }
    assert pl.read_csv(tmp_path / "texts.csv")["leak_attributes"].drop_nulls().to_list()[0] == "sex"


def test_the_command_prints_and_writes(handmade, tmp_path):
    write_dataset(handmade, tmp_path / "data")
    folder = saved(handmade, tmp_path / "run")
    app = typer.Typer()
    app.command()(texts_)
    arguments = [str(tmp_path / "data"), str(folder), "--permutations", "20"]
    shown = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "out")])
    assert shown.exit_code == 0, shown.output
    assert "leak_self" in shown.output
    assert (tmp_path / "out" / "text_rates.csv").is_file()
    refused = CliRunner().invoke(app, [str(tmp_path / "data"), str(saved(handmade, tmp_path / "closed", "text"))])
    assert isinstance(refused.exception, InputDataError)
    assert "open ask" in str(refused.exception)
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert set(told) == {"text_rates", "markers", "similarity"}
