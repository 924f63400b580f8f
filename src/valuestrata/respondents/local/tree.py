"""Prefix trees of token sequences, for scoring and for training.

Prompts share beginnings, and the options of a prompt share everything before them. In a tree every distinct prefix is one
node, so the model computes it once. There is no padding, and options are branches like any other.
"""

from __future__ import annotations

from collections.abc import Sequence

Ids = tuple[int, ...]
Step = tuple[int, int]
"""A node, and the token after it whose probability is read."""


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """Return the number of leading elements that two sequences share."""
    return next((at for at, (one, other) in enumerate(zip(first, second, strict=False)) if one != other), min(len(first), len(second)))


class TokenTree:
    """A prefix tree of token sequences.

    Nodes are numbered in the order in which they are added, parents before children. `sort` renumbers them depth-first.

    Attributes:
        tokens, parents, depths: of each node its token, its parent (-1 for a first token) and its depth (0 for a first token).
    """

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.parents: list[int] = []
        self.depths: list[int] = []
        self._children: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self.tokens)

    def add(self, ids: Sequence[int], below: int = -1) -> list[int]:
        """Add a sequence below a node and return its nodes; nodes that exist are shared."""
        nodes: list[int] = []
        for token in ids:
            node = self._children.get((below, token))
            if node is None:
                node = self._children[below, token] = len(self.tokens)
                self.tokens.append(token)
                self.parents.append(below)
                self.depths.append(0 if below < 0 else self.depths[below] + 1)
            nodes.append(node)
            below = node
        return nodes

    def add_form(self, form: Ids, below: int) -> list[Step]:
        """Add a continuation below a node and return the steps whose probabilities multiply to that of the continuation.

        Its last token is only read and never fed to the model, so it gets no node.
        """
        return list(zip([below, *self.add(form[:-1], below)], form, strict=True))

    def sort(self) -> Sequence[int]:
        """Renumber the nodes depth-first, children in the order in which they were added; add no sequences afterwards.

        Returns:
            The new number of every node.
        """
        if self._is_depth_first():
            return range(len(self))
        children: dict[int, list[int]] = {}
        for node, parent in enumerate(self.parents):
            children.setdefault(parent, []).append(node)
        order: list[int] = []
        waiting = children[-1][::-1]
        while waiting:
            order.append(waiting.pop())
            waiting.extend(reversed(children.get(order[-1], ())))
        number = [0] * len(order)
        for new, node in enumerate(order):
            number[node] = new
        self.tokens = [self.tokens[node] for node in order]
        self.depths = [self.depths[node] for node in order]
        self.parents = [number[parent] if (parent := self.parents[node]) >= 0 else -1 for node in order]
        return number

    def _is_depth_first(self) -> bool:
        path: list[int] = []
        for node, (parent, depth) in enumerate(zip(self.parents, self.depths, strict=True)):
            if depth and path[depth - 1 : depth] != [parent]:
                return False
            del path[depth:]
            path.append(node)
        return True

    def path(self, node: int) -> list[int]:
        """Return the nodes from the first token down to `node`, which may be -1."""
        nodes: list[int] = []
        while node >= 0:
            nodes.append(node)
            node = self.parents[node]
        return nodes[::-1]
