"""A token tree through a model: every distinct prefix once, slice by slice.

A slice is one row of one forward pass: each token sees its ancestors only and stands at the position that its depth gives
it. Between slices the cache is cut down to the path that the next one stands on. On a processor attention goes in
segments (`_attend`), elsewhere a mask says who sees whom.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from valuestrata.respondents.local.attention import SHORTEST, Seen, attending, can_attend, segments_of
from valuestrata.respondents.local.rows import Meter, PlainRows, Rows, TreeRows
from valuestrata.respondents.local.tree import Ids, TokenTree

# Largest difference of logits, relative to their size, that rounding explains; a wrong mask or position gives far more.
_ROUNDING = {"float32": 0.01, "bfloat16": 0.1, "float16": 0.05}


class TreeRunner:
    """Runs parts of a token tree through a causal model, keeping keys and values of what later parts stand on.

    Attributes:
        meter: how many tokens have gone through the model.
        bytes_a_token: memory that keys and values of one token take; known after a `branch`.
    """

    def __init__(self, model: Any, *, by_segments: bool = False, shortest: int = SHORTEST) -> None:
        parameters = inspect.signature(model.forward).parameters
        # transformers 5 renames the argument; the old name warns from 5.24 and goes in 5.40.
        self._cache_argument = "cache" if "cache" in parameters else "past_key_values"
        self._model = model
        self._by_segments = by_segments
        self._shortest = shortest
        self.meter = Meter()
        self.bytes_a_token = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything cached, as after a failed pass or before another tree."""
        from transformers import DynamicCache

        # Without a config: layers with a sliding window would drop keys by their place in the row, not in the tree.
        self._cache: Any = DynamicCache()
        self._place: dict[int, int] = {}
        self._seen: list[Seen] = []

    def cost(self, tree: TokenTree, read: Sequence[int]) -> int:
        """Return how many tokens go through the model to run all of `tree`."""
        return len(tree)

    def resume(self, tree: TokenTree, node: int) -> list[int]:
        """Cut the cache down to the path that ends at `node`; return the nodes of it that are not cached."""
        path = tree.path(node)
        kept = [step for step in path if step in self._place]
        if len(kept) < len(self._place):
            self._keep(np.array([self._place[step] for step in kept], dtype=np.int64))
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

        device, start = self._model.device, len(self._seen)
        seen, heads, place = self._sight(tree, nodes)
        with attending(self._model.config) if self._by_segments else contextlib.nullcontext():
            output = self._model(
                input_ids=torch.tensor([[tree.tokens[node] for node in nodes]], device=device),
                position_ids=torch.tensor([[tree.depths[node] for node in nodes]], device=device),
                logits_to_keep=torch.tensor([place[node] - start for node in read], device=device, dtype=torch.long),
                use_cache=True,
                **self._shown(seen, heads),
                **{self._cache_argument: self._cache},
            )
        self._place = place
        self._seen.extend(seen[row, : start + row + 1] for row in range(len(nodes)))
        self.meter.forwarded += len(nodes)
        return output.logits[0]

    def _sight(self, tree: TokenTree, nodes: Sequence[int]) -> tuple[Seen, list[int], dict[int, int]]:
        """Return which places each of `nodes` sees, the rows that do not continue the row before, and every node's place."""
        start = len(self._seen)
        seen = np.zeros((len(nodes), start + len(nodes)), dtype=np.bool_)
        heads: list[int] = []
        place = dict(self._place)
        for row, node in enumerate(nodes):
            parent = tree.parents[node]
            at = place[parent] if parent >= 0 else -1
            if at >= 0:
                known = self._seen[at] if at < start else seen[at - start]
                seen[row, : len(known)] = known
            if at != start + row - 1:
                heads.append(row)
            seen[row, start + row] = True
            place[node] = start + row
        return seen, heads, place

    def _shown(self, seen: Seen, heads: Sequence[int]) -> dict[str, Any]:
        import torch

        dtype, device = self._model.dtype, self._model.device
        if self._by_segments:
            return {"tree_segments": segments_of(seen, heads, dtype, self._shortest)}
        mask = torch.zeros(seen.shape, dtype=dtype, device=device)
        mask.masked_fill_(torch.from_numpy(~seen).to(device), torch.finfo(dtype).min)
        return {"attention_mask": mask[None, None]}

    def branch(self, tree: TokenTree, ends: Sequence[int]) -> Rows:
        """Return the cached paths to `ends` as rows that each go on alone (an end named twice: two rows); the tree's cache is given up."""
        paths = [[self._place[node] for node in tree.path(end)] for end in ends]
        self.bytes_a_token = sum(layer.keys.nbytes + layer.values.nbytes for layer in self._cache.layers) // len(self._place)
        rows = TreeRows(self._model, self._cache_argument, self._cache, paths, self.meter)
        self.reset()
        return rows


class PlainRunner:
    """The same interface for models that a tree does not fit (recurrent layers, windows): each sequence alone, in full."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.meter = Meter()

    def reset(self) -> None:
        """Nothing is cached."""

    def cost(self, tree: TokenTree, read: Sequence[int]) -> int:
        """Return how many tokens go through the model to read the logits after each node of `read`."""
        return sum(tree.depths[node] + 1 for node in read)

    def resume(self, tree: TokenTree, node: int) -> list[int]:
        """Nothing is cached, and nothing has to be fed before a sequence is read."""
        return []

    def logits(self, tree: TokenTree, nodes: Sequence[int], read: Sequence[int]) -> Any:
        """Return the logits after each node of `read`, each from a pass over its whole path."""
        return self._rows(tree, read).read(range(len(read)))

    def branch(self, tree: TokenTree, ends: Sequence[int]) -> Rows:
        """Return the paths to `ends` as rows that each go on alone."""
        return self._rows(tree, ends)

    def _rows(self, tree: TokenTree, ends: Sequence[int]) -> PlainRows:
        return PlainRows(self._model, [[tree.tokens[step] for step in tree.path(end)] for end in ends], self.meter)


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


class Fit(NamedTuple):
    """How a model may be run.

    Attributes:
        shares: prompts may share their beginnings, on a tree.
        by_segments: attention goes in segments, and not under one mask.
        bytes_a_token: memory of one token's keys and values; 0 where nothing is shared.
    """

    shares: bool
    by_segments: bool
    bytes_a_token: int


def fit_of(model: Any) -> Fit:
    """Find out whether a model gives the same logits for a small tree, run in slices and as rows, as for each sequence alone.

    Recurrent layers, position biases and kernels that ignore a custom mask fail this; asking the model itself is safer
    than a list of architectures.
    """
    import torch

    size = int(model.config.get_text_config().vocab_size)
    sequences: list[Ids] = [(1, 2, 3, 4), (1, 2, 3, 5, 6), (1, 2, 7, 4), (1, 2, 7, 8)]
    tree = TokenTree()
    ends = [tree.add_path(tuple(3 * token % size for token in ids)) for ids in sequences]
    with torch.inference_mode():
        plain = _logits_of_a_small_tree(PlainRunner(model), tree, ends)
        for by_segments in (True, False) if can_attend(model) else (False,):
            # Every chain a segment of its own, or so small a tree would be one.
            runner = TreeRunner(model, by_segments=by_segments, shortest=1)
            try:
                packed = _logits_of_a_small_tree(runner, tree, ends)
            except (TypeError, ValueError, RuntimeError, AttributeError, LookupError):
                # A signature or a cache of another kind: such a model is run in another way.
                continue
            if _alike(packed, plain, str(model.dtype)):
                return Fit(True, by_segments, runner.bytes_a_token)
    return Fit(False, False, 0)


def _alike(packed: Any, plain: Any, dtype: str) -> bool:
    allowed = _ROUNDING.get(dtype.removeprefix("torch."), 0.01) * float(plain.abs().max())
    return packed.shape == plain.shape and float((packed - plain).abs().max()) <= allowed


def _logits_of_a_small_tree(runner: Runner, tree: TokenTree, ends: Sequence[int]) -> Any:
    """Return logits read from each of two slices of a tree, then after a token appended to two of its paths of different length.

    Few and short passes, for a large model on a processor takes seconds for each.
    """
    import torch

    half = ends[1] + 1
    first = runner.logits(tree, range(half), ends[1:2])
    missing = runner.resume(tree, tree.parents[half])
    second = runner.logits(tree, [*missing, *range(half, len(tree))], ends[3:])
    runner.reset()
    runner.logits(tree, range(len(tree)), [])
    rows = runner.branch(tree, [ends[1], ends[3]]).step([0, 1], tree.tokens[:2])
    return torch.cat([first, second, rows]).float()
