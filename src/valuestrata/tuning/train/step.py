"""One forward pass of a training: from examples to a batch, its loss and its validation measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from valuestrata.tuning.data.encode import Encoded, Encoder
from valuestrata.tuning.data.examples import Example
from valuestrata.tuning.recipe import Recipe
from valuestrata.tuning.train import objectives
from valuestrata.tuning.train.batch import pack, wanted_options
from valuestrata.tuning.train.readout import Layout, Readout, read_out

# Measures of a validation example, in this order; the loss curve shows their means.
MEASURES = ("loss", "accuracy_expected", "accuracy", "distance", "kl", "option_mass", "loss_prefill", "loss_answer", "loss_end")

Gather = Callable[[Any], Any]
"""From a tensor of this process to the concatenated tensors of all processes."""


@dataclass(frozen=True)
class EncodedExamples:
    """Training and validation examples by number, training first.

    Attributes:
        examples: all examples. encoded: token ids of those that are used.
        sequence: numbers of training examples, update after update. validation: numbers of validation examples.
    """

    examples: Sequence[Example]
    encoded: Mapping[int, Encoded]
    sequence: Sequence[int]
    validation: Sequence[int]


def check_first_batch(encoder: Encoder, examples: EncodedExamples, batch: Mapping[str, Any]) -> None:
    """Check that the target tokens of a batch, decoded, are the target texts of its examples.

    Raises:
        InputDataError: as `Encoder.check`, with the tokens of the batch.
    """
    owner, tokens = batch["target_of"].cpu().tolist(), batch["target_token"].cpu().tolist()
    for row, number in enumerate(batch["example"].cpu().tolist()):
        example, encoded = examples.examples[number], examples.encoded[number]
        learned = tuple(token for token, of in zip(tokens, owner, strict=True) if of == row)
        text = example.prompt.options[example.prompt.shown.index(example.codes[example.mode])]
        start = len(encoded.written(example.mode)) - len(learned)
        encoder.check(example, encoded, learned=learned, start=start, option=text)


class Collator:
    """Lays out the examples of a pass as one batch."""

    def __init__(self, examples: Sequence[Example], encoded: Mapping[int, Encoded], recipe: Recipe, *, rows: bool) -> None:
        self._examples, self._encoded = examples, encoded
        self._objective = recipe.objective
        self._rows = rows

    def __call__(self, numbers: Sequence[int], *, every_option: bool) -> dict[str, Any]:
        """Return the packed batch (see `batch.pack`) of the examples with these numbers, and their gold values.

        The gold values have B rows: `example` (numbers), `shares` and `p_mode` (B x K), `mode`, `rejected`, `comparable`,
        `ordinal`, `weight`, `group`. With `every_option` all options are read, else those of the objective.
        """
        import torch

        chosen = [self._examples[number] for number in numbers]
        encoded = [self._encoded[number] for number in numbers]
        objective = "every" if every_option else self._objective
        wanted = [wanted_options(one, example.mode, example.rejected, objective) for one, example in zip(encoded, chosen, strict=True)]
        width = max(len(example.codes) for example in chosen)

        def padded(rows: Sequence[tuple[float, ...]]) -> Any:
            return torch.tensor([[*row, *[0.0] * (width - len(row))] for row in rows], dtype=torch.float32)

        # `example` comes first: the trainer reads the batch size from the first entry.
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


class TrainingStep:
    """The loss of a recipe, its validation measures, and the group weights of group-DRO."""

    def __init__(
        self, recipe: Recipe, layout: Layout, group_sizes: Sequence[int], reference: Callable[[], AbstractContextManager[Any]]
    ) -> None:
        """Prepare the step.

        Args:
            recipe: the recipe. layout: of the batches. group_sizes: training examples of each group.
            reference: returns a context in which the model is the base model.
        """
        self._recipe = recipe
        self._layout: Layout = layout
        self._reference = reference
        self._sizes = list(group_sizes)
        count = len(self._sizes)
        self.group_weights: list[float] | None = [1 / count] * count if recipe.weights.groups == "dro" else None

    def loss(self, model: Any, batch: Mapping[str, Any], gather: Gather) -> tuple[Any, dict[str, Any]]:
        """Return the loss to minimise, a scalar, and the mean loss of each kind of target token, detached."""
        out = read_out(model, batch, self._layout)
        losses = self._losses(model, batch, out)
        weights = batch["weight"] * self._group_weights(batch, losses, gather)
        parts = {f"loss_{kind}": values.detach().mean() for kind, values in out.kind_loss.items()}
        return (weights * losses).mean(), parts

    def measure(self, model: Any, batch: Mapping[str, Any]) -> Any:
        """Return `MEASURES` of each example, B x len(MEASURES), of a batch with every option."""
        import torch

        out = read_out(model, batch, self._layout)
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
            before = read_out(model, batch, self._layout)
        losses = objectives.dpo(out.logp, before.logp, batch["mode"], batch["rejected"], self._recipe.preference.beta)
        # If every code is as likely as the mode, there is no preference to learn.
        return losses * batch["comparable"]

    def _group_weights(self, batch: Mapping[str, Any], losses: Any, gather: Gather) -> Any:
        """Update the group weights by one step of group-DRO and return the factor of each example."""
        import torch

        if self.group_weights is None:
            return 1.0
        weights = torch.tensor(self.group_weights, dtype=torch.float64)
        groups, seen = gather(batch["group"]).cpu(), gather(losses.detach()).double().cpu()
        weights = objectives.dro_step(weights, torch.tensor(self._sizes), groups, seen, self._recipe.weights.dro_step)
        self.group_weights = weights.tolist()
        return (weights[batch["group"].cpu()] * len(weights)).to(losses)
