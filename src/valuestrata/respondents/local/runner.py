"""Running a token tree through a model, slice by slice.

A slice of nodes is one row of one forward pass. Each token attends to its ancestors, at the position given by its depth.
Between slices the cache is reduced to the path that the next slice continues.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from valuestrata.respondents.local.attention import (
    SHORTEST,
    Visible,
    attention_inputs,
    first_equal,
    segment_attention,
    segment_bounds,
    supports_segments,
    visible_keys,
)
from valuestrata.respondents.local.memory import failure_of, release_memory
from valuestrata.respondents.local.rows import Meter, PlainRows, Rows, TreeRows
from valuestrata.respondents.local.tree import TokenTree

# Largest difference of logits that rounding explains, relative to the largest logit; a wrong mask or position changes far more.
_TOLERANCE = {"float32": 0.01, "bfloat16": 0.1, "float16": 0.05}


class TreeRunner:
    """Runs parts of a token tree through a causal model and caches the keys and values that later parts need.

    Attributes:
        meter: number of tokens that have passed through the model.
        bytes_per_token: memory of the keys and values of one token; known after `branch`.
    """

    def __init__(self, model: Any, *, by_segments: bool = False, shortest: int = SHORTEST) -> None:
        from valuestrata.respondents.local.transformers_internals import cache_argument

        self._cache_argument = cache_argument(model)
        self._model = model
        self._by_segments = by_segments
        self._shortest = shortest
        self.meter = Meter()
        self.bytes_per_token = 0
        self.reset()

    def reset(self) -> None:
        """Empty the cache, as after a failed pass or before another tree."""
        from valuestrata.respondents.local.transformers_internals import new_cache

        self._cache: Any = new_cache()
        self._position: dict[int, int] = {}
        self._visible: list[Visible] = []

    def cost(self, tree: TokenTree, read: Sequence[int]) -> int:
        """Return how many tokens pass through the model to run all of `tree`."""
        return len(tree)

    def resume(self, tree: TokenTree, node: int) -> list[int]:
        """Reduce the cache to the path that ends at `node` and return the nodes of the path that are not cached."""
        from valuestrata.respondents.local.transformers_internals import keep_positions

        path = tree.path(node)
        kept = [step for step in path if step in self._position]
        if len(kept) < len(self._position):
            keep_positions(self._cache, [self._position[step] for step in kept])
            self._visible = [np.ones(position + 1, dtype=np.bool_) for position in range(len(kept))]
            self._position = {step: position for position, step in enumerate(kept)}
        return [step for step in path if step not in self._position]

    def logits(self, tree: TokenTree, nodes: Sequence[int], read: Sequence[int]) -> Any:
        """Run `nodes` (their parents come first or are cached) and return the logits after each node of `read`, row by row.

        After a failed pass the cache is inconsistent: call `reset`.
        """
        return self._forward(tree, nodes, read).logits[0]

    def states(self, tree: TokenTree, nodes: Sequence[int], read: Sequence[int], layers: Sequence[int]) -> Any:
        """Run `nodes` as `logits` does and return the hidden states at each node of `read`, shape (read, layers, size)."""
        import torch

        output = self._forward(tree, nodes, [], output_hidden_states=True)
        row = {node: row for row, node in enumerate(nodes)}
        return torch.stack([output.hidden_states[layer][0, [row[node] for node in read]] for layer in layers], dim=1)

    def _forward(self, tree: TokenTree, nodes: Sequence[int], read: Sequence[int], **options: Any) -> Any:
        """Run `nodes` and return the model's output, with logits after the nodes of `read` only."""
        import torch

        device, start = self._model.device, len(self._visible)
        position = dict(self._position)
        parents: list[int] = []
        for row, node in enumerate(nodes):
            parent = tree.parents[node]
            parents.append(position[parent] if parent >= 0 else -1)
            position[node] = start + row
        visible = visible_keys(parents, self._visible)
        bounds = segment_bounds(parents, start, self._shortest) if self._by_segments else None
        with segment_attention(self._model) if self._by_segments else contextlib.nullcontext():
            output = self._model(
                input_ids=torch.tensor([[tree.tokens[node] for node in nodes]], device=device),
                position_ids=torch.tensor([[tree.depths[node] for node in nodes]], device=device),
                logits_to_keep=torch.tensor([position[node] - start for node in read], device=device, dtype=torch.long),
                use_cache=True,
                **options,
                **attention_inputs(visible, bounds, self._model.dtype, device),
                **{self._cache_argument: self._cache},
            )
        self._position = position
        self._visible.extend(visible[row, : start + row + 1] for row in range(len(nodes)))
        self.meter.forwarded += len(nodes)
        return output

    def branch(self, tree: TokenTree, ends: Sequence[int]) -> Rows:
        """Return the cached paths to `ends` as rows (an end listed twice gives two rows); the tree's cache is emptied."""
        from valuestrata.respondents.local.transformers_internals import cache_bytes

        paths = [[self._position[node] for node in tree.path(end)] for end in ends]
        self.bytes_per_token = cache_bytes(self._cache) // len(self._position)
        rows = TreeRows(self._model, self._cache_argument, self._cache, paths, self.meter)
        self.reset()
        return rows


class PlainRunner:
    """The same interface for models that cannot run a tree (recurrent layers, attention windows): each sequence alone."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.meter = Meter()

    def reset(self) -> None:
        """Do nothing: nothing is cached."""

    def cost(self, tree: TokenTree, read: Sequence[int]) -> int:
        """Return how many tokens pass through the model to read the nodes `read`."""
        return sum(tree.depths[node] + 1 for node in read)

    def resume(self, tree: TokenTree, node: int) -> list[int]:
        """Return no nodes: every sequence is run in full."""
        return []

    def logits(self, tree: TokenTree, nodes: Sequence[int], read: Sequence[int]) -> Any:
        """Return the logits after each node of `read`, from its whole path."""
        return self._rows(tree, read).read(range(len(read)))

    def states(self, tree: TokenTree, nodes: Sequence[int], read: Sequence[int], layers: Sequence[int]) -> Any:
        """Return the hidden states at each node of `read`, from its whole path, shape (read, layers, size)."""
        return self._rows(tree, read).states(layers)

    def branch(self, tree: TokenTree, ends: Sequence[int]) -> Rows:
        """Return the paths to `ends` as rows."""
        return self._rows(tree, ends)

    def _rows(self, tree: TokenTree, ends: Sequence[int]) -> PlainRows:
        return PlainRows(self._model, [[tree.tokens[step] for step in tree.path(end)] for end in ends], self.meter)


Runner = TreeRunner | PlainRunner


def in_slices(runner: Runner, tree: TokenTree, size: int, run: Callable[[range], None]) -> Iterator[tuple[range, str | None]]:
    """Run a sorted tree slice by slice; yield each slice when it is done, with the error if it failed.

    Args:
        size: tokens per pass; halved whenever memory is exhausted.
        run: runs the nodes of a slice and stores what is read.
    """
    begin = 0
    while begin < len(tree):
        nodes = range(begin, min(begin + size, len(tree)))
        failure = failure_of(partial(_run_slice, runner, tree, nodes, size, run), runner.reset)
        if failure is not None and failure.out_of_memory and len(nodes) > 1:
            release_memory()
            size = (len(nodes) + 1) // 2
            continue
        yield nodes, None if failure is None else failure.error
        begin = nodes.stop


def _run_slice(runner: Runner, tree: TokenTree, nodes: range, size: int, run: Callable[[range], None]) -> None:
    missing = runner.resume(tree, tree.parents[nodes.start])
    # After a failed pass a long path may be missing, and memory may not suffice for it in one pass.
    for first in range(0, len(missing), size):
        runner.logits(tree, missing[first : first + size], [])
    run(nodes)


@dataclass(frozen=True)
class RunnerChoice:
    """How a model can be run.

    Attributes:
        uses_tree: prompts share prefixes in a tree.
        by_segments: attention runs in segments, not under one mask.
        bytes_per_token: memory of one token's keys and values; 0 without a tree.
    """

    uses_tree: bool
    by_segments: bool = False
    bytes_per_token: int = 0


def choose_runner(model: Any) -> RunnerChoice:
    """Return the fastest way to run a model that gives the logits of each sequence alone, tested on a small tree."""
    import torch

    size = int(model.config.get_text_config().vocab_size)
    tree = TokenTree()
    ends = [tree.add([3 * token % size for token in ids])[-1] for ids in ((1, 2, 3, 4), (1, 2, 3, 5, 6), (1, 2, 7, 4), (1, 2, 7, 8))]
    # With `shortest` 1 every chain is a segment; the tree would otherwise be one segment.
    runners = [TreeRunner(model, by_segments=True, shortest=1)] if supports_segments(model) else []
    runners.append(TreeRunner(model))
    tolerance = _TOLERANCE.get(str(model.dtype).removeprefix("torch."), 0.01)
    with torch.inference_mode():
        expected = _probe(PlainRunner(model), tree, ends)
        found = first_equal(runners, lambda runner: _probe(runner, tree, ends), expected, tolerance)
    return RunnerChoice(uses_tree=False) if found is None else RunnerChoice(True, found is not runners[-1], found.bytes_per_token)


def _probe(runner: Runner, tree: TokenTree, ends: Sequence[int]) -> Any:
    """Return logits of two slices of a tree, and of a token appended to two of its paths.

    The passes are few and short, because each takes seconds for a large model on a CPU.
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
