"""Paths of a token tree as rows of a batch, to which tokens are appended one at a time.

In the tree, each new token would be compared with the keys of all other prompts. In rows, each prompt has only its own
keys. The price is that shared prefixes are stored once per row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass
class Meter:
    """Number of tokens that have passed through a model."""

    forwarded: int = 0


class TreeRows:
    """Paths of a token tree whose keys and values are cached, as rows of one batch."""

    def __init__(self, model: Any, cache_argument: str, tree_cache: Any, paths: Sequence[Sequence[int]], meter: Meter) -> None:
        """Take the rows from the cache of a tree, which is emptied; `paths`: for each row its positions in the cache."""
        import torch

        from valuestrata.respondents.local.transformers_internals import take_rows

        self._model, self._cache_argument, self._meter = model, cache_argument, meter
        device = model.device
        width = max(map(len, paths))
        # Padded on the left, so new tokens have the same column in every row.
        index = torch.tensor([[0] * (width - len(path)) + list(path) for path in paths], device=device)
        blank = torch.tensor([[column < width - len(path) for column in range(width)] for path in paths], device=device)
        self._mask = torch.zeros(blank.shape, dtype=model.dtype, device=device).masked_fill_(blank, torch.finfo(model.dtype).min)
        self._next = torch.tensor([[len(path)] for path in paths], device=device)
        self._cache = take_rows(tree_cache, index)
        self._place = {row: row for row in range(len(paths))}

    def step(self, rows: Sequence[int], tokens: Sequence[int]) -> Any:
        """Append a token to each of `rows` (a subset of those of the previous step) and return the logits after it."""
        import torch

        if 2 * len(rows) <= len(self._place):
            self._keep(rows)
        places = [self._place[row] for row in rows]
        at = torch.tensor(places, device=self._model.device)
        # Finished rows get token 0 until half of the rows have finished, because removing a row copies all others.
        ids = torch.zeros_like(self._next)
        ids[at, 0] = torch.tensor(list(tokens), device=ids.device)
        self._mask = torch.nn.functional.pad(self._mask, (0, 1))
        output = self._model(
            input_ids=ids,
            position_ids=self._next,
            attention_mask=self._mask[:, None, None],
            logits_to_keep=1,
            use_cache=True,
            **{self._cache_argument: self._cache},
        )
        # Finished rows keep their position; a long one would exceed the positions the model knows.
        self._next[at] += 1
        self._meter.forwarded += len(rows)
        last = output.logits[:, -1]
        return last if places == list(range(len(last))) else last[at]

    def _keep(self, rows: Sequence[int]) -> None:
        import torch

        from valuestrata.respondents.local.transformers_internals import select_rows

        at = torch.tensor([self._place[row] for row in rows], device=self._model.device)
        self._mask, self._next = self._mask[at], self._next[at]
        select_rows(self._cache, at)
        self._place = {row: place for place, row in enumerate(rows)}


class PlainRows:
    """The same interface for models that cannot run a tree: each row alone and in full, at every step."""

    def __init__(self, model: Any, paths: Sequence[Sequence[int]], meter: Meter) -> None:
        self._model, self._meter = model, meter
        self._ids = [list(path) for path in paths]

    def step(self, rows: Sequence[int], tokens: Sequence[int]) -> Any:
        """Append a token to each of `rows` and return the logits after it."""
        for row, token in zip(rows, tokens, strict=True):
            self._ids[row].append(token)
        return self.read(rows)

    def read(self, rows: Sequence[int]) -> Any:
        """Return the logits at the end of each of `rows`."""
        import torch

        found: list[Any] = []
        for row in rows:
            ids = torch.tensor([self._ids[row]], device=self._model.device)
            found.append(self._model(input_ids=ids, use_cache=False).logits[0, -1])
            self._meter.forwarded += len(self._ids[row])
        return torch.stack(found) if found else torch.empty((0, 1))

    def states(self, layers: Sequence[int]) -> Any:
        """Return the hidden states at the end of each row, shape (rows, layers, size)."""
        import torch

        found: list[Any] = []
        for row in self._ids:
            output = self._model(input_ids=torch.tensor([row], device=self._model.device), use_cache=False, output_hidden_states=True)
            found.append(torch.stack([output.hidden_states[layer][0, -1] for layer in layers]))
            self._meter.forwarded += len(row)
        return torch.stack(found) if found else torch.empty((0, len(layers), 1))


Rows = TreeRows | PlainRows
