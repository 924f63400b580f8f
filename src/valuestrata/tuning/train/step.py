"""One pass of a recipe: from a packed batch to the loss that is minimised, and to what is reported beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from valuestrata.tuning.data.encode import Encoded
from valuestrata.tuning.data.examples import Example
from valuestrata.tuning.recipe import Recipe
from valuestrata.tuning.train import objectives
from valuestrata.tuning.train.attention import Sight
from valuestrata.tuning.train.batch import pack, wanted_options
from valuestrata.tuning.train.readout import Readout, read_out

# What is known of a validation example, in this order; means over examples are what the curve shows.
MEASURES = (
    "loss",
    "accuracy_expected",
    "accuracy",
    "distance",
    "kl",
    "option_mass",
    "loss_prefill",
    "loss_answer",
    "loss_end",
)

Gather = Callable[[Any], Any]
"""From a tensor of this process to those of all processes, one behind the other."""


class Collator:
    """Lays out the examples of a pass; `options` says whether all options are read or only those of the objective."""

    def __init__(self, examples: Sequence[Example], encoded: Mapping[int, Encoded], recipe: Recipe, *, rows: bool) -> None:
        self._examples, self._encoded = examples, encoded
        self._objective = recipe.objective
        self._rows = rows

    def __call__(self, numbers: Sequence[int], *, every_option: bool) -> dict[str, Any]:
        """Return the packed batch (see `packing.pack`) of some examples, with their gold.

        Beside it, all of B rows: `example`, their numbers; `shares` and `p_mode` (B x K), `mode`, `rejected`, `ordinal`,
        `weight`, `group`.
        """
        import torch

        chosen = [self._examples[number] for number in numbers]
        encoded = [self._encoded[number] for number in numbers]
        objective = "every" if every_option else self._objective
        wanted = [wanted_options(one, example.mode, example.rejected, objective) for one, example in zip(encoded, chosen, strict=True)]
        width = max(len(example.codes) for example in chosen)

        def padded(rows: Sequence[tuple[float, ...]]) -> Any:
            return torch.tensor([[*row, *[0.0] * (width - len(row))] for row in rows], dtype=torch.float32)

        # The number of rows of a batch is read from its first entry.
        return {
            "example": torch.tensor(numbers),
            **pack(encoded, [example.mode for example in chosen], wanted, rows=self._rows),
            "shares": padded([example.shares for example in chosen]),
            "p_mode": padded([example.p_mode for example in chosen]),
            "mode": torch.tensor([example.mode for example in chosen]),
            "rejected": torch.tensor([max(example.rejected, 0) for example in chosen]),
            "comparable": torch.tensor([example.rejected >= 0 for example in chosen]),
            "ordinal": torch.tensor([example.ordinal for example in chosen]),
            "weight": torch.tensor([example.weight for example in chosen], dtype=torch.float32),
            "group": torch.tensor([example.group for example in chosen]),
        }


class Lesson:
    """What a recipe minimises, and the group weights that change as it is minimised."""

    def __init__(
        self, recipe: Recipe, sight: Sight, group_sizes: Sequence[int], reference: Callable[[], AbstractContextManager[Any]]
    ) -> None:
        """Take what does not change from pass to pass.

        Args:
            recipe: the recipe. sight: how batches are laid out. group_sizes: training examples of each group.
            reference: a context in which the model is the one that training started from.
        """
        self._recipe = recipe
        self._sight: Sight = sight
        self._reference = reference
        self._sizes = list(group_sizes)
        count = len(self._sizes)
        self.group_weights: list[float] | None = [1 / count] * count if recipe.weights.groups == "dro" else None

    def loss(self, model: Any, batch: Mapping[str, Any], gather: Gather) -> tuple[Any, dict[str, Any]]:
        """Return the loss to minimise, a scalar, and the mean losses of the kinds of target tokens, without gradients."""
        out = read_out(model, batch, self._sight)
        losses = self._losses(model, batch, out)
        weights = batch["weight"] * self._group_weights(batch, losses, gather)
        parts = {f"loss_{kind}": values.detach().mean() for kind, values in out.kind_loss.items()}
        return (weights * losses).mean(), parts

    def measure(self, model: Any, batch: Mapping[str, Any]) -> Any:
        """Return `MEASURES` of each example of a batch that reads every option, B x len(MEASURES)."""
        import torch

        out = read_out(model, batch, self._sight)
        among = objectives.normalised(out.logp, out.there)
        answer = among.masked_fill(~out.there, -torch.inf).argmax(dim=-1)
        nothing = torch.zeros_like(out.token_loss)
        known = {
            "loss": self._losses(model, batch, out),
            "accuracy_expected": batch["p_mode"].gather(-1, answer[:, None])[:, 0],
            "accuracy": (answer == batch["mode"]).float(),
            "distance": objectives.w1(out.logp, batch["shares"], out.there, batch["ordinal"]),
            "kl": objectives.kl(among, batch["shares"], out.there),
            "option_mass": objectives.log_mass(out.logp, out.there).exp(),
        }
        known |= {f"loss_{kind}": values for kind, values in out.kind_loss.items()}
        return torch.stack([known.get(name, nothing).float() for name in MEASURES], dim=-1)

    def _losses(self, model: Any, batch: Mapping[str, Any], out: Readout) -> Any:
        name = self._recipe.objective
        if name == "tokens":
            return out.token_loss
        if name == "mode":
            return objectives.nll(out.logp, batch["mode"])
        if name == "dpo":
            return self._preference(model, batch, out)
        among = objectives.normalised(out.logp, out.there)
        shares, there = batch["shares"], out.there
        found = {
            "cross-entropy": lambda: objectives.cross_entropy(among, shares, there),
            "kl": lambda: objectives.kl(among, shares, there),
            "rps": lambda: objectives.rps(out.logp, shares, there, batch["ordinal"]),
            "w1": lambda: objectives.w1(out.logp, shares, there, batch["ordinal"]),
        }[name]()
        return found - self._recipe.mass_weight * objectives.log_mass(out.logp, there)

    def _preference(self, model: Any, batch: Mapping[str, Any], out: Readout) -> Any:
        import torch

        with torch.no_grad(), self._reference():
            before = read_out(model, batch, self._sight)
        losses = objectives.dpo(out.logp, before.logp, batch["mode"], batch["rejected"], self._recipe.preference.beta)
        # Where every code is as likely as the mode there is nothing to prefer.
        return losses * batch["comparable"]

    def _group_weights(self, batch: Mapping[str, Any], losses: Any, gather: Gather) -> Any:
        """Return the factor of each example, 1 on average over the groups; one step of group-DRO is made before."""
        import torch

        if self.group_weights is None:
            return 1.0
        weights = torch.tensor(self.group_weights, dtype=torch.float64)
        groups, seen = gather(batch["group"]).cpu(), gather(losses.detach()).double().cpu()
        weights = objectives.dro_step(weights, torch.tensor(self._sizes), groups, seen, self._recipe.weights.dro_step)
        self.group_weights = weights.tolist()
        return (weights[batch["group"].cpu()] * len(weights)).to(losses)
