"""Option orders: a shuffle is a permutation that depends on its seed and the pair alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestrata.errors import UsageError
from valuestrata.prompts.orders import arranged, orders_from, seed_of
from valuestrata.prompts.question import Question, options_text, printed_numbers

CODES = st.lists(st.integers(-5, 20), min_size=2, max_size=12, unique=True).map(sorted)
ORDERS = st.one_of(st.sampled_from(["scale", "reversed"]), st.integers(0, 10**9).map("shuffled-{}".format))


def test_specs_are_read():
    assert orders_from("scale") == ("scale",)
    assert orders_from("scale, reversed") == ("scale", "reversed")
    assert orders_from("shuffled:3") == ("shuffled-0", "shuffled-1", "shuffled-2")
    assert orders_from("scale,shuffled-7") == ("scale", "shuffled-7")
    assert [seed_of(order) for order in ("scale", "reversed", "shuffled-7")] == [None, None, 7]


@pytest.mark.parametrize("spec", ["", "scales", "shuffled:0", "shuffled:99999999", "scale,scale", "shuffled:2,shuffled-1", "shuffled-x"])
def test_other_specs_are_refused(spec):
    with pytest.raises(UsageError):
        orders_from(spec)


def test_a_misspelt_order_is_suggested():
    with pytest.raises(UsageError, match="Did you mean 'reversed'"):
        orders_from("reverse")


@given(CODES, ORDERS, st.text(max_size=20), st.booleans())
def test_every_order_shows_each_code_once_and_its_numbers_lead_back(codes, order, pair_id, numeric):
    shown = arranged(codes, order, pair_id, numeric=numeric)
    numbers = printed_numbers(shown, order)
    assert sorted(shown) == codes
    assert shown == arranged(codes, order, pair_id, numeric=numeric)
    assert len(set(numbers)) == len(codes)
    if order == "scale" and codes[0] >= 0:
        assert [int(number) for number in numbers] == list(shown)
    else:
        assert [shown[int(number) - 1] for number in numbers] == list(shown)
    if numeric:
        assert list(shown) in (codes, codes[::-1])


@given(CODES, ORDERS)
def test_each_line_bears_the_label_of_the_code_its_number_leads_to(codes, order):
    question = Question("q", "?", tuple(codes), tuple(f"label of {code}" for code in codes))
    shown = arranged(codes, order, "pair", numeric=question.is_numeric_scale)
    numbers = printed_numbers(shown, order)
    lines = options_text(question, shown, numbers).split("\n")
    assert lines == [f"{number}. label of {code}" for number, code in zip(numbers, shown, strict=True)]


def test_shuffles_differ_between_pairs_and_seeds_and_reach_every_permutation_alike():
    codes = (1, 2, 3)
    found = [arranged(codes, f"shuffled-{seed}", f"pair {pair}", numeric=False) for seed in range(20) for pair in range(60)]
    counts = [found.count(order) for order in set(found)]
    assert len(counts) == 6
    # 1,200 draws over 6 orders: 200 each, standard deviation 13.
    assert min(counts) > 140
    assert max(counts) < 260
    turned = [arranged(range(10), "shuffled-0", f"pair {pair}", numeric=True)[0] == 9 for pair in range(400)]
    assert 150 < sum(turned) < 250


def test_a_shuffle_is_the_same_on_every_machine_and_in_every_version():
    # Pinned: a changed shuffle would make recorded seeds lie.
    assert arranged((1, 2, 3, 4), "shuffled-0", "Q1_sex_Female", numeric=False) == (1, 3, 4, 2)


def test_a_numeric_scale_prints_only_numbers_between_its_ends():
    question = Question("q", "?", (1, 2, 3, 4), ("Never", "2", "3", "Always"))
    assert question.is_numeric_scale
    assert options_text(question, (1, 2, 3, 4), ("1", "2", "3", "4")) == "1. Never\n2.\n3.\n4. Always"
    assert options_text(question, (4, 3, 2, 1), ("1", "2", "3", "4")) == "1. Always\n2.\n3.\n4. Never"


def test_three_labels_are_never_a_numeric_scale():
    assert not Question("q", "?", (1, 2, 3), ("Low", "2", "High")).is_numeric_scale


def test_negative_codes_and_imported_positions_print_one_to_k():
    assert printed_numbers((-1, 0, 1), "scale") == ("1", "2", "3")
    assert printed_numbers((0, 1, 2), "scale") == ("0", "1", "2")
    assert printed_numbers((0, 1, 2), "scale", "position") == ("1", "2", "3")
    assert printed_numbers((2, 1, 0), "reversed") == ("1", "2", "3")
