"""Choosing how the batches of a training are laid out."""

from __future__ import annotations

import contextlib
from typing import Any

from valuestrata.respondents.local.attention import first_equal, segment_attention, supports_segments
from valuestrata.tuning.data.encode import Encoded
from valuestrata.tuning.train.batch import pack
from valuestrata.tuning.train.readout import Layout, logits_of

# Rounding error of the logits relative to the largest; bfloat16 and float16 lose 0.05 in a few layers.
_TOLERANCE = {"float32": 1e-3, "float64": 1e-6}


def attention_of(model: Any, layout: Layout) -> contextlib.AbstractContextManager[None]:
    """Return the context in which a model is trained on a layout, including backward passes that recompute activations."""
    return segment_attention(model) if layout == "segments" else contextlib.nullcontext()


def best_layout(model: Any, longest: int, *, on_cpu: bool = True) -> Layout:
    """Return the fastest layout with the logits of separate rows, tested on a small tree.

    Args:
        model: the model, on any device. longest: number of tokens of the longest example.
        on_cpu: whether it will be trained on a CPU.
    """
    import torch

    from valuestrata.respondents.local.transformers_internals import attention_window

    window = attention_window(model.config)
    if window is not None and longest >= window:
        return "rows"
    layouts: tuple[Layout, ...] = ("segments", "mask") if on_cpu and supports_segments(model) else ("mask",)
    tolerance = _TOLERANCE.get(str(model.dtype).removeprefix("torch."), 0.05)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return first_equal(layouts, lambda layout: _probe(model, layout), _probe(model, "rows"), tolerance) or "rows"
    finally:
        model.train(was_training)


def _probe(model: Any, layout: Layout) -> Any:
    """Return the logits at the ends of four short sequences that share prefixes."""
    size = int(model.config.get_text_config().vocab_size)
    sequences = [(1, 2, 3, 4), (1, 2, 3, 5, 6), (1, 2, 7, 4), (8, 7, 6, 5)]
    examples = [Encoded(tuple(3 * token % size for token in ids), len(ids), (((9 % size, 2 % size), (2 % size,)),)) for ids in sequences]
    batch = pack(examples, [0] * 4, [[0]] * 4, rows=layout == "rows")
    batch = {name: values.to(model.device) for name, values in batch.items()}
    with attention_of(model, layout):
        logits = logits_of(model, batch, layout)
    # Trees and rows number their nodes differently, but the forms have the same order.
    return logits[batch["form_read"]].float()
