"""The banner and the checklist: each rule on results for which it must and must not speak, and their place on the page."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

import polars as pl
import pytest

from tests.report.test_worth import MODEL, assessed, claims, difference
from valuestrata.dataset.tables import LEAKAGE
from valuestrata.openended.validity.decision_rule import NOT_USABLE, NOT_VALIDATED, TOO_FEW, USABLE
from valuestrata.reports import report_page
from valuestrata.reports.core.checklist import CheckedResults, checklist, corrected_tests
from valuestrata.reports.core.page import Check, Page, StatusLine
from valuestrata.reports.core.render import render
from valuestrata.reports.core.section import Section
from valuestrata.reports.core.status import (
    asked_once,
    coverage_lines,
    coverage_of,
    in_order,
    judge_lines,
    overlap_lines,
    plan_line,
    repetition_lines,
)
from valuestrata.reports.estimation.page import model_coverage
from valuestrata.reports.open.page import judged_share
from valuestrata.reports.prediction.page import range_lines
from valuestrata.scores.plan import Declared, Plan
from valuestrata.scores.schema import COMPARISONS

HASH = "686faa03a669" + "0" * 52


def declared(status: str = "declared") -> Declared:
    return Declared(Plan(), HASH, "2026-11-28T19:21:57+00:00", status)  # pyright: ignore[reportArgumentType]


def model_of(world):
    return next(run for run in world.runs if run.name == MODEL)


def evidence(world, **other) -> CheckedResults:
    known = {"has_ceiling": True, "has_intervals": True, "tests": 3, "methods": ("holm",)}
    return CheckedResults(world.dataset, world.runs, "paper", **known | other)


def state(checks: list[Check], words: str) -> Check:
    (found,) = [one for one in checks if words in one.question]
    return found


@pytest.mark.parametrize(
    ("plan", "declares", "level", "words"),
    [
        (None, True, "note", "Exploratory: this page uses no plan"),
        (declared(), True, "ok", "Declared in the plan 686faa03a669"),
        (declared(), False, "note", "declares comparisons of runs"),
        (declared("late"), True, "warning", "after answers existed"),
        (declared("amended"), False, "warning", "after answers existed"),
    ],
)
def test_a_page_says_whether_its_comparisons_were_declared(plan, declares, level, words):
    line = plan_line(plan, declares=declares)
    assert line.level == level
    assert words in line.text
    assert line.details


def test_low_coverage_names_the_run_and_its_share():
    lines = coverage_lines({"a": 0.949, "b": 0.95, "c": None})
    assert [(line.level, line.text) for line in lines] == [("warning", "a was scored on 95\u00a0% of the pairs.")]
    assert coverage_lines({"a": 0.9}, least=0.9)[0].level == "ok"
    assert coverage_lines({"c": None}) == []


def test_coverage_is_the_share_of_the_pairs_that_have_a_response(world):
    run = model_of(world)
    pairs = run.responses["pair_id"].unique(maintain_order=True)
    half = replace(run, responses=run.responses.filter(pl.col("pair_id").is_in(pairs[: len(pairs) // 2].to_list())))
    found = coverage_of(world.dataset, [run, half], world.scores)
    assert found == {run.name: pytest.approx(len(pairs) // 2 / len(pairs))}
    assert coverage_of(world.dataset, [run], world.scores) == {run.name: 1.0}


def test_training_on_the_test_is_a_warning():
    lines = overlap_lines(["Warning: a: not a test: trained on 12 % of the pairs scored (split paper, part test)."])
    assert [line.level for line in lines] == ["warning"]
    assert lines[0].text.startswith("a: not a test")
    assert [line.level for line in overlap_lines([])] == ["ok"]


def test_a_single_sample_and_a_single_seed_are_noted(world):
    run = model_of(world)
    twice = replace(run, name="twice", responses=pl.concat([run.responses, run.responses.with_columns(order=pl.lit("reversed"))]))
    assert asked_once(run)
    assert not asked_once(twice)
    assert not asked_once(replace(run, meta={**run.meta, "respondent": {"name": "x", "provider": "imported"}}))
    calibrated = {"provider": "calibrated", "method": "shares", "model": "shares", "of": {"name": "x", "provider": "hf"}}
    assert not asked_once(replace(run, meta={**run.meta, "respondent": calibrated}))
    assert [line.text for line in repetition_lines([run, twice])] == [f"Single sample: {MODEL} answered each pair once."]
    tuned = replace(twice, name="tuned", meta={**run.meta, "respondent": {"name": "x", "provider": "hf", "adapter_hash": "a1"}})
    assert [line.text for line in repetition_lines([tuned])] == ["Single seed: tuned was trained with one seed."]
    assert repetition_lines([tuned], {"recipe": 3}) == []
    assert [line.text for line in repetition_lines([tuned], {"recipe": 1})] == ["Single seed: recipe was trained with one seed."]
    assert [line.text for line in repetition_lines([], {"a": 1, "b": 1})] == ["Single seed: a and b were trained with one seed."]
    assert repetition_lines([one for one in world.runs if one.name.startswith("baseline")]) == []


def test_a_judge_that_is_not_usable_is_a_warning():
    rows = [("j", "persona", NOT_USABLE), ("j", "value", NOT_USABLE), ("k", "value", NOT_VALIDATED), ("l", "value", TOO_FEW)]
    usable = pl.DataFrame(rows, schema=["judge", "criterion", "verdict"], orient="row")
    lines = judge_lines(usable)
    assert [(line.level, line.text) for line in lines] == [
        ("warning", "The judge j is not usable for persona and value."),
        ("warning", "The judge l cannot be checked for value."),
        ("note", "The judge k was not compared with people for value."),
    ]
    assert [line.level for line in judge_lines(usable.with_columns(verdict=pl.lit(USABLE)))] == ["ok"]
    assert judge_lines(usable.clear()) == []


def test_the_most_serious_line_comes_first_and_is_visible_without_colour():
    lines = in_order(
        [StatusLine("ok", "Fine."), StatusLine("note", "Know."), StatusLine("warning", "Bad <b>."), StatusLine("note", "Too.")]
    )
    assert [line.text for line in lines] == ["Bad <b>.", "Know.", "Too.", "Fine."]
    text = render(Page("t", [Section("a", "A?")], status=lines))
    summary = re.search(r'<details class="status warning">\s*<summary>(.*?)</summary>', text, re.DOTALL)
    assert summary
    assert "<b>Warning</b> Bad &lt;b&gt;." in summary[1]
    assert ">!</span>" in summary[1]
    assert "3 more points" in summary[1]
    assert "Know." not in summary[1]


def test_the_checklist_of_a_bare_score_says_what_to_do(world):
    bare = evidence(world, has_ceiling=False, has_intervals=False, tests=0, methods=())
    models = [run for run in world.runs if run.name == MODEL]
    checks = checklist(replace(bare, runs=models))
    assert [one.state for one in checks] == ["no", "no", "no", "no", "no", "not applicable", "no", "no"]
    assert all(one.todo for one in checks if one.state == "no")
    assert "control:no-persona@MODEL" in state(checks, "controls").todo


def test_the_checklist_finds_what_was_done(world):
    run = model_of(world)
    respondent = {"provider": "control", "control": "no-persona", "of": run.meta["respondent"]}
    control = replace(run, name="control", meta={**run.meta, "respondent": respondent})
    twice = replace(run, responses=pl.concat([run.responses, run.responses]))
    baselines = [one for one in world.runs if one.name != run.name]
    items = world.dataset.items.with_columns(block=pl.concat_str(pl.lit("b"), pl.int_range(pl.len()) % 9))
    data = replace(world.dataset, items=items)
    checks = checklist(replace(evidence(world, plan=declared()), dataset=data, runs=[twice, control, *baselines], scheme="paper+disjoint"))
    assert [(one.question, one.state) for one in checks if one.state != "yes"] == []
    assert HASH in state(checks, "declared").found
    assert state(checks, "controls").found == "Asked: no-persona."
    assert state(checks, "corrected").found == "3 corrected p-values (holm)."
    # The order is that of the argument: baselines first, respondents last.
    assert "baselines" in checks[0].question
    assert "respondents" in checks[-1].question


def test_respondents_are_shared_unless_the_leakage_says_none(world):
    def with_share(share: float):
        rows = [{"pair_id": "p", "scheme": "paper", "fold": 0, "trained_parents": [], "shared_respondents": share}]
        return replace(evidence(world), dataset=replace(world.dataset, leakage=LEAKAGE.frame(rows)))

    assert state(checklist(with_share(0.0)), "respondents").state == "yes"
    shared = state(checklist(with_share(0.42)), "respondents")
    assert shared.state == "no"
    assert "42\u00a0% of the respondents" in shared.found
    assert "paper+disjoint" in shared.todo
    assert state(checklist(replace(with_share(0.42), scheme="transfer")), "respondents").state == "not applicable"


def test_a_late_plan_declares_nothing(world):
    assert state(checklist(evidence(world, plan=declared("late"))), "declared").state == "no"
    assert state(checklist(evidence(world, plan=declared(), declares=False)), "declared").state == "not applicable"


def test_nothing_is_said_about_the_samples_of_imported_answers(world):
    imported = replace(model_of(world), meta={**model_of(world).meta, "respondent": {"name": "x", "provider": "imported"}})
    assert state(checklist(replace(evidence(world), runs=[imported])), "samples").state == "not applicable"


def test_one_seed_of_a_tuned_model_is_not_enough(world):
    run = model_of(world)
    meta = {**run.meta, "respondent": {"name": "x", "provider": "hf", "adapter_hash": "a1"}}
    tuned = replace(run, meta=meta, responses=pl.concat([run.responses, run.responses]))
    found = evidence(world)
    assert state(checklist(replace(found, runs=[tuned])), "seeds").state == "no"
    assert state(checklist(replace(found, runs=[tuned], seeds=(3,))), "seeds").state == "yes"


def test_corrected_tests_are_counted_with_their_methods():
    rows = [
        difference("a", "b", 0.1, 0.0, 0.2, p_adjusted=0.01, adjustment="holm"),
        difference("a", "c", 0.1, 0.0, 0.2, p_adjusted=0.02, adjustment="benjamini-hochberg"),
        difference("a", "d", 0.1, 0.0, 0.2),
    ]
    assert corrected_tests(COMPARISONS.frame(rows), "p_adjusted", "adjustment") == (2, ["holm", "benjamini-hochberg"])


@pytest.mark.usefixtures("no_charts")
def test_the_first_screen_shows_each_score_with_its_own_ceiling(world):
    found = assessed(world.scores, claims(MODEL, 7))
    page = report_page(world.dataset, world.runs, world.scores, assessment=found)
    first = page.sections[0]
    (run,) = first.runs
    assert run.name == MODEL
    assert run.lead.sentence.startswith("Less accurate than b0")
    assert [number.label for number in run.numbers] == ["Expected accuracy", "Best cheap baseline", "Ceiling"]
    whole = world.scores.filter(pl.col("run") == MODEL, pl.col("by") == "all")
    values = dict(whole.select("metric", "value").iter_rows())
    assert float(run.numbers[0].value) == pytest.approx(values["accuracy_expected"], abs=5e-4)
    assert float(run.numbers[2].value) == pytest.approx(values["ceiling_oracle"], abs=5e-4)
    assert "95\u00a0% CI" in run.numbers[0].details
    # Five claims in all: one as the sentence, four in the list.
    (listed,) = first.claims
    assert [one.sentence.partition(":")[0] for one in listed.shown] == [f"Less accurate than b{place}" for place in range(1, 5)]
    assert len(listed.rest) == 2
    assert first.tables == []
    assert [line.level for line in page.status][:1] == ["note"]
    assert page.checks


def test_the_page_of_predictions_warns_of_questions_outside_the_validated_range():
    rows = {"question": ["a", "b"], "outside": [True, False], "reason": ["no question has three options", None]}
    outside = SimpleNamespace(similarity=pl.DataFrame(rows))
    (line,) = range_lines(outside)  # pyright: ignore[reportArgumentType]
    assert (line.level, line.details) == ("warning", "No question has three options.")
    assert line.text.startswith("a is outside the validated range")
    inside = SimpleNamespace(similarity=pl.DataFrame(rows).filter(~pl.col("outside")))
    assert [line.level for line in range_lines(inside)] == ["ok"]  # pyright: ignore[reportArgumentType]


def test_the_page_of_open_answers_counts_the_pairs_that_a_judge_read(world):
    run = replace(model_of(world), name="open")
    pairs = run.responses["pair_id"].unique(maintain_order=True)
    verdicts = pl.DataFrame({"run": ["open"] * 2, "pair_id": [pairs[0]] * 2})
    stances = pl.DataFrame({"run": ["open"], "pair_id": [pairs[1]]})
    found = SimpleNamespace(runs=[run], verdicts=verdicts, stances=stances)
    assert judged_share(found) == {"open": pytest.approx(2 / len(pairs))}  # pyright: ignore[reportArgumentType]
    nothing = SimpleNamespace(runs=[run], verdicts=verdicts.clear(), stances=stances.clear())
    assert judged_share(nothing) == {}  # pyright: ignore[reportArgumentType]


def test_the_page_of_estimates_counts_the_pairs_that_a_model_answered():
    rows = [("m", "a", 0.2), ("m", "a", 0.8), ("m", "b", None), ("n", "a", 0.1), ("n", "b", 0.2)]
    table = pl.DataFrame([("model", run, subgroup, "Q1", value) for run, subgroup, value in rows], orient="row")
    table.columns = ["estimator", "run", "subgroup", "item", "value"]
    result = SimpleNamespace(table=table, runs=["m", "n"])
    assert model_coverage(result) == {"m": 0.5, "n": 1.0}  # pyright: ignore[reportArgumentType]
