"""Shuffled personas: a permutation within each stratum that changes as many levels as possible."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valuestrata.prompts.persona import Persona, Trait
from valuestrata.respondents.controls.permutation import Shuffle, ShuffleCounts, shuffle_personas

ATTRIBUTES = ("sex", "age", "religion")


def cells(stratum: str, *combinations: tuple[str, ...], phrases: dict[str, str] | None = None) -> tuple[dict[str, Persona], dict[str, str]]:
    """Return the personas of a stratum's cells by id, and the stratum of each."""
    known = phrases or {}
    personas = {
        f"{stratum}_{'_'.join(levels)}": Persona(
            tuple(Trait(name, name, level, known.get(level)) for name, level in zip(ATTRIBUTES, levels, strict=False)), "Utopia"
        )
        for levels in combinations
    }
    return personas, dict.fromkeys(personas, stratum)


def levels_of(persona: Persona) -> list[str]:
    return [trait.label for trait in persona.traits]


def changed(personas: dict[str, Persona], done: Shuffle) -> list[int]:
    """Count the levels that changed in every cell, from the personas alone."""
    pairs = ((personas[cell], personas[source]) for cell, source in done.source.items() if personas[cell].traits)
    return [sum(a != b for a, b in zip(levels_of(mine), levels_of(theirs), strict=True)) for mine, theirs in pairs]


def test_two_by_three_cells_change_in_both_levels():
    personas, stratum_of = cells("sex_x_age", *itertools.product(["Female", "Male"], ["young", "middle", "old"]))
    for seed in range(20):
        done = shuffle_personas(personas, stratum_of, seed)
        assert changed(personas, done) == [2] * 6
        assert done.counts == {"sex_x_age": ShuffleCounts(6, 6, 12, 12)}
        assert sorted(done.source.values()) == sorted(personas)


def test_the_ways_to_do_it_are_all_drawn():
    # Of 2 x 3 cells each of one sex goes to the other with another age: 2 derangements of the ages each way, 4 in all.
    personas, stratum_of = cells("sex_x_age", *itertools.product(["Female", "Male"], ["young", "middle", "old"]))
    drawn = {tuple(shuffle_personas(personas, stratum_of, seed).source.items()) for seed in range(60)}
    assert len(drawn) == 4


def test_levels_of_one_attribute_are_deranged():
    personas, stratum_of = cells("sex", *((level,) for level in "abcdefg"))
    done = shuffle_personas(personas, stratum_of, 3)
    assert changed(personas, done) == [1] * 7
    assert done.counts["sex"].share_of_levels == 1


def test_a_lone_cell_stays_and_the_share_says_so():
    personas, stratum_of = cells("sex_x_age", ("Female", "young"))
    done = shuffle_personas(personas, stratum_of, 0)
    assert done.source == {"sex_x_age_Female_young": "sex_x_age_Female_young"}
    assert done.counts == {"sex_x_age": ShuffleCounts(1, 0, 2, 0)}
    assert (done.counts["sex_x_age"].share_of_cells, done.counts["sex_x_age"].share_of_levels) == (0, 0)


def test_three_cells_of_a_square_change_four_levels_of_six():
    # Male-old is missing, so only Female-old and Male-young can take each other's place wholly: 4 levels change when they
    # do and Female-young stays, or when all three move round (1 + 2 + 1). The first has more cells that change wholly.
    personas, stratum_of = cells("sex_x_age", ("Female", "young"), ("Female", "old"), ("Male", "young"))
    done = shuffle_personas(personas, stratum_of, 0)
    assert done.counts == {"sex_x_age": ShuffleCounts(3, 2, 6, 4)}
    assert done.source["sex_x_age_Female_young"] == "sex_x_age_Female_young"


def test_a_level_that_every_cell_shares_cannot_change():
    personas, stratum_of = cells("sex_x_age", ("Female", "young"), ("Female", "middle"), ("Female", "old"))
    done = shuffle_personas(personas, stratum_of, 0)
    assert changed(personas, done) == [1, 1, 1]
    assert done.counts == {"sex_x_age": ShuffleCounts(3, 0, 6, 3)}


def test_levels_with_the_same_wording_have_not_changed():
    personas, stratum_of = cells("sex", ("SG: Malay",), ("MY: Malay",), ("SG: Others",), ("MY: Chinese",))
    for seed in range(10):
        done = shuffle_personas(personas, stratum_of, seed)
        assert done.counts == {"sex": ShuffleCounts(4, 4, 4, 4)}
        assert {done.source["sex_SG: Malay"], done.source["sex_MY: Malay"]} == {"sex_SG: Others", "sex_MY: Chinese"}
    personas, stratum_of = cells("sex", ("Roman Catholic",), ("Catholic",), phrases={"Roman Catholic": "Catholic", "Catholic": "Catholic"})
    assert shuffle_personas(personas, stratum_of, 0).counts == {"sex": ShuffleCounts(2, 0, 2, 0)}


def test_everyone_stays_everyone():
    personas, stratum_of = cells("sex", ("Male",), ("Female",))
    personas = {"all": Persona((), "Utopia"), **personas}
    done = shuffle_personas(personas, {"all": "all", **stratum_of}, 0)
    assert list(done.source) == list(personas)
    assert done.source == {"all": "all", "sex_Male": "sex_Female", "sex_Female": "sex_Male"}
    assert list(done.counts) == ["sex"]


def test_counts_add_up():
    assert ShuffleCounts(2, 1, 4, 3) + ShuffleCounts(3, 3, 3, 3) == ShuffleCounts(5, 4, 7, 6)


grids = st.integers(1, 3).flatmap(
    lambda attributes: st.sets(st.tuples(*[st.sampled_from("abc")] * attributes), min_size=1, max_size=6).map(
        lambda found: [*map(tuple, found)]
    )
)


@settings(max_examples=120, deadline=None)
@given(grids, st.integers(-5, 10**6))
def test_no_permutation_changes_more(grid, seed):
    personas, stratum_of = cells("s", *grid)
    done = shuffle_personas(personas, stratum_of, seed)
    assert sorted(done.source) == sorted(done.source.values()) == sorted(personas)
    found = changed(personas, done)
    per_cell = len(grid[0])

    def score(permutation):
        counts = [sum(a != b for a, b in zip(mine, theirs, strict=True)) for mine, theirs in zip(grid, permutation, strict=True)]
        return sum(counts), counts.count(per_cell)

    best = max(map(score, itertools.permutations(grid)))
    assert (sum(found), found.count(per_cell)) == best
    assert done.counts["s"] == ShuffleCounts(len(grid), best[1], len(grid) * per_cell, best[0])
    if best[0] == len(grid) * per_cell:  # a permutation that changes everything exists
        assert set(found) == {per_cell}


@settings(max_examples=40, deadline=None)
@given(grids, st.integers(0, 1000), st.randoms(use_true_random=False))
def test_the_draw_depends_on_the_seed_and_the_cells_alone(grid, seed, order):
    personas, stratum_of = cells("s", *grid)
    other, other_stratum = cells("other", ("x", "y"), ("y", "x"))
    mixed = list((personas | other).items())
    order.shuffle(mixed)
    alone, among = shuffle_personas(personas, stratum_of, seed), shuffle_personas(dict(mixed), stratum_of | other_stratum, seed)
    assert alone.source == {cell: source for cell, source in among.source.items() if cell in personas}
    assert alone.counts["s"] == among.counts["s"]


@pytest.mark.parametrize("sizes", [(12, 14), (5, 6, 7)])
def test_large_strata_are_deranged(sizes):
    personas, stratum_of = cells(
        "s", *itertools.product(*([f"{name}{at}" for at in range(size)] for name, size in zip("abc", sizes, strict=False)))
    )
    done = shuffle_personas(personas, stratum_of, 1)
    assert done.counts["s"].share_of_cells == 1
    assert set(changed(personas, done)) == {len(sizes)}
