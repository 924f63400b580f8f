"""Permutations of the personas within each stratum that change as many levels as possible."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from valuestrata.prompts.persona import Persona, Trait, Words, profile


@dataclass(frozen=True)
class ShuffleCounts:
    """How much the shuffle changed one stratum.

    Attributes:
        cells, levels: number of cells, and of levels of all cells (cells x attributes).
        cells_changed: cells in which every level changed. levels_changed: levels that changed.
    """

    cells: int
    cells_changed: int
    levels: int
    levels_changed: int

    def __add__(self, other: ShuffleCounts) -> ShuffleCounts:
        return ShuffleCounts(
            cells=self.cells + other.cells,
            cells_changed=self.cells_changed + other.cells_changed,
            levels=self.levels + other.levels,
            levels_changed=self.levels_changed + other.levels_changed,
        )

    @property
    def share_of_cells(self) -> float:
        """Share of cells in which every level changed, 0 to 1."""
        return self.cells_changed / self.cells

    @property
    def share_of_levels(self) -> float:
        """Share of levels that changed, 0 to 1."""
        return self.levels_changed / self.levels


@dataclass(frozen=True)
class Shuffle:
    """A permutation within each stratum (subgroup -> subgroup whose persona it gets) and stratum -> counts of changes."""

    source: Mapping[str, str]
    counts: Mapping[str, ShuffleCounts]


def shuffle_personas(personas: Mapping[str, Persona], stratum_of: Mapping[str, str], seed: int) -> Shuffle:
    """Permute the personas of each stratum by seed, changing as many levels as possible.

    The permutation of a stratum is a maximum assignment. It maximises the number of changed levels, then the number of
    cells in which every level changes, and breaks ties by seed. A level counts as changed if a persona words it
    differently: two labels with the same phrase, or that differ only in a country prefix, are the same. Personas without
    traits keep their place and are not counted. The draw depends on the seed, the stratum's name and its cells only.

    Args:
        personas: subgroup -> its own persona. stratum_of: subgroup -> stratum. seed: of the draw.
    """
    source = {subgroup: subgroup for subgroup, persona in personas.items() if not persona.traits}
    counts: dict[str, ShuffleCounts] = {}
    cells_of: dict[str, list[str]] = {}
    for subgroup in personas.keys() - source.keys():
        cells_of.setdefault(stratum_of[subgroup], []).append(subgroup)
    for stratum in sorted(cells_of):
        cells = sorted(cells_of[stratum])
        changes = changes_between([personas[cell].traits for cell in cells])
        per_cell = len(personas[cells[0]].traits)
        target = best_permutation(changes, per_cell, _noise(f"{seed}\n{stratum}", len(cells)))
        source.update({cell: cells[other] for cell, other in zip(cells, target, strict=True)})
        changed = changes[np.arange(len(cells)), target]
        counts[stratum] = ShuffleCounts(len(cells), int((changed == per_cell).sum()), len(cells) * per_cell, int(changed.sum()))
    return Shuffle({subgroup: source[subgroup] for subgroup in personas}, counts)


def changes_between(cells: Sequence[Sequence[Trait]]) -> NDArray[np.intp]:
    """Return the number of levels that differ between each two cells; shape (cells, cells), symmetric, 0 on the diagonal.

    Args:
        cells: the traits of each cell of one stratum, over the same attributes in the same order.
    """
    plain = Words()
    labels = _numbered([[profile(Persona((trait,)), plain) for trait in traits] for traits in cells])
    phrases = _numbered([[trait.phrase or profile(Persona((trait,)), plain) for trait in traits] for traits in cells])
    differ = (labels[:, None] != labels[None]) & (phrases[:, None] != phrases[None])
    return differ.sum(axis=-1)


def best_permutation(changes: NDArray[np.intp], per_cell: int, noise: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the permutation with most changed levels, then most fully changed cells, then most noise.

    Args:
        changes: levels that differ between cell i and cell j, shape (cells, cells). per_cell: levels of a cell.
        noise: in [0, 1), shape (cells, cells).

    Returns:
        For each cell the one that replaces it, shape (cells,).
    """
    from scipy.optimize import linear_sum_assignment

    cells = len(changes)
    # Lexicographic order in one number: a level outweighs all cells together, and a cell outweighs all noise together.
    gain = changes * float(cells + 1) + (changes == per_cell) + noise / cells
    _, target = linear_sum_assignment(gain, maximize=True)
    return np.asarray(target, dtype=np.intp)


def _numbered(texts: Sequence[Sequence[str]]) -> NDArray[np.intp]:
    number: dict[str, int] = {}
    return np.array([[number.setdefault(text, len(number)) for text in row] for row in texts], dtype=np.intp)


def _noise(text: str, cells: int) -> NDArray[np.float64]:
    # A hash and not a generator, whose stream could change with a library version.
    digest = hashlib.shake_256(text.encode()).digest(8 * cells * cells)
    bits = np.frombuffer(digest, dtype="<u8") >> np.uint64(11)
    return (bits.astype(np.float64) * 2.0**-53).reshape(cells, cells)
