"""What people differ by, beside the persona: noise taken out by redraws, in plain loops; planted people are found again."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from valuestrata.errors import InputDataError
from valuestrata.scores.variance.population_variance import PopulationVariance
from valuestrata.scores.variance.table import variance

META = {"respondent": {"provider": "hf", "model": "org/m"}}


def between(rows) -> float:
    """Sample variance over subgroups, summed over the vector."""
    values = np.array(rows, dtype=float).reshape(len(rows), -1)
    return float(sum(np.var(column, ddof=1) for column in values.T))


def vector(shares, level) -> list[float]:
    if level == "nominal":
        return [share / np.sqrt(2) for share in shares]
    return [sum(share * place for place, share in enumerate(shares)) / (len(shares) - 1)]


def subgroups_of(world, item):
    return [group for name, group in world.counts if name == item]


@pytest.mark.parametrize("seed", range(4))
def test_noise_is_what_redraws_vary_within_a_draw_more_than_their_means(kit, seed):
    world = kit.random_world(seed, shares=6, draws=5)
    people = PopulationVariance(kit.build(world))
    for item, (_, level, codes) in world.items.items():
        groups = subgroups_of(world, item)
        shares = [np.array(world.counts[item, g]) / sum(world.counts[item, g]) for g in groups]
        drawn = [[vector(kit.redrawn_shares(world, (item, g), d), level) for g in groups] for d in range(6)]
        means = [np.mean([draw[at] for draw in drawn], axis=0) for at in range(len(groups))]
        noise = (np.mean([between(draw) for draw in drawn]) - between(means)) * 6 / 5
        found = people.means(item, groups)
        assert found.value == pytest.approx(between([vector(s, level) for s in shares]) - noise)
        assert found.redraws == pytest.approx([between(draw) - np.mean([between(d) for d in drawn]) for draw in drawn])
        assert found.subgroups == len(groups)

        each = [vector(row, level) for row in np.eye(len(codes))]
        modes = [int(np.argmax(world.counts[item, g])) for g in groups]
        redrawn = [[each[world.draws[item, g][d]] for g in groups] for d in range(5)]
        means = [np.mean([draw[at] for draw in redrawn], axis=0) for at in range(len(groups))]
        noise = (np.mean([between(draw) for draw in redrawn]) - between(means)) * 5 / 4
        assert people.modes(item, groups).value == pytest.approx(between([each[mode] for mode in modes]) - noise)


def test_without_redraws_noise_is_that_of_samples_of_n_eff(kit):
    items = {"Q": ("t", "ordinal", [1, 2, 3]), "N": ("t", "nominal", [1, 2, 3])}
    groups = {name: ("g", {"g": name}) for name in ("a", "b")}
    counts = {(item, "a"): [30, 10, 10] for item in items} | {(item, "b"): [5, 5, 15] for item in items}
    people = PopulationVariance(kit.build(kit.World(items, groups, counts)))
    # Mean positions .3 and .7; variances within .16 and .16, of 50 and 25 people.
    found = people.means("Q", groups)
    assert found.value == pytest.approx(0.4**2 / 2 - (0.16 / 49 + 0.16 / 24) / 2)
    assert found.redraws is None
    shares = [[0.6, 0.2, 0.2], [0.2, 0.2, 0.6]]
    own = [(1 - sum(s * s for s in row)) / 2 for row in shares]
    assert people.means("N", groups).value == pytest.approx(between(shares) / 2 - (own[0] / 49 + own[1] / 24) / 2)
    assert people.modes("Q", groups) is None
    assert people.means("Q", ["a"]) is None


def test_pairs_without_their_redraws_are_refused(kit):
    world = kit.random_world(1, shares=4)
    data = kit.build(world)
    item = next(iter(world.items))
    first = f"{item}_{subgroups_of(world, item)[0]}"
    broken = data.mode_draws.with_columns(draws=pl.when(pl.col("pair_id") == first).then(pl.col("draws").list.head(2)).otherwise("draws"))
    people = PopulationVariance(SimpleNamespace(gold=data.gold, items=data.items, mode_draws=broken, codes_of=data.codes_of))
    with pytest.raises(InputDataError, match=f"column draws: 1 of .* first '{first}'"):
        people.modes(item, subgroups_of(world, item))


# A world of people whose mean position is planted; subgroups share no one.
ITEMS, GROUPS, PEOPLE, REDRAWS = 40, 12, 60, 40
PLANTED = 0.02


@pytest.fixture(scope="module")
def planted(kit):
    """Yes or no, the chance of a yes .5 +- sqrt(.02): counts of 60 people a subgroup, redraws of these."""
    rng = np.random.default_rng(8)
    items = {f"Q{i}": ("t", "binary", [0, 1]) for i in range(ITEMS)}
    groups = {f"g{g}": ("g", {"g": f"g{g}"}) for g in range(GROUPS)}
    truth = {}
    for item in items:
        signs = rng.permutation(np.repeat([-1, 1], GROUPS // 2))
        # Equal numbers above and below: the sample variance over the subgroups is then PLANTED itself.
        away = np.sqrt(PLANTED * (GROUPS - 1) / GROUPS)
        truth |= {(item, group): 0.5 + away * sign for group, sign in zip(groups, signs, strict=True)}
    yes = {pair: int(rng.binomial(PEOPLE, p)) for pair, p in truth.items()}
    counts = {pair: [PEOPLE - n, n] for pair, n in yes.items()}
    redrawn = {pair: rng.binomial(PEOPLE, n / PEOPLE, REDRAWS) for pair, n in yes.items()}
    # A step is .01 of the share.
    steps = {
        pair: [[-round(100 * (d - yes[pair]) / PEOPLE), round(100 * (d - yes[pair]) / PEOPLE)] for d in drawn]
        for pair, drawn in redrawn.items()
    }
    draws = {pair: [int(2 * d > PEOPLE) for d in drawn] for pair, drawn in redrawn.items()}
    data = kit.build(kit.World(items, groups, counts, draws, share_steps=steps))
    return SimpleNamespace(data=data, truth=truth, yes=yes)


def told(kit, chances, name="m"):
    """A model that states these chances of a yes, whatever order it is shown."""
    rows = [
        {"item": item, "subgroup": group, "elicitation": "logprob", "option_probs": [1 - p, p], "answer": int(p >= 0.5), "order": order}
        for (item, group), p in chances.items()
        for order in ("scale", "reversed")
    ]
    return SimpleNamespace(name=name, meta=META, responses=kit.respond(rows))


def row_of(table, component, against=None):
    kept = table.filter(
        (pl.col("by") == "all") & (pl.col("component") == component) & pl.col("against").eq_missing(pl.lit(against, pl.String))
    )
    assert len(kept) == 1
    return kept.row(0, named=True)


def test_people_of_planted_differences_are_found(kit, planted):
    table = variance(planted.data, [told(kit, planted.truth)], by=["all"])
    gold, persona = row_of(table, "gold"), row_of(table, "persona")
    assert persona["variance"] == pytest.approx(PLANTED)
    assert gold["ci_low"] < PLANTED < gold["ci_high"]
    # The noise of 60 people, .004, would be seen: without its correction the interval misses.
    raw = np.mean([between([planted.yes[item, g] / PEOPLE for i, g in planted.yes if i == item]) for item in planted.data.codes_of])
    assert raw > gold["ci_high"]
    beside = row_of(table, "persona", "gold")
    assert beside["ci_low"] < 0 < beside["ci_high"]
    assert 0.8 < beside["share_low"] < 1 < beside["share_high"] < 1.25


def test_a_persona_that_moves_the_answer_half_as_far_is_seen_to(kit, planted):
    halved = {pair: 0.5 + (p - 0.5) / 2 for pair, p in planted.truth.items()}
    table = variance(planted.data, [told(kit, halved)], by=["all"])
    beside = row_of(table, "persona", "gold")
    # Half as far is a quarter of the variance.
    assert beside["share_low"] < 0.25 < beside["share_high"] < 0.5
    assert beside["ci_high"] < 0


def test_redraws_widen_the_interval_of_people_and_of_nothing_else(kit, planted):
    run = told(kit, planted.truth)
    bare = SimpleNamespace(
        gold=planted.data.gold, items=planted.data.items, mode_draws=planted.data.mode_draws.clear(), codes_of=planted.data.codes_of
    )
    with_redraws, without = (variance(data, [run], by=["all"], bootstrap=400) for data in (planted.data, bare))
    assert row_of(with_redraws, "persona") == row_of(without, "persona")
    wide, narrow = (row_of(table, "gold") for table in (with_redraws, without))
    assert wide["variance"] == pytest.approx(narrow["variance"], abs=1e-3)
    assert wide["ci_high"] - wide["ci_low"] >= narrow["ci_high"] - narrow["ci_low"]
    assert "no redraws in the data set" in narrow["note"]
    assert wide["note"] is None
    assert row_of(without, "gold modes")["variance"] is None
    assert "redraws of their modes" in row_of(without, "gold modes")["note"]
