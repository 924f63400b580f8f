"""Baselines for unseen items, on training gold with known answers."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal
from sklearn.kernel_ridge import KernelRidge

from valuestrata.measures import w1
from valuestrata.respondents.baselines.gold import JointCells, TrainingGold
from valuestrata.respondents.baselines.item_models.embeddings import embed_texts
from valuestrata.respondents.baselines.item_models.item_average import fit_item_average, rescaled
from valuestrata.respondents.baselines.item_models.item_text import fit_item_text
from valuestrata.respondents.baselines.item_models.kernel_regression import Variances, fit_variances, negative_log_likelihood, predict
from valuestrata.respondents.baselines.item_models.kernels import item_kernels

SUBGROUPS = {
    "all": {},
    "sex_Female": {"sex": "Female"},
    "sex_Male": {"sex": "Male"},
    "age_Old": {"age": "Old"},
    "age_Young": {"age": "Young"},
}
PAIRS = {"age_x_sex_Old_Female": {"age": "Old", "sex": "Female"}, "age_x_sex_Young_Male": {"age": "Young", "sex": "Male"}}
NO_CELLS = JointCells((), (), np.zeros(0), np.zeros(0))
GARDEN = ["garden", "flower", "plant", "tree", "meadow", "blossom", "leaf", "seed", "orchard", "lawn"]
ARMY = ["army", "missile", "soldier", "tank", "battle", "weapon", "general", "rifle", "troop", "bomb"]
AGREE = ("Strongly agree", "Agree", "Disagree", "Strongly disagree")


def make_gold(
    shares: dict[str, dict[str, list[float]]],
    *,
    questions: dict[str, str] | None = None,
    labels: dict[str, tuple[str, ...]] | None = None,
    unseen: dict[str, int] | None = None,
    nominal: tuple[str, ...] = (),
    topics: dict[str, str] | None = None,
    n: int = 400,
) -> TrainingGold:
    """Return training gold with the given shares (item -> subgroup -> shares) and `unseen` items (item -> K)."""
    options = {item: len(next(iter(of.values()))) for item, of in shares.items()} | (unseen or {})
    counts = {(item, s): n * np.array(p) for item, of in shares.items() for s, p in of.items()}
    named = labels or {}
    return TrainingGold(
        codes={item: tuple(range(1, k + 1)) for item, k in options.items()},
        level={item: "nominal" if item in nominal else "binary" if k == 2 else "ordinal" for item, k in options.items()},
        labels={item: named.get(item, tuple(f"label {j}" for j in range(k))) for item, k in options.items()},
        question=dict.fromkeys(options, "What?") | (questions or {}),
        topic={item: item for item in options} | (topics or {}),
        counts=counts,
        n=dict.fromkeys(counts, n),
        n_eff=dict.fromkeys(counts, float(n)),
        levels=SUBGROUPS | PAIRS,
        singles={"sex": ["sex_Female", "sex_Male"], "age": ["age_Old", "age_Young"]},
        joint=NO_CELLS,
        trained_joint=NO_CELLS,
        scheme="unseen-item",
        fold=0,
    )


def overall(shares: list[float]) -> dict[str, list[float]]:
    return dict.fromkeys(("sex_Female", "sex_Male", "age_Old", "age_Young"), shares)


def question_about(words: list[str], rng: np.random.Generator) -> str:
    return "What of the " + " and the ".join(rng.choice(words, 4, replace=False)) + "?"


def softmax(values: np.ndarray) -> list[float]:
    likely = np.exp(values)
    return (likely / likely.sum()).tolist()


@pytest.fixture(params=["model", "tf-idf"])
def embedding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "model":
        pytest.importorskip("wordllama")
    else:
        monkeypatch.setitem(sys.modules, "wordllama", None)
    return request.param


# --- item-average


def test_average_of_other_items_of_the_same_length() -> None:
    gold = make_gold({"a": overall([0.9, 0.1]), "b": overall([0.3, 0.7]), "c": overall([0.2, 0.5, 0.3])}, unseen={"new": 2})
    average = fit_item_average(gold)
    np.testing.assert_allclose(average.shares("new", "sex_Male"), [0.6, 0.4])
    np.testing.assert_allclose(average.shares("new", "age_x_sex_Old_Female"), [0.6, 0.4])
    # The counts of a training item itself are not used.
    np.testing.assert_allclose(average.shares("a", "sex_Male"), [0.3, 0.7])


def test_average_by_relative_position_without_items_of_the_same_length() -> None:
    gold = make_gold({"a": overall([0.2, 0.8]), "b": overall([0.4, 0.2, 0.2, 0.2])}, unseen={"new": 4, "five": 5, "three": 3})
    average = fit_item_average(gold)
    np.testing.assert_allclose(average.shares("new", "all"), [0.4, 0.2, 0.2, 0.2])
    # [.2, .8] in thirds: 2/15, .1 + .4 / 1.5 = 1/3, 8/15; [.4, .2, .2, .2] in thirds: .4 + .2/3, .8/3, .8/3.
    thirds = (np.array([2 / 15, 1 / 3, 8 / 15]) + np.array([0.4 + 0.2 / 3, 0.8 / 3, 0.8 / 3])) / 2
    np.testing.assert_allclose(average.shares("three", "all"), thirds)


def test_nominal_items_are_averaged_separately() -> None:
    gold = make_gold(
        {"a": overall([0.8, 0.1, 0.1]), "b": overall([0.1, 0.1, 0.8])}, unseen={"new": 3, "four": 4}, nominal=("b", "new", "four")
    )
    average = fit_item_average(gold)
    np.testing.assert_allclose(average.shares("new", "all"), [0.1, 0.1, 0.8])
    np.testing.assert_allclose(average.shares("four", "all"), [0.25] * 4)


def test_equal_shares_without_other_items() -> None:
    average = fit_item_average(make_gold({"a": overall([0.8, 0.1, 0.1])}))
    np.testing.assert_allclose(average.shares("a", "all"), [1 / 3] * 3)


@given(arrays(float, st.integers(2, 9), elements=st.floats(0.01, 1.0)), st.integers(2, 9))
def test_rescaling_keeps_cumulative_shares_at_common_edges(raw: np.ndarray, options: int) -> None:
    shares = raw / raw.sum()
    made = rescaled(shares, options)
    assert made.min() >= 0
    assert made.sum() == pytest.approx(1.0)
    back = np.concatenate([[0.0], np.cumsum(shares)])
    for k in range(options + 1):
        if (k * len(shares)) % options == 0:
            assert made[:k].sum() == pytest.approx(back[k * len(shares) // options])


# --- item-text


def test_effects_of_the_question_are_recovered(embedding: str) -> None:
    rng = np.random.default_rng(5)
    slope = np.linspace(-1.5, 1.5, 4)
    about = {f"q{i}": GARDEN if i % 2 else ARMY for i in range(60)}
    truth = {item: np.array(softmax((-slope if words is GARDEN else slope) + rng.normal(0, 0.1, 4))) for item, words in about.items()}
    unseen = [f"q{i}" for i in range(50, 60)]
    shares = {item: overall(p.tolist()) for item, p in truth.items() if item not in unseen}
    questions = {item: question_about(words, rng) for item, words in about.items()}
    gold = make_gold(shares, questions=questions, labels=dict.fromkeys(about, AGREE), unseen=dict.fromkeys(unseen, 4))
    text, average = fit_item_text(gold), fit_item_average(gold)
    error = np.mean([w1(text.shares(item, "sex_Male"), truth[item]) for item in unseen])
    error_of_average = np.mean([w1(average.shares(item, "sex_Male"), truth[item]) for item in unseen])
    assert error_of_average > 0.2
    assert error < 0.35 * error_of_average
    assert all(text.shares(item, "all").argmax() == truth[item].argmax() for item in unseen)


def test_effects_of_the_label_are_recovered(embedding: str) -> None:
    rng = np.random.default_rng(6)
    pairs = [("Allowed", "Forbidden"), ("Forbidden", "Allowed")]
    labels = {f"q{i}": pairs[i % 2] for i in range(40)}
    truth = {item: [0.8, 0.2] if pair[0] == "Allowed" else [0.2, 0.8] for item, pair in labels.items()}
    unseen = ["q38", "q39"]
    shares = {item: overall(p) for item, p in truth.items() if item not in unseen}
    questions = {item: question_about(GARDEN, rng) for item in labels}
    text = fit_item_text(make_gold(shares, questions=questions, labels=labels, unseen=dict.fromkeys(unseen, 2)))
    for item in unseen:
        np.testing.assert_allclose(text.shares(item, "all"), truth[item], atol=0.07)


@pytest.mark.slow
def test_effects_of_the_question_by_subgroup_are_recovered(embedding: str) -> None:
    rng = np.random.default_rng(7)
    slope = np.linspace(-0.6, 0.6, 4)
    about = {f"q{i}": GARDEN if i % 2 else ARMY for i in range(60)}
    unseen = ["q58", "q59"]

    def of(item: str) -> dict[str, list[float]]:
        noise = rng.normal(0, 0.05, 4)
        apart = slope if about[item] is ARMY else -slope
        return {
            "sex_Male": softmax(noise + apart),
            "sex_Female": softmax(noise - apart),
            "age_Old": softmax(noise),
            "age_Young": softmax(noise),
        }

    shares = {item: of(item) for item in about if item not in unseen}
    questions = {item: question_about(words, rng) for item, words in about.items()}
    gold = make_gold(shares, questions=questions, labels=dict.fromkeys(about, AGREE), unseen=dict.fromkeys(unseen, 4))
    text = fit_item_text(gold)
    mean_position = {s: float(text.shares("q58", s) @ np.arange(4)) for s in gold.levels}
    assert mean_position["sex_Male"] > mean_position["all"] + 0.2
    assert mean_position["sex_Female"] < mean_position["all"] - 0.2
    # The deviation of a pair is the sum over its levels, and age has no effect here.
    assert mean_position["age_x_sex_Old_Female"] == pytest.approx(mean_position["sex_Female"], abs=0.05)
    assert float(text.shares("q59", "sex_Male") @ np.arange(4)) < float(text.shares("q59", "all") @ np.arange(4)) - 0.2


@pytest.mark.slow
def test_with_uninformative_text_the_error_is_that_of_the_average(embedding: str) -> None:
    error, error_of_average = [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        truth = {f"q{i}": np.array(softmax(np.array([0.5, 0.9, 0.2, -0.6]) + rng.normal(0, 0.7, 4))) for i in range(60)}
        unseen = [f"q{i}" for i in range(45, 60)]
        questions = {item: question_about(GARDEN + ARMY, rng) for item in truth}
        shares = {item: overall(p.tolist()) for item, p in truth.items() if item not in unseen}
        gold = make_gold(shares, questions=questions, labels=dict.fromkeys(truth, AGREE), unseen=dict.fromkeys(unseen, 4))
        text, average = fit_item_text(gold), fit_item_average(gold)
        error += [w1(text.shares(item, "all"), truth[item]) for item in unseen]
        error_of_average += [w1(average.shares(item, "all"), truth[item]) for item in unseen]
    assert np.mean(error) < np.mean(error_of_average) + 0.01


def mixed(trust: tuple[float, ...], monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray, object]:
    """Return the shares of item-text and item-average for an unseen item, and the chosen weight, with informative questions."""
    rng = np.random.default_rng(5)
    slope = np.linspace(-1.5, 1.5, 4)
    about = {f"q{i}": GARDEN if i % 3 else ARMY for i in range(24)}
    truth = {item: softmax((-slope if words is GARDEN else slope) + rng.normal(0, 0.1, 4)) for item, words in about.items()}
    shares = {item: overall(p) for item, p in truth.items() if item != "q21"}
    questions = {item: question_about(words, rng) for item, words in about.items()}
    gold = make_gold(shares, questions=questions, labels=dict.fromkeys(about, AGREE), unseen={"q21": 4})
    monkeypatch.setattr("valuestrata.respondents.baselines.item_models.item_text.TRUST", trust)
    text = fit_item_text(gold)
    return text.shares("q21", "all"), fit_item_average(gold).shares("q21", "all"), text.settings["trust"]


def test_the_weight_of_the_text_follows_from_held_out_items(embedding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    without_text, average, _ = mixed((0.0,), monkeypatch)
    np.testing.assert_allclose(without_text, average)
    whole, _, _ = mixed((1.0,), monkeypatch)
    half, _, _ = mixed((0.5,), monkeypatch)
    np.testing.assert_allclose(half, (whole + average) / 2)
    assert np.abs(whole - average).max() > 0.2
    _, _, chosen = mixed((0.0, 0.25, 0.5, 0.75, 1.0), monkeypatch)
    assert chosen == 1.0


def test_uninformative_text_gets_a_small_weight(embedding: str) -> None:
    weights = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        truth = {f"q{i}": softmax(np.array([0.5, 0.9, 0.2, -0.6]) + rng.normal(0, 0.7, 4)) for i in range(16)}
        shares = {item: overall(p) for item, p in truth.items() if item != "q15"}
        questions = {item: question_about(GARDEN + ARMY, rng) for item in truth}
        gold = make_gold(shares, questions=questions, labels=dict.fromkeys(truth, AGREE), unseen={"q15": 4})
        weights.append(fit_item_text(gold).settings["trust"])
    assert np.mean(weights) <= 0.5


def test_predictions_are_distributions_and_reproducible(embedding: str) -> None:
    rng = np.random.default_rng(8)
    lengths = {f"q{i}": (2, 3, 4, 5, 10)[i % 5] for i in range(20)}
    shares = {item: overall(rng.dirichlet(np.ones(k)).tolist()) for item, k in lengths.items()}
    questions = {item: question_about(GARDEN + ARMY, rng) for item in lengths}
    unseen = {"two": 2, "seven": 7, "ten": 10, "named": 6}
    gold = make_gold(shares, questions=questions, unseen=unseen, nominal=("q1", "q6", "named"))
    text, again = fit_item_text(gold), fit_item_text(gold)
    for item, k in (lengths | unseen).items():
        for subgroup in gold.levels:
            found = text.shares(item, subgroup)
            assert found.shape == (k,)
            assert found.min() >= 0
            assert found.sum() == pytest.approx(1.0)
            np.testing.assert_array_equal(found, again.shares(item, subgroup))


def test_a_training_item_keeps_its_shares() -> None:
    shares = {f"q{i}": overall(p) for i, p in enumerate([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.2, 0.6], [0.0, 0.5, 0.5]])}
    text = fit_item_text(make_gold(shares))
    for item, of in shares.items():
        np.testing.assert_allclose(text.shares(item, "all"), of["sex_Male"], atol=1e-6)


@pytest.mark.parametrize("trained", [0, 1])
def test_with_too_few_items_the_average_is_predicted(trained: int) -> None:
    gold = make_gold({"a": overall([0.7, 0.3])} if trained else {}, unseen={"new": 2})
    np.testing.assert_allclose(fit_item_text(gold).shares("new", "sex_Male"), fit_item_average(gold).shares("new", "sex_Male"))


def test_identical_items() -> None:
    gold = make_gold({"a": overall([0.5, 0.5]), "b": overall([0.5, 0.5])}, unseen={"new": 2}, labels=dict.fromkeys("ab", ("x", "x")))
    np.testing.assert_allclose(fit_item_text(gold).shares("new", "all"), [0.5, 0.5], atol=1e-6)


def test_one_item_of_a_single_subgroup_and_zero_counts() -> None:
    gold = make_gold({"a": overall([0.5, 0.5]), "b": {"sex_Male": [0.9, 0.1]}, "c": overall([0.0, 0.0])}, unseen={"new": 2})
    text = fit_item_text(gold)
    for item in gold.codes:
        assert text.shares(item, "age_x_sex_Young_Male").sum() == pytest.approx(1.0)


# --- embeddings, kernels and regression


def test_tf_idf_is_used_without_wordllama(monkeypatch: pytest.MonkeyPatch) -> None:
    gold = make_gold({"a": overall([0.5, 0.5]), "b": overall([0.2, 0.8])}, unseen={"new": 2})
    monkeypatch.setitem(sys.modules, "wordllama", None)
    assert fit_item_text(gold).settings["embedding"].startswith("tf-idf")
    vectors = embed_texts(["a tall tree", "a tall house", "7", " "]).vectors
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1.0, 1.0, 1.0, 0.0])
    assert 0 < vectors[0] @ vectors[1] < 1
    assert vectors[0] @ vectors[2] == 0
    np.testing.assert_array_equal(embed_texts(["", " "]).vectors, np.zeros((2, 1)))


def test_the_embedding_model_compares_labels_and_does_not_change_logging() -> None:
    pytest.importorskip("wordllama")
    before = list(logging.getLogger().handlers), logging.getLogger().level
    made = embed_texts(["Very happy", "Pretty happy", "Forbidden"])
    assert (list(logging.getLogger().handlers), logging.getLogger().level) == before
    assert made.method.startswith("wordllama ")
    assert made.vectors[0] @ made.vectors[1] > made.vectors[0] @ made.vectors[2] + 0.2


def test_kernels_are_covariances(embedding: str) -> None:
    rng = np.random.default_rng(9)
    lengths = {f"q{i}": (2, 3, 5)[i % 3] for i in range(15)}
    questions = {item: question_about(GARDEN + ARMY, rng) for item in lengths}
    gold = make_gold({}, questions=questions, unseen=lengths, nominal=("q1", "q4"), topics=dict.fromkeys(["q1", "q2", "q3"], "T"))
    made = item_kernels(gold)
    assert set(made.of) == {"shape", "position", "label", "label-question", "position-question", "scale", "topic", "item"}
    for kernel in made.of.values():
        assert np.linalg.eigvalsh(kernel).min() > -1e-9
        assert np.trace(kernel) == pytest.approx(len(kernel))
        for rows in made.rows.values():
            np.testing.assert_allclose(kernel[rows].sum(axis=0), 0.0, atol=1e-9)


def positive(rng: np.random.Generator, n: int) -> np.ndarray:
    half = rng.normal(size=(n, n))
    return half @ half.T / n


def test_likelihood_and_gradient() -> None:
    rng = np.random.default_rng(1)
    kernels, targets = [positive(rng, 6), positive(rng, 6)], rng.normal(size=(6, 3))
    logs = np.log([0.5, 2.0, 0.3])
    value, slope = negative_log_likelihood(logs, kernels, targets)
    covariance = 0.5 * kernels[0] + 2.0 * kernels[1] + 0.3 * np.eye(6)
    assert value == pytest.approx(-multivariate_normal(np.zeros(6), covariance).logpdf(targets.T).sum())
    numeric = approx_fprime(logs, lambda at: negative_log_likelihood(at, kernels, targets)[0], 1e-7)
    np.testing.assert_allclose(slope, numeric, rtol=1e-4, atol=1e-5)


def test_prediction_equals_kernel_ridge_regression() -> None:
    rng = np.random.default_rng(2)
    kernels, targets = [positive(rng, 12), positive(rng, 12)], rng.normal(size=(8, 2))
    trained = np.arange(12) < 8
    mean, covariance = predict(kernels, Variances(np.array([0.5, 2.0]), 0.3, 0.0), targets, trained, ~trained)
    total = 0.5 * kernels[0] + 2.0 * kernels[1]
    ridge = KernelRidge(alpha=0.3, kernel="precomputed").fit(total[:8, :8], targets)
    np.testing.assert_allclose(mean, ridge.predict(total[8:, :8]))
    both = total + 0.3 * np.eye(12)
    # The Schur complement is the inverse of a block of the inverse.
    np.testing.assert_allclose(covariance, np.linalg.inv(np.linalg.inv(both)[8:, 8:]))


def test_variances_are_recovered() -> None:
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(60), 3)
    kernel, idle = np.equal.outer(group, group).astype(float), np.equal.outer(np.arange(180) % 4, np.arange(180) % 4).astype(float)
    targets = rng.normal(0, 1.0, (60, 5))[group] + rng.normal(0, 0.5, (180, 5))
    found = fit_variances([kernel, idle], targets)
    np.testing.assert_allclose(found.kernels, [1.0, 0.0], atol=0.2)
    assert found.noise == pytest.approx(0.25, abs=0.04)
