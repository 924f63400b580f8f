"""Shuffled personas: the cells of a stratum change places so that as many of their levels as can be become others."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from valuestrata.prompts.persona import Persona, Trait, Words, profile


@dataclass(frozen=True)
class Moved:
    """How far one stratum was shuffled: its cells and their levels, and how many of each changed.

    Attributes:
        cells, levels: cells of the stratum, and levels of all its cells (cells x attributes).
        cells_changed: cells every level of which became another. levels_changed: levels that became another.
    """

    cells: int
    cells_changed: int
    levels: int
    levels_changed: int

    def __add__(self, other: Moved) -> Moved:
        return Moved(
            self.cells + other.cells,
            self.cells_changed + other.cells_changed,
            self.levels + other.levels,
            self.levels_changed + other.levels_changed,
        )

    @property
    def share_of_cells(self) -> float:
        """Share of cells all of whose levels changed, 0 to 1."""
        return self.cells_changed / self.cells

    @property
    def share_of_levels(self) -> float:
        """Share of levels that changed, 0 to 1."""
        return self.levels_changed / self.levels


@dataclass(frozen=True)
class Shuffle:
    """Subgroup -> the subgroup whose persona it gets (a permutation within each stratum), and how far each stratum moved."""

    source: Mapping[str, str]
    moved: Mapping[str, Moved]


def shuffle(personas: Mapping[str, Persona], stratum_of: Mapping[str, str], seed: int) -> Shuffle:
    """Permute the personas of each stratum by seed so that every level of every attribute changes where possible.

    In a stratum the permutation is a maximum assignment: of all permutations of its cells those that change most levels,
    among them those with most cells all of whose levels change, among them one by seed. Where a permutation exists that
    changes every level of every cell (for a single attribute: wherever it has two levels), it is therefore one of those.
    A level counts as changed when a persona would say it differently: two labels that differ only in a country's prefix,
    or that share a phrase, are the same. Personas without traits stay what they are and are not counted.

    The draw of a stratum depends on the seed, its name and its cells alone, not on what is asked.

    Args:
        personas: subgroup -> its own persona. stratum_of: subgroup -> stratum. seed: of the draw.
    """
    source = {subgroup: subgroup for subgroup, persona in personas.items() if not persona.traits}
    moved: dict[str, Moved] = {}
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
        moved[stratum] = Moved(len(cells), int((changed == per_cell).sum()), len(cells) * per_cell, int(changed.sum()))
    return Shuffle({subgroup: source[subgroup] for subgroup in personas}, moved)


def changes_between(cells: Sequence[Sequence[Trait]]) -> NDArray[np.intp]:
    """Return how many levels change from each cell to each other; shape (cells, cells), symmetric, 0 on the diagonal.

    Args:
        cells: the traits of each cell of one stratum, over the same attributes in the same order.
    """
    plain = Words()
    labels = _numbered([[profile(Persona((trait,)), plain) for trait in traits] for traits in cells])
    phrases = _numbered([[trait.phrase or profile(Persona((trait,)), plain) for trait in traits] for traits in cells])
    differ = (labels[:, None] != labels[None]) & (phrases[:, None] != phrases[None])
    return differ.sum(axis=-1)


def best_permutation(changes: NDArray[np.intp], per_cell: int, noise: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return a permutation with most changes, among those one with most cells that change wholly; `noise` settles the rest.

    Args:
        changes: levels that change from cell i to cell j, shape (cells, cells). per_cell: levels of a cell.
        noise: in [0, 1), shape (cells, cells).

    Returns:
        For each cell the one it becomes, shape (cells,).
    """
    from scipy.optimize import linear_sum_assignment

    cells = len(changes)
    # One level weighs more than all cells together, and a cell more than all noise together: an order of three ranks.
    gain = changes * float(cells + 1) + (changes == per_cell) + noise / cells
    _, target = linear_sum_assignment(gain, maximize=True)
    return np.asarray(target, dtype=np.intp)


def _numbered(words: Sequence[Sequence[str]]) -> NDArray[np.intp]:
    number: dict[str, int] = {}
    return np.array([[number.setdefault(word, len(number)) for word in row] for row in words], dtype=np.intp)


def _noise(text: str, cells: int) -> NDArray[np.float64]:
    # A hash, as for shuffled options: no generator whose stream could change with a library.
    digest = hashlib.shake_256(text.encode()).digest(8 * cells * cells)
    bits = np.frombuffer(digest, dtype="<u8") >> np.uint64(11)
    return (bits.astype(np.float64) * 2.0**-53).reshape(cells, cells)
