"""Every rule at its edges, and that each sentence holds what an auditor needs: figure, interval, pairs, and against what."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from valuestrata.claims.closed import verdicts
from valuestrata.claims.closed_rules import RULES, Z_POWER
from valuestrata.dataset.tables import LEAKAGE
from valuestrata.errors import InputDataError, UsageError
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores.plan import Thresholds
from valuestrata.scores.schema import COMPARISONS, RELATIVE, SCORES, VERDICTS

MODEL = {"name": "embedded", "provider": "transformers"}
DOCS = Path(__file__).parents[2] / "docs"


def run(name, respondent, responses=None):
    return SimpleNamespace(name=name, meta={"respondent": respondent}, responses=RESPONSES.empty() if responses is None else responses)


RUNS = [
    run("m", MODEL),
    run("shuffled", {"name": "control:shuffled-persona@embedded", "provider": "control", "control": "shuffled-persona", "of": MODEL}),
    run("mode", {"name": "baseline:item-mode", "provider": "baseline"}),
    run("parent", {"name": "baseline:nearest-parent", "provider": "baseline"}),
    run("additive", {"name": "baseline:additive", "provider": "baseline"}),
]


def place(**row):
    return {"scheme": "paper", "part": "test", "by": "all", "key": "all", "metric": "accuracy_expected", **row}


def score(name, metric="accuracy_expected", value=0.8, **row):
    return place(run=name, metric=metric, value=value, ci_low=0.75, ci_high=0.85, pairs=3012, coverage=1.0) | row


def gap(against, difference, low, high, **row):
    se = None if low is None else (high - low) / 3.92
    plain = {"run": "m", "status": "exploratory", "pairs": 3012, "coverage": 1.0, "se": se}
    return place(against=against, difference=difference, ci_low=low, ci_high=high, **plain) | row


def standing(relative, low, high, state="ok", **row):
    ends = {"baseline": "parent", "baseline_value": 0.8, "bound": "ceiling_oracle", "bound_value": 0.9}
    figures = {"relative": relative, "relative_low": low, "relative_high": high, "state": state, "pairs": 3012}
    return place(run="m", **ends, **figures) | row


def said(comparisons=(), *, scores=None, relative=(), leakage=None, runs=RUNS, thresholds=None, metric="accuracy_expected"):
    scores = [score(one.name) for one in runs] if scores is None else scores
    frames = (SCORES.frame(list(scores)), COMPARISONS.frame(list(comparisons)), RELATIVE.frame(list(relative)))
    leaks = LEAKAGE.empty() if leakage is None else leakage
    return verdicts(*frames, leaks, runs, thresholds, metric)


def rules_of(frame, name="m"):
    return frame.filter(pl.col("run") == name)["rule"].to_list()


@pytest.mark.parametrize(
    ("against", "low", "high", "rule", "begins"),
    [
        ("mode", -0.03, -0.01, "below-item-mode", "below the item-mode baseline"),
        ("mode", 0.01, 0.03, "above-item-mode", "above the item-mode baseline"),
        ("mode", 0.0, 0.03, "level-with-item-mode", "not distinguishable from the item-mode baseline"),
        ("parent", -0.03, -0.01, "below-nearest-parent", "below nearest parent"),
        ("parent", 0.01, 0.03, "above-nearest-parent", "above nearest parent"),
        ("parent", -0.03, 0.0, "level-with-nearest-parent", "not distinguishable from nearest parent"),
        ("shuffled", -0.03, -0.01, "persona-hurts", "persona hurts"),
        ("shuffled", 0.01, 0.03, "persona-adds", "persona adds 2.0 points of expected accuracy"),
        ("shuffled", -0.01, 0.01, "persona-adds-nothing", "persona adds nothing:"),
        # Room for a gain worth knowing of that was not seen.
        ("shuffled", -0.01, 0.03, "persona-adds-nothing", "persona adds nothing that can be seen here:"),
    ],
)
def test_where_a_run_stands(against, low, high, rule, begins):
    frame = said([gap(against, (low + high) / 2, low, high)])
    row = frame.filter((pl.col("run") == "m") & (pl.col("rule") == rule)).to_dicts()
    assert len(row) == 1
    text = row[0]["verdict"]
    assert text.startswith(begins)
    assert f"than {against} " in text
    assert "95\u00a0% interval of the gain" in text
    assert "3,012 pairs" in text
    assert (row[0]["ci_low"], row[0]["ci_high"], row[0]["pairs"], row[0]["against"]) == (low, high, 3012, against)
    assert row[0]["status"] == "exploratory"


def test_the_sentence_in_full():
    frame = said([gap("mode", 0.0321, 0.0111, 0.0531)])
    assert frame.filter(pl.col("rule") == "above-item-mode")["verdict"].to_list() == [
        "above the item-mode baseline: expected accuracy 3.2 points better than mode "
        "(95\u00a0% interval of the gain 1.1 to 5.3; 3,012 pairs)"
    ]


def test_of_a_distance_low_is_better():
    frame = said([gap("mode", -0.02, -0.03, -0.01, metric="w1")], metric="w1")
    row = frame.filter(pl.col("against") == "mode").row(0, named=True)
    assert row["rule"] == "above-item-mode"
    assert (row["value"], row["ci_low"], row["ci_high"]) == (0.02, 0.01, 0.03)
    assert "W1 .020 better than mode (95\u00a0% interval of the gain .010 to .030; 3,012 pairs)" in row["verdict"]


def test_a_comparison_made_the_other_way_round_says_the_same():
    straight = said([gap("mode", 0.02, 0.01, 0.03)])
    turned = said([gap("mode", -0.02, -0.03, -0.01) | {"run": "mode", "against": "m"}])
    assert straight.equals(turned)
    mirror = gap("mode", -0.02, -0.03, -0.01) | {"run": "mode", "against": "m", "status": "declared"}
    for both in ([gap("mode", 0.02, 0.01, 0.03), mirror], [mirror, gap("mode", 0.02, 0.01, 0.03)]):
        assert said(both).select("rule", "status").rows() == [("above-item-mode", "declared")]


def test_what_correction_takes_back_is_said():
    taken = said([gap("mode", 0.02, 0.001, 0.04, p_adjusted=0.08, adjustment="holm", status="declared")])
    kept = said([gap("mode", 0.02, 0.001, 0.04, p_adjusted=0.05, adjustment="holm", status="declared")])
    assert "not when corrected for the number of comparisons (Holm, p = .080)" in taken["verdict"][0]
    assert "corrected" not in kept["verdict"][0]
    assert taken["status"][0] == "declared"


def test_a_comparison_on_few_of_the_pairs_says_so():
    assert "; on 50\u00a0% of the pairs only" in said([gap("mode", 0.02, 0.01, 0.03, coverage=0.5)])["verdict"][0]


def test_power_is_80_percent_of_the_gap_named():
    """The rule's factor against the power of a z test from another library."""
    seen = stats.norm.isf(0.025) + Z_POWER
    power = stats.norm.sf(stats.norm.isf(0.025) - seen) + stats.norm.cdf(stats.norm.ppf(0.025) - seen)
    assert power == pytest.approx(0.8, abs=0.001)


@pytest.mark.parametrize(
    ("low", "high", "smallest", "expected"),
    [
        (-0.04, 0.04, 0.02, True),
        (-0.01, 0.01, 0.02, False),  # a gap of 1.4 points would have been seen
        (-0.01, 0.01, 0.01, True),
        (0.001, 0.08, 0.02, False),  # a gap was seen
        (0.0, 0.08, 0.02, True),
    ],
)
def test_underpowered_where_a_gap_worth_knowing_could_have_been_missed(low, high, smallest, expected):
    frame = said([gap("mode", (low + high) / 2, low, high)], thresholds=Thresholds(smallest_gap=smallest))
    rows = frame.filter(pl.col("rule") == "underpowered").to_dicts()
    assert bool(rows) == expected
    if rows:
        seen = (stats.norm.isf(0.025) + stats.norm.isf(0.2)) * (high - low) / (2 * stats.norm.isf(0.025))
        assert rows[0]["value"] == pytest.approx(seen, rel=1e-4)
        assert rows[0]["verdict"].startswith(f"underpowered: a gap under {100 * seen:.1f} points cannot be seen here")
        assert "mode (95" in rows[0]["verdict"]


def test_what_cannot_be_compared_is_said_and_not_left_out():
    nothing = said([gap("mode", None, None, None, pairs=0)])
    bare = said([gap("mode", 0.02, None, None)])
    for frame in (nothing, bare):
        assert rules_of(frame) == ["cannot-be-judged"]
    assert "no pair that both have a value for" in nothing["verdict"][0]
    assert "2.0 points better over 3,012 pairs, but without an interval" in bare["verdict"][0]


def test_other_comparisons_speak_only_where_they_were_declared():
    exploratory = [gap("additive", 0.02, 0.01, 0.03), gap("mode", 0.2, 0.1, 0.3, by="stratum", key="sex")]
    assert rules_of(said(exploratory)) == []
    declared = [row | {"status": "declared"} for row in exploratory]
    frame = said(declared)
    assert rules_of(frame) == ["above-item-mode", "above"]
    assert frame["verdict"][0].startswith("above the item-mode baseline: expected accuracy 20.0 points better than mode within stratum sex")
    assert frame["verdict"][1].startswith("above additive: ")
    by_another = said([gap("mode", -0.02, -0.03, -0.01, metric="nmae", status="declared")])
    assert by_another.select("rule", "metric", "value").rows() == [("above-item-mode", "nmae", 0.02)]


def test_a_baseline_is_held_against_the_simpler_ones():
    frame = said([gap("mode", 0.02, 0.01, 0.03, run="parent"), gap("parent", -0.02, -0.03, -0.01, run="additive")])
    assert rules_of(frame, "parent") == ["above-item-mode"]
    assert rules_of(frame, "additive") == ["below-nearest-parent"]


def test_a_control_of_another_model_says_nothing_of_the_persona():
    runs = [run("m", {"name": "other"}), *RUNS[1:]]
    assert rules_of(said([gap("shuffled", 0.02, 0.01, 0.03)], runs=runs)) == []


@pytest.mark.parametrize(
    ("relative", "low", "high", "rule"),
    [
        (0.5, 0.3, 0.7, None),
        (0.9, 0.8, 1.0, "at-the-ceiling"),
        (0.9, 0.8, 0.999, None),
        (0.5, -0.2, 1.2, "cannot-be-placed"),
        (1.4, 1.1, 1.7, "beyond-the-ceiling"),
    ],
)
def test_the_ceiling(relative, low, high, rule):
    frame = said(relative=[standing(relative, low, high)])
    assert rules_of(frame) == ([rule] if rule else [])
    if rule:
        row = frame.row(0, named=True)
        assert "of the way between parent (80.0\u00a0%) and ceiling_oracle (90.0\u00a0%) in expected accuracy" in row["verdict"]
        assert (row["value"], row["ci_low"], row["ci_high"]) == (relative, low, high)


def test_no_room_is_saturated_and_a_baseline_is_not_placed_against_itself():
    frame = said(relative=[standing(None, None, None, "saturated"), standing(0.0, -0.1, 1.1, run="parent")])
    assert rules_of(frame) == ["saturated"]
    assert rules_of(frame, "parent") == []
    assert "no room that can be told from noise between parent (80.0\u00a0%) and ceiling_oracle (90.0\u00a0%)" in frame["verdict"][0]
    unplaced = standing(None, None, None, "no baseline", baseline=None, baseline_value=None, bound_value=None)
    assert rules_of(said(relative=[unplaced])) == []


def test_strict_accuracy_is_held_against_the_ceiling_of_the_expected_one():
    frame = said(relative=[standing(0.9, 0.8, 1.1)], scores=[score(one.name, "accuracy") for one in RUNS], metric="accuracy")
    assert frame.select("rule", "metric").rows() == [("at-the-ceiling", "accuracy_expected")]


def leaks(*rows):
    return LEAKAGE.frame(
        [{"pair_id": str(at), "scheme": scheme, "fold": fold, "shared_respondents": share} for at, (scheme, fold, share) in enumerate(rows)]
    )


def test_train_and_test_share_respondents():
    frame = said(leakage=leaks(("paper", 0, 1.0), ("paper", 0, 0.5), ("other", 0, 0.1)))
    rows = frame.filter(pl.col("rule") == "shared-respondents")
    # A control trains nothing that its model does not.
    assert rows["run"].to_list() == ["m", "mode", "parent", "additive"]
    assert rows["value"].to_list() == [0.75] * 4
    assert rows["pairs"].to_list() == [2] * 4
    assert rows["verdict"][0].startswith("train and test share respondents: on average 75\u00a0% of a test pair's respondents")
    summary = pl.DataFrame({"scheme": ["paper", "paper"], "shared_respondents": [1.0, 0.0], "pairs": [30, 10]})
    assert said(leakage=summary).filter(pl.col("rule") == "shared-respondents").select("value", "pairs").row(0) == (0.75, 40)


def test_no_one_is_shared_where_the_halves_are_apart_or_nothing_leaks():
    assert said(leakage=leaks(("paper", 0, 0.0))).is_empty()
    apart = [score(one.name, scheme="paper+disjoint") for one in RUNS]
    assert said(scores=apart, leakage=leaks(("paper", 0, 1.0), ("paper+disjoint", 0, 0.4))).is_empty()
    assert said(scores=[score("m", part="train")], leakage=leaks(("paper", 0, 1.0)), runs=[RUNS[0], RUNS[2]])["rule"].to_list() == [
        "no-baseline",
        "not-a-test",
    ]


def test_coverage_under_the_threshold():
    scores = [score(one.name) for one in RUNS[1:]] + [score("m", coverage=0.61, pairs=1837)]
    frame = said(scores=scores)
    assert frame.select("run", "rule", "value", "pairs").rows() == [("m", "incomplete", 0.61, 1837)]
    assert frame["verdict"][0].startswith("was asked 61\u00a0% of the pairs only (1,837 pairs")
    assert said(scores=scores, thresholds=Thresholds(coverage=0.6)).is_empty()


def test_responses_without_an_answer_are_said():
    rates = [score("m", "refusal_rate", 0.1), score("m", "invalid_rate", 0.08), score("shuffled", "refusal_rate", 0.05)]
    frame = said(scores=[*(score(one.name) for one in RUNS), *rates])
    assert frame.select("run", "rule", "value").rows() == [("m", "unanswered", pytest.approx(0.18))]
    assert "refused 10\u00a0%, unreadable or failed 8\u00a0%" in frame["verdict"][0]


def test_a_score_without_a_baseline_cannot_be_judged():
    alone = said(runs=RUNS[:1])
    assert rules_of(alone) == ["no-baseline"]
    begins, score_of_it = alone["verdict"][0].split(": ")
    assert begins == "no baseline was run beside it (neither item-mode nor nearest-parent)"
    assert score_of_it == "expected accuracy 80.0\u00a0% over 3,012 pairs cannot be judged"
    guess = run("guess", {"name": "baseline:uniform", "provider": "baseline"})
    assert "(only guess)" in said(runs=[RUNS[0], guess])["verdict"][0]
    # Run on another split, it does not stand beside this score.
    elsewhere = [score("m"), score("mode", scheme="unseen-item")]
    assert said(scores=elsewhere, runs=[RUNS[0], RUNS[2]])["rule"].to_list() == ["no-baseline"]


def answers(kit, rows):
    return kit.respond(
        [{"item": item, "subgroup": group, "answer": answer, "shown": shown, **more} for item, group, answer, shown, more in rows]
    )


def listed(at, *, orders=("scale", "reversed"), sizes=(3, 5), groups=10):
    """Answers at one place of every list shown: item of `size` options, each subgroup, each order."""
    rows = []
    for size in sizes:
        for g in range(groups):
            for order in orders:
                shown = list(range(1, size + 1))[:: 1 if order == "scale" else -1]
                rows.append((f"Q{size}", f"g{g}", shown[at], shown, {"order": order}))
    return rows


@pytest.mark.parametrize(("at", "place"), [(0, "first"), (-1, "last")])
def test_a_model_bound_to_a_place_of_the_list(kit, at, place):
    model = run("m", MODEL, answers(kit, listed(at)))
    frame = said(runs=[model, *RUNS[1:]])
    assert frame.select("run", "rule", "value", "pairs").rows() == [("m", "same-position", 1.0, 20)]
    assert f"100\u00a0% of its 40 answers stand {place} in the list shown, over items of 3 to 5 options" in frame["verdict"][0]
    assert "one order" not in frame["verdict"][0]


def test_one_order_cannot_tell_place_from_code(kit):
    model = run("m", MODEL, answers(kit, listed(0, orders=("scale",))))
    assert "place and code cannot be told apart" in said(runs=[model, *RUNS[1:]])["verdict"][0]


def test_a_place_is_claimed_only_over_different_lists_and_nearly_all_answers(kit):
    same_size = run("m", MODEL, answers(kit, listed(-1, sizes=(4,), groups=100)))
    middle = run("m", MODEL, answers(kit, listed(1)))
    rows = listed(0, groups=50)
    nearly = [(item, group, shown[1] if at < 2 else answer, shown, more) for at, (item, group, answer, shown, more) in enumerate(rows)]
    short = [(item, group, shown[1] if at < 3 else answer, shown, more) for at, (item, group, answer, shown, more) in enumerate(rows)]
    for model in (same_size, middle, run("m", MODEL, answers(kit, short))):
        assert said(runs=[model, *RUNS[1:]]).is_empty()
    # 198 of 200 is 99 %.
    assert rules_of(said(runs=[run("m", MODEL, answers(kit, nearly)), *RUNS[1:]])) == ["same-position"]


def test_the_same_answer_for_everyone(kit):
    rows = [(f"Q{k}", f"g{g}", 2 + k % 2, [1, 2, 3, 4], {}) for k in range(4) for g in range(5)]
    model, still = run("m", MODEL, answers(kit, rows)), score("m", "spread_ratio", 0.0)
    scores = [*(score(one.name) for one in RUNS), still]
    frame = said(runs=[model, *RUNS[1:]], scores=scores)
    assert frame.select("run", "rule", "pairs").rows() == [("m", "same-answer", 20)]
    assert "in none of 4 items" in frame["verdict"][0]
    # The people do not differ either: nothing to blame.
    assert said(runs=[model, *RUNS[1:]], scores=[*scores[:-1], still | {"value": None}]).is_empty()
    # One nominal item answered differently for one subgroup; the spread of ordered items does not see it.
    moved = [("Q0", "g5", 4, [1, 2, 3, 4], {}), *rows]
    assert said(runs=[run("m", MODEL, answers(kit, moved)), *RUNS[1:]], scores=scores).is_empty()


def test_an_answer_that_moves_with_the_order_alone_is_the_same_for_everyone(kit):
    rows = listed(0, groups=5)
    model = run("m", MODEL, answers(kit, rows))
    frame = said(runs=[model, *RUNS[1:]], scores=[*(score(one.name) for one in RUNS), score("m", "spread_ratio", 0.0)])
    assert rules_of(frame) == ["same-position", "same-answer"]


def test_folds_are_pooled_where_they_can_be_and_named_where_not():
    folds = [gap("mode", 0.02, 0.01, 0.03, fold=0), gap("mode", -0.02, -0.03, -0.01, fold=1)]
    assert said([*folds, gap("mode", 0.01, 0.001, 0.02)])["rule"].to_list() == ["above-item-mode"]
    apart = said(folds, scores=[])
    assert apart.filter(pl.col("rule") != "no-baseline")["verdict"].str.slice(0, 12).to_list() == ["fold 0: abov", "fold 1: belo"]


def test_bad_calls_are_named():
    with pytest.raises(UsageError, match="neither high nor low is better"):
        said(metric="bias")
    with pytest.raises(InputDataError, match="'ghost', which was not given"):
        said([gap("ghost", 0.1, 0.0, 0.2)])
    with pytest.raises(InputDataError, match="'shared_respondents' is missing"):
        said(leakage=pl.DataFrame({"scheme": ["paper"]}))
    assert said(scores=[], runs=[]).schema == VERDICTS.empty().schema


finite = st.floats(-1, 1, allow_nan=False)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(["mode", "parent", "shuffled"]), st.tuples(finite, finite, finite), st.sampled_from(["accuracy_expected", "nmae"]))
def test_one_standing_for_every_comparison_and_it_agrees_with_the_interval(against, numbers, metric):
    low, middle, high = sorted(numbers)
    frame = said([gap(against, middle, low, high, metric=metric)], scores=[score(one.name, metric) for one in RUNS], metric=metric)
    rows = frame.filter(pl.col("rule") != "underpowered").to_dicts()
    assert len(rows) == 1
    better, worse = (low > 0, high < 0) if metric == "accuracy_expected" else (high < 0, low > 0)
    rule = rows[0]["rule"]
    assert better == (rule.startswith("above") or rule == "persona-adds")
    assert worse == (rule.startswith("below") or rule == "persona-hurts")
    assert rows[0]["ci_low"] <= rows[0]["value"] <= rows[0]["ci_high"]
    assert not re.search(r"nan|None|inf\b", rows[0]["verdict"])


def test_every_rule_is_documented():
    text = (DOCS / "verdicts.md").read_text()
    assert [rule for rule in RULES if f"`{rule}`" not in text] == []
