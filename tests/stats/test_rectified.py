import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bench.rectified_vs_ppi import example, largest_difference, ours
from valuestrata.stats.design_based.linearisation import domain_means
from valuestrata.stats.design_based.rectified import on_simplex, paired_domains, part_of_gain, tuned_weight
from valuestrata.stats.design_based.rectified_ols import RegressionSample, rectified_ols

# By ppi-python 0.2.3 on the data of `bench.rectified_vs_ppi.example`, as printed by that script: slope, lambda -> estimate, standard error.
PPI_PYTHON = {
    (False, None): ([2.86348428260193], [0.26115291129133605]),
    (False, 1.0): ([2.8833333333333333], [0.29520081049773317]),
    (True, None): ([1.3620949136183045, 0.9852021311995661], None),
    (True, 1.0): ([1.264796259185035, 1.0560454241816961], [0.41232322162183727, 0.2264654579713193]),
}


@pytest.mark.parametrize(("slope", "weight"), PPI_PYTHON)
def test_means_and_regressions_are_those_of_ppi_python(slope, weight):
    value, se = PPI_PYTHON[slope, weight]
    found = ours(example(), slope=slope, weight=weight)
    np.testing.assert_allclose(found.value, value, rtol=1e-6)
    if se is not None:
        np.testing.assert_allclose(found.se, se, rtol=1e-6)


def test_agreement_with_ppi_python_on_simulated_data():
    pytest.importorskip("ppi_py")
    assert max(largest_difference(seed) for seed in range(5)) < 1e-6


def test_a_regression_with_weight_zero_is_that_of_the_people():
    data = example()
    x, y = data.design(slope=True)[:12], data.y[:12]
    found = rectified_ols(RegressionSample(x, data.f[:12]), y, RegressionSample(x, data.f[:12]), weight=0.0)
    np.testing.assert_allclose(found.value, np.polyfit(x[:, 1], y, 1)[::-1])


def test_a_regression_counts_weights_like_copies_and_clusters_as_units():
    rng = np.random.default_rng(1)
    x = np.stack([np.ones(40), rng.integers(0, 4, 40)], axis=1)
    y, f = rng.normal(x[:, 1], 1), rng.normal(x[:, 1], 1)
    twice = np.repeat(np.arange(40), 2)
    unit = twice.astype(np.intp)
    others = RegressionSample(x, f)
    once = rectified_ols(RegressionSample(x, f), y, others, exact=True, weight=0.7)
    copies = rectified_ols(
        RegressionSample(x[twice], f[twice], unit=unit, stratum=np.zeros(40, dtype=np.intp)), y[twice], others, exact=True, weight=0.7
    )
    np.testing.assert_allclose(copies.value, once.value)
    np.testing.assert_allclose(copies.se, once.se)
    weighted = rectified_ols(RegressionSample(x, f, weight=np.full(40, 3.0)), y, others, exact=True, weight=0.7)
    np.testing.assert_allclose(weighted.se, once.se)


def sample(seed, *, n=60, clusters=False, missing=0.0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, (n, 3, 2)).astype(float)
    f = np.where(rng.random((n, 3, 1)) < 0.5, y, rng.integers(0, 2, (n, 3, 2)))
    f[rng.random((n, 3)) < missing] = np.nan
    answered = rng.random((n, 3)) < 0.8
    members = np.stack([np.ones(n, dtype=bool), rng.random(n) < 0.4, np.zeros(n, dtype=bool)], axis=1)
    unit = np.sort(rng.integers(0, n // 4, n)) if clusters else np.arange(n)
    stratum = np.arange(unit.max() + 1) % 3 if clusters else np.zeros(n, dtype=np.intp)
    weight = rng.uniform(0.5, 2, n)
    return y, f, answered, members, weight, unit.astype(np.intp), stratum.astype(np.intp)


@pytest.mark.parametrize("clusters", [False, True])
def test_sums_of_squares_are_those_of_linearised_variances(clusters):
    y, f, answered, members, *design = sample(4, clusters=clusters)
    found = paired_domains(y, f, answered, members, *design)
    item = np.repeat(np.arange(3), 2)

    def variance(values):
        return domain_means(np.where(answered[..., None], values, 0).reshape(len(y), -1), answered, item, members, *design).variance

    for sums, values in ((found.yy, y), (found.ff, f)):
        np.testing.assert_allclose(sums[:2].reshape(2, -1) / np.repeat(found.people[:2] ** 2, 2, axis=1), variance(values)[:2], atol=1e-12)
    residual = found.yy - 2 * 0.6 * found.yf + 0.36 * found.ff
    expected = variance(y - 0.6 * f)[:2]
    np.testing.assert_allclose(residual[:2].reshape(2, -1) / np.repeat(found.people[:2] ** 2, 2, axis=1), expected, atol=1e-12)
    assert (found.yy[2] == 0).all()
    assert np.isnan(found.mean[2]).all()


def test_people_without_a_value_are_out_of_the_models_mean_only():
    y, f, answered, members, *design = sample(5, missing=0.3)
    found = paired_domains(y, f, answered, members, *design)
    known = answered[:, 0] & ~np.isnan(f[:, 0, 0])
    assert found.mean[0, 0, 0] == pytest.approx(np.average(f[known, 0, 0], weights=design[0][known]))
    assert found.paired[0, 0] == known.sum()
    whole = paired_domains(y, np.nan_to_num(f), answered, members, *design)
    np.testing.assert_allclose(found.yy, whole.yy)


def test_the_weight_is_the_slope_within_0_and_1():
    yf, ff = np.array([[1.0, 3.0, -1.0, 0.0], [2.0, 3.0, 0.0, 0.0]]), np.array([[4.0, 2.0, 1.0, 0.0], [2.0, 2.0, 1.0, 0.0]])
    np.testing.assert_allclose(tuned_weight(yf, ff), [0.5, 1, 0, 0])


def test_the_gain_shrinks_with_few_simulated_people():
    people = np.array([10.0, 10.0, 10.0, 10.0])
    simulated = np.array([np.inf, 100.0, 10.0, 0.0])
    np.testing.assert_allclose(part_of_gain(people, simulated, 0.0), [1, 0.9, 0, 0])
    # All people of a finite population were simulated: as good as an exact mean.
    np.testing.assert_allclose(part_of_gain(people, simulated, 0.1)[:2], [1, 1])


@given(arrays(float, (3, 4), elements=st.floats(-2, 2)))
def test_the_projection_gives_shares_and_leaves_shares_alone(values):
    found = on_simplex(values)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert found.min() >= 0
    np.testing.assert_allclose(on_simplex(found), found, atol=1e-12)


def test_the_projection_is_the_nearest_point():
    np.testing.assert_allclose(on_simplex(np.array([1.2, -0.2, 0.0])), [1, 0, 0])
    np.testing.assert_allclose(on_simplex(np.array([0.7, 0.5, -0.2])), [0.6, 0.4, 0])
    assert np.isnan(on_simplex(np.array([np.nan, 1.0]))[0])
