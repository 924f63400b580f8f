"""Variance components of one item: the textbook's mean squares, all pairs by plain loops, exact expectations, what cannot be told apart."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from valuestrata.stats.variance_components import COMPONENTS, allows, decompose, merged, name_of

PERSONA, ORDER, PARAPHRASE, TEMPLATE = range(4)


def crossed(personas: int, orders: int = 1, paraphrases: int = 1, templates: int = 1, samples: int = 1) -> np.ndarray:
    """Every persona under every presentation, equally often; samples fastest."""
    cells = product(range(personas), range(orders), range(paraphrases), range(templates), range(samples))
    return np.array([cell[:4] for cell in cells], dtype=np.intp)


def split(factors, answers, *, drawn: bool = True):
    parts = decompose(np.asarray(factors, dtype=np.intp), np.asarray(answers, dtype=np.float64).reshape(len(factors), -1), drawn=drawn)
    return {name_of(block): parts.of(block) for block in parts.blocks}


def mean_square(values: np.ndarray, kept: tuple[int, ...], without: tuple[tuple[int, ...], ...], freedom: int) -> float:
    """Mean square of an effect in a full table: the means over all other axes less those of smaller effects, by inclusion and exclusion."""
    axes = range(values.ndim)
    effect = np.zeros(values.shape)
    for sign, held in [(1, kept), *((-1 if (len(kept) - len(held)) % 2 else 1, held) for held in without)]:
        effect = effect + sign * values.mean(axis=tuple(a for a in axes if a not in held), keepdims=True)
    return float((effect**2).sum() / freedom)


@given(st.integers(2, 5), st.integers(2, 4), st.integers(2, 3), st.integers(0, 10_000))
def test_two_factors_equal_the_textbook(personas, orders, samples, seed):
    y = np.random.default_rng(seed).normal(size=(personas, orders, samples))
    of_persona = mean_square(y, (0,), ((),), personas - 1)
    of_order = mean_square(y, (1,), ((),), orders - 1)
    both = mean_square(y, (0, 1), ((0,), (1,), ()), (personas - 1) * (orders - 1))
    error = float(((y - y.mean(axis=2, keepdims=True)) ** 2).sum() / (personas * orders * (samples - 1)))
    found = split(crossed(personas, orders, samples=samples), y.ravel())
    assert found == pytest.approx(
        {
            "persona": (of_persona - both) / (orders * samples),
            "order": (of_order - both) / (personas * samples),
            "persona x presentation": (both - error) / samples,
            "sample": error,
        }
    )


@given(st.integers(2, 6), st.integers(2, 5), st.integers(0, 10_000))
def test_one_factor_equals_the_textbook(personas, samples, seed):
    y = np.random.default_rng(seed).normal(size=(personas, samples))
    between = samples * float(y.mean(axis=1).var(ddof=1))
    error = float(y.var(axis=1, ddof=1).mean())
    found = split(crossed(personas, samples=samples), y.ravel())
    assert found == pytest.approx({"persona + persona x presentation": (between - error) / samples, "sample": error})


@given(st.integers(2, 4), st.integers(2, 3), st.integers(2, 3), st.integers(0, 10_000))
def test_three_factors_equal_the_textbook_with_interactions_of_the_persona_lumped(personas, orders, templates, seed):
    y = np.random.default_rng(seed).normal(size=(personas, orders, templates))
    shown = orders * templates
    by_presentation = y.reshape(personas, shown)
    lumped = mean_square(by_presentation, (0, 1), ((0,), (1,), ()), (personas - 1) * (shown - 1))
    of_persona = mean_square(y, (0,), ((),), personas - 1)
    of_order = mean_square(y, (1,), ((),), orders - 1)
    of_template = mean_square(y, (2,), ((),), templates - 1)
    together = mean_square(y, (1, 2), ((1,), (2,), ()), (orders - 1) * (templates - 1))
    found = split(crossed(personas, orders, templates=templates), y.ravel(), drawn=False)
    assert found == pytest.approx(
        {
            "persona": (of_persona - lumped) / shown,
            "order": (of_order - together) / (personas * templates),
            "template": (of_template - together) / (personas * orders),
            "combination": (together - lumped) / personas,
            "persona x presentation": lumped,
        }
    )


def all_pairs(factors, answers) -> dict[str, float] | None:
    """Least squares over all pairs of prompts, formed one by one; None where the components cannot all be told apart."""
    prompts: dict[tuple[int, ...], list[np.ndarray]] = {}
    for row, answer in zip(factors.tolist(), answers, strict=True):
        prompts.setdefault(tuple(row), []).append(answer)
    within = {cell: np.var(v, axis=0, ddof=1).sum() for cell, v in prompts.items() if len(v) > 1}
    sampling = float(np.mean(list(within.values())))
    rows, values = [], []
    for a, b in combinations(prompts, 2):
        gap = float(((np.mean(prompts[a], axis=0) - np.mean(prompts[b], axis=0)) ** 2).sum())
        noise = sum(within.get(cell, sampling) / len(prompts[cell]) for cell in (a, b))
        differ = [x != y for x, y in zip(a, b, strict=True)]
        rows.append([*differ, any(differ[1:]), True])
        values.append((gap - noise) / 2)
    design = np.array(rows, dtype=float)
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    found = np.linalg.lstsq(design, np.array(values), rcond=None)[0]
    return dict(zip(COMPONENTS, [*found.tolist(), sampling], strict=True))


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 30), st.integers(1, 3), st.integers(0, 100_000))
def test_any_design_equals_all_pairs_formed_one_by_one(number, width, seed):
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, [4, 3, 2, 2], size=(number, 4))
    factors = np.concatenate([cells, cells[rng.random(number) < 0.5], cells[:2]])
    answers = rng.normal(size=(len(factors), width))
    expected = all_pairs(factors, answers)
    assume(expected is not None)
    assert split(factors, answers) == pytest.approx(expected)
    # Neither the order of the answers nor the names of the levels matter.
    mixed = rng.permutation(len(factors))
    assert split(np.array([7, 0, 3, 5]) - factors[mixed], answers[mixed]) == pytest.approx(expected)


# A design with holes: which orders each of three personas was shown, and how often.
UNEVEN = [(0, 0, 3), (0, 1, 2), (1, 0, 2), (2, 0, 1), (2, 1, 4)]


def test_the_expectation_over_all_signs_is_exactly_what_was_planted():
    """Every effect is +-its size with equal chance, independently: the mean over all signs is the expectation, without any luck."""
    size = {"persona": 0.3, "order": 0.2, "interaction": 0.1}
    cells = [(g, o) for g, o, _ in UNEVEN]
    factors = np.array([(g, o, 0, 0) for g, o, n in UNEVEN for _ in range(n)])
    cell = np.repeat(np.arange(len(UNEVEN)), [n for *_, n in UNEVEN])
    totals: dict[str, float] = {}
    signs = list(product((-1.0, 1.0), repeat=3 + 2 + len(cells)))
    for sign in signs:
        persona, order, both = np.array(sign[:3]), np.array(sign[3:5]), np.array(sign[5:])
        mean = np.array([size["persona"] * persona[g] + size["order"] * order[o] for g, o in cells]) + size["interaction"] * both
        # Answers are not drawn here but given: their own share is tested below.
        for name, value in split(factors, mean[cell], drawn=False).items():
            totals[name] = totals.get(name, 0.0) + value / len(signs)
    assert totals == pytest.approx({"persona": 0.09, "order": 0.04, "persona x presentation": 0.01})


def test_sampling_of_another_size_at_every_prompt_is_taken_out_exactly():
    """Answers are 0 or 1 with a chance of their prompt's own; the mean over all that could be drawn is the truth."""
    chances = {(0, 0): 0.5, (0, 1): 0.9, (1, 0): 0.2, (1, 1): 0.4}
    factors = np.array([(g, o, 0, 0) for g, o in chances for _ in range(2)])
    expected: dict[str, float] = {}
    for drawn in product((0.0, 1.0), repeat=8):
        chance = np.prod([p if answer else 1 - p for p, answer in zip(np.repeat(list(chances.values()), 2), drawn, strict=True)])
        for name, value in split(factors, drawn).items():
            expected[name] = expected.get(name, 0.0) + chance * value
    means = split([(g, o, 0, 0) for g, o in chances], list(chances.values()), drawn=False)
    sampling = np.mean([p * (1 - p) for p in chances.values()])
    assert expected == pytest.approx(means | {"sample": sampling})


def test_a_vector_is_split_code_by_code():
    rng = np.random.default_rng(5)
    factors, answers = crossed(4, 3, samples=2), rng.normal(size=(24, 3))
    each = [split(factors, column) for column in answers.T]
    assert split(factors, answers) == pytest.approx({name: sum(one[name] for one in each) for name in each[0]})


def test_probabilities_asked_twice_are_repetitions_and_no_samples():
    rng = np.random.default_rng(6)
    once = crossed(4, 2)
    answers = rng.random(8)
    again = np.concatenate([once, once[:3]]), np.concatenate([answers, answers[:3]])
    assert split(*again, drawn=False) == pytest.approx(split(once, answers, drawn=False))
    assert "sample" not in split(*again, drawn=False)


def with_two(factors: np.ndarray) -> np.ndarray:
    return np.repeat(factors, 2, axis=0)


ONE_ORDER = crossed(3, 1)
TIED = crossed(3, 2) @ np.array([[1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]])
OWN_ORDER = np.array([(g, g, 0, 0) for g in range(4)])
NESTED = np.array([(g, o, 0, t) for g in range(3) for o, t in ((0, 0), (1, 0), (2, 1))])


@pytest.mark.parametrize(
    ("factors", "drawn", "blocks"),
    [
        (ONE_ORDER, True, ["persona + persona x presentation + sample"]),
        (ONE_ORDER, False, ["persona + persona x presentation"]),
        (with_two(ONE_ORDER), True, ["persona + persona x presentation", "sample"]),
        (crossed(1, 3), False, ["order + persona x presentation"]),
        (crossed(1, 1, samples=3), True, ["sample"]),
        (crossed(3, 2), True, ["persona", "order", "persona x presentation + sample"]),
        (with_two(TIED), True, ["persona", "order + template + combination", "persona x presentation", "sample"]),
        (with_two(OWN_ORDER), True, ["persona + order + persona x presentation", "sample"]),
        (NESTED, False, ["persona", "order + combination", "template", "persona x presentation"]),
        (crossed(3, 2, 2, 2), False, ["persona", "order", "paraphrase", "template", "combination", "persona x presentation"]),
        (crossed(1), True, []),
    ],
)
def test_what_always_differs_together_is_one_sum(factors, drawn, blocks):
    answers = np.random.default_rng(1).random(len(factors))
    assert list(split(factors, answers, drawn=drawn)) == blocks


@given(st.integers(0, 1000))
def test_a_joint_sum_is_the_sum_of_what_a_fuller_design_tells_apart(seed):
    """Taking the template's name away from a table of two factors lumps nothing else; its parts add up to the same total."""
    y = np.random.default_rng(seed).random(3 * 2)
    apart, tied = split(crossed(3, 2), y, drawn=False), split(TIED, y, drawn=False)
    assert tied["order + template + combination"] == pytest.approx(apart["order"])
    assert tied["persona"] == pytest.approx(apart["persona"])


def test_a_model_that_hears_no_persona_has_exactly_none():
    factors = crossed(5, 3, templates=2)
    answers = 0.1 + 0.2 * factors[:, ORDER] + 0.3 * factors[:, TEMPLATE]
    found = split(factors, answers, drawn=False)
    assert (found["persona"], found["combination"], found["persona x presentation"]) == (0.0, 0.0, 0.0)
    assert found["order"] == pytest.approx(0.2**2)
    assert found["template"] == pytest.approx(0.3**2 / 2)


def test_levels_and_answers_are_counted():
    parts = decompose(np.concatenate([crossed(4, 3), crossed(4, 3)[:6]]), np.random.default_rng(0).random((18, 1)), drawn=True)
    assert parts.responses == 18
    assert parts.levels["persona"] == 4
    assert parts.levels["order"] == parts.levels["combination"] == 3
    assert (parts.levels["persona x presentation"], parts.levels["sample"]) == (12, 1.5)
    empty = decompose(np.zeros((0, 4), dtype=np.intp), np.zeros((0, 1)), drawn=True)
    assert (empty.blocks, empty.responses, empty.levels["persona"]) == ((), 0, 0)


def blocks_of(*names: str):
    """Blocks of the first four components, called a, b, c and d."""
    letters = dict(zip("abcd", COMPONENTS, strict=False))
    return tuple(frozenset(letters[letter] for letter in name) for name in names)


def test_structures_merge_to_the_finest_that_all_allow():
    fine, one, other = blocks_of("a", "b", "c", "d"), blocks_of("ab", "c", "d"), blocks_of("a", "bc", "d")
    assert merged([fine]) == fine
    assert merged([fine, one]) == one
    assert merged([one, other]) == blocks_of("abc", "d")
    assert allows(fine, one)
    assert not allows(one, fine)
    assert not allows(one, other)
    assert not allows(blocks_of("a", "b"), one)
