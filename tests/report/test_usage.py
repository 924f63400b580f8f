"""Calls, tokens and cost, summed by hand."""

from types import SimpleNamespace

import pytest

from valuestrata.reports.closed.usage import usage_section
from valuestrata.reports.core.section import Section
from valuestrata.reports.core.tables import usage_table
from valuestrata.responses.run.schema import RESPONSES


def run_of(name, rows, provider="openai"):
    return SimpleNamespace(name=name, meta={"respondent": {"provider": provider, "model": name}}, responses=RESPONSES.frame(rows))


def row(**more):
    return {"pair_id": "Q1_sex_Female", "item": "Q1", "subgroup": "sex_Female", "status": "answered", "answer": 1} | more


PAID = [
    row(attempts=1, prompt_tokens=100, completion_tokens=5, cost=0.001, latency=0.5),
    row(attempts=3, prompt_tokens=110, completion_tokens=7, cost=0.002, latency=2.5),
    row(attempts=0, prompt_tokens=0, completion_tokens=0, cost=0.0, latency=0.0),
    row(attempts=6, status="failed", answer=None, error="rate limit: slow down", latency=30.0),
    row(attempts=6, status="failed", answer=None, error="timeout: nothing in 120 s", latency=720.0),
    row(attempts=6, status="failed", answer=None, error="timeout: nothing in 90 s", latency=720.0),
]


def test_a_row_sums_usage_and_names_the_failures():
    table = usage_table([run_of("paid", PAID), run_of("local", [row(latency=1.0, prompt_tokens=10, attempts=1)])])
    paid, local = table.to_dicts()
    assert (paid["responses"], paid["calls"], paid["prompt_tokens"], paid["completion_tokens"]) == (6, 22, 210, 12)
    assert paid["cost"] == pytest.approx(0.003)
    assert paid["seconds"] == pytest.approx(1473.0)
    assert (paid["failed"], paid["failures"]) == (3, "2 timeout, 1 rate limit")
    # Unknown is null, not zero.
    assert (local["completion_tokens"], local["cost"], local["failed"], local["failures"]) == (None, None, 0, "")


def test_the_section_has_a_row_per_called_run_and_the_total_cost():
    section = usage_section([run_of("paid", PAID), run_of("item-mode", [row()], provider="baseline")])
    assert isinstance(section, Section)
    assert section.sentences == ["Total cost: $0.003."]
    ((_, grid),) = section.folded
    assert [line.cells[0].text for line in grid.rows] == ["paid"]
    assert grid.rows[0].cells[-1].small == "2 timeout, 1 rate limit"


def test_no_section_without_a_called_model():
    title, reason = usage_section([run_of("item-mode", [row()], provider="baseline")])
    assert title == "Calls, tokens and cost"
    assert "no language model" in reason
