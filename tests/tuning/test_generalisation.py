"""Gains of tuned models and the claims about them, from hand-made comparisons."""

from dataclasses import replace
from types import SimpleNamespace

import polars as pl
import pytest

from valuestrata.claims.claim import Strength
from valuestrata.claims.select import select
from valuestrata.claims.templates import word
from valuestrata.claims.tuning import OUTCOMES, RULES, tuning_claims
from valuestrata.scores.schema import SCORES
from valuestrata.scores.variance.seeds import SEED_COMPARISONS
from valuestrata.tuning.evaluate.generalisation import (
    TunedVariant,
    corrected_gains,
    family_size,
    gains_of,
    generalisation_table,
    possible_gains,
    seeded_recipes,
)

VARIANTS = [
    TunedVariant("base", "base"),
    TunedVariant("base-modal", "base", "modal"),
    TunedVariant("base-modal@shuffled-persona", "base", "modal", None, "shuffled-persona"),
    TunedVariant("base-modal-no-persona", "base", "modal", "no-persona", "no-persona"),
    TunedVariant("other", "other"),
    TunedVariant("other-modal", "other", "modal"),
]
BASELINES = {"baseline-item-mode": "item-mode", "baseline-nearest-parent": "nearest-parent"}


def compared(run, against, difference, low, high, metric="accuracy_expected", seeds=3):
    return {
        **dict.fromkeys(SEED_COMPARISONS.columns),
        "run": run,
        "against": against,
        "scheme": "paper",
        "part": "test",
        "by": "all",
        "key": "all",
        "metric": metric,
        "difference": difference,
        "ci_low": low,
        "ci_high": high,
        "p": None if low is None else 0.001 if low > 0 or high < 0 else 0.3,
        "p_adjusted": None if low is None else 0.006 if low > 0 or high < 0 else 0.3,
        "adjustment": None if low is None else "holm",
        "status": "declared",
        "pairs": 100,
        "seeds": seeds,
        "seed_sd": 0.01,
        "seed_low": difference - 0.01,
        "seed_high": difference + 0.01,
        "included": "seed+order",
    }


def scored(run, value, metric="accuracy_expected", by="all"):
    known = {"run": run, "scheme": "paper", "part": "test", "by": by, "key": "all", "metric": metric, "value": value, "pairs": 100}
    return {**dict.fromkeys(SCORES.columns), **known}


def gains(*rows):
    return gains_of(SEED_COMPARISONS.frame(list(rows)), VARIANTS, BASELINES)


def claims(*rows):
    """Return kind -> claim of the tuned model `base-modal`."""
    scores = [scored(variant.run, 0.5 + place / 10) for place, variant in enumerate(VARIANTS)]
    table = generalisation_table(SCORES.frame(scores), VARIANTS, runs_named(*[variant.run for variant in VARIANTS]))
    return {claim.kind: claim for claim in tuning_claims(table, gains(*rows), "accuracy_expected")}


def runs_named(*names):
    made = []
    for name in names:
        kind = "baseline" if name.startswith("baseline-") else "asked"
        respondent = {"name": name.replace("baseline-", "baseline:"), "provider": "baseline", "rule": name.removeprefix("baseline-")}
        made.append(SimpleNamespace(name=name, meta={"kind": kind, "respondent": respondent if kind == "baseline" else {"name": name}}))
    return made


def test_every_gain_is_of_the_same_model_and_recipe():
    assert {(gain.name, gain.run, gain.against) for gain in possible_gains(VARIANTS, BASELINES)} == {
        ("taught", "base-modal", "base"),
        ("swapped", "base-modal", "base-modal@shuffled-persona"),
        ("control:no-persona", "base-modal-no-persona", "base"),
        ("beyond:no-persona", "base-modal", "base-modal-no-persona"),
        ("over:item-mode", "base-modal", "baseline-item-mode"),
        ("over:nearest-parent", "base-modal", "baseline-nearest-parent"),
        ("taught", "other-modal", "other"),
        ("over:item-mode", "other-modal", "baseline-item-mode"),
        ("over:nearest-parent", "other-modal", "baseline-nearest-parent"),
    }


def test_a_distance_that_falls_is_a_gain():
    rows = gains(compared("base-modal", "base", -0.1, -0.15, -0.02, "w1"), compared("base-modal", "base", 0.2, 0.1, 0.3))
    found = {row["metric"]: row for row in rows.iter_rows(named=True)}
    assert (found["w1"]["value"], found["w1"]["ci_low"], found["w1"]["ci_high"]) == (0.1, 0.02, 0.15)
    assert (found["accuracy_expected"]["value"], found["accuracy_expected"]["ci_low"]) == (0.2, 0.1)


def test_other_keys_and_metrics_are_left_out():
    by_level = {**compared("base-modal", "base", 0.3, 0.2, 0.4), "by": "level", "key": "sex=Female"}
    assert gains(by_level, compared("base-modal", "base", 0.3, 0.2, 0.4, "bias")).is_empty()


@pytest.mark.parametrize(
    ("beyond", "kind", "strength"),
    [
        ((0.05, 0.01, 0.09), "personas-better", Strength.SHOWN),
        ((0.01, -0.02, 0.04), "personas-no-difference", Strength.NOT_SHOWN),
        ((-0.05, -0.09, -0.01), "personas-worse", Strength.SHOWN),
        ((0.05, None, None), "personas-no-difference", Strength.UNDETERMINED),
    ],
)
def test_the_persona_claim_follows_the_interval(beyond, kind, strength):
    found = claims(
        compared("base-modal", "base", 0.2, 0.1, 0.3),
        compared("base-modal-no-persona", "base", 0.15, 0.1, 0.2),
        compared("base-modal", "base-modal-no-persona", *beyond),
    )
    assert list(found) == ["tuned-better", kind]
    tuned, personas = found.values()
    assert (tuned.run, tuned.against, tuned.direction, tuned.status) == ("base-modal", "base", "better", "declared")
    assert (tuned.estimate.value, tuned.estimate.low, tuned.estimate.high, tuned.estimate.pairs) == (0.2, 0.1, 0.3, 100)
    assert (tuned.figure("before").value, tuned.figure("after").value) == (0.5, 0.6)
    assert (personas.strength, personas.estimate.value) == (strength, beyond[0])
    assert personas.figure("without-personas").value == 0.15


def test_no_effect_is_claimed_without_an_interval():
    found = claims(compared("base-modal", "base", 0.2, None, None), compared("base-modal", "baseline-item-mode", 0.0, None, None))
    assert list(found) == ["tuned-no-difference", "item-mode-no-difference"]
    assert {claim.strength for claim in found.values()} == {Strength.UNDETERMINED}


def test_five_claims_per_model_are_shown_most_important_first():
    rows = [
        compared("base-modal", "base", 0.2, 0.1, 0.3),
        compared("base-modal-no-persona", "base", 0.15, 0.1, 0.2),
        compared("base-modal", "base-modal-no-persona", 0.05, 0.01, 0.09),
        compared("base-modal", "base-modal-shuffled-persona", 0.05, 0.01, 0.09),
        compared("base-modal", "base-modal@shuffled-persona", 0.05, 0.01, 0.1),
        compared("base-modal", "baseline-item-mode", -0.1, -0.2, -0.05),
        compared("base-modal", "baseline-nearest-parent", 0.1, 0.05, 0.2),
    ]
    variants = [*VARIANTS, TunedVariant("base-modal-shuffled-persona", "base", "modal", "shuffled-persona")]
    table = generalisation_table(SCORES.frame([scored("base", 0.5), scored("base-modal", 0.7)]), VARIANTS, runs_named("base", "base-modal"))
    found = gains_of(SEED_COMPARISONS.frame(rows), variants, BASELINES)
    [selection] = select(tuning_claims(table, found, "accuracy_expected"))
    assert selection.run == "base-modal"
    assert [claim.kind for claim in selection.shown] == [
        "tuned-better",
        "personas-better",
        "item-mode-worse",
        "swapped-better",
        "nearest-parent-better",
    ]
    assert [claim.kind for claim in selection.rest] == ["labels-better"]


def test_every_kind_of_claim_has_a_sentence_with_its_figures():
    rows = (compared("base-modal", "base", 0.2, 0.1, 0.3), compared("base-modal", "baseline-item-mode", -0.1, -0.2, -0.05))
    worded = {kind: word(claim) for kind, claim in claims(*rows).items()}
    assert worded["tuned-better"].sentence == (
        "Tuning made base-modal better than the base model base: expected accuracy 20.0 points higher (95\u00a0% CI 10.0 to 30.0)."
    )
    assert "50.0\u00a0% before tuning and 60.0\u00a0% after." in worded["tuned-better"].details
    assert worded["item-mode-worse"].sentence.startswith(
        "base-modal is worse than the item-mode baseline: expected accuracy 10.0 points lower"
    )
    one = next(iter(claims(*rows).values()))
    for rule in RULES:
        for outcome in OUTCOMES.values():
            assert "base-modal" in word(replace(one, kind=f"{rule.kind}-{outcome}")).sentence


def test_the_table_describes_every_run():
    rows = [scored(name, 0.5) for name in ("base", "base-modal-no-persona", "baseline-item-mode", "stranger")]
    rows += [scored("base", 0.8, "ceiling_oracle"), scored("base", 0.05, "floor_w1"), scored("base", 0.9, by="stratum")]
    names = ("base", "base-modal-no-persona", "baseline-item-mode", "stranger")
    table = generalisation_table(SCORES.frame(rows), VARIANTS, runs_named(*names))
    assert table.select("run", "role", "recipe", "control", "asked_as", "metric").rows() == [
        ("base", "base", None, None, "persona", "accuracy_expected"),
        ("base-modal-no-persona", "tuned", "modal", "no-persona", "no-persona", "accuracy_expected"),
        ("baseline-item-mode", "baseline", None, None, None, "accuracy_expected"),
        ("ceiling_oracle", "bound", None, None, None, "accuracy_expected"),
        ("floor_w1", "bound", None, None, None, "w1"),
    ]
    assert table.filter(pl.col("role") == "bound")["value"].to_list() == [0.8, 0.05]


def test_one_training_seed_shows_nothing_about_the_recipe():
    rows = [compared("base-modal", "base", 0.2, 0.1, 0.3, seeds=1)]
    [claim] = claims(*rows).values()
    assert (claim.kind, claim.strength, claim.direction) == ("tuned-better", Strength.UNDETERMINED, "better")
    assert word(claim).sentence.endswith("This is one training with one seed; other seeds may give another result.")
    several = claims(compared("base-modal", "base", 0.2, 0.1, 0.3))["tuned-better"]
    assert several.strength == Strength.SHOWN
    assert several.importance > claim.importance
    details = " ".join(word(several).details)
    assert "Mean of 3 training seeds; gains of single seeds: 19.0 to 21.0." in details
    assert "variation over items, respondents, training seeds and orders of the options" in details


def test_a_gain_counts_only_after_correction():
    row = {**compared("base-modal", "base", 0.2, 0.01, 0.39), "p": 0.04, "p_adjusted": 0.2}
    [claim] = claims(row).values()
    assert (claim.kind, claim.strength, claim.direction) == ("tuned-no-difference", Strength.NOT_SHOWN, None)
    assert any("not after the correction" in line for line in word(claim).details)
    lower = {**row, "ci_low": -0.01, "p": 0.06, "p_adjusted": 0.04}
    assert list(claims(lower)) == ["tuned-better"]


def test_holm_is_over_the_gains_of_all_splits_but_not_over_other_baselines():
    baselines = {**BASELINES, "baseline-uniform": "uniform"}
    names = [("base-modal", "base"), ("base-modal", "baseline-item-mode"), ("base-modal", "baseline-uniform")]
    splits = [
        gains_of(
            SEED_COMPARISONS.frame(
                [{**compared(*pair, 0.1, 0.05, 0.15), "p": p, "p_adjusted": 0.5} for pair, p in zip(names, of_split, strict=True)]
            ),
            VARIANTS,
            baselines,
        )
        for of_split in ((0.01, 0.04, 0.001), (0.02, None, 0.001))
    ]
    corrected = corrected_gains(splits)
    # Three tests: .01, .02 and .04 become .03, .04 and .04.
    assert corrected[0]["p_adjusted"].to_list() == pytest.approx([0.03, 0.04, 0.5])
    assert corrected[1]["p_adjusted"].to_list() == [pytest.approx(0.04), None, 0.5]
    assert corrected[1]["adjustment"].to_list() == ["holm", None, "holm"]
    assert family_size(corrected, "accuracy_expected") == 3
    assert corrected_gains([]) == []


def test_runs_of_one_recipe_become_one_variant():
    seeds = [
        TunedVariant(f"base-modal-seed-{seed}{end}", "base", "modal", None, asked, seed, f"base-modal{end}")
        for seed in (3, 1)
        for end, asked in (("", "persona"), ("@shuffled-persona", "shuffled-persona"))
    ]
    variants, recipes = seeded_recipes([VARIANTS[0], *seeds])
    assert variants == VARIANTS[:3]
    assert {recipe.name: dict(recipe.runs) for recipe in recipes} == {
        "base-modal": {3: "base-modal-seed-3", 1: "base-modal-seed-1"},
        "base-modal@shuffled-persona": {3: "base-modal-seed-3@shuffled-persona", 1: "base-modal-seed-1@shuffled-persona"},
    }


def test_the_table_has_a_row_for_each_recipe():
    variants = [TunedVariant("base", "base"), TunedVariant("m-seed-1", "base", "modal", None, "persona", 1, "m")]
    value = {**compared("m", None, 0.5, 0.4, 0.6), "p": None}
    table = generalisation_table(
        SCORES.frame([scored("base", 0.4), scored("m-seed-1", 0.5)]),
        variants,
        runs_named("base", "m-seed-1"),
        SEED_COMPARISONS.frame([value]),
    )
    assert table.select("run", "role", "recipe", "seed", "value").rows() == [
        ("base", "base", None, None, 0.4),
        ("m-seed-1", "tuned", "modal", 1, 0.5),
        ("m", "recipe", "modal", None, 0.5),
    ]
