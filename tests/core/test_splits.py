"""Every scheme against its definition, on random attributes, strata and items; what it refuses, and in which words."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.people import attribute, item, random_survey, survey
from valuestrata.building import BuildSettings, build, paper_preset, preview
from valuestrata.dataset.tables import half_of, load_dataset, write_dataset
from valuestrata.errors import InputDataError, UsageError
from valuestrata.splits import SCHEMES, make_splits, paper, transfer, unseen_both, unseen_item, unseen_level
from valuestrata.splits.schemes import deal

LOOSE = BuildSettings(min_respondents=1, min_valid=1, draws=10)
NAMES = ("age_group", "sex", "religion", "area")


class World:
    """Pairs, subgroups, items and attributes as `make_splits` takes them, and the same as plain Python.

    levels: subgroup -> {attribute: label}. topic: item -> topic. pairs: list of (item, subgroup).
    """

    def __init__(self, attributes, subgroups, topics, pairs):
        self.attributes = [attribute(name, labels) for name, labels in attributes.items()]
        self.levels = {"_".join(["_x_".join(its), *its.values()]): its for its in subgroups}
        self.topic = topics
        self.pairs = [(i, s) for i, s in itertools.product(topics, self.levels) if (i, s) in pairs or not pairs]
        self.frame = pl.DataFrame(
            [{"pair_id": f"{i}_{s}", "item": i, "subgroup": s} for i, s in self.pairs],
            schema=dict.fromkeys(("pair_id", "item", "subgroup"), pl.String),
        )
        columns = dict.fromkeys(("subgroup", *attributes), pl.String)
        self.subgroups = pl.DataFrame([{"subgroup": s, **its} for s, its in self.levels.items()], schema=columns)
        self.items = pl.DataFrame({"item": list(topics), "topic": list(topics.values())}, schema={"item": pl.String, "topic": pl.String})

    def sides(self, fold):
        """Return the pairs that train and those that test."""
        return ({pair for pair, inside in zip(self.pairs, mask, strict=True) if inside} for mask in (fold.train, fold.test))


@st.composite
def worlds(draw, fewest=1):
    """Some cells of some attributes, alone, in pairs and in threes, and some of their pairs with some items."""
    names = draw(st.permutations(NAMES))[: draw(st.integers(fewest, 4))]
    levels = {name: [f"{name} {i}" for i in range(draw(st.integers(1, 3)))] for name in names}
    cells = [
        dict(zip(chosen, its, strict=True))
        for size in (1, 2, 3)
        for chosen in itertools.combinations(names, size)
        for its in itertools.product(*(levels[name] for name in chosen))
    ]
    kept = draw(st.lists(st.sampled_from(range(len(cells))), min_size=1, unique=True).map(sorted))
    topics = {f"Q{i}": f"topic {draw(st.integers(0, 6))}" for i in range(draw(st.integers(1, 8)))}
    every = World(levels, [cells[i] for i in kept], topics, set())
    pairs = draw(st.sets(st.sampled_from(every.pairs), min_size=1))
    return World(levels, [cells[i] for i in kept], topics, pairs)


def whole(attributes=("sex", "age_group", "religion"), levels=2, topics=6, items=6):
    """A world that has every cell of every attribute and pair of attributes, with every item."""
    labels = {name: [f"{name} {i}" for i in range(levels)] for name in attributes}
    singles = [{name: label} for name in labels for label in labels[name]]
    crossed = [{a: x, b: y} for a, b in itertools.combinations(labels, 2) for x in labels[a] for y in labels[b]]
    return World(labels, singles + crossed, {f"Q{i}": f"topic {i % topics}" for i in range(items)}, set())


def every_scheme(world, seed=0):
    about = (world.frame, world.subgroups, world.attributes)
    return (
        paper(*about),
        unseen_level(*about),
        unseen_item(world.frame, world.items, seed=seed),
        unseen_both(*about, world.items, seed=seed),
        transfer(world.frame),
    )


@settings(max_examples=60, deadline=None)
@given(worlds(), st.integers(0, 5))
def test_no_pair_is_on_both_sides_and_no_side_is_empty(world, seed):
    for scheme in every_scheme(world, seed):
        assert (scheme.refused is None) == bool(scheme.folds)
        for fold in scheme.folds:
            assert not (fold.train & fold.test).any()
            assert fold.test.any()
            assert fold.train.any() or scheme.name == "transfer"


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_paper_trains_singles_and_anchored_pairs_and_tests_the_other_pairs(world):
    names = [a.name for a in world.attributes]
    anchor = "sex" if "sex" in names else names[0]
    train, test = set(), set()
    for pair in world.pairs:
        used = set(world.levels[pair[1]])
        if len(used) == 1 or (len(used) == 2 and anchor in used):
            train.add(pair)
        elif len(used) == 2:
            test.add(pair)
    scheme = paper(world.frame, world.subgroups, world.attributes)
    if len(names) < 3 or not train or not test:
        assert scheme.refused
        return
    (fold,) = scheme.folds
    assert tuple(world.sides(fold)) == (train, test)
    # A tested combination trains with no item at all.
    assert not {s for _, s in train} & {s for _, s in test}


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_unseen_level_tests_every_cell_of_the_level_and_trains_on_none(world):
    present = {a.name: {its[a.name] for _, s in world.pairs if a.name in (its := world.levels[s])} for a in world.attributes}
    scheme = unseen_level(world.frame, world.subgroups, world.attributes)
    expected = [(a.name, level.label) for a in world.attributes for level in a.levels if level.label in present[a.name]]
    alone = {(name, label) for name, label in expected if len(present[name]) == 1}
    held_out = [(fold.held_out["attribute"], fold.held_out["level"]) for fold in scheme.folds]
    assert held_out == [one for one in expected if one not in alone]
    for fold in scheme.folds:
        name, label = fold.held_out["attribute"], fold.held_out["level"]
        train, test = world.sides(fold)
        assert test == {pair for pair in world.pairs if world.levels[pair[1]].get(name) == label}
        assert train == set(world.pairs) - test
        assert fold.label == f"{name} = {label}"
    # What has no fold is named with its reason.
    for name, label in alone:
        assert "no other level" in scheme.left_out[f"{name} = {label}"]
    for a in world.attributes:
        for level in a.levels:
            if present[a.name] and len(present[a.name]) > 1 and level.label not in present[a.name]:
                assert f"{a.name} = {level.label}" in scheme.left_out
        if not present[a.name]:
            assert a.name in scheme.left_out


@settings(max_examples=100, deadline=None)
@given(worlds(), st.integers(0, 5))
def test_unseen_item_tests_each_pair_once_and_trains_on_no_other_pair_of_its_items(world, seed):
    scheme = unseen_item(world.frame, world.items, seed=seed)
    asked = {i for i, _ in world.pairs}
    if len(asked) == 1:
        assert scheme.refused
        return
    topics = {world.topic[i] for i in asked}
    by_topic = len(topics) >= 5
    assert len(scheme.folds) == (5 if by_topic else min(5, len(asked)))
    tested = [pair for fold in scheme.folds for pair in list(world.sides(fold))[1]]
    assert sorted(tested) == sorted(world.pairs)
    for fold in scheme.folds:
        train, test = world.sides(fold)
        assert train | test == set(world.pairs)
        held = {world.topic[i] if by_topic else i for i, _ in test}
        assert held == set(fold.held_out["topics" if by_topic else "items"])
        assert held.isdisjoint(world.topic[i] if by_topic else i for i, _ in train)
    if by_topic:
        assert scheme.note is None
    else:
        assert scheme.note is not None
        assert f"by item, not by topic: the items with pairs have {len(topics)} topic" in scheme.note


@settings(max_examples=100, deadline=None)
@given(worlds(fewest=3), st.integers(0, 5))
def test_unseen_both_is_the_test_items_in_the_unseen_combinations(world, seed):
    of_paper = paper(world.frame, world.subgroups, world.attributes)
    scheme = unseen_both(world.frame, world.subgroups, world.attributes, world.items, seed=seed)
    if of_paper.refused:
        assert of_paper.refused in scheme.refused
        return
    trained, combinations = ({s for _, s in side} for side in world.sides(of_paper.folds[0]))
    asked = {i for i, _ in world.pairs}
    by_topic = len({world.topic[i] for i in asked}) >= 5
    for fold in scheme.folds:
        train, test = world.sides(fold)
        held = {i for i in asked if (world.topic[i] if by_topic else i) in fold.held_out["topics" if by_topic else "items"]}
        assert test == {(i, s) for i, s in world.pairs if i in held and s in combinations}
        assert train == {(i, s) for i, s in world.pairs if i not in held and s in trained}
    # Every unseen combination tests with all of its items, but where a fold lacked a side; those folds are named.
    tested = set().union(*(list(world.sides(fold))[1] for fold in scheme.folds))
    missing = {(i, s) for i, s in world.pairs if s in combinations} - tested
    lost = {name for label, why in scheme.left_out.items() if "no training" in why for name in label.split("; ")}
    assert {world.topic[i] if by_topic else i for i, _ in missing} <= lost


@settings(max_examples=30, deadline=None)
@given(worlds())
def test_transfer_tests_every_pair(world):
    (fold,) = transfer(world.frame).folds
    assert fold.test.all()
    assert not fold.train.any()


def fullest(heaps, hands):
    """Return the content of the fullest hand under the best dealing, by trying all of them."""
    return min(
        max(sum(size for size, hand in zip(heaps, dealt, strict=True) if hand == one) for one in range(hands))
        for dealt in itertools.product(range(hands), repeat=len(heaps))
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(2, 3), st.integers(0, 5))
def test_dealing_is_even_within_the_bound_of_graham(sizes, hands, seed):
    heaps = {f"h{i}": size for i, size in enumerate(sizes)}
    dealt = deal(heaps, hands, seed=seed)
    assert sorted(name for hand in dealt for name in hand) == sorted(heaps)
    assert all(dealt)
    held = max(sum(heaps[name] for name in hand) for hand in dealt)
    assert held <= (4 / 3 - 1 / (3 * hands)) * fullest(sizes, hands) + 1e-9


def test_folds_by_topic_hold_about_as_many_items():
    # Six topics of 10, 6, 5, 4, 3, 2 items go to five folds: the two smallest share one.
    sizes = {"a": 10, "b": 6, "c": 5, "d": 4, "e": 3, "f": 2}
    assert [sorted(hand) for hand in deal(sizes, 5, seed=3)] == [["a"], ["b"], ["c"], ["d"], ["e", "f"]]


def test_the_seed_deals_equal_topics_anew():
    world = whole(topics=12, items=12)
    dealings = {tuple(fold.label for fold in unseen_item(world.frame, world.items, seed=seed).folds) for seed in range(5)}
    assert len(dealings) == 5
    assert len(unseen_item(world.frame, world.items, seed=1).folds) == 5


def table_of(world, seed=42):
    return make_splits(world.frame, world.subgroups, world.items, world.attributes, seed=seed)


@settings(max_examples=30, deadline=None)
@given(worlds(), st.integers(0, 100))
def test_validation_pairs_come_from_train_by_seed(world, seed):
    rows, described = table_of(world, seed)
    assert set(described) == set(SCHEMES)
    schemes = {scheme.name: scheme for scheme in every_scheme(world, seed)}
    for name, about in described.items():
        of_scheme = rows.filter(pl.col("scheme") == name)
        if "refused" in about:
            assert of_scheme.is_empty()
            continue
        assert len(about["folds"]) == len(about["pairs"]) == len(about["held_out"]) == of_scheme["fold"].n_unique()
        for number, fold in enumerate(schemes[name].folds):
            part = {
                key: set(frame.select("item", "subgroup").iter_rows())
                for (key,), frame in of_scheme.filter(pl.col("fold") == number).partition_by("part", as_dict=True).items()
            }
            train, test = world.sides(fold)
            validation = part.get("validation", set())
            assert part["test"] == test
            assert part.get("train", set()) | validation == train
            assert not part.get("train", set()) & validation
            assert len(validation) == len(train) // 10
            assert about["pairs"][number] == {key: len(part.get(key, ())) for key in ("train", "validation", "test")}
    assert rows.equals(table_of(world, seed)[0])


def test_validation_pairs_are_500_at_most_and_another_draw_in_each_fold_and_seed():
    world = whole(levels=5, items=100)
    rows, _ = table_of(world)
    drawn = {
        (scheme, fold): set(frame["pair_id"])
        for (scheme, fold), frame in rows.filter(pl.col("part") == "validation").group_by("scheme", "fold")
    }
    # 15 single and 50 anchored cells with 100 items: 6,500 pairs train, of which a tenth would be more.
    assert len(drawn["paper", 0]) == 500
    assert {len(pairs) for (scheme, _), pairs in drawn.items() if scheme == "unseen-level"} == {500}
    # Each fold draws anew: of as many training pairs, not those in the same places.
    places = []
    for fold in (0, 1):
        part = rows.filter((pl.col("scheme") == "unseen-level") & (pl.col("fold") == fold) & (pl.col("part") != "test"))["part"]
        places.append((part == "validation").arg_true().to_list())
    assert len(places[0]) == len(places[1])
    assert places[0] != places[1]
    other = table_of(world, 43)[0].filter((pl.col("part") == "validation") & (pl.col("scheme") == "paper"))
    assert set(other["pair_id"]) != drawn["paper", 0]
    test = [frame.filter((pl.col("part") == "test") & (pl.col("scheme") == "paper"))["pair_id"] for frame in (rows, table_of(world, 43)[0])]
    assert test[0].equals(test[1])


def test_fewer_than_three_attributes_have_no_paper_split():
    world = whole(attributes=("sex", "age_group"))
    rows, described = table_of(world)
    assert "at least three attributes" in described["paper"]["refused"]
    assert "has 2: sex, age_group" in described["paper"]["refused"]
    assert described["unseen-both"]["refused"].startswith("It needs the subgroups of the paper split")
    assert rows["scheme"].unique(maintain_order=True).to_list() == ["unseen-level", "unseen-item", "transfer"]


def test_the_anchor_is_the_first_attribute_where_there_is_no_sex():
    world = whole(attributes=("area", "religion", "age_group"))
    (fold,) = paper(world.frame, world.subgroups, world.attributes).folds
    assert fold.label == "pair strata without area"
    assert {frozenset(world.levels[s]) for _, s in list(world.sides(fold))[1]} == {frozenset({"religion", "age_group"})}


def test_an_attribute_of_one_level_is_no_fold_and_no_new_combination():
    labels = {"sex": ["m", "f"], "age_group": ["y", "o"], "religion": ["none"]}
    cells = [{"sex": "m"}, {"sex": "f"}, {"age_group": "y"}, {"age_group": "o"}, {"religion": "none"}]
    cells += [{"age_group": age, "religion": "none"} for age in "yo"] + [{"sex": "f", "religion": "none"}]
    world = World(labels, cells, {"Q1": "a", "Q2": "b"}, set())
    scheme = unseen_level(world.frame, world.subgroups, world.attributes)
    assert [fold.label for fold in scheme.folds] == ["sex = m", "sex = f", "age_group = y", "age_group = o"]
    assert list(scheme.left_out) == ["religion = none"]
    about = "Only one level has pairs in religion (none): 4 of 4 test pairs cross it and are not new combinations of levels."
    assert paper(world.frame, world.subgroups, world.attributes).note == about
    both = unseen_both(world.frame, world.subgroups, world.attributes, world.items, seed=0)
    assert both.note is not None
    assert both.note.startswith(about)
    assert "by item, not by topic" in both.note


def test_an_anchor_of_one_level_is_not_noted_for_it_is_never_tested():
    labels = {"sex": ["f"], "age_group": ["y", "o"], "religion": ["a", "b"]}
    cells = [{"sex": "f"}, {"age_group": "y"}, {"religion": "a"}, *({"age_group": x, "religion": y} for x in "yo" for y in "ab")]
    world = World(labels, cells, {"Q1": "a"}, set())
    assert paper(world.frame, world.subgroups, world.attributes).note is None


def test_a_survey_whose_attributes_all_have_one_level_has_no_unseen_level():
    world = whole(levels=1)
    scheme = unseen_level(world.frame, world.subgroups, world.attributes)
    assert not scheme.folds
    for name in ("sex", "age_group", "religion"):
        assert f"{name} = {name} 0: no other level of {name} has pairs" in scheme.refused


def test_an_empty_side_is_refused_with_its_name():
    world = World({"sex": ["m"], "age_group": ["y"], "religion": ["a"]}, [{"sex": "m"}, {"age_group": "y"}], {"Q1": "t"}, set())
    refused = paper(world.frame, world.subgroups, world.attributes).refused
    assert "No fold of paper has both training and test pairs (pair strata without sex: no test pairs)" in refused
    assert "more strata" in refused
    assert "no training" in unseen_item(world.frame, world.items, seed=0).refused
    only_tests = World({"sex": ["m"], "age_group": ["y"], "religion": ["a"]}, [{"age_group": "y", "religion": "a"}], {"Q1": "t"}, set())
    assert "no training" in paper(only_tests.frame, only_tests.subgroups, only_tests.attributes).refused


def test_a_user_who_asks_for_what_is_not_there_is_told_why(tmp_path):
    write_dataset(build(random_survey(100, 4, attributes=2), LOOSE), tmp_path / "two")
    two = load_dataset(tmp_path / "two")
    for scheme in ("paper", "paper+disjoint", "unseen-both"):
        with pytest.raises(
            InputDataError, match=rf"two: the split '{scheme.replace('+', '[+]')}' is not available.*at least three attributes"
        ) as refused:
            two.part(scheme, "test")
        assert str(refused.value).endswith("each also with +disjoint or +crossfit. Choose one with `split='unseen-level'`.")
        with pytest.raises(InputDataError, match="at least three attributes"):
            two.fold_labels(scheme)
    held = r"Splits of .*two: unseen-level, unseen-item, transfer, each also with \+disjoint or \+crossfit\."
    for word, meant in (("papers", "paper"), ("paper+disjont", r"paper\+disjoint"), ("unseen-levle+disjoint", r"unseen-level\+disjoint")):
        for refused in (lambda word=word: two.part(word, "test"), lambda word=word: two.fold_labels(word)):
            with pytest.raises(UsageError, match=rf"There is no split '.*'\. Did you mean '{meant}'\? {held}"):
                refused()
    with pytest.raises(UsageError, match=r"no fold 9. Available folds: 0, 1, 2, 3, 4\."):
        two.part("unseen-level", "test", fold=9)
    with pytest.raises(UsageError, match="Did you mean 'test'"):
        two.part("unseen-level", "tests")
    assert two.remarks == [
        f"Split paper is not available: {two.meta['splits']['paper']['refused']}",
        f"Split unseen-both is not available: {two.meta['splits']['unseen-both']['refused']}",
        "Split unseen-item: Folds are by item, not by topic: the items with pairs have 1 topic, and folds by topic need 5. "
        "Training includes other items of a test item's topic.",
    ]
    with pytest.raises(InputDataError, match=r"made\.csv: `preset='paper'`: The paper split needs at least three attributes"):
        build(random_survey(100, 4, attributes=2), paper_preset(LOOSE))


def test_disjoint_has_the_pairs_of_its_scheme_and_the_gold_of_one_half_each():
    made = build(random_survey(300, 4), LOOSE)
    for scheme in SCHEMES:
        assert made.part(f"{scheme}+disjoint", "all").equals(made.part(scheme, "all"))
        assert made.fold_labels(f"{scheme}+disjoint") == made.fold_labels(scheme)
    assert [half_of("paper+disjoint", part) for part in ("train", "validation", "test")] == ["A", "A", "B"]
    assert {half_of(scheme, part) for scheme in SCHEMES for part in ("train", "validation", "test")} == {"all"}
    with pytest.raises(UsageError, match="expected one of train, validation, test"):
        half_of("paper+disjoint", "all")


def test_the_halves_are_different_people():
    """Each person has an own weight, a power of two, so that the weighted counts of a half say who is in it."""
    people = 40
    weight = 2.0 ** np.arange(people)
    made = build(
        survey(
            [item("Q1", 2)], [attribute("sex", ["m", "f"])], [[i % 2] for i in range(people)], [[i // 2 % 2] for i in range(people)], weight
        ),
        BuildSettings(min_respondents=1, min_valid=0, draws=5),
    )
    who = {}
    for half, subgroup, counts in made.gold.select("half", "subgroup", "counts_weighted").iter_rows():
        who[half, subgroup] = {i for i in range(people) if int(sum(counts)) >> i & 1}
    for subgroup, its in (("all", set(range(people))), ("sex_m", {i for i in range(people) if i // 2 % 2 == 0})):
        assert who["all", subgroup] == its
        assert who["A", subgroup] | who["B", subgroup] == its
        assert not who["A", subgroup] & who["B", subgroup]
    assert len(who["A", "all"]) == len(who["B", "all"]) == people // 2
    assert who["A", "sex_m"] <= who["A", "all"]


def test_strata_without_a_cell_are_named_with_the_reason():
    # 60 people, 30 of each sex and of each age; the crossed cells have 15 each. Nobody's area is known; one religion.
    attributes = [
        attribute("sex", ["m", "f"]),
        attribute("age_group", ["y", "o"], "age"),
        attribute("religion", ["none", "other"]),
        attribute("area", ["town"]),
    ]
    levels = [[i % 2, i // 2 % 2, 0 if i < 55 else 1, -1] for i in range(60)]
    people = survey([item("Q1", 2), item("Q2", 2)], attributes, [[0, 0 if i < 20 else -1] for i in range(60)], levels)
    choice = BuildSettings(min_respondents=25, min_valid=25, draws=5)
    made = build(people, choice)
    note = {row["stratum"]: row["note"] for row in made.meta["strata"]}
    too_small = "no cell has 25 respondents (the largest of 4 has 15)"
    assert note["sex"] is None
    assert note["sex_x_age"] == too_small
    assert note["area"] == note["sex_x_area"] == "no respondent has a known level of all its attributes"
    assert note["religion"] == "one level only (religion: 'none'): it cannot distinguish subgroups"
    assert note["sex_x_religion"] == note["religion"]
    assert f"Stratum sex_x_age: {too_small}." in made.remarks
    assert f"Split paper: {made.meta['splits']['paper']['note']}" in made.remarks
    # Q2 has no pair, so that a single item is left.
    assert any(line.startswith("Split unseen-item is not available: ") and "no training" in line for line in made.remarks)
    assert f"Strata area, sex_x_area, age_x_area, religion_x_area: {note['area']}." in made.remarks
    assert not any(line.startswith("Stratum sex:") for line in made.remarks)
    # What is left to test crosses the one religion that is left.
    assert made.meta["splits"]["paper"]["note"].startswith("Only one level has pairs in religion (none): 2 of 2 test pairs")
    # The same before the build.
    table = preview(people, choice)
    assert table.to_dicts() == made.meta["strata"]
    # Q2 has 20 answers in all.
    assert dict(table.select("stratum", "pairs_dropped").iter_rows())["sex"] == 2
    with pytest.raises(InputDataError, match="no subgroup has 25 respondents"):
        build(people, BuildSettings(strata=("sex_x_age",), min_respondents=25, draws=5))


def test_a_stratum_without_enough_answers_is_named():
    # All sixty men and women are enough; of the answers to the only item the women gave 9.
    answers = [[0] if i < 30 or i >= 51 else [-1] for i in range(60)]
    people = survey(
        [item("Q1", 2)],
        [attribute("sex", ["m", "f"]), attribute("age_group", ["y"])],
        answers,
        [[i // 30, 0 if i >= 30 else -1] for i in range(60)],
    )
    made = build(people, BuildSettings(min_respondents=30, min_valid=20, draws=5))
    note = {row["stratum"]: (row["cells_kept"], row["pairs_kept"], row["note"]) for row in made.meta["strata"]}
    assert note["sex"] == (2, 1, None)
    assert note["age_group"] == (1, 0, "no pair has 20 valid answers")
