"""Cross-fitting: scores of both directions, their average and its interval."""

import numpy as np
import polars as pl
import pytest

from tests.core.people import random_survey
from valuestrata.building import BuildSettings, build
from valuestrata.errors import UsageError
from valuestrata.fairness import audit
from valuestrata.responses.reference_baselines import reference_baselines
from valuestrata.responses.run.folder import Run
from valuestrata.responses.run.halves import scored_responses, with_half
from valuestrata.scores.aggregate import PlacedRuns, score
from valuestrata.scores.compare import compare
from valuestrata.scores.layout import BY
from valuestrata.scores.pairs import pair_scores
from valuestrata.scores.structure import structure

KINDS = ("uniform", "item-mode", "additive")


@pytest.fixture(scope="module")
def data():
    return build(random_survey(900, 5, attributes=4), BuildSettings(min_respondents=30, min_valid=10, draws=60, share_draws=30))


def baselines(data, fold=None):
    return reference_baselines(data, [], kinds=KINDS, split="paper+crossfit", fold=fold)


def scored(data, fold=None):
    return score(data, baselines(data, fold), split="paper+crossfit", fold=fold, bootstrap=50)


def test_a_score_is_the_mean_of_both_directions(data):
    both, one, other = scored(data), scored(data, 0), scored(data, 1)
    keys = ["run", "by", "key", "metric"]
    joined = both.join(one, on=keys, suffix="_b").join(other, on=keys, suffix="_a")
    # The others are not means over pairs.
    means = joined.filter(~pl.col("metric").str.contains("^spread|^ece"))
    assert means.height > 500
    known = means.drop_nulls(["value", "value_a", "value_b"])
    assert known["value"].to_list() == pytest.approx(((known["value_a"] + known["value_b"]) / 2).to_list())
    # Pairs are counted once.
    assert (known["pairs"] == known["pairs_b"]).all()
    assert set(both["coverage"]) == {1.0}
    # The first direction is that of +disjoint.
    assert set(data.scored_pairs("paper+crossfit", "test", 0)["pair_id"]) == set(data.part("paper+disjoint", "test")["pair_id"])
    disjoint = score(data, reference_baselines(data, [], kinds=KINDS, split="paper+disjoint"), split="paper+disjoint", bootstrap=50)
    assert one.drop("scheme", "fold").equals(disjoint.drop("scheme", "fold"))


def test_a_fitted_baseline_is_scored_against_the_half_that_it_was_not_fitted_to(data):
    run = next(run for run in baselines(data) if run.name == "baseline-additive")
    responses = scored_responses(run, "paper+crossfit")
    found = score(data, [run], split="paper+crossfit", by=("all",), bootstrap=0).filter(metric="w1")["value"][0]
    by_hand = np.mean([pair_scores(data, responses.filter(half=half).drop("half"), half=half)["w1"].mean() for half in "AB"])
    assert found == pytest.approx(by_hand)
    # Scored against the half that it was fitted to, it looks better.
    own = np.mean([pair_scores(data, responses.filter(half=half).drop("half"), half="AB".replace(half, ""))["w1"].mean() for half in "AB"])
    assert own < by_hand


def test_a_baseline_that_was_fitted_to_another_split_is_refused(data):
    """Its training pairs may be test pairs here, or answers of the half that it is scored against."""
    uniform, fitted = reference_baselines(data, [], kinds=("uniform", "additive"), split="paper")
    model = Run("model", uniform.path, {**uniform.meta, "kind": "model"}, uniform.responses)
    message = r"'baseline-additive' was fitted to the training pairs of 'paper' and would be scored on the split 'paper\+crossfit'"
    for fold in (None, 0):
        with pytest.raises(UsageError, match=message):
            score(data, [model, fitted], split="paper+crossfit", fold=fold, bootstrap=0)
        with pytest.raises(UsageError, match=message):
            compare(data, [model, fitted], [("model", "baseline-additive")], split="paper+crossfit", fold=fold, bootstrap=0)
    # One of a single fold is refused on the other one and on both.
    first = next(run for run in baselines(data, 0) if run.name == "baseline-additive")
    for fold in (None, 1):
        with pytest.raises(UsageError, match=r"of 'paper\+crossfit', fold 0 and would be scored"):
            score(data, [first], split="paper+crossfit", fold=fold, bootstrap=0)
    # A baseline that learns nothing may be scored anywhere, and a fitted one where it was fitted.
    assert score(data, [model, uniform], split="paper+crossfit", by=("all",), bootstrap=0).height > 0
    assert score(data, [fitted], by=("all",), bootstrap=0).height > 0
    assert score(data, [first], split="paper+crossfit", fold=0, by=("all",), bootstrap=0).height > 0


def test_the_interval_takes_the_questions_of_both_directions_together(data):
    """Item resamples and redraws are the same in both directions, so replicates of the mean are means of the replicates."""
    where = {"split": "paper+crossfit", "part": "test", "by": BY, "bootstrap": 40, "seed": 3}
    runs = baselines(data)
    both, one, other = (PlacedRuns(data, runs, fold=fold, **where) for fold in (None, 0, 1))
    for metric in ("accuracy", "w1"):
        found, *directions = (placed.resampler.sample(placed.grid("baseline-uniform").metrics[metric]) for placed in (both, one, other))
        assert found.by_items == pytest.approx(np.mean([sample.by_items for sample in directions], axis=0), nan_ok=True)
        if found.people is not None:
            # Sums over twice as many columns.
            sums = [sample.people.sums for sample in directions if sample.people is not None]
            assert found.people.sums == pytest.approx(np.sum(sums, axis=0), abs=1e-4)
        # As many units as questions, not twice as many.
        assert found.items == pytest.approx(directions[0].items)


def test_a_model_trained_on_one_half_is_only_scored_against_the_other(data):
    uniform = baselines(data)[0]
    taught = {"split": "paper+disjoint", "fold": None, "dataset": data.fingerprint}
    meta = {"respondent": {"name": "tuned", "provider": "transformers", "taught_on": taught}}
    tuned = Run("tuned", uniform.path, meta, uniform.responses)
    found = score(data, [tuned], split="paper+crossfit", by=("all",), bootstrap=0)
    assert set(found["coverage"]) == {0.5}
    against_b = pair_scores(data, uniform.responses, half="B").join(data.part("paper+disjoint", "test"), on="pair_id", how="semi")
    assert found.filter(metric="w1")["value"][0] == pytest.approx(against_b["w1"].mean())
    # Both adapters together, as a tuning study pools them.
    pooled = Run("pooled", uniform.path, {}, pl.concat([with_half(uniform, "paper+crossfit", fold) for fold in (0, 1)]))
    same = score(data, [pooled, uniform], split="paper+crossfit", bootstrap=0)
    assert same.filter(run="pooled").drop("run").equals(same.filter(run=uniform.name).drop("run"))


def test_structure_compares_one_direction(data):
    runs = baselines(data)
    found, disjoint = (
        structure(data, kept, split=split, bootstrap=0, permutations=0)
        for split, kept in (
            ("paper+crossfit", runs),
            ("paper+disjoint", reference_baselines(data, [], kinds=KINDS, split="paper+disjoint")),
        )
    )
    assert found.drop("scheme").equals(disjoint.drop("scheme"))
    assert set(found["scheme"]) == {"paper+crossfit"}


def test_an_audit_means_both_directions_and_counts_pairs_and_items_once(data):
    both, one, other = (
        audit(data, baselines(data, fold)[1:], split="paper+crossfit", fold=fold, bootstrap=30, permutations=30) for fold in (None, 0, 1)
    )
    keys = ["run", "subgroup", "metric"]
    joined = both.groups.join(one.groups, on=keys, suffix="_b").join(other.groups, on=keys, suffix="_a")
    assert joined["value"].to_list() == pytest.approx(((joined["value_a"] + joined["value_b"]) / 2).to_list())
    for name in ("disparity", "groups", "gaps", "excess"):
        for count in {"pairs", "items"}.intersection(getattr(both, name).columns):
            assert getattr(both, name)[count].to_list() == getattr(one, name)[count].to_list()
    # Questions, not their two columns, are left out and resampled together: as many degrees of freedom as in one direction.
    assert both.notes == one.notes
