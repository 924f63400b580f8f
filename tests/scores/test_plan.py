"""A plan is worth something only if it stood before the answers; which comparisons it declares, and who is compared anyway."""

from __future__ import annotations

import json
from dataclasses import astuple
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valuestrata.errors import InputDataError, UsageError
from valuestrata.responses.run.identity import run_identity
from valuestrata.scores.plan import Plan, declare, declared_rows, describe, plan_hash, standard_comparisons
from valuestrata.yaml_files import checked

MODEL = {"name": "embedded", "provider": "transformers", "revision": "a"}
OTHER = {"name": "embedded", "provider": "transformers", "revision": "b"}


def run(name, respondent, **meta):
    return SimpleNamespace(name=name, meta={"respondent": respondent, **meta})


def baseline(kind, name=None):
    return run(name or kind, {"name": f"baseline:{kind}", "provider": "baseline", "model": kind})


def control(word, of, name=None, **meta):
    kind = word.partition("=")[0]
    return run(name or kind, {"name": f"control:{word}@{of['name']}", "provider": "control", "control": kind, "of": of}, **meta)


def inside(run):
    identity = run_identity(run)
    return identity.control, identity.model.document


def same_model(a, b):
    return run_identity(a).same_model(run_identity(b))


RUNS = [
    run("m", MODEL),
    control("shuffled-persona", MODEL),
    control("no-persona", MODEL),
    control("shuffled-persona", OTHER, "shuffled-other"),
    baseline("item-mode"),
    baseline("nearest-parent"),
    baseline("additive"),
]


def plan(**keys):
    return checked(Plan, keys, "study.yaml: plan")


def test_a_control_says_which_model_is_inside():
    assert inside(control("wrong-country=JPN", MODEL)) == ("wrong-country", MODEL)
    assert inside(run("x", {"name": "control:wrong-country=JPN@hf:a/b@c"})) == ("wrong-country", {"name": "hf:a/b@c"})
    assert inside(run("m", MODEL)) == (None, MODEL)
    assert inside(baseline("item-mode"))[0] is None


def test_the_same_model_is_the_same_in_everything():
    assert same_model(control("no-persona", MODEL), run("m", MODEL))
    assert same_model(run("m", MODEL), control("no-persona", MODEL))
    assert not same_model(control("no-persona", OTHER), run("m", MODEL))
    # A control that only names its model is taken at its word.
    assert same_model(run("c", {"name": "control:no-persona@embedded"}), run("m", MODEL))
    assert not same_model(run("c", {"name": "control:no-persona@gguf:x"}), run("m", MODEL))
    assert not same_model(SimpleNamespace(name="a", meta={}), SimpleNamespace(name="b", meta={}))


def test_default_comparisons_are_those_that_a_model_must_face():
    rows = list(map(astuple, declared_rows(plan(), RUNS, "paper", "test")))
    assert rows == [
        ("m", "item-mode", "accuracy_expected", "all", "all"),
        ("m", "nearest-parent", "accuracy_expected", "all", "all"),
        ("m", "shuffled-persona", "accuracy_expected", "all", "all"),
    ]


def test_standard_comparisons_by_hand():
    assert set(standard_comparisons(RUNS)) == {
        ("m", "item-mode"),
        ("m", "nearest-parent"),
        ("m", "additive"),
        ("m", "shuffled-persona"),
        ("m", "no-persona"),
        ("shuffled-persona", "item-mode"),
        ("no-persona", "item-mode"),
        ("shuffled-other", "item-mode"),
        ("nearest-parent", "item-mode"),
        ("additive", "nearest-parent"),
        ("additive", "item-mode"),
    }


@settings(deadline=None)
@given(st.permutations(RUNS), st.integers(0, len(RUNS)))
def test_no_two_runs_are_compared_twice_whatever_the_order(runs, number):
    pairs = [frozenset(pair) for pair in standard_comparisons(runs[:number])]
    assert len(pairs) == len(set(pairs))
    assert all(len(pair) == 2 for pair in pairs)
    if number == len(RUNS):
        assert set(standard_comparisons(runs)) == set(standard_comparisons(RUNS))


def test_a_control_asked_under_another_readout_is_not_the_models_control():
    runs = [run("m", MODEL, elicitation="logprob"), control("shuffled-persona", MODEL, elicitation="text")]
    assert standard_comparisons(runs) == []


def test_planned_comparisons_take_the_plans_metric_and_are_named_once():
    first = {"run": "m", "against": "additive"}
    second = {"run": "m", "against": "item-mode", "metric": "w1", "by": "stratum", "key": "sex_x_age"}
    rows = list(map(astuple, declared_rows(plan(metric="nmae", comparisons=[first, second, first]), RUNS, "paper", "test")))
    assert rows == [
        ("m", "additive", "nmae", "all", "all"),
        ("m", "item-mode", "w1", "stratum", "sex_x_age"),
    ]


def test_nothing_is_declared_elsewhere():
    declared = plan(split="paper+disjoint", part="test")
    assert declared_rows(declared, RUNS, "paper", "test") == []
    assert declared_rows(declared, RUNS, "paper+disjoint", "validation") == []
    assert len(declared_rows(declared, RUNS, "paper+disjoint", "test")) == 3
    assert plan().resolved("paper", "test") == plan(split="paper", part="test")
    assert declared.resolved("paper", "all") == declared


def test_a_run_that_does_not_exist_is_named_with_its_neighbour():
    with pytest.raises(UsageError, match=r"'item-mod', which does not exist. Did you mean 'item-mode'"):
        declared_rows(plan(comparisons=[{"run": "m", "against": "item-mod"}]), RUNS, "paper", "test")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"metrik": "nmae"}, "Did you mean 'metric'"),
        ({"metric": "nmea"}, "Did you mean 'nmae'"),
        ({"metric": "bias"}, "neither higher nor lower is better"),
        ({"comparisons": [{"run": "m", "against": "m"}]}, "compared with itself"),
        ({"comparisons": [{"run": "m", "against": "b", "by": "stratum"}]}, "needs the `key`"),
        ({"comparisons": [{"run": "m", "against": "b", "metric": "ceiling_oracle"}]}, "not a metric for comparing runs"),
        ({"thresholds": {"confidence": 1}}, "confidence"),
        ({"thresholds": {"coverage": 0}}, "coverage"),
        ({"thresholds": {"margins": {"nmea": 0.1}}}, "Did you mean 'nmae'"),
        ({"thresholds": {"margins": {"bias": 0.1}}}, "has no better direction"),
        ({"thresholds": {"margins": {"nmae": 0}}}, "above 0 and below 1"),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused(keys, message):
    with pytest.raises(InputDataError, match=message):
        plan(**keys)


def test_the_hash_covers_all_that_is_said():
    hashes = [
        plan_hash(p)
        for p in (
            plan(),
            plan(metric="nmae"),
            plan(split="paper"),
            plan(comparisons=[{"run": "m", "against": "b"}]),
            plan(thresholds={"smallest_gap": 0.01}),
            plan(thresholds={"margins": {"nmae": 0.01}}),
        )
    ]
    assert len(set(hashes)) == len(hashes)
    assert plan_hash(plan(metric="accuracy_expected")) == hashes[0]
    # As stored before plans had margins.
    assert hashes[0] == "013e7f03358f3c049981f2d1b23aa2bf984906c41a1069e9933c3fc96ea26926"


def test_a_plan_that_stood_before_the_answers_is_declared(tmp_path):
    first = declare(tmp_path, plan(), answered=False)
    text = (tmp_path / "plan.json").read_text()
    document = json.loads(text)
    assert (first.status, document["status"], document["hash"]) == ("declared", "declared", plan_hash(plan()))
    assert document["declared"].endswith("+00:00")
    assert len(first.rows(RUNS, "paper", "test")) == 3
    # Given again, before or after the answers, nothing changes.
    for answered in (False, True):
        assert declare(tmp_path, plan(), answered) == first
    assert (tmp_path / "plan.json").read_text() == text
    assert "before any answer" in describe(first)


def test_before_any_answer_another_plan_takes_its_place(tmp_path):
    declare(tmp_path, plan(), answered=False)
    second = declare(tmp_path, plan(metric="nmae"), answered=False)
    assert (second.status, second.history, second.plan.metric) == ("declared", (), "nmae")


def test_after_the_answers_another_plan_declares_nothing_and_the_old_one_stays(tmp_path):
    first = declare(tmp_path, plan(), answered=False)
    second = declare(tmp_path, plan(metric="nmae"), answered=True)
    assert second.status == "amended"
    assert second.rows(RUNS, "paper", "test") == []
    assert [(entry["hash"], entry["status"]) for entry in second.history] == [(first.hash, "declared")]
    assert "every comparison is exploratory" in describe(second)
    assert first.declared in describe(second)
    # Back to what was declared: it is worth what it was worth.
    back = declare(tmp_path, plan(), answered=True)
    assert (back.status, back.hash, back.declared) == ("declared", first.hash, first.declared)
    assert [entry["status"] for entry in back.history] == ["amended"]
    third = declare(tmp_path, plan(metric="w1"), answered=True)
    assert [entry["status"] for entry in third.history] == ["amended", "declared"]


def test_a_first_plan_after_the_answers_is_late(tmp_path):
    late = declare(tmp_path, plan(), answered=True)
    assert late.status == "late"
    assert late.rows(RUNS, "paper", "test") == []
    assert declare(tmp_path, plan(), answered=True).status == "late"
    assert "after answers existed" in describe(late)


def test_without_a_plan_everything_is_exploratory():
    assert describe(None) == "No plan was declared: every comparison is exploratory."


def test_a_plan_changed_by_hand_is_refused(tmp_path):
    declare(tmp_path, plan(), answered=False)
    file = tmp_path / "plan.json"
    file.write_text(file.read_text().replace('"accuracy_expected"', '"nmae"'))
    with pytest.raises(InputDataError, match="the file was edited"):
        declare(tmp_path, plan(), answered=False)
    file.write_text("{}")
    with pytest.raises(InputDataError, match=r"plan\.json"):
        declare(tmp_path, plan(), answered=True)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(["nmae", "w1", "accuracy"]), st.booleans()), min_size=1, max_size=6))
def test_only_what_was_first_given_before_the_answers_is_ever_declared(tmp_path_factory, steps):
    """Whatever is given in whatever order, with answers that never vanish once they are there."""
    folder = tmp_path_factory.mktemp("study")
    answered, allowed = False, set()
    for metric, now_answered in steps:
        answered = answered or now_answered
        if not answered:
            allowed = {metric}
        found = declare(folder, plan(metric=metric), answered)
        assert (found.status == "declared") == (metric in allowed)
        assert found.plan.metric == metric
        hashes = [entry["hash"] for entry in found.history] + [found.hash]
        assert len(hashes) == len(set(hashes))
