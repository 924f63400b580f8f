"""How the tokens of a tree see one another: attention in segments on a processor, one mask elsewhere.

On a processor a mask over a whole batch would compute the products of every token with the keys of every other example,
to throw them away. On a GPU that costs less than many small calls.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from typing import Any, Literal

from valuestrata.tuning.train.batch import seen_by, segments

Sight = Literal["segments", "mask", "rows"]
"""How a batch is laid out and seen: a tree in segments, a tree under one mask, or plain rows."""

# The name under which transformers finds attention in segments.
_NAME = "valuestrata_segments"


def shown(parents: Any, sight: Sight, dtype: Any) -> dict[str, Any]:
    """Return what a model's forward pass takes besides the tokens of a tree.

    Args:
        parents: tensor (N,) of a packed batch. sight: how it is seen, not `rows`. dtype: number type of the model.
    """
    import torch

    known = parents.cpu().numpy()
    if sight == "mask":
        hidden = torch.from_numpy(~seen_by(known)).to(parents.device)
        mask = torch.zeros(hidden.shape, dtype=dtype, device=parents.device).masked_fill_(hidden, torch.finfo(dtype).min)
        return {"attention_mask": mask[None, None]}
    cut: list[list[Any]] = []
    for begin, end, keys, seen in segments(known):
        mask = torch.zeros(seen.shape, dtype=dtype).masked_fill_(torch.from_numpy(~seen), -torch.inf)
        cut.append([begin, end, torch.from_numpy(keys), mask])
    return {"tree_segments": cut}


@contextlib.contextmanager
def attending(model: Any, sight: Sight) -> Generator[None]:
    """Let a model attend in segments while it is trained (backward passes that compute anew included); as before afterwards."""
    if sight != "segments":
        yield
        return
    from transformers import AttentionInterface

    AttentionInterface.register(_NAME, _attend)
    config = model.config.get_text_config()
    before = config._attn_implementation
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def best_sight(model: Any, longest: int, *, processor: bool = True) -> Sight:
    """Return the fastest way that a model sees a batch rightly.

    The model itself is asked, with a tree of a few tokens: recurrent layers, position biases and kernels that pass over a
    mask fail, whatever their names.

    Args:
        model: the model, wherever it is now. longest: number of tokens of the longest example.
        processor: whether it will be trained on a processor.
    """
    import torch

    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None) or getattr(config, "attention_chunk_size", None)
    if window and getattr(config, "use_sliding_window", True) is not False and longest >= window:
        return "rows"
    on_processor = processor and model.device.type == "cpu" and getattr(config, "_attn_implementation", None) == "sdpa"
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            rows = _small_tree(model, "rows")
            for sight in ("segments", "mask") if on_processor else ("mask",):
                if _agree(model, sight, rows):
                    return sight
    finally:
        model.train(was_training)
    return "rows"


# What bfloat16 and float16 lose in a few layers, as a share of the largest logit.
_ROUNDING = {"float32": 1e-3, "float64": 1e-6}


def _agree(model: Any, sight: Sight, rows: Any) -> bool:
    try:
        packed = _small_tree(model, sight)
    except (TypeError, ValueError, RuntimeError, AttributeError, LookupError):
        # A forward pass of another signature; such a model is trained in rows.
        return False
    if packed.shape != rows.shape:
        return False
    allowed = _ROUNDING.get(str(model.dtype).removeprefix("torch."), 0.05) * float(rows.abs().max())
    return float((packed - rows).abs().max()) <= allowed


def _small_tree(model: Any, sight: Sight) -> Any:
    """Return the logits at the ends of four short sequences that share beginnings."""
    from valuestrata.tuning.data.encode import Encoded
    from valuestrata.tuning.train.batch import pack
    from valuestrata.tuning.train.readout import logits_of

    size = int(model.config.get_text_config().vocab_size)
    sequences = [(1, 2, 3, 4), (1, 2, 3, 5, 6), (1, 2, 7, 4), (8, 7, 6, 5)]
    examples = [Encoded(tuple(3 * token % size for token in ids), len(ids), (((9 % size, 2 % size), (2 % size,)),)) for ids in sequences]
    batch = pack(examples, [0] * 4, [[0]] * 4, rows=sight == "rows")
    batch = {name: values.to(model.device) for name, values in batch.items()}
    with attending(model, sight):
        logits = logits_of(model, batch, sight)
    # Trees and rows number their nodes differently; forms stand in the same order in both.
    return logits[batch["form_read"]].float()


def _attend(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **settings: Any) -> tuple[Any, None]:
    """Return the attended values, 1 x rows x heads x size, of queries 1 x heads x rows x size, as transformers calls it."""
    import torch

    # What would change the scores and is not known here; such a model then takes one mask.
    if foreign := [name for name in ("softcap", "position_bias", "s_aux", "head_mask") if settings.get(name) is not None]:
        raise ValueError(f"attention in segments knows no {foreign[0]}")
    cut: Sequence[Sequence[Any]] = settings["tree_segments"]
    heads, shared = query.shape[1], key.shape[1]
    done: list[Any] = []
    for begin, end, places, mask in cut:
        # Heads that share their keys stand beside one another, so that keys are widened without a copy.
        wide = (shared, heads // shared, len(places), -1)
        attended = torch.nn.functional.scaled_dot_product_attention(
            query[0, :, begin:end].reshape(shared, heads // shared, end - begin, -1),
            key[0].index_select(1, places)[:, None].expand(wide),
            value[0].index_select(1, places)[:, None].expand(wide),
            attn_mask=mask,
            dropout_p=settings.get("dropout") or 0.0,
            scale=settings.get("scaling"),
        )
        done.append(attended.reshape(heads, end - begin, -1).transpose(0, 1))
    return torch.cat(done)[None], None
