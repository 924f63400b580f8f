"""The order of training examples: a fixed sequence per seed, for any number of processes and after an interruption."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from valuestrata.tuning.recipe import Recipe


def updates_of(recipe: Recipe, examples: int) -> int:
    """Return the number of updates of a recipe; the last one is filled up with examples of another epoch."""
    wanted = max(1, math.ceil(recipe.epochs * examples / recipe.batch))
    return wanted if recipe.max_steps is None else min(wanted, recipe.max_steps)


def sequence(recipe: Recipe, keys: Sequence[Hashable]) -> NDArray[np.int64]:
    """Return the examples of all updates in order; update u sees entries u x batch to (u + 1) x batch.

    Every epoch is a new permutation by data_seed. With `together` above 1, bundles of that many examples with the same key
    are permuted instead; the bundles are drawn for each epoch.

    Args:
        recipe: batch, epochs, max_steps, together and data_seed.
        keys: persona or item of each example.
    """
    length = updates_of(recipe, len(keys)) * recipe.batch
    epochs = [
        _epoch(keys, recipe.together, np.random.default_rng([recipe.data_seed, 0, epoch])) for epoch in range(-(-length // len(keys)))
    ]
    return np.concatenate(epochs)[:length]


def _epoch(keys: Sequence[Hashable], together: int, draw: np.random.Generator) -> NDArray[np.int64]:
    mixed = draw.permutation(len(keys))
    if together == 1:
        return mixed
    by_key: dict[Hashable, list[int]] = {}
    for example in mixed.tolist():
        by_key.setdefault(keys[example], []).append(example)
    bundles = [those[at : at + together] for those in by_key.values() for at in range(0, len(those), together)]
    return np.array([example for bundle in draw.permutation(len(bundles)) for example in bundles[bundle]], dtype=np.int64)
