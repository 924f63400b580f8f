"""From the word a user writes for a MODEL to the respondent that answers."""

from __future__ import annotations

from valuestrata.dataset import Dataset
from valuestrata.errors import UsageError, did_you_mean
from valuestrata.respondents.base import Respondent
from valuestrata.respondents.baselines import BASELINES, make_baseline

KINDS = (*(f"baseline:{kind}" for kind in BASELINES), "embedded", "hf:ORG/NAME", "gguf:FILE")


def make_respondent(
    model: str,
    dataset: Dataset,
    *,
    split: str = "paper",
    fold: int | None = None,
    device: str | None = None,
    seed: int = 0,
    temperature: float = 0.0,
    max_new_tokens: int = 32,
) -> Respondent:
    """Return the respondent model behind `baseline:KIND`, `embedded[+ADAPTER]`, `hf:ORG/NAME[+ADAPTER]` or `gguf:FILE`.

    Args:
        model: the word. dataset: what a baseline is fitted to (training gold of `split` and `fold` only).
        split: split scheme. fold: its fold, None for all.
        device: `cpu`, `cuda` or `mps` for a local model; None chooses.
        seed: seed of sampling, where a model samples.
        temperature, max_new_tokens: how a local model writes text; 0 takes the likeliest token each time.

    Raises:
        UsageError: no such kind of model. MissingExtraError: its libraries are not installed.
        InputDataError: a model file that is absent or not one.
    """
    kind, _, rest = model.partition(":")
    if kind == "baseline":
        return make_baseline(rest, dataset, split=split, fold=fold)
    if kind in ("hf", "gguf") or kind.partition("+")[0] == "embedded":
        from valuestrata.respondents.local import load_local

        return load_local(model, device=device, seed=seed, temperature=temperature, max_new_tokens=max_new_tokens)
    raise UsageError(f"MODEL {model!r} is of no kind that answers here.{did_you_mean(model, KINDS)}")
