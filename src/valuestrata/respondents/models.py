"""From the word a user writes for a MODEL to the respondent that answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import UsageError, did_you_mean
from valuestrata.respondents.base import Respondent
from valuestrata.respondents.baselines import BASELINES, make_baseline
from valuestrata.respondents.controls.control import CONTROLS, make_control, parse_control
from valuestrata.respondents.hosted.providers import PROVIDERS, provider_of

KINDS = (
    *(f"baseline:{kind}" for kind in BASELINES),
    *(f"control:{kind}@MODEL" for kind in CONTROLS),
    "embedded",
    "hf:ORG/NAME",
    "gguf:FILE",
    "vllm:ORG/NAME",
    *(f"{name}/MODEL" for name in PROVIDERS),
)


@dataclass(frozen=True)
class ModelSettings:
    """How a language model is loaded or called, and how it writes; what a kind of model has no use for is left alone.

    Attributes:
        device: `cpu`, `cuda` or `mps` for a model of this machine; None chooses.
        temperature: of written text; 0 takes the likeliest token each time, None sends none to a hosted model.
        max_new_tokens: tokens written at most; None: as many as the elicitation needs.
        constrain: allow nothing but the options as text.
        seed: of sampling. persona_seed: of shuffled personas, and of the wrong country where none is named.
        base_url: where a hosted model is, instead of the provider's own address.
        concurrency: calls under way at most. timeout: seconds a call may take. attempts: tries before a prompt ends failed.
        prices: dollars a million tokens read and written, instead of the known ones.
        extra: JSON sent as it is with every call to a hosted model; what vLLM's engine is made with.
    """

    device: str | None = None
    temperature: float | None = 0.0
    max_new_tokens: int | None = None
    constrain: bool = False
    seed: int = 0
    persona_seed: int = 0
    base_url: str | None = None
    concurrency: int = 64
    timeout: float = 120.0
    attempts: int = 6
    prices: tuple[float, float] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])


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
    elif not _is_local(model):
        if not is_hosted(model):
            raise UsageError(f"MODEL {model!r} is of no kind that answers here.{did_you_mean(model, KINDS)}")
        provider_of(model)


def is_hosted(model: str) -> bool:
    """Whether a word names a model behind a provider or server, `PROVIDER/MODEL`, known or not."""
    return not _is_local(model) and model.partition(":")[0] not in ("baseline", "control") and "/" in model


def _is_local(model: str) -> bool:
    return model.partition(":")[0] in ("hf", "gguf", "vllm") or model.partition("+")[0] == "embedded"


def make_respondent(
    model: str,
    dataset: Dataset,
    *,
    split: str = "paper",
    fold: int | None = None,
    train_on: Dataset | None = None,
    settings: ModelSettings | None = None,
    calls: bool = True,
) -> Respondent:
    """Return the respondent model behind a word.

    Args:
        model: `baseline:KIND`; `embedded[+ADAPTER]`, `hf:ORG/NAME[+ADAPTER]`, `gguf:FILE` or `vllm:ORG/NAME[+ADAPTER]`, on this
            machine; `PROVIDER/MODEL`, hosted; or `control:KIND@MODEL` around one of these but a baseline.
        dataset: what a baseline is fitted to (training gold of `split` and `fold` only), and whose personas a control changes.
        split: split scheme. fold: its fold, None for all.
        train_on: another data set whose gold a baseline is fitted to, where `split` trains on nothing of its own (`transfer`).
        settings: how a language model is loaded or called, and how it writes.
        calls: whether it will be called; a hosted model that only writes batch files or estimates needs no key.

    Raises:
        UsageError: no such kind of model or provider; a control around a baseline or a control; `train_on` for a model that
            is not fitted; a setting or key that is missing or makes no sense.
        MissingExtraError: its libraries are not installed.
        InputDataError: a model file that is absent or not one.
    """
    kind, _, rest = model.partition(":")
    how = settings or ModelSettings()
    if kind == "baseline":
        return make_baseline(rest, dataset, split=split, fold=fold, train_on=train_on)
    if train_on is not None:
        raise UsageError(f"MODEL {model!r} is fitted to no gold, so there is nothing to train it on; only a baseline takes `train_on`.")
    if kind == "control":
        return make_control(model, dataset, lambda word: language_model(word, how, calls=calls), seed=how.persona_seed)
    return language_model(model, how, calls=calls)


def language_model(word: str, settings: ModelSettings, *, calls: bool = True) -> Respondent:
    """Return the language model behind a word: one of this machine, or a hosted one.

    Raises:
        UsageError, MissingExtraError, InputDataError: as `make_respondent`.
    """
    check_word(word)
    kind = word.partition(":")[0]
    if kind == "vllm":
        from valuestrata.respondents.vllm.respondent import load_vllm

        return load_vllm(
            word,
            temperature=settings.temperature or 0.0,
            max_new_tokens=settings.max_new_tokens,
            seed=settings.seed,
            constrain=settings.constrain,
            engine=settings.extra,
        )
    if kind in ("hf", "gguf") or word.partition("+")[0] == "embedded":
        from valuestrata.respondents.local.respondent import load_local

        return load_local(
            word,
            device=settings.device,
            seed=settings.seed,
            temperature=settings.temperature or 0.0,
            max_new_tokens=settings.max_new_tokens,
            constrain=settings.constrain,
        )
    from valuestrata.respondents.hosted.prices import Prices
    from valuestrata.respondents.hosted.respondent import make_hosted
    from valuestrata.respondents.hosted.settings import HostedSettings

    return make_hosted(
        word,
        HostedSettings(
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            seed=settings.seed,
            constrain=settings.constrain,
            extra=settings.extra,
            base_url=settings.base_url,
            prices=Prices(*settings.prices) if settings.prices else None,
            concurrency=settings.concurrency,
            timeout=settings.timeout,
            attempts=settings.attempts,
        ),
        calls=calls,
    )
