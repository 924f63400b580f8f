"""Attention over a slice of a token tree, in segments, on processors.

A slice holds the tokens of many prompts, and one mask over all of them would let each token be multiplied with the keys
of every other prompt, to throw the product away. In depth-first order the tokens of one prompt stand together, so a slice
falls into segments, each of which sees few keys: its own and those of the path above it. The matrix products of the model
still run over the whole slice; only attention goes segment by segment.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Seen = npt.NDArray[np.bool_]

# The name under which transformers finds this attention.
_NAME = "valuestrata_tree"

# A chain of fewer tokens stays with the segment before it (an answer's forms with their question): a call of its own would
# cost more than the keys that it sees in vain. So would many short segments; a longer one than this wastes more.
SHORTEST = 16
_LONGEST = 128


class Segment(NamedTuple):
    """Rows `begin` to `end` of a slice, the places of the keys that any of them sees, and who sees what (rows x keys, added to scores)."""

    begin: int
    end: int
    keys: Any
    mask: Any


def cut(heads: Sequence[int], rows: int, shortest: int = SHORTEST) -> list[tuple[int, int]]:
    """Cut the rows of a slice into segments; `heads` are the rows that do not continue the row before them, in order."""
    starts = [0, *(row for row in heads if row > 0), rows]
    begins = [0]
    for head, following in itertools.pairwise(starts[1:]):
        if following - head >= shortest or head - begins[-1] >= _LONGEST:
            begins.append(head)
    return list(zip(begins, [*begins[1:], rows], strict=True))


def segments_of(seen: Seen, heads: Sequence[int], dtype: Any, shortest: int = SHORTEST) -> list[Segment]:
    """Return the segments of a slice of which row r sees the keys where `seen[r]` is true."""
    import torch

    found: list[Segment] = []
    for begin, end in cut(heads, len(seen), shortest):
        keys = np.flatnonzero(seen[begin:end].any(axis=0))
        hidden = torch.from_numpy(~seen[begin:end, keys])
        mask = torch.zeros(hidden.shape, dtype=dtype).masked_fill_(hidden, -torch.inf)
        found.append(Segment(begin, end, torch.from_numpy(keys), mask))
    return found


def can_attend(model: Any) -> bool:
    """Say whether a model may use this attention: it computes on the processor and by plain scaled products."""
    return model.device.type == "cpu" and getattr(model.config, "_attn_implementation", None) == "sdpa"


@contextlib.contextmanager
def attending(config: Any) -> Generator[None]:
    """Let a model attend in segments (handed over as `tree_segments`); before and after, it attends as it always does."""
    from transformers import AttentionInterface

    AttentionInterface.register(_NAME, _attend)
    before = config._attn_implementation
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def _attend(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **settings: Any) -> tuple[Any, None]:
    """Return the attended values, 1 x rows x heads x size, of queries 1 x heads x rows x size, as transformers calls it."""
    import torch

    # What would change the scores and is not known here; such a model then takes one mask over the whole slice.
    if foreign := [name for name in ("softcap", "position_bias", "s_aux", "head_mask") if settings.get(name) is not None]:
        raise ValueError(f"attention in segments knows no {foreign[0]}")
    heads, shared = query.shape[1], key.shape[1]
    out = torch.empty((1, query.shape[2], heads, value.shape[-1]), dtype=value.dtype, device=value.device)
    for begin, end, places, mask in settings["tree_segments"]:
        # Heads that share their keys stand beside one another: the keys are widened without being copied.
        wide = (shared, heads // shared, len(places), -1)
        attended = torch.nn.functional.scaled_dot_product_attention(
            query[0, :, begin:end].reshape(shared, heads // shared, end - begin, -1),
            key[0].index_select(1, places)[:, None].expand(wide),
            value[0].index_select(1, places)[:, None].expand(wide),
            attn_mask=mask,
            scale=settings.get("scaling"),
        )
        out[0, begin:end] = attended.reshape(heads, end - begin, -1).transpose(0, 1)
    return out, None
