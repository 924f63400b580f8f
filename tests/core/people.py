"""Small surveys made in memory, for the tests of counting and building."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from valuestrata.survey.codebook import Attribute, AttributeLevel, Codebook, Item
from valuestrata.survey.survey import Findings, Source, Survey


def item(name: str, options: int, level: str | None = None, topic: str = "Topic") -> Item:
    kind = level or ("binary" if options == 2 else "ordinal")
    codes = tuple(range(1, options + 1))
    return Item(name, topic, kind, codes, tuple(f"label {code}" for code in codes), f"What of {name}?", name)


def attribute(name: str, labels: Sequence[str], short: str | None = None) -> Attribute:
    return Attribute(name, short or name, name, name, tuple(AttributeLevel(label) for label in labels))


def survey(items, attributes, answers, levels, weight=None) -> Survey:
    answers = np.asfortranarray(np.array(answers, dtype=np.int8))
    levels = np.asfortranarray(np.array(levels, dtype=np.int16))
    weight = None if weight is None else np.array(weight, dtype=float)
    codebook = Codebook("made", "Made", "1", tuple(items), tuple(attributes), ())
    source = Source("made.csv", "csv", "0" * 64, len(answers), len(answers))
    return Survey(codebook, tuple(items), tuple(attributes), answers, levels, weight, (), source, Findings())


def random_survey(people: int, seed: int, *, weighted: bool = True, attributes: int = 3) -> Survey:
    rng = np.random.default_rng(seed)
    items = [item("A1", 2), item("A2", 4), item("A3", 10), item("A4", 3, "nominal")]
    names = [("sex", 2), ("age_group", 3), ("religion", 2), ("area", 2)][:attributes]
    made = [attribute(name, [f"{name} {i}" for i in range(size)], {"age_group": "age"}.get(name)) for name, size in names]
    answers = np.stack([rng.integers(-5, len(i.codes), people) for i in items], axis=1)
    levels = np.stack([rng.integers(-1, size, people) for _, size in names], axis=1)
    return survey(items, made, answers, levels, rng.uniform(0.3, 3.0, people) if weighted else None)
