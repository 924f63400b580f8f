"""Kernels over (item, option) from texts, positions, scales and topics."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.item_models.embeddings import embed_texts

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

# Widths of Gaussian kernels: relative position, and log number of options.
POSITION_WIDTH = 0.25
LENGTH_WIDTH = 0.5
# Exponent of the cosine similarity of labels: averaged token vectors are all positively correlated.
LABEL_SHARPNESS = 3
QUESTION_WIDTH = 0.5


@dataclass(frozen=True)
class ItemKernels:
    """Kernels over all options of all items, each centred within items and of mean diagonal 1.

    Attributes:
        rows: item -> its rows, in scale order.
        of: name -> kernel, shape (rows, rows). Kernels that are zero are left out.
        method: method of the embedding.
    """

    rows: Mapping[str, Indices]
    of: Mapping[str, Floats]
    method: str

    def rows_of(self, items: Sequence[str]) -> NDArray[np.bool_]:
        """Return a mask of the rows of `items`, shape (rows,)."""
        chosen = np.zeros(sum(len(rows) for rows in self.rows.values()), dtype=bool)
        for item in items:
            chosen[self.rows[item]] = True
        return chosen


def item_kernels(gold: TrainingGold) -> ItemKernels:
    """Return the kernels over the options of all items, from texts and scales, without answers.

    - `shape`: linear in position, distance from the middle, being the middle and being an end of the scale.
    - `position`: similar relative positions on scales of similar length.
    - `label`: similar labels. `label-question`: similar labels and questions.
    - `position-question`: similar positions and questions.
    - `scale`, `topic`, `item`: similar positions on the same scale, in the same topic, in the same item.

    Options of nominal items have no position. They enter `label`, `label-question`, `scale` and `item` only.
    """
    items = list(gold.codes)
    lengths = np.array([len(gold.codes[item]) for item in items])
    starts = np.concatenate([[0], np.cumsum(lengths)])
    rows = {item: np.arange(starts[i], starts[i + 1]) for i, item in enumerate(items)}
    owner = np.repeat(np.arange(len(items)), lengths)
    place = np.arange(len(owner)) - starts[owner]
    length = lengths[owner]
    ordered = np.array([gold.level[item] != "nominal" for item in items])[owner]
    labels = [label for item in items for label in gold.labels[item]]
    distinct = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    embedded = embed_texts([*(gold.question[item] for item in items), *distinct])

    position = place / np.maximum(length - 1, 1)
    both = np.outer(ordered, ordered).astype(np.float64)
    near = both * _gauss(position, POSITION_WIDTH) * _gauss(np.log(length), LENGTH_WIDTH)
    same_place = np.equal.outer(place, place).astype(np.float64)
    placed = np.where(np.outer(~ordered, ~ordered), same_place, near)
    asked = centred_directions(embedded.vectors[: len(items)])
    questions = np.exp((asked @ asked.T - 1.0) / QUESTION_WIDTH)[np.ix_(owner, owner)]
    label_vectors = embedded.vectors[len(items) :]
    label_index = np.array([distinct[label] for label in labels])
    meaning = ((label_vectors @ label_vectors.T) ** LABEL_SHARPNESS)[np.ix_(label_index, label_index)]
    kernels = {
        "shape": both * _shape(position, place, length),
        "position": near,
        "label": meaning,
        "label-question": meaning * questions,
        "position-question": near * questions,
        "scale": placed * _same([gold.labels[item] for item in items], owner),
        "topic": near * _same([gold.topic[item] for item in items], owner),
        "item": placed * _same(items, owner),
    }
    scaled = {name: _centred(kernel, owner) for name, kernel in kernels.items()}
    return ItemKernels(rows, {name: kernel for name, kernel in scaled.items() if kernel.any()}, embedded.method)


def _shape(position: Floats, place: Indices, length: Indices) -> Floats:
    middle = (2 * place == length - 1).astype(np.float64)
    end = ((place == 0) | (place == length - 1)) & (length > 2)
    features = np.stack([position - 0.5, np.abs(position - 0.5), middle, end.astype(np.float64)], axis=1)
    spread = features.std(axis=0)
    features = np.divide(features, spread, out=np.zeros_like(features), where=spread > 0)
    return features @ features.T


def _gauss(values: Floats, width: float) -> Floats:
    return np.exp(-np.square(np.subtract.outer(values, values)) / (2.0 * width * width))


def _same(groups: Sequence[Hashable], owner: Indices) -> Floats:
    numbers = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    group_of = np.array([numbers[group] for group in groups])[owner]
    return np.equal.outer(group_of, group_of).astype(np.float64)


def centred_directions(vectors: Floats) -> Floats:
    """Return directions from the mean of vectors, shape (texts, dimensions): without what all texts have in common."""
    centred = vectors - vectors.mean(axis=0)
    size = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.divide(centred, size, out=np.zeros_like(centred), where=size > 1e-9)


def _centred(kernel: Floats, owner: Indices) -> Floats:
    """Return a kernel centred within items and scaled to mean diagonal 1, or zeros if it is constant within items."""
    count = np.bincount(owner).astype(np.float64)
    indicator = np.equal.outer(owner, np.arange(len(count))).astype(np.float64) / count
    left = kernel - (indicator.T @ kernel)[owner]
    both = left - (left @ indicator)[:, owner]
    size = float(np.trace(both)) / len(owner)
    return both / size if size > 1e-9 else np.zeros_like(both)
