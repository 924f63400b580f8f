"""Training batches: the examples of a pass as one token tree, or as padded rows.

In a tree every shared prefix is computed once and there is no padding. A token attends to its ancestors only, so each
example gets the logits and gradients that it would have alone. Logits are computed only where an answer is read. Models
that cannot run a tree get rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from valuestrata.respondents.local.tree import Ids, Step, TokenTree
from valuestrata.tuning.data.encode import Encoded

# Kinds of target tokens.
PREFILL, ANSWER, END = 0, 1, 2


@dataclass
class ReadSteps:
    """Tokens whose probability is read: the node before each, the token, and the number of the form or example it counts for."""

    node: list[int] = field(default_factory=list[int])
    token: list[int] = field(default_factory=list[int])
    owner: list[int] = field(default_factory=list[int])

    def extend(self, steps: Sequence[Step], owner: int) -> None:
        """Add steps that count for one owner."""
        for node, token in steps:
            self.node.append(node)
            self.token.append(token)
            self.owner.append(owner)


def wanted_options(encoded: Encoded, mode: int, rejected: int, objective: str) -> list[int]:
    """Return the options whose probability an objective reads: one, two or all."""
    if objective in {"tokens", "mode"}:
        return [mode]
    if objective == "dpo":
        return [mode] if rejected < 0 else sorted({mode, rejected})
    return list(range(len(encoded.options)))


def pack(batch: Sequence[Encoded], modes: Sequence[int], options: Sequence[Sequence[int]], *, rows: bool = False) -> dict[str, Any]:
    """Lay out the examples of one pass.

    Args:
        batch: the examples. modes: position of the target option of each.
        options: positions of the options of each whose probability is read; they include its mode.
        rows: lay out one row per form, padded on the right, instead of a tree.

    Returns:
        A dict of tensors. `input_ids` and `position_ids`, 1 x N (or rows x width); `parents` (N,), -1 for a first token, or
        the rows' `attention_mask`; `read` (R,), the places after which logits are read (of the flattened rows).
        For every token of a wanted option `form_read` (its place in `read`), `form_token` and `form_of` (its form);
        `option_of`, the cell (example x K + option) of each form; `there` (B x K), which cells are wanted.
        For every target token `target_read`, `target_token`, `target_of` (its example) and `target_kind`.
    """
    import torch

    layout = _Rows() if rows else _Tree()
    width = max(len(encoded.options) for encoded in batch)
    forms, targets = ReadSteps(), ReadSteps()
    option_of: list[int] = []
    kinds: list[int] = []
    there = np.zeros((len(batch), width), dtype=np.bool_)
    for example, (encoded, mode, wanted) in enumerate(zip(batch, modes, options, strict=True)):
        stem = len(encoded.stem)
        for option in wanted:
            there[example, option] = True
            for number, form in enumerate(encoded.options[option]):
                whole = (*encoded.stem, *form)
                # The last token is only read, never fed to the model.
                steps = list(zip(layout.add(whole[:-1]), whole[1:], strict=True))
                forms.extend(steps[stem - 1 :], len(option_of))
                option_of.append(example * width + option)
                if option == mode and number == 0:
                    targets.extend(steps[encoded.start - 1 :], example)
                    kinds += [PREFILL] * (stem - encoded.start) + [ANSWER] * (len(form) - 1) + [END]
    inputs, number_of = layout.inputs()
    form_nodes, target_nodes = number_of[forms.node], number_of[targets.node]
    read = np.unique(np.concatenate([form_nodes, target_nodes]))
    arrays = inputs | {
        "read": read,
        "form_read": np.searchsorted(read, form_nodes),
        "form_token": np.array(forms.token),
        "form_of": np.array(forms.owner),
        "option_of": np.array(option_of),
        "there": there,
        "target_read": np.searchsorted(read, target_nodes),
        "target_token": np.array(targets.token),
        "target_of": np.array(targets.owner),
        "target_kind": np.array(kinds),
    }
    return {name: torch.from_numpy(values) for name, values in arrays.items()}


class _Tree:
    """Sequences as one tree in one row."""

    def __init__(self) -> None:
        self._tree = TokenTree()

    def add(self, ids: Ids) -> list[int]:
        """Add a sequence and return its nodes."""
        return self._tree.add(ids)

    def inputs(self) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
        """Return the model's inputs, and the place of every node in them."""
        places = np.array(self._tree.sort(), dtype=np.int64)
        ids, depths = np.array([self._tree.tokens]), np.array([self._tree.depths])
        return {"input_ids": ids, "position_ids": depths, "parents": np.array(self._tree.parents)}, places


class _Rows:
    """Sequences as rows, padded on the right."""

    def __init__(self) -> None:
        self._sequences: list[Ids] = []
        self._size = 0

    def add(self, ids: Ids) -> range:
        """Add a sequence and return the numbers of its tokens."""
        self._sequences.append(ids)
        self._size += len(ids)
        return range(self._size - len(ids), self._size)

    def inputs(self) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
        """Return the model's inputs, and the place of every token in the flattened rows."""
        lengths = np.array([len(sequence) for sequence in self._sequences])
        columns = np.broadcast_to(np.arange(lengths.max()), (len(lengths), lengths.max())).copy()
        mask = (columns < lengths[:, None]).astype(np.int64)
        ids = np.zeros_like(mask)
        ids[mask == 1] = np.concatenate(self._sequences)
        return {"input_ids": ids, "position_ids": columns, "attention_mask": mask}, np.flatnonzero(mask)
