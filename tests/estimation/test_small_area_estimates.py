"""Small-area estimates: shares, intervals, models and their absence."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tests.estimation.simulated import World, world
from valuestrata.estimation.estimates import Estimates
from valuestrata.estimation.estimators.human import human_only
from valuestrata.estimation.estimators.multilevel import multilevel
from valuestrata.estimation.estimators.small_area import SmallAreaFit, small_area_estimates, small_area_fit
from valuestrata.estimation.inputs import EstimationInput, ModelValues
from valuestrata.stats.arrays import Floats


@cache
def population() -> World:
    return world(3, people=2000, items=18)


@cache
def sample(n: int = 200, seed: int = 1) -> EstimationInput:
    return population().draw(n, seed)


def fitted(data: EstimationInput, runs: tuple[str, ...] = (), earlier: tuple[ModelValues, ...] = ()) -> SmallAreaFit:
    return small_area_fit(data, runs, multilevel(data), human_only(data), earlier=earlier)


@cache
def fit(*runs: str) -> SmallAreaFit:
    return fitted(sample(), runs)


def error(estimates: Estimates, truth: Floats, rows: Floats | None = None) -> float:
    """Return the root mean square error of the shares, of all subgroups but the first."""
    square = ((estimates.shares - truth) ** 2).sum(axis=2)[1:]
    return float(np.sqrt(square.mean() if rows is None else square[rows[1:]].mean()))


@pytest.mark.parametrize("runs", [(), ("model",)], ids=["without model", "with model"])
def test_estimates_are_shares_with_intervals(runs: tuple[str, ...]) -> None:
    found, used = fit(*runs).estimates, sample().items.used
    assert found.estimator == "small-area"
    assert found.run == (runs[0] if runs else None)
    assert found.shares.sum(axis=2) == pytest.approx(1)
    for ends in (found.low, found.high, found.mse):
        assert np.isnan(ends[:, ~used]).all()
        assert np.isfinite(ends[:, used]).all()
    inside = found.shares[:, used]
    assert ((found.low[:, used] >= 0) & (found.low[:, used] <= inside) & (inside <= found.high[:, used]) & (found.high[:, used] <= 1)).all()
    codes = np.nan_to_num(sample().items.codes)
    assert found.mean == pytest.approx((found.shares * codes).sum(axis=2), abs=1e-9)
    assert ((found.mean_low <= found.mean) & (found.mean <= found.mean_high)).all()


def test_subgroups_add_up_to_the_population() -> None:
    data = sample()
    found, cells = small_area_estimates(data, ["model"], multilevel(data), human_only(data)), data.population
    rows = np.array(cells.strata) == "region"
    total = np.tensordot(cells.sizes[rows], found.shares[rows], axes=1)
    assert total == pytest.approx(found.shares[0], abs=1e-6)


def test_small_cells_gain_much_over_the_sample_alone() -> None:
    data, truth = sample(), population().truth
    number = np.einsum("pg,pi->gi", data.members.astype(float), data.sample.answers >= 0)
    few = (number > 0) & (number < 50)
    human = human_only(data)
    assert error(fit().estimates, truth, few) < 0.7 * error(human, truth, few)
    assert error(fit("model").estimates, truth, few) < error(fit().estimates, truth, few)


def test_a_useless_model_gets_almost_no_slope() -> None:
    """A model whose answers are those to other items changes estimates and intervals by less than 2 %."""
    data, truth = sample(), population().truth
    values = data.models["model"]
    same = [np.flatnonzero(data.items.options == number) for number in np.unique(data.items.options)]
    order = np.arange(len(data.items.ids))
    for some in same:
        order[some] = np.roll(some, 1)
    moved = replace(values, pairs=values.pairs[:, order], people=values.people[:, order], population=values.population[:, order])
    useless = fitted(replace(data, models={"model": moved}), ("model",))
    assert error(useless.estimates, truth) < 1.02 * error(fit().estimates, truth)
    assert np.nanmean(useless.estimates.high - useless.estimates.low) < 1.02 * np.nanmean(fit().estimates.high - fit().estimates.low)
    assert useless.predictors[2] == "model"
    assert abs(useless.slopes[2]) < 0.3 * fit("model").slopes[2]


def test_an_earlier_wave_is_used_like_a_model() -> None:
    truth = population().truth
    noisy = np.clip(truth + np.random.default_rng(1).normal(0, 0.01, truth.shape), 0, 1) * sample().items.used
    noisy /= noisy.sum(axis=2, keepdims=True)
    people = np.full((sample().sample.people, *truth.shape[1:]), np.nan)
    wave = ModelValues("first wave", noisy, people, noisy, np.full(truth.shape[:2], np.inf))
    found = fitted(sample(), (), (wave,))
    assert found.predictors[2] == "first wave"
    assert error(found.estimates, truth) < 0.6 * error(fit().estimates, truth)


def test_a_subgroup_without_people_is_synthetic_and_uncertain() -> None:
    data = sample()
    empty = np.flatnonzero(np.array(data.population.subgroups) == "region_4")[0]
    rows = np.flatnonzero(~data.members[:, empty])
    some = replace(data, sample=data.sample.of(rows), models={"model": data.models["model"].of(rows)})
    found = fitted(some, ("model",)).estimates
    assert found.synthetic[empty].all()
    assert np.isfinite(found.shares[empty]).all()
    assert (found.mse[empty] > found.mse[0])[some.items.used].mean() > 0.95
    truth, low, high = population().truth[empty], found.low[empty], found.high[empty]
    assert ((truth >= low) & (truth <= high))[some.items.used].mean() > 0.8


def test_an_unknown_run_is_an_error() -> None:
    with pytest.raises(KeyError):
        fitted(sample(), ("nothing",))


@cache
def short() -> EstimationInput:
    return world(1, people=600, items=6).draw(60, 1)


def answers_of(change: str) -> EstimationInput:
    """Return a small sample with something unusual."""
    data = short()
    answers, n = data.sample.answers.copy(), data.sample.people
    rng = np.random.default_rng(0)
    if change == "nobody answered an item":
        answers[:, 3] = -1
    elif change == "everybody gave one answer":
        answers[:, 0] = 0
    elif change == "half of the answers are missing":
        answers[rng.random(answers.shape) < 0.5] = -1
    elif change == "weights":
        return replace(data, sample=replace(data.sample, weight=rng.lognormal(0, 1, n)))
    elif change == "clusters":
        unit, stratum = rng.permutation(np.arange(n) % 10).astype(np.intp), np.repeat([0, 1], 5).astype(np.intp)
        return replace(data, sample=replace(data.sample, unit=unit, stratum=stratum))
    elif change == "nominal items":
        return replace(data, items=replace(data.items, ordered=np.zeros(len(data.items.ids), dtype=bool)))
    elif change == "an unknown population":
        return replace(data, sample=replace(data.sample, fraction=0.0))
    elif change == "one block":
        return replace(data, items=replace(data.items, blocks=np.array(["one"] * len(data.items.ids))))
    elif change == "the same model twice":
        return replace(data, models=data.models | {"again": data.models["model"]})
    elif change == "a model without answers":
        model = data.models["model"]
        nothing = {name: np.full_like(getattr(model, name), np.nan) for name in ("pairs", "people", "population")}
        return replace(data, models={"model": replace(model, **nothing)})
    return replace(data, sample=replace(data.sample, answers=answers))


@pytest.mark.parametrize(
    "change",
    [
        "nobody answered an item",
        "everybody gave one answer",
        "half of the answers are missing",
        "weights",
        "clusters",
        "nominal items",
        "an unknown population",
        "one block",
        "the same model twice",
        "a model without answers",
    ],
)
def test_unusual_samples_have_estimates(change: str) -> None:
    data = answers_of(change)
    found = fitted(data, tuple(data.models)).estimates
    used = data.items.used
    assert found.shares.sum(axis=2) == pytest.approx(1)
    assert (found.low[:, used] <= found.shares[:, used]).all()
    assert (found.shares[:, used] <= found.high[:, used]).all()
    assert (found.mse[:, used] > 0).all()
    assert np.isnan(found.mean).all() if change == "nominal items" else np.isfinite(found.mean).all()


@pytest.mark.parametrize("n", [1, 3, 600])
def test_tiny_and_complete_samples_have_estimates(n: int) -> None:
    population = world(1, people=600, items=6)
    data = population.draw(n, 1)
    found, used = fitted(data, ("model",)).estimates, data.items.used
    assert found.shares.sum(axis=2) == pytest.approx(1)
    length = np.nanmean((found.high - found.low)[:, used])
    if n == 600:
        assert found.shares == pytest.approx(population.truth, abs=0.01)
        assert length < 0.01
    else:
        assert length > 0.5
