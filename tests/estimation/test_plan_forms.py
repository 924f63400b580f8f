"""Forms: which questions to ask whom."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valuestrata.estimation.plan.forms import PARTS, make_forms


def test_all_questions_are_one_form():
    forms = make_forms(np.ones(4), list("aabb"), 4)
    assert forms.asked.all()
    assert len(forms.share) == 1


def test_equal_items_get_equal_shares_of_the_people():
    forms = make_forms(np.ones(6), [str(i) for i in range(6)], 3)
    np.testing.assert_allclose(forms.fraction, 0.5)
    assert (forms.asked.sum(axis=1) == 3).all()


def test_items_with_smaller_half_widths_are_asked_of_fewer_people():
    importance = np.array([1.0, 1.0, 0.4, 0.4])
    mean, worst = (make_forms(importance, list("abcd"), 2, worst=one).fraction for one in (False, True))
    # In proportion to the power 2/3, and to the square.
    assert mean[0] / mean[2] == pytest.approx(0.4 ** (-2 / 3), rel=0.15)
    assert worst[0] / worst[2] == pytest.approx(0.4**-2, rel=0.25)


def test_blocks_stay_together_where_they_fit():
    blocks = ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    forms = make_forms(np.ones(9), blocks, 3)
    assert forms.split == ()
    assert len(forms.share) == 3
    longer = make_forms(np.ones(9), blocks, 2)
    assert longer.split == ("a", "b", "c")
    assert longer.asked.sum(axis=1).max() <= 2


def test_items_of_no_goal_are_asked_if_there_is_room():
    forms = make_forms(np.array([1.0, 1.0, 0.0, 0.0]), list("abcd"), 3)
    np.testing.assert_allclose(forms.fraction, [1, 1, 0.5, 0.5])
    tight = make_forms(np.array([1.0, 1.0, 0.0]), list("abc"), 1)
    assert tight.fraction[2] == 0


@settings(max_examples=40)
@given(st.integers(2, 30), st.integers(1, 12), st.integers(1, 8), st.integers(0, 10_000))
def test_forms_are_few_and_short_and_use_their_room(items, questions, blocks, seed):
    rng = np.random.default_rng(seed)
    forms = make_forms(rng.uniform(0.2, 1, items), [str(b) for b in rng.integers(blocks, size=items)], questions)
    assert forms.asked.sum(axis=1).max() <= questions
    assert len(forms.share) <= PARTS
    assert forms.share.sum() == pytest.approx(1)
    assert forms.fraction.min() > 0 or items > questions * PARTS
    assert forms.fraction.sum() > 0.7 * min(questions, items)


def test_dealt_forms_add_up_in_each_cell_and_overall():
    forms = make_forms(np.linspace(0.3, 1, 11), [str(i) for i in range(11)], 4)
    interviews = np.array([1, 2, 7, 300, 41])
    dealt = forms.dealt(interviews, seed=3)
    assert dealt.sum(axis=1).tolist() == interviews.tolist()
    assert np.abs(dealt - np.outer(interviews, forms.share)).max() < 1
    np.testing.assert_array_equal(dealt, forms.dealt(interviews, seed=3))
    assert (dealt != forms.dealt(interviews, seed=4)).any()
