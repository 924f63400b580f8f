"""Writing on from a token tree: each prompt's path becomes a row of a batch, and the rows take a token at a time together.

In the tree a step would let every prompt's new token look over the keys of all others. As rows, a prompt's keys lie side by
side, and nothing is masked but the padding before shorter paths. The price is that shared beginnings are held once a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Columns by which a batch grows when it is full: adding one at a time would copy everything written before for every token.
_ROOM = 64


@dataclass
class Meter:
    """How many tokens have gone through a model."""

    forwarded: int = 0


class TreeRows:
    """Paths of a token tree whose keys and values are known, as rows of one batch."""

    def __init__(self, model: Any, cache_argument: str, tree_cache: Any, paths: Sequence[Sequence[int]], meter: Meter) -> None:
        """Take the rows out of the cache of a tree, layer by layer; what the tree held is given up on the way."""
        import torch

        self._model, self._cache_argument, self._meter = model, cache_argument, meter
        device = model.device
        width = max(map(len, paths))
        # Padded before the path and not behind it, so that what is written stands in the same column in every row.
        index = torch.tensor([[0] * (width - len(path)) + list(path) for path in paths], device=device)
        blank = torch.tensor([[column < width - len(path) for column in range(width)] for path in paths], device=device)
        self._hidden = torch.zeros(blank.shape, dtype=model.dtype, device=device).masked_fill_(blank, torch.finfo(model.dtype).min)
        self._next = torch.tensor([[len(path)] for path in paths], device=device)
        self._cache = _rows_cache(tree_cache, index)
        self._at = {row: row for row in range(len(paths))}

    def step(self, rows: Sequence[int], tokens: Sequence[int]) -> Any:
        """Append a token to each of `rows` (a subset of those of the step before) and return the logits after it, row by row."""
        import torch

        if 2 * len(rows) <= len(self._at):
            self._drop_all_but(rows)
        places = [self._at[row] for row in rows]
        at = torch.tensor(places, device=self._model.device)
        # Rows that have ended go along with any token until half of them have: taking a row out copies all others.
        ids = torch.zeros_like(self._next)
        ids[at, 0] = torch.tensor(list(tokens), device=ids.device)
        self._hidden = torch.nn.functional.pad(self._hidden, (0, 1))
        output = self._model(
            input_ids=ids,
            position_ids=self._next,
            attention_mask=self._hidden[:, None, None],
            logits_to_keep=1,
            use_cache=True,
            **{self._cache_argument: self._cache},
        )
        # Rows that have ended stay where they are: a long one would walk out of the positions that the model knows.
        self._next[at] += 1
        self._meter.forwarded += len(rows)
        last = output.logits[:, -1]
        return last if places == list(range(len(last))) else last[at]

    def _drop_all_but(self, rows: Sequence[int]) -> None:
        import torch

        at = torch.tensor([self._at[row] for row in rows], device=self._model.device)
        self._hidden, self._next = self._hidden[at], self._next[at]
        for layer in self._cache.layers:
            layer.select(at)
        self._at = {row: place for place, row in enumerate(rows)}


class PlainRows:
    """The same for models that a tree does not fit: each row in full and alone, at every step."""

    def __init__(self, model: Any, paths: Sequence[Sequence[int]], meter: Meter) -> None:
        self._model, self._meter = model, meter
        self._ids = [list(path) for path in paths]

    def step(self, rows: Sequence[int], tokens: Sequence[int]) -> Any:
        """Append a token to each of `rows` and return the logits after it, row by row."""
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


Rows = TreeRows | PlainRows


def _rows_cache(tree_cache: Any, index: Any) -> Any:
    """Return a cache of rows, in which row b holds the places `index[b]` of a tree's cache; the tree's is emptied."""
    from transformers.cache_utils import Cache, DynamicLayer

    class RowsLayer(DynamicLayer):
        """Keys and values with room behind them."""

        def __init__(self, room: list[Any], used: int) -> None:
            super().__init__()
            self.lazy_initialization(*room)
            self._room = room
            self._show(used)

        def update(self, key_states: Any, value_states: Any, *_args: Any, **_settings: Any) -> tuple[Any, Any]:
            used = self._used
            end = used + key_states.shape[-2]
            if end > self._room[0].shape[-2]:
                self._room = [_wider(room[:, :, :used], end + _ROOM) for room in self._room]
            for room, states in zip(self._room, (key_states, value_states), strict=True):
                room[:, :, used:end] = states
            self._show(end)
            return self.keys, self.values

        def select(self, rows: Any) -> None:
            self._room = [room[rows] for room in self._room]
            self._show(self._used)

        def _show(self, used: int) -> None:
            self._used = used
            self.keys, self.values = (room[:, :, :used] for room in self._room)

    used = index.shape[1]
    layers: list[Any] = []
    for layer in tree_cache.layers:
        taken = [states[0][:, index].transpose(0, 1) for states in (layer.keys, layer.values)]
        layers.append(RowsLayer([_wider(states, used + _ROOM) for states in taken], used))
        layer.keys = layer.values = None
    return Cache(layers=layers)


def _wider(states: Any, columns: int) -> Any:
    """Return rows x heads x places x size copied to the front of a tensor with more places."""
    rows, heads, used, size = states.shape
    room = states.new_empty((rows, heads, columns, size))
    room[:, :, :used] = states
    return room
