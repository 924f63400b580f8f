"""From a packed batch to the probabilities of options and of target tokens, with gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from valuestrata.tuning.train.attention import Sight, shown
from valuestrata.tuning.train.batch import ANSWER, END, PREFILL

# Names of the kinds of learned tokens, as losses are reported.
KINDS = {PREFILL: "prefill", ANSWER: "answer", END: "end"}


@dataclass(frozen=True)
class Readout:
    """What a model says of a batch of B examples with at most K options.

    Attributes:
        logp: B x K, log-probability of each wanted option, whole string and end of turn, over all ways to write it.
        there: B x K, which options were wanted.
        token_loss: (B,), mean of -log p over the example's target tokens.
        kind_loss: name of a kind of target token -> (B,), mean of -log p over the example's tokens of that kind.
    """

    logp: Any
    there: Any
    token_loss: Any
    kind_loss: Mapping[str, Any]


def logits_of(model: Any, batch: Mapping[str, Any], sight: Sight) -> Any:
    """Return the logits (R x vocabulary) after each place of `read`; the output layer runs on no others of a tree."""
    ids, places, read = batch["input_ids"], batch["position_ids"], batch["read"]
    if sight == "rows":
        output = model(input_ids=ids, attention_mask=batch["attention_mask"], use_cache=False)
        return output.logits.flatten(0, 1)[read]
    dtype = next(parameter.dtype for parameter in model.parameters() if parameter.is_floating_point())
    more = shown(batch["parents"], sight, dtype)
    return model(input_ids=ids, position_ids=places, logits_to_keep=read, use_cache=False, **more).logits[0]


def read_out(model: Any, batch: Mapping[str, Any], sight: Sight) -> Readout:
    """Run a model on a packed batch (see `packing.pack`) and read its options and targets."""
    import torch

    logits = logits_of(model, batch, sight).float()
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
    """Return log sum exp of the values of each cell, shape (count,); 0 for a cell without any."""
    import torch

    top = torch.full((count,), -torch.inf, device=values.device).scatter_reduce(0, cell, values.detach(), "amax")
    top = top.masked_fill(torch.isinf(top), 0.0)
    sums = values.new_zeros(count).index_add(0, cell, (values - top[cell]).exp())
    # Not `> 0`: what is not a number must stay so, to be seen.
    return torch.where(sums != 0, sums.clamp(min=torch.finfo(sums.dtype).tiny).log() + top, torch.zeros_like(sums))
