"""Scores by person: values, what counts, and the coverage of both intervals with known truth."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from valuestrata.dataset.tables import ITEMS
from valuestrata.responses.per_respondent.answers import EMPTY, REFUSED, UNREAD
from valuestrata.responses.per_respondent.people import People
from valuestrata.responses.per_respondent.person_scores import METRICS, PERSON_SCORES, load_person_scores, person_scores


def data_of(options, levels=None, blocks=None):
    """A data set with the items only: that is all the scores need."""
    rows = [
        {
            "item": f"Q{i}",
            "topic": f"topic {i % 2}",
            "block": None if blocks is None else f"block {blocks[i]}",
            "level": (levels or ["ordinal"] * len(options))[i],
            "codes": list(range(1, k + 1)),
            "labels": [str(code) for code in range(k)],
            "question": "?",
            "wording_source": "valuestrata",
        }
        for i, k in enumerate(options)
    ]
    return SimpleNamespace(items=ITEMS.frame(rows))


def people_of(number, weight=None, levels=None):
    levels = np.zeros((number, 1), np.int16) if levels is None else levels
    return People(tuple(f"p{i}" for i in range(number)), levels, weight, ("sex",))


def values_of(table, by="all", key="all"):
    return dict(table.filter((pl.col("by") == by) & (pl.col("key") == key)).select("metric", "value").iter_rows())


def random_answers(rng, number, options):
    return np.stack([rng.integers(0, k, number) for k in options], axis=1).astype(np.int8)


@pytest.mark.parametrize("weighted", [False, True])
def test_values_are_those_of_loops(weighted):
    rng = np.random.default_rng(5)
    options = [2, 3, 10, 4]
    levels = ["binary", "ordinal", "ordinal", "nominal"]
    human, model = random_answers(rng, 80, options), random_answers(rng, 80, options)
    human[rng.random(human.shape) < 0.2] = -1
    model[rng.random(model.shape) < 0.1] = REFUSED
    model[rng.random(model.shape) < 0.1] = UNREAD
    model[rng.random(model.shape) < 0.1] = EMPTY
    weight = rng.uniform(0.2, 3.0, 80) if weighted else np.ones(80)
    found = person_scores(data_of(options, levels), people_of(80, weight if weighted else None), human, model)
    agreement, correlation, spread = [], [], []
    for item in range(4):
        asked = [i for i in range(80) if human[i, item] >= 0 and model[i, item] != EMPTY]
        agreement.append(sum(weight[i] for i in asked if model[i, item] == human[i, item]) / sum(weight[i] for i in asked))
        both = [i for i in asked if model[i, item] >= 0]
        covariance = np.cov(human[both, item], model[both, item], aweights=weight[both], ddof=0)
        own = values_of(found, "item", f"Q{item}")
        assert own["agreement"] == pytest.approx(agreement[-1])
        if item == 3:
            assert own["correlation"] is own["spread"] is None
        else:
            correlation.append(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))
            spread.append(np.sqrt(covariance[1, 1] / covariance[0, 0]))
            assert own["correlation"] == pytest.approx(correlation[-1])
    whole = values_of(found)
    assert whole["agreement"] == pytest.approx(np.mean(agreement))
    assert (whole["correlation"], whole["spread"]) == (pytest.approx(np.mean(correlation)), pytest.approx(np.mean(spread)))
    assert whole["agreement_over_mode"] == pytest.approx(whole["agreement"] - whole["agreement_mode"])
    assert values_of(found, "topic", "topic 0")["agreement"] == pytest.approx((agreement[0] + agreement[2]) / 2)
    assert found.schema == PERSON_SCORES.empty().schema


def test_a_perfect_and_a_constant_model():
    rng = np.random.default_rng(6)
    human = random_answers(rng, 60, [5] * 6)
    perfect = values_of(person_scores(data_of([5] * 6), people_of(60), human, human))
    assert (perfect["agreement"], perfect["correlation"], perfect["spread"]) == (1.0, pytest.approx(1.0), pytest.approx(1.0))
    constant = person_scores(data_of([5] * 6), people_of(60), human, np.full_like(human, 2))
    values = values_of(constant)
    assert (values["correlation"], values["spread"]) == (None, 0.0)
    assert constant.filter((pl.col("by") == "all") & (pl.col("metric") == "correlation"))["items"][0] == 0


def test_items_with_few_persons_are_left_out():
    rng = np.random.default_rng(7)
    human, model = random_answers(rng, 30, [3, 3, 3]), random_answers(rng, 30, [3, 3, 3])
    human[9:, 1] = -4
    human[10:, 2] = -4
    found = person_scores(data_of([3] * 3), people_of(30), human, model)
    assert found.filter(pl.col("by") == "item")["key"].unique().sort().to_list() == ["Q0", "Q2"]
    assert found.filter(pl.col("by") == "item").filter(key="Q2")["persons"][0] == 10
    human[9:] = -4
    assert person_scores(data_of([3] * 3), people_of(30), human, model).is_empty()


def test_one_item_has_the_interval_of_its_persons():
    rng = np.random.default_rng(8)
    human, model = random_answers(rng, 100, [4]), random_answers(rng, 100, [4])
    found = person_scores(data_of([4]), people_of(100), human, model)
    row = found.filter((pl.col("by") == "item") & (pl.col("metric") == "agreement")).row(0, named=True)
    half = 1.96 * np.sqrt(row["value"] * (1 - row["value"]) / 100)
    assert row["ci_high"] - row["ci_low"] == pytest.approx(2 * half, rel=0.25)
    assert found.filter((pl.col("by") == "all") & (pl.col("metric") == "agreement"))["ci_low"][0] is None


def test_runs_without_a_table_have_no_scores_by_person(tmp_path):
    table = load_person_scores([SimpleNamespace(name="one", path=tmp_path), SimpleNamespace(name="two")])
    assert table.is_empty()
    assert table.columns == ["run", *PERSON_SCORES.columns]
    assert set(METRICS) >= {"agreement", "correlation", "spread"}


@pytest.mark.slow
def test_both_intervals_cover_as_stated():
    """120 worlds of 150 persons and 24 items in 12 blocks: a model agrees with a probability that varies by person and by block.

    `ci` must cover the mean over all persons and blocks, .5, and `these` the mean over all persons of the items at hand.
    """
    worlds, wide, narrow = 120, 0, 0
    blocks = np.repeat(np.arange(12), 2)
    dataset = data_of([3] * 24, blocks=blocks.tolist())
    for seed in range(worlds):
        rng = np.random.default_rng([9, seed])
        of_person, of_block = rng.uniform(-0.2, 0.2, 150), rng.uniform(-0.25, 0.25, 12)
        agrees = rng.random((150, 24)) < 0.5 + of_person[:, None] + of_block[blocks]
        human = rng.integers(0, 3, (150, 24)).astype(np.int8)
        model = np.where(agrees, human, (human + 1) % 3).astype(np.int8)
        row = person_scores(dataset, people_of(150), human, model, seed=seed).row(0, named=True)
        assert (row["by"], row["metric"]) == ("all", "agreement")
        wide += row["ci_low"] <= 0.5 <= row["ci_high"]
        narrow += row["these_low"] <= 0.5 + of_block[blocks].mean() <= row["these_high"]
    assert 0.91 <= wide / worlds <= 0.99, wide / worlds
    assert 0.90 <= narrow / worlds <= 0.99, narrow / worlds
