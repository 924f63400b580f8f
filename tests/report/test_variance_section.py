"""What moves the answer, on the page and on a terminal: the table's own figures, its lines, its reasons, nothing unescaped."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from tests.report.test_page import ATTACK
from tests.report.test_page import Page as ParsedPage
from valuestrata.claims.select import ranked
from valuestrata.claims.templates import word
from valuestrata.claims.variance import variance_claims
from valuestrata.formatting import number
from valuestrata.reports.closed.variance import TITLES, components_grid, print_variance, shares_grid, variance_section
from valuestrata.reports.core.page import Page
from valuestrata.reports.core.render import render
from valuestrata.reports.core.section import Section
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores.variance.table import COMPONENTS, VARIANCE, variance

META = {"respondent": {"provider": "hf", "model": "org/m"}}


def answered(dataset, name: str, *, orders=("scale", "reversed"), samples=2, elicitation="text", seed=0):
    """A model that likes what stands last, and answers the second half of the personas one code higher; a few answers are missing."""
    rng = np.random.default_rng(seed)
    groups = dataset.subgroups["subgroup"].to_list()[1:]
    rows = []
    for item, codes in dataset.codes_of.items():
        for place, group in enumerate(groups):
            for order in orders:
                shown = list(codes) if order == "scale" else list(codes)[::-1]
                for sample in range(samples):
                    pick = shown[-1] if rng.random() < 0.4 else codes[min(len(codes) - 1, int(2 * place >= len(groups)) + rng.integers(2))]
                    answer = None if rng.random() < 0.05 else int(pick)
                    about = {"pair_id": f"{item}_{group}", "item": item, "subgroup": group, "elicitation": elicitation, "template": "t"}
                    how = {"order": order, "shown": shown, "sample": sample, "paraphrase": 0, "template_version": "1"}
                    rows.append(about | how | {"answer": answer, "status": "refused" if answer is None else "answered"})
    return SimpleNamespace(name=name, meta=META, responses=RESPONSES.frame(rows))


@pytest.fixture(scope="module")
def found(worlds):
    """A model asked in two orders, twice each."""
    data = worlds(items=10, subgroups=8, attributes=2, everywhere=True).dataset
    run = answered(data, "model")
    return SimpleNamespace(data=data, run=run, table=variance(data, [run], bootstrap=100))


def whole(table: pl.DataFrame) -> pl.DataFrame:
    return table.filter(pl.col("by") == "all")


def test_the_section_shows_lines_first_and_every_component(found):
    section = variance_section(found.table)
    assert isinstance(section, Section)
    text = render(Page("Title", [section]))
    page = ParsedPage(text)
    assert list(page.sections) == ["variance"]
    assert [one.heading for one in section.claims] == ["model, text"]
    worded = [word(claim).sentence for claim in ranked(variance_claims(found.table))]
    assert [one.sentence for one in (*section.claims[0].shown, *section.claims[0].rest)] == worded
    assert all(sentence in text for sentence in worded)
    shares = ["Shares by topic: model, text", "Shares by item: model, text"]
    assert [name for name, _ in section.folded] == ["Components: model, text", *shares]
    assert "script" not in page.tags
    assert not re.findall(r"https?://", text)


def test_components_stand_with_their_figures_their_levels_and_their_reasons(found):
    grid = components_grid(whole(found.table), 0.95)
    plain = whole(found.table).filter(pl.col("against").is_null())
    assert [row.cells[0].text for row in grid.rows] == [TITLES[name] for name in plain["component"]]
    assert set(COMPONENTS) <= set(plain["component"])
    for shown, row in zip(grid.rows, plain.to_dicts(), strict=True):
        _, value, share, levels, note = shown.cells
        assert value.text == number(row["variance"], 4)
        assert share.text == number(row["share"])
        assert bool(value.small) == (row["ci_low"] is not None)
        assert note.text == (row["note"] or "")
        assert levels.text == {"persona": "8", "order": "2", "paraphrase": "1", "template": "1"}.get(row["component"], levels.text)
    notes = " ".join(grid.notes)
    missing = plain["missing"].max()
    assert missing > 0
    assert f"10 items, {plain['responses'].max()} answers; {missing} responses without an answer are left out." in notes


def test_shares_of_a_topic_sum_to_one_and_columns_are_what_is_known(found):
    rows = found.table.filter(pl.col("by") == "topic")
    grid = shares_grid(rows, "topic")
    assert grid.headers == (
        "Topic",
        "Items",
        "Variance",
        *(TITLES[name] for name in ("persona", "order", "persona x presentation", "sample")),
    )
    assert [row.cells[0].text for row in grid.rows] == rows["key"].unique(maintain_order=True).to_list()
    shares = rows.filter(pl.col("against").is_null() & (pl.col("component") != "total")).group_by("key").agg(pl.col("share").sum())
    assert shares["share"].to_list() == pytest.approx([1.0] * len(shares))
    assert shares_grid(rows.filter(pl.col("component") == "gold"), "topic") is None


def test_the_terminal_prints_the_same_without_a_width_to_fit(found):
    out = io.StringIO()
    print_variance(found.table, Console(file=out, width=60))
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("model, text. 10 items, ")
    row = whole(found.table).row(by_predicate=(pl.col("component") == "order") & pl.col("against").is_null(), named=True)
    printed = next(line for line in lines if line.startswith("Order of the options"))
    assert number(row["variance"], 4) in printed
    assert "Paraphrase: one paraphrase only." in lines
    claims = ranked(variance_claims(found.table))
    shown = [line for line in lines if re.match(r"  \d\. ", line)]
    assert [line[5:] for line in shown] == [word(claim).sentence for claim in claims][:5]


def test_two_readouts_are_two_tables(found):
    probs = found.run.responses.filter((pl.col("sample") == 0) & (pl.col("status") == "answered")).with_columns(
        elicitation=pl.lit("logprob")
    )
    other = SimpleNamespace(name="probs", meta=META, responses=probs)
    section = variance_section(variance(found.data, [found.run, other], bootstrap=0))
    named = [name for name, _ in section.folded if name.startswith("Components")]
    assert named == ["Components: model, text", "Components: probs, logprob"]
    assert [one.heading for one in section.claims] == ["model, text", "probs, logprob"]


def test_runs_that_tell_nothing_apart_have_no_section(found):
    once = SimpleNamespace(
        name="once", meta=META, responses=found.run.responses.filter((pl.col("sample") == 0) & (pl.col("order") == "scale"))
    )
    title, reason = variance_section(variance(found.data, [once], bootstrap=20))
    assert title == "Sources of variance in the answers"
    assert "several orders, templates or samples" in reason
    assert variance_section(VARIANCE.empty()) == (title, reason)


def test_names_from_outside_are_escaped(found):
    hostile = found.table.with_columns(run=pl.lit(ATTACK), note=pl.lit(ATTACK))
    text = render(Page("Title", [variance_section(hostile)]))
    assert ATTACK not in text
    assert "script" not in ParsedPage(text).tags
