"""Batches without waste: the examples of a pass as one token tree in one row, every shared beginning in it once.

The prompts of a batch share the system message, the first words of the template, and more where they are about the same
persona or item. Their options share everything before them. A token sees its ancestors in the tree and nothing else, so
each example gets the very logits, and hence gradients, that it would have alone; there is no padding; and logits are
computed only where an answer is read. For models that a tree does not fit there are plain rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from valuestrata.tuning.data.encode import Encoded, Ids

# What a learned token belongs to.
PREFILL, ANSWER, END = 0, 1, 2

# A chain of fewer tokens (the forms of the options) stays in the segment before it: attention of its own costs more to
# call than the keys that it sees in vain. A segment longer than the second number is cut all the same.
_SHORTEST = 24
_LONGEST = 192


@dataclass
class _Steps:
    """Tokens whose probability is wanted: after which node, which token, and what it counts for."""

    node: list[int] = field(default_factory=list[int])
    token: list[int] = field(default_factory=list[int])
    owner: list[int] = field(default_factory=list[int])

    def add(self, node: int, token: int, owner: int) -> None:
        self.node.append(node)
        self.token.append(token)
        self.owner.append(owner)


class _Tree:
    """A trie of token sequences, numbered in depth-first order once it is complete."""

    def __init__(self) -> None:
        self._tokens: list[int] = []
        self._children: list[dict[int, int]] = []
        self._roots: dict[int, int] = {}

    def add(self, ids: Ids) -> list[int]:
        """Add a sequence and return its nodes."""
        found: list[int] = []
        below = self._roots
        for token in ids:
            node = below.get(token)
            if node is None:
                node = below[token] = len(self._tokens)
                self._tokens.append(token)
                self._children.append({})
            found.append(node)
            below = self._children[node]
        return found

    def in_order(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return tokens, parents (-1 for a first token) and depths in depth-first order, and the new number of every node."""
        size = len(self._tokens)
        place = np.zeros(size, dtype=np.int64)
        tokens, parents, depths = (np.zeros(size, dtype=np.int64) for _ in range(3))
        waiting = [(node, -1, 0) for node in reversed(self._roots.values())]
        at = 0
        while waiting:
            node, parent, depth = waiting.pop()
            place[node], tokens[at], parents[at], depths[at] = at, self._tokens[node], parent, depth
            waiting.extend((child, at, depth + 1) for child in reversed(self._children[node].values()))
            at += 1
        return tokens, parents, depths, place


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
        batch: the examples. modes: of each, the place of the option that is its target.
        options: of each, the places of the options whose probability is wanted; its mode is among them.
        rows: lay out plain rows, one for each way to write an option, padded behind, in place of a tree.

    Returns:
        A dict of tensors. `input_ids` and `position_ids`, 1 x N (or rows x width); `parents` (N,), -1 for a first token, or
        the rows' `attention_mask`; `read` (R,), the places after which logits are read (of the flattened rows).
        For every token of a wanted option `form_read` (its place in `read`), `form_token` and `form_of` (its form);
        `option_of`, the cell (example x K + place on the scale) of each form; `there` (B x K), which cells are wanted.
        For every learned token `target_read`, `target_token`, `target_of` (its example) and `target_kind`.
    """
    import torch

    tree = _Tree()
    width = max(len(encoded.options) for encoded in batch)
    forms, targets = _Steps(), _Steps()
    option_of: list[int] = []
    kinds: list[int] = []
    there = np.zeros((len(batch), width), dtype=np.bool_)
    sequences: list[Ids] = []
    for example, (encoded, mode, wanted) in enumerate(zip(batch, modes, options, strict=True)):
        for place in wanted:
            there[example, place] = True
            for number, form in enumerate(encoded.options[place]):
                # The last token is only read, never fed.
                ids = (*encoded.stem, *form[:-1])
                nodes = tree.add(ids) if not rows else _row(sequences, ids)
                for at, token in enumerate(form, start=len(encoded.stem) - 1):
                    forms.add(nodes[at], token, len(option_of))
                option_of.append(example * width + place)
                if place == mode and number == 0:
                    whole = (*ids, form[-1])
                    for at in range(encoded.start, len(whole)):
                        targets.add(nodes[at - 1], whole[at], example)
                        kinds.append(PREFILL if at < len(encoded.stem) else ANSWER if at < len(whole) - 1 else END)
    laid = _as_rows(sequences, forms, targets) if rows else _as_tree(tree, forms, targets)
    read = np.unique(np.array([*forms.node, *targets.node], dtype=np.int64))
    laid |= {
        "read": read,
        "form_read": np.searchsorted(read, np.array(forms.node)),
        "form_token": np.array(forms.token),
        "form_of": np.array(forms.owner),
        "option_of": np.array(option_of),
        "there": there,
        "target_read": np.searchsorted(read, np.array(targets.node)),
        "target_token": np.array(targets.token),
        "target_of": np.array(targets.owner),
        "target_kind": np.array(kinds),
    }
    return {name: torch.from_numpy(values) for name, values in laid.items()}


def _row(sequences: list[Ids], ids: Ids) -> list[int]:
    """Add a row and return for each of its tokens (row, column) as one number, until the width of all rows is known."""
    sequences.append(ids)
    return [(len(sequences) - 1 << 32) + at for at in range(len(ids))]


def _as_rows(sequences: Sequence[Ids], *steps: _Steps) -> dict[str, NDArray[Any]]:
    width = max(map(len, sequences))
    ids = np.zeros((len(sequences), width), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    for some in steps:
        some.node = [(node >> 32) * width + (node & 0xFFFFFFFF) for node in some.node]
    places = np.broadcast_to(np.arange(width), ids.shape).copy()
    return {"input_ids": ids, "position_ids": places, "attention_mask": mask}


def _as_tree(tree: _Tree, *steps: _Steps) -> dict[str, NDArray[Any]]:
    tokens, parents, depths, place = tree.in_order()
    for some in steps:
        some.node = place[some.node].tolist()
    return {"input_ids": tokens[None], "position_ids": depths[None], "parents": parents}


def seen_by(parents: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which nodes each node sees, N x N: its ancestors and itself. Parents come before their children."""
    seen = np.eye(len(parents), dtype=np.bool_)
    for node, parent in enumerate(parents.tolist()):
        if parent >= 0:
            seen[node] |= seen[parent]
    return seen


def segments(parents: NDArray[np.int64]) -> list[tuple[int, int, NDArray[np.int64], NDArray[np.bool_]]]:
    """Cut a tree in depth-first order into runs of rows that see few keys.

    Returns:
        For each run its first row, the row behind its last, the nodes that any of its rows sees, and which row sees which.
    """
    seen = seen_by(parents)
    heads = [node for node, parent in enumerate(parents.tolist()) if parent != node - 1 and node > 0]
    begins = [0]
    for head, following in zip(heads, [*heads[1:], len(parents)], strict=True):
        if following - head >= _SHORTEST or head - begins[-1] >= _LONGEST:
            begins.append(head)
    cut: list[tuple[int, int, NDArray[np.int64], NDArray[np.bool_]]] = []
    for begin, end in zip(begins, [*begins[1:], len(parents)], strict=True):
        keys = np.flatnonzero(seen[begin:end].any(axis=0))
        cut.append((begin, end, keys, seen[begin:end, keys]))
    return cut
