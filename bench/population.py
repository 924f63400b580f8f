"""Synthetic surveys for the benchmarks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from valuestrata.survey.codebook import Attribute, AttributeLevel, Codebook, Item
from valuestrata.survey.survey import Findings, Source, Survey

Floats = NDArray[np.float64]
LEVELS = {"sex": 2, "age_group": 6, "ethnicity": 3, "religion": 7}


def synthetic_survey(respondents: int, items: int, seed: int = 0) -> Survey:
    """Return a weighted survey with option counts as in the WVS, 10 % missing answers and four attributes."""
    rng = np.random.default_rng(seed)
    options = rng.choice([2, 3, 4, 5, 10], items, p=[0.15, 0.1, 0.35, 0.15, 0.25])
    made = tuple(
        Item(
            f"Q{i}", f"T{i % 12}", "ordinal" if k > 2 else "binary", tuple(range(1, k + 1)), tuple(map(str, range(1, k + 1))), "?", f"Q{i}"
        )
        for i, k in enumerate(options.tolist())
    )
    answers = np.stack([rng.integers(0, k, respondents, dtype=np.int8) for k in options], axis=1)
    missing = rng.random(answers.shape) < 0.1
    answers[missing] = rng.integers(-5, 0, int(missing.sum()), dtype=np.int8)
    attributes = _attributes(LEVELS)
    levels = np.stack([rng.integers(0, size, respondents) for size in LEVELS.values()], axis=1).astype(np.int16)
    source = Source("synthetic", "memory", "", respondents, respondents)
    codebook = Codebook("synthetic", "Synthetic", "1", made, attributes, ())
    weight = rng.uniform(0.3, 3.0, respondents)
    return Survey(codebook, made, attributes, np.asfortranarray(answers), np.asfortranarray(levels), weight, (), source, Findings())


def four_option_survey(
    answers: NDArray[np.integer], levels: NDArray[np.integer], sizes: Mapping[str, int], weight: Floats | None
) -> Survey:
    """Return a survey of ordinal items with four options, in six topics.

    Args:
        answers: shape (people, items), option index or a negative class of missing answers. levels: shape (people, attributes).
        sizes: attribute -> number of levels. weight: shape (people,), or None.
    """
    people, number = answers.shape
    items = tuple(Item(f"Q{i}", f"Topic {i % 6}", "ordinal", (1, 2, 3, 4), tuple("abcd"), f"Question {i}?", f"Q{i}") for i in range(number))
    attributes = _attributes(sizes)
    return Survey(
        Codebook("made", "Made", "1", items, attributes, ()),
        items,
        attributes,
        np.asfortranarray(answers.astype(np.int8)),
        np.asfortranarray(levels.astype(np.int16)),
        weight,
        (),
        Source("made.csv", "csv", "0" * 64, people, people),
        Findings(),
    )


def _attributes(sizes: Mapping[str, int]) -> tuple[Attribute, ...]:
    return tuple(
        Attribute(name, name.removesuffix("_group"), name, name, tuple(AttributeLevel(f"{name} {j}") for j in range(size)))
        for name, size in sizes.items()
    )
