"""From a model specification to the respondent that answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import UsageError, check_seed, did_you_mean, unprintable_in
from valuestrata.prompts.persona import Persona
from valuestrata.respondents.base import Respondent
from valuestrata.respondents.baselines import BASELINES, make_baseline
from valuestrata.respondents.controls.assignment import assign_personas
from valuestrata.respondents.controls.control import make_control
from valuestrata.respondents.controls.spec import CONTROLS, parse_control
from valuestrata.respondents.hosted.providers import PROVIDERS, check_elicitation, provider_of

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
    """How a language model is loaded or called, and how it writes. A model ignores the settings that do not apply to it.

    Attributes:
        device: `cpu`, `cuda` or `mps` for a local model; None chooses.
        temperature: of written text; 0 takes the most likely token; None leaves it to the hosted model.
        max_new_tokens: maximum number of tokens written; None: as many as the elicitation needs.
        constrain: restrict `text` to the options.
        seed: of sampling.
        persona_seed: of shuffled personas, and of the wrong country if none is named.
        base_url: address of a hosted model, instead of the provider's own.
        concurrency: maximum number of concurrent calls.
        timeout: seconds per call.
        attempts: tries before a prompt fails.
        prices: US dollars per million tokens read and written, instead of the known prices.
        extra: JSON sent with every call to a hosted model; or settings of vLLM's engine.
        known_as: the specification that runs record as the model's name, if it is not the one that is loaded.
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
    known_as: str | None = None

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_seed(self.persona_seed, "persona_seed")


def check_model_spec(spec: str) -> None:
    """Check that a specification names a known kind of model, without loading it.

    Raises:
        UsageError: as for `make_respondent`.
    """
    if found := unprintable_in(spec):
        raise UsageError(f"MODEL {spec!r}: the name of a model cannot hold the character {found}.")
    kind, _, rest = spec.partition(":")
    if kind == "baseline":
        if rest not in BASELINES:
            raise UsageError(f"There is no baseline {rest!r}.{did_you_mean(rest, BASELINES)}")
    elif kind == "control":
        check_model_spec(parse_control(spec).model)
    elif is_hosted(spec):
        provider_of(spec)
    elif not _is_local(spec):
        raise UsageError(f"MODEL {spec!r} is not a known kind of model.{did_you_mean(spec, KINDS)}")


def check_model_elicitation(spec: str, elicitation: str) -> None:
    """Refuse an elicitation that the provider of a hosted model, or of a control's, does not support. No model is loaded.

    Raises:
        UsageError: says what is missing and which elicitations work.
    """
    model = parse_control(spec).model if spec.startswith("control:") else spec
    if is_hosted(model):
        check_elicitation(provider_of(model)[0], elicitation)


def personas_of_model(spec: str, dataset: Dataset, settings: ModelSettings) -> Mapping[str, Persona] | None:
    """Return the personas that a control replaces, None for other models. No model is loaded.

    Raises:
        UsageError: as for `make_respondent`.
    """
    check_model_spec(spec)
    if not spec.startswith("control:"):
        return None
    return assign_personas(parse_control(spec), dataset, settings.persona_seed).personas


def is_hosted(spec: str) -> bool:
    """Whether a specification is `PROVIDER/MODEL`, for a known provider or not."""
    return not _is_local(spec) and spec.partition(":")[0] not in ("baseline", "control") and "/" in spec


def _is_local(spec: str) -> bool:
    return spec.partition(":")[0] in ("hf", "gguf", "vllm") or spec.partition("+")[0] == "embedded"


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
    """Return the respondent of a model specification.

    Args:
        model: `baseline:KIND`; `embedded[+ADAPTER]`, `hf:ORG/NAME[+ADAPTER]`, `gguf:FILE` or `vllm:ORG/NAME[+ADAPTER]` (local);
            `PROVIDER/MODEL` (hosted); or `control:KIND@MODEL` around a local or hosted model.
        dataset: the data set a baseline is fitted to (training gold of `split` and `fold` only), or whose personas a control
            changes.
        split: split scheme.
        fold: its fold, None for all.
        train_on: another data set to fit a baseline to, for schemes without training pairs of their own (`transfer`).
        settings: how a language model is loaded or called, and how it writes.
        calls: whether it will be called; a hosted model that only writes batch files or estimates needs no key.

    Raises:
        UsageError: unknown kind of model or provider; a control around a baseline or a control; `train_on` for a model that
            is not a baseline; a missing or invalid setting or key.
        MissingExtraError: its libraries are not installed.
        InputDataError: a model file is missing or invalid.
    """
    kind, _, rest = model.partition(":")
    how = settings or ModelSettings()
    if kind == "baseline":
        return make_baseline(rest, dataset, split=split, fold=fold, train_on=train_on)
    if train_on is not None:
        raise UsageError(f"MODEL {model!r} is not fitted to gold; only a baseline takes `train_on`.")
    if kind == "control":
        shown = how.known_as or model
        inside = replace(how, known_as=parse_control(shown).model)
        return make_control(model, dataset, lambda inner: language_model(inner, inside, calls=calls), seed=how.persona_seed, known_as=shown)
    return language_model(model, how, calls=calls)


def language_model(spec: str, settings: ModelSettings, *, calls: bool = True) -> Respondent:
    """Return a local or hosted language model.

    Raises:
        UsageError, MissingExtraError, InputDataError: as `make_respondent`.
    """
    check_model_spec(spec)
    kind = spec.partition(":")[0]
    writing: dict[str, Any] = {"max_new_tokens": settings.max_new_tokens, "seed": settings.seed, "constrain": settings.constrain}
    if kind == "vllm":
        from valuestrata.respondents.vllm.respondent import load_vllm

        return load_vllm(spec, temperature=settings.temperature or 0.0, engine=settings.extra, known_as=settings.known_as, **writing)
    if _is_local(spec):
        from valuestrata.respondents.local.respondent import load_local

        temperature = settings.temperature or 0.0
        return load_local(spec, device=settings.device, temperature=temperature, known_as=settings.known_as, **writing)
    from valuestrata.respondents.hosted.prices import Prices
    from valuestrata.respondents.hosted.respondent import make_hosted
    from valuestrata.respondents.hosted.settings import HostedSettings

    hosted = HostedSettings(
        temperature=settings.temperature,
        extra=settings.extra,
        base_url=settings.base_url,
        prices=Prices(*settings.prices) if settings.prices else None,
        concurrency=settings.concurrency,
        timeout=settings.timeout,
        attempts=settings.attempts,
        **writing,
    )
    return make_hosted(spec, hosted, calls=calls)
