"""In which order examples are seen: a fixed sequence by seed, the same on one process and on many, and after a stop."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from valuestrata.tuning.recipe import Recipe


def updates_of(recipe: Recipe, examples: int) -> int:
    """Return how many updates a recipe makes of so many examples; a last update that the epochs do not fill goes on into the next."""
    wanted = max(1, math.ceil(recipe.epochs * examples / recipe.batch))
    return wanted if recipe.max_steps is None else min(wanted, recipe.max_steps)


def sequence(recipe: Recipe, keys: Sequence[Hashable]) -> NDArray[np.int64]:
    """Return the examples of all updates, one after the other: update u sees entries u x batch to (u + 1) x batch.

    Every epoch is a new permutation by data_seed. With `together` above 1 examples of the same key stay side by side in
    bundles of that many; which of them make a bundle, and where it comes, is drawn anew each epoch.

    Args:
        recipe: batch, epochs, max_steps, together and data_seed.
        keys: for each example what it shares with others (its persona, or its item).
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
    alike: dict[Hashable, list[int]] = {}
    for example in mixed.tolist():
        alike.setdefault(keys[example], []).append(example)
    bundles = [those[at : at + together] for those in alike.values() for at in range(0, len(those), together)]
    return np.array([example for bundle in draw.permutation(len(bundles)) for example in bundles[bundle]], dtype=np.int64)
