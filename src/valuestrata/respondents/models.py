"""From the word a user writes for a MODEL to the respondent that answers."""

from __future__ import annotations

from valuestrata.dataset import Dataset
from valuestrata.errors import UsageError, did_you_mean
from valuestrata.respondents.base import Respondent
from valuestrata.respondents.baselines import BASELINES, make_baseline
from valuestrata.respondents.controls import CONTROLS, make_control, parse_control

KINDS = (
    *(f"baseline:{kind}" for kind in BASELINES),
    *(f"control:{kind}@MODEL" for kind in CONTROLS),
    "embedded",
    "hf:ORG/NAME",
    "gguf:FILE",
)


def check_word(model: str) -> None:
    """Refuse a word that names no kind of model, without loading one.

    Raises:
        UsageError: as for `make_respondent`.
    """
    kind, _, rest = model.partition(":")
    if kind == "baseline":
        if rest not in BASELINES:
            raise UsageError(f"There is no baseline {rest!r}.{did_you_mean(rest, BASELINES)}")
    elif kind == "control":
        check_word(parse_control(model).model)
    elif kind not in ("hf", "gguf") and model.partition("+")[0] != "embedded":
        raise UsageError(f"MODEL {model!r} is of no kind that answers here.{did_you_mean(model, KINDS)}")


def make_respondent(
    model: str,
    dataset: Dataset,
    *,
    split: str = "paper",
    fold: int | None = None,
    train_on: Dataset | None = None,
    device: str | None = None,
    seed: int = 0,
    persona_seed: int = 0,
    temperature: float = 0.0,
    max_new_tokens: int = 32,
) -> Respondent:
    """Return the respondent model behind a word.

    Args:
        model: `baseline:KIND`, `embedded[+ADAPTER]`, `hf:ORG/NAME[+ADAPTER]`, `gguf:FILE`, or `control:KIND@MODEL` around
            one of the last three.
        dataset: what a baseline is fitted to (training gold of `split` and `fold` only), and whose personas a control changes.
        split: split scheme. fold: its fold, None for all.
        train_on: another data set whose gold a baseline is fitted to, where `split` trains on nothing of its own (`transfer`).
        device: `cpu`, `cuda` or `mps` for a local model; None chooses.
        seed: seed of sampling, where a model samples.
        persona_seed: seed of shuffled personas, and of the wrong country where none is named.
        temperature, max_new_tokens: how a local model writes text; 0 takes the likeliest token each time.

    Raises:
        UsageError: no such kind of model; a control around a baseline or a control; `train_on` for a model that is not fitted.
        MissingExtraError: its libraries are not installed.
        InputDataError: a model file that is absent or not one.
    """
    kind, _, rest = model.partition(":")
    if kind == "baseline":
        return make_baseline(rest, dataset, split=split, fold=fold, train_on=train_on)
    if train_on is not None:
        raise UsageError(f"MODEL {model!r} is fitted to no gold, so there is nothing to train it on; only a baseline takes `train_on`.")

    def language_model(word: str) -> Respondent:
        if word.partition(":")[0] in ("hf", "gguf") or word.partition("+")[0] == "embedded":
            from valuestrata.respondents.local import load_local

            return load_local(word, device=device, seed=seed, temperature=temperature, max_new_tokens=max_new_tokens)
        raise UsageError(f"MODEL {word!r} is of no kind that answers here.{did_you_mean(word, KINDS)}")

    if kind == "control":
        return make_control(model, dataset, language_model, seed=persona_seed)
    return language_model(model)
