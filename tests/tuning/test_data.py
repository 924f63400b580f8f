"""Training examples: their gold, prompts, weights and controls; nothing of test pairs is used."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.tuning.planted import MEN, quick
from valuestrata.errors import InputDataError, UsageError
from valuestrata.prompts.persona import Persona, personas_of
from valuestrata.tuning.data.examples import tuning_data


def gold_of(dataset, pair_id, half="all"):
    return dataset.gold.filter((pl.col("pair_id") == pair_id) & (pl.col("half") == half)).row(0, named=True)


def ids(examples):
    return [example.prompt.pair_id for example in examples]


def test_examples_are_the_pairs_of_the_training_part_with_their_gold(people, template):
    data = tuning_data(people, quick("modal", template))
    assert sorted(ids(data.train)) == sorted(people.part("paper", "train")["pair_id"])
    assert set(ids(data.validation)) == set(people.part("paper", "validation")["pair_id"])
    for example in (*data.train, *data.validation):
        gold = gold_of(people, example.prompt.pair_id)
        assert example.shares == tuple(gold["shares"])
        assert example.p_mode == tuple(gold["p_mode"])
        assert example.codes[example.mode] == gold["mode"]
        assert example.ordinal == (example.prompt.item != "C")
        assert example.prompt.elicitation == "logprob"
    assert data.first == "persona"
    assert data.control is None


def test_gold_of_other_pairs_changes_nothing(people, template):
    # Everything that does not train is set to something else; weights too must not see it.
    seen = pl.concat([people.part("paper", part)["pair_id"] for part in ("train", "validation")])
    others = ~pl.col("pair_id").is_in(seen.implode())
    turned = people.gold.with_columns(
        pl.when(others).then(pl.col(name).list.reverse()).otherwise(pl.col(name)).alias(name)
        for name in ("shares", "counts_weighted", "counts_raw", "p_mode")
    ).with_columns(pl.when(others).then(1).otherwise(pl.col("mode")).alias("mode"))
    assert not turned.equals(people.gold)
    for name in ("shift", "fair", "dpo"):
        recipe = quick(name, template)
        assert tuning_data(replace(people, gold=turned), recipe) == tuning_data(people, recipe)


def test_under_disjoint_all_gold_is_of_half_a(people, template):
    data = tuning_data(people, quick("distribution", template), split="paper+disjoint")
    apart = 0
    for example in (*data.train, *data.validation):
        assert example.shares == tuple(gold_of(people, example.prompt.pair_id, "A")["shares"])
        apart += example.shares != tuple(gold_of(people, example.prompt.pair_id)["shares"])
    assert apart > len(data.train) / 2


def test_a_shown_order_changes_the_prompt_and_not_the_targets(people, template):
    data = tuning_data(people, quick("modal", template, orders="scale,reversed"))
    by_pair = {}
    for example in data.train:
        by_pair.setdefault(example.prompt.pair_id, {})[example.prompt.order] = example
    for orders in by_pair.values():
        one, other = orders["scale"], orders["reversed"]
        assert one.prompt.shown == other.prompt.shown[::-1] == one.codes
        assert (one.shares, one.mode, one.codes) == (other.shares, other.mode, other.codes)
        assert one.rejected == other.rejected


@pytest.mark.parametrize("control", ["no-persona", "shuffled-persona"])
def test_controls_change_the_prompts_and_keep_the_gold(people, template, control):
    own, other = (tuning_data(people, quick("modal", template), control=which) for which in (None, control))
    assert ids(own.train) == ids(other.train)
    assert [example.shares for example in own.train] == [example.shares for example in other.train]
    texts = {(example.prompt.item, example.prompt.messages[0].content) for example in other.train}
    if control == "no-persona":
        assert len(texts) == len(MEN)
        assert other.control == {"control": "no-persona"}
    else:
        assert other.control["control"] == "shuffled-persona"
        assert other.control["levels_changed"] > 0.9
        changed = [a.prompt.messages != b.prompt.messages for a, b in zip(own.train, other.train, strict=True)]
        assert np.mean(changed) > 0.9


def test_other_controls_are_refused(people, template):
    with pytest.raises(UsageError, match=r"tuned under the control 'no-person'\. Did you mean 'no-persona'"):
        tuning_data(people, quick("modal", template), control="no-person")
    with pytest.raises(UsageError, match="wrong-country"):
        tuning_data(people, quick("modal", template), control="wrong-country")


def test_validation_pairs_are_drawn_by_the_data_seed(people, template):
    all_of_them = people.part("paper", "validation").height
    few = quick("modal", template, **{"validation.samples": all_of_them - 1})
    drawn = {seed: set(ids(tuning_data(people, few.model_copy(update={"data_seed": seed})).validation)) for seed in range(12)}
    assert {len(found) for found in drawn.values()} == {all_of_them - 1}
    assert len({tuple(sorted(found)) for found in drawn.values()}) > 1
    assert drawn[3] == set(ids(tuning_data(people, few.model_copy(update={"data_seed": 3})).validation))


def test_dpo_rejects_a_code_less_likely_than_the_mode(people, template):
    for how in ("drawn", "second", "least"):
        data = tuning_data(people, quick("dpo", template, **{"preference.rejected": how}))
        for example in data.train:
            below = sorted(share for share in example.shares if share < max(example.shares))
            assert example.shares[example.rejected] < example.shares[example.mode]
            if how != "drawn":
                assert example.shares[example.rejected] == (below[-1] if how == "second" else below[0])
    drawn = Counter(tuple(e.rejected for e in tuning_data(people, quick("dpo", template, data_seed=s)).train) for s in range(3))
    assert len(drawn) == 3


def test_weights_follow_the_departure_from_the_nation(people, template):
    data = tuning_data(people, quick("shift", template, **{"weights.strength": 1.0}))
    weights = {example.prompt.pair_id: example.weight for example in data.train}
    assert np.mean(list(weights.values())) == pytest.approx(1)
    # The sexes differ as planted; the towns do not.
    trained = [pair for pair in weights if "_sex_Male" in pair or "_sex_Female" in pair]
    assert min(weights[pair] for pair in trained if not pair.startswith("C")) > 1
    assert max(weight for pair, weight in weights.items() if "_town_" in pair and "_x_" not in pair) < 0.5


def test_groups_have_equal_weight(people, template):
    for by in ("subgroup", "stratum"):
        data = tuning_data(people, quick("fair", template, **{"weights.group_by": by}))
        sums = Counter()
        for example in data.train:
            sums[data.groups[example.group]] += example.weight
        assert set(sums) == set(data.groups)
        assert list(sums.values()) == pytest.approx([len(data.train) / len(sums)] * len(sums))


def test_held_out_pairs_are_described(people, template):
    of_paper = tuning_data(people, quick("modal", template)).held_out
    assert of_paper["items"] == []
    assert of_paper["subgroups"] == sorted(people.subgroups.filter(pl.col("stratum") == "age_x_town")["subgroup"])
    assert of_paper["test_pairs"] == people.part("paper", "test").height
    of_item = tuning_data(people, quick("modal", template), split="unseen-item", fold=1).held_out
    assert len(of_item["items"]) == 1
    assert of_item["items"] == people.part("unseen-item", "test", 1)["item"].unique().to_list()
    assert of_item["fold_label"] == people.fold_labels("unseen-item")[1]


def test_splits_that_cannot_train_are_refused(people, template):
    recipe = quick("modal", template)
    with pytest.raises(UsageError, match="has 3 folds, and training pairs of one are test pairs of another; choose one with `fold=`"):
        tuning_data(people, recipe, split="unseen-item")
    with pytest.raises(InputDataError, match="Tune on another data set"):
        tuning_data(people, recipe, split="transfer")
    with pytest.raises(UsageError, match="no split 'papr'"):
        tuning_data(people, recipe, split="papr")
    empty = replace(people, splits=people.splits.filter(pl.col("part") != "train"))
    with pytest.raises(InputDataError, match="there are no training pairs in split 'paper'"):
        tuning_data(empty, recipe)
    unanswered = replace(people, gold=people.gold.filter(pl.col("half") != "A"))
    with pytest.raises(InputDataError, match="at least 20 valid answers in each half of the respondents"):
        tuning_data(unanswered, recipe, split="paper+disjoint")


def test_a_country_control_needs_a_place(people, template):
    with pytest.raises(UsageError, match="changes the place"):
        tuning_data(people, quick("modal", template), control="country-only")
    placed = replace(people, meta={**people.meta, "place": "Utopia"})
    data = tuning_data(placed, quick("modal", template), control="country-only")
    assert {example.prompt.messages[0].content.split("\n")[0] for example in data.train} == {"Someone"}
    assert personas_of(placed)["all"] == Persona((), "Utopia")
