"""Token trees: every distinct prefix of many token sequences goes through the model once.

The sequences of a run (persona, question, answer forms) are laid out as one tree in depth-first order and cut into
slices of a fixed number of tokens, which `_runner` feeds to the model. In depth-first order whatever a later slice needs
of the earlier ones lies on the path from the root to its first token. There is no padding, sharing has as many levels as
the prompts have, and answer forms are branches like any other.
"""

from __future__ import annotations

from collections.abc import Sequence

Ids = tuple[int, ...]


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many leading elements two sequences share."""
    shared = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        shared += 1
    return shared


class TokenTree:
    """Tokens with their parents and depths; `-1` is the parent of a first token."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.parents: list[int] = []
        self.depths: list[int] = []
        self._spine_ids: Ids = ()
        self._spine: list[int] = []

    def __len__(self) -> int:
        return len(self.tokens)

    def append(self, parent: int, token: int) -> int:
        """Add a token below `parent` and return its node."""
        self.tokens.append(token)
        self.parents.append(parent)
        self.depths.append(0 if parent < 0 else self.depths[parent] + 1)
        return len(self.tokens) - 1

    def add_path(self, ids: Ids) -> int:
        """Add a sequence, sharing nodes with the one added before it (so add them sorted); return its last node."""
        shared = common_prefix(ids, self._spine_ids)
        del self._spine[shared:]
        for token in ids[shared:]:
            self._spine.append(self.append(self._spine[-1] if self._spine else -1, token))
        self._spine_ids = ids
        return self._spine[-1]

    def add_branches(self, root: int, sequences: Sequence[Ids]) -> list[list[tuple[int, int]]]:
        """Hang continuations below `root`; return for each the (node, next token) pairs whose probability it is made of.

        The last token of a continuation is only ever read, never fed to the model, so it gets no node of its own.
        """
        steps: dict[Ids, list[tuple[int, int]]] = {}
        nodes: dict[Ids, int] = {(): root}
        # Sorted, because slices rely on the nodes standing in depth-first order.
        for ids in sorted(set(sequences)):
            for length in range(1, len(ids)):
                head = ids[:length]
                if head not in nodes:
                    nodes[head] = self.append(nodes[head[:-1]], head[-1])
            steps[ids] = [(nodes[ids[:length]], ids[length]) for length in range(len(ids))]
        return [steps[ids] for ids in sequences]

    def path(self, node: int) -> list[int]:
        """Return the nodes from the root down to `node`, which may be -1."""
        found: list[int] = []
        while node >= 0:
            found.append(node)
            node = self.parents[node]
        return found[::-1]
