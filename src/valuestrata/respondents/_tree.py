"""Token trees: every distinct prefix of many token sequences goes through the model once.

The sequences of a run (persona, question, answer forms) are laid out as one tree in depth-first order and cut into
slices of a fixed number of tokens. A slice is one row of one forward pass: each token sees its ancestors only (a mask
says so) and stands at the position that its depth gives it. In depth-first order whatever a later slice needs of the
earlier ones lies on the path from the root to its first token, so the cache is cut down to that path between slices.
There is no padding, sharing has as many levels as the prompts have, and answer forms are branches like any other.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Ids = tuple[int, ...]

# Largest difference of logits, relative to their size, that rounding explains; a wrong mask or position gives far more.
_ROUNDING = {"float32": 0.01, "bfloat16": 0.1, "float16": 0.05}


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


class TreeRunner:
    """Runs parts of a token tree through a causal model, keeping keys and values of what later parts stand on."""

    def __init__(self, model: Any) -> None:
        parameters = inspect.signature(model.forward).parameters
        # transformers 5 renames the argument; the old name warns from 5.24 and goes in 5.40.
        self._cache_argument = "cache" if "cache" in parameters else "past_key_values"
        self._model = model
        self.forwarded = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything cached, as after a failed pass or before another tree."""
        from transformers import DynamicCache

        # Without a config: layers with a sliding window would drop keys by their place in the row, not in the tree.
        self._cache: Any = DynamicCache()
        self._place: dict[int, int] = {}
        self._seen: list[npt.NDArray[np.bool_]] = []

    def resume(self, tree: TokenTree, node: int) -> list[int]:
        """Cut the cache down to the path that ends at `node`; return the nodes of it that are not cached."""
        path = tree.path(node)
        kept = [step for step in path if step in self._place]
        if len(kept) < len(self._place):
            places = np.array([self._place[step] for step in kept], dtype=np.int64)
            self._keep(places)
            self._seen = [np.ones(place + 1, dtype=np.bool_) for place in range(len(kept))]
            self._place = {step: place for place, step in enumerate(kept)}
        return [step for step in path if step not in self._place]

    def _keep(self, places: npt.NDArray[np.int64]) -> None:
        import torch

        for layer in self._cache.layers:
            index = torch.as_tensor(places, device=layer.keys.device)
            layer.keys = layer.keys.index_select(-2, index)
            layer.values = layer.values.index_select(-2, index)

    def logits(self, tree: TokenTree, nodes: Sequence[int], read: Sequence[int]) -> Any:
        """Feed `nodes` (parents first, or already cached) and return the logits after each node of `read`, row by row.

        A failed pass leaves the cache half-extended: call `reset` before going on.
        """
        import torch

        device, dtype = self._model.device, self._model.dtype
        start = len(self._seen)
        seen = np.zeros((len(nodes), start + len(nodes)), dtype=np.bool_)
        place = dict(self._place)
        for row, node in enumerate(nodes):
            parent = tree.parents[node]
            if parent >= 0:
                at = place[parent]
                known = self._seen[at] if at < start else seen[at - start]
                seen[row, : len(known)] = known
            seen[row, start + row] = True
            place[node] = start + row
        hidden = torch.from_numpy(~seen).to(device)
        mask = torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill_(hidden, torch.finfo(dtype).min)
        output = self._model(
            input_ids=torch.tensor([[tree.tokens[node] for node in nodes]], device=device),
            attention_mask=mask[None, None],
            position_ids=torch.tensor([[tree.depths[node] for node in nodes]], device=device),
            logits_to_keep=torch.tensor([place[node] - start for node in read], device=device, dtype=torch.long),
            use_cache=True,
            **{self._cache_argument: self._cache},
        )
        self._place = place
        self._seen.extend(seen[row, : start + row + 1] for row in range(len(nodes)))
        self.forwarded += len(nodes)
        return output.logits[0]


class PlainRunner:
    """The same interface for models that a tree does not fit (recurrent layers, windows): each sequence alone, in full."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.forwarded = 0

    def reset(self) -> None:
        """Nothing is cached."""

    def resume(self, tree: TokenTree, node: int) -> list[int]:
        """Nothing is cached, and nothing has to be fed before a sequence is read."""
        return []

    def logits(self, tree: TokenTree, nodes: Sequence[int], read: Sequence[int]) -> Any:
        """Return the logits after each node of `read`, each from a pass over its whole path."""
        import torch

        rows: list[Any] = []
        for node in read:
            path = tree.path(node)
            ids = torch.tensor([[tree.tokens[step] for step in path]], device=self._model.device)
            rows.append(self._model(input_ids=ids, use_cache=False).logits[0, -1])
            self.forwarded += len(path)
        return torch.stack(rows) if rows else torch.empty((0, 1))


Runner = TreeRunner | PlainRunner


def window_of(config: Any) -> int | None:
    """Return how many tokens back the narrowest layer of a model sees, or None where every layer sees everything."""
    config = config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    window = getattr(config, "sliding_window", None) or getattr(config, "attention_chunk_size", None)
    if not window or getattr(config, "use_sliding_window", True) is False:
        return None
    if kinds is not None and not any("sliding" in kind or "chunked" in kind for kind in kinds):
        return None
    return int(window)


def fits_a_tree(model: Any) -> bool:
    """Say whether a model gives the same logits for a small tree, run in two slices, as for each of its sequences alone.

    Recurrent layers, position biases and kernels that ignore a custom mask fail this; asking the model itself is safer
    than a list of architectures.
    """
    import torch

    size = int(model.config.get_text_config().vocab_size)
    sequences: list[Ids] = [(1, 2, 3, 4), (1, 2, 3, 5, 6), (1, 2, 7, 4), (1, 2, 7, 8)]
    sequences = [tuple(3 * token % size for token in ids) for ids in sequences]
    tree = TokenTree()
    ends = [tree.add_path(ids) for ids in sequences]
    runner = TreeRunner(model)
    with torch.inference_mode():
        plain = PlainRunner(model).logits(tree, (), [ends[1], ends[3]]).float()
        try:
            first = runner.logits(tree, range(ends[1] + 1), ends[1:2])
            missing = runner.resume(tree, tree.parents[ends[1] + 1])
            second = runner.logits(tree, [*missing, *range(ends[1] + 1, len(tree))], ends[3:])
        except (TypeError, ValueError, RuntimeError, AttributeError, LookupError):
            # A signature or a cache of another kind: such a model is run sequence by sequence.
            return False
        packed = torch.cat([first, second]).float()
    if packed.shape != plain.shape:
        return False
    allowed = _ROUNDING.get(str(model.dtype).removeprefix("torch."), 0.01) * float(plain.abs().max())
    return float((packed - plain).abs().max()) <= allowed
