"""Log-probabilities of options and target tokens of a training batch, differentiable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from valuestrata.respondents.local.attention import attention_inputs, segment_bounds, visible_keys
from valuestrata.tuning.train.batch import ANSWER, END, PREFILL

Layout = Literal["segments", "mask", "rows"]
"""How a batch is laid out: a tree with attention in segments, a tree with one mask, or rows."""

# Names of the kinds of target tokens in the logged losses.
KINDS = {PREFILL: "prefill", ANSWER: "answer", END: "end"}

# Sizes of segments (see `respondents.local.attention`) that were fastest in training, where passes have gradients.
_SHORTEST = 24
_LONGEST = 192


@dataclass(frozen=True)
class Readout:
    """What a model predicts for a batch of B examples with at most K options.

    Attributes:
        logp: B x K, log-probability of each wanted option, whole string and end of turn, summed over its forms.
        there: B x K, which options were wanted.
        token_loss: (B,), mean of -log p over the example's target tokens.
        kind_loss: name of a kind of target token -> (B,), mean of -log p over the example's tokens of that kind.
    """

    logp: Any
    there: Any
    token_loss: Any
    kind_loss: Mapping[str, Any]


def logits_of(model: Any, batch: Mapping[str, Any], layout: Layout) -> Any:
    """Return the logits (R x vocabulary) after each place of `read`; in a tree the output layer runs on no others."""
    if layout == "rows":
        output = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
        return output.logits.flatten(0, 1)[batch["read"]]
    parents = batch["parents"].tolist()
    bounds = segment_bounds(parents, shortest=_SHORTEST, longest=_LONGEST) if layout == "segments" else None
    dtype = next(parameter.dtype for parameter in model.parameters() if parameter.is_floating_point())
    return model(
        input_ids=batch["input_ids"],
        position_ids=batch["position_ids"],
        logits_to_keep=batch["read"],
        use_cache=False,
        **attention_inputs(visible_keys(parents), bounds, dtype, batch["parents"].device),
    ).logits[0]


def read_out(model: Any, batch: Mapping[str, Any], layout: Layout) -> Readout:
    """Run a model on a batch (see `batch.pack`) and read its options and targets."""
    import torch

    logits = logits_of(model, batch, layout).float()
    totals = torch.logsumexp(logits, dim=-1)

    def logp_of(name: str) -> Any:
        at = batch[f"{name}_read"]
        return logits[at, batch[f"{name}_token"]] - totals[at]

    there = batch["there"]
    forms = totals.new_zeros(len(batch["option_of"])).index_add(0, batch["form_of"], logp_of("form"))
    target = -logp_of("target")
    owner = batch["target_of"]
    return Readout(
        logp=_log_sum_in(forms, batch["option_of"], there.numel()).reshape(there.shape),
        there=there,
        token_loss=_mean_in(target, owner, len(there)),
        kind_loss={
            name: _mean_in(target[of], owner[of], len(there)) for kind, name in KINDS.items() if (of := batch["target_kind"] == kind).any()
        },
    )


def _mean_in(values: Any, owner: Any, count: int) -> Any:
    """Return the mean of the values of each owner, shape (count,)."""
    sums = values.new_zeros(count).index_add(0, owner, values)
    sizes = values.new_zeros(count).index_add(0, owner, values.new_ones(len(values)))
    return sums / sizes.clamp(min=1)


def _log_sum_in(values: Any, cell: Any, count: int) -> Any:
    """Return log sum exp of the values of each cell, shape (count,); 0 for a cell without values."""
    import torch

    top = torch.full((count,), -torch.inf, device=values.device).scatter_reduce(0, cell, values.detach(), "amax")
    top = top.masked_fill(torch.isinf(top), 0.0)
    sums = values.new_zeros(count).index_add(0, cell, (values - top[cell]).exp())
    # `!= 0` and not `> 0`, so NaN stays NaN and is noticed.
    return torch.where(sums != 0, sums.clamp(min=torch.finfo(sums.dtype).tiny).log() + top, torch.zeros_like(sums))
