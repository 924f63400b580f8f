"""Attention over a token tree: each token attends to its ancestors and itself.

A forward pass runs over part of a tree in depth-first order, as one row. On a GPU one mask selects the visible keys. On a
CPU a mask would waste most products, of tokens with the keys of other prompts. There attention runs in segments: runs of
neighbouring rows that share most of their keys. Everything else in the model still runs over the whole row.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Visible = npt.NDArray[np.bool_]
Way = TypeVar("Way")

# Chains (runs of nodes, each the parent of the next) shorter than `shortest` join the segment before them, because a call
# costs more than the keys computed in vain. A segment that has reached `longest` rows is ended at the next chain.
SHORTEST = 16
LONGEST = 128


@dataclass(frozen=True)
class Segment:
    """Rows `begin` to `end` of a pass, the positions of the keys they attend to, and their mask (rows x keys), added to scores."""

    begin: int
    end: int
    keys: Any
    mask: Any


def visible_keys(parents: Sequence[int], cached: Sequence[Visible] = ()) -> Visible:
    """Return which keys each row of a pass attends to: those of its parent, and its own.

    Args:
        parents: for each row the position of its parent among cached keys and rows, -1 for a first token; parents come first.
        cached: for each cached key which cached keys it attends to, up to itself.

    Returns:
        Array (rows, cached + rows).
    """
    start = len(cached)
    visible = np.zeros((len(parents), start + len(parents)), dtype=np.bool_)
    for row, parent in enumerate(parents):
        if parent >= 0:
            known = cached[parent] if parent < start else visible[parent - start]
            visible[row, : len(known)] = known
        visible[row, start + row] = True
    return visible


def segment_bounds(parents: Sequence[int], cached: int = 0, shortest: int = SHORTEST, longest: int = LONGEST) -> list[tuple[int, int]]:
    """Return begin and end of the segments of a pass; `parents` as for `visible_keys`, `cached`: number of cached keys."""
    rows = len(parents)
    chains = [row for row in range(1, rows) if parents[row] != cached + row - 1]
    begins = [0]
    for chain, following in itertools.pairwise([*chains, rows]):
        if following - chain >= shortest or chain - begins[-1] >= longest:
            begins.append(chain)
    return list(itertools.pairwise([*begins, rows]))


def attention_inputs(visible: Visible, bounds: Sequence[tuple[int, int]] | None, dtype: Any, device: Any) -> dict[str, Any]:
    """Return the arguments of a model's forward pass that restrict attention to the visible keys.

    Args:
        visible: see `visible_keys`. bounds: see `segment_bounds`; None for one mask. dtype, device: of the mask.
    """
    import torch

    if bounds is None:
        hidden = torch.from_numpy(~visible).to(device)
        mask = torch.zeros(hidden.shape, dtype=dtype, device=device).masked_fill_(hidden, torch.finfo(dtype).min)
        return {"attention_mask": mask[None, None]}
    segments: list[Segment] = []
    for begin, end in bounds:
        keys = np.flatnonzero(visible[begin:end].any(axis=0))
        hidden = torch.from_numpy(~visible[begin:end, keys])
        mask = torch.zeros(hidden.shape, dtype=dtype).masked_fill_(hidden, -torch.inf)
        segments.append(Segment(begin, end, torch.from_numpy(keys), mask))
    return {"tree_segments": segments}


def supports_segments(model: Any) -> bool:
    """Whether a model can attend in segments: it runs on the CPU and uses torch's scaled dot-product attention."""
    from valuestrata.respondents.local.transformers_internals import attention_name

    return model.device.type == "cpu" and attention_name(model.config) == "sdpa"


def segment_attention(model: Any) -> contextlib.AbstractContextManager[None]:
    """Let a model attend in segments within a context; its forward pass then takes `tree_segments`."""
    from valuestrata.respondents.local.transformers_internals import custom_attention

    return custom_attention(model.config, "valuestrata_segments", _attend)


def first_equal(ways: Iterable[Way], logits_of: Callable[[Way], Any], expected: Any, tolerance: float) -> Way | None:
    """Return the first way of running a model that gives the expected logits, or None.

    Recurrent layers, position biases and kernels that ignore a custom mask change the logits. Testing the model on a small
    tree is safer than a list of architectures.

    Args:
        ways: in order of preference. logits_of: runs the model on a small tree. expected: the right logits.
        tolerance: largest difference explained by rounding, relative to the largest logit.
    """
    for way in ways:
        try:
            found = logits_of(way).float()
        except (TypeError, ValueError, RuntimeError, AttributeError, LookupError):
            # The forward pass or the cache of this model has another interface.
            continue
        if found.shape == expected.shape and float((found - expected).abs().max()) <= tolerance * float(expected.abs().max()):
            return way
    return None


def _attend(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **settings: Any) -> tuple[Any, None]:
    """Attend in segments; the signature is that of transformers' attention functions.

    Args:
        query: 1 x heads x rows x size. key, value: 1 x key heads x keys x size.
        settings: `tree_segments`, `scaling` and `dropout`.

    Returns:
        The attended values, 1 x rows x heads x size, differentiable.
    """
    import torch

    # These change the scores and are not implemented here; such a model uses one mask.
    if unsupported := [name for name in ("softcap", "position_bias", "s_aux", "head_mask") if settings.get(name) is not None]:
        raise ValueError(f"attention in segments does not support {unsupported[0]}")
    segments: Sequence[Segment] = settings["tree_segments"]
    heads, shared = query.shape[1], key.shape[1]
    attended: list[Any] = []
    for segment in segments:
        # Heads that share keys are grouped, so the keys are expanded without a copy.
        rows, expanded = segment.end - segment.begin, (shared, heads // shared, len(segment.keys), -1)
        out = torch.nn.functional.scaled_dot_product_attention(
            query[0, :, segment.begin : segment.end].reshape(shared, heads // shared, rows, -1),
            key[0].index_select(1, segment.keys)[:, None].expand(expanded),
            value[0].index_select(1, segment.keys)[:, None].expand(expanded),
            attn_mask=segment.mask,
            dropout_p=settings.get("dropout") or 0.0,
            scale=settings.get("scaling"),
        )
        attended.append(out.reshape(heads, rows, -1).transpose(0, 1))
    return torch.cat(attended)[None], None
