"""Base models: which runs are of a tuned model and its base, and which models share a base, from what runs record."""

from __future__ import annotations

import re

from valuestrata.responses.run.identity import RespondentIdentity, RunIdentity

# Keys of a model's identity that tuning changes or that do not concern its weights.
_OF_TUNING = ("name", "adapter_hash", "taught_on", "decoding")
# Names of tuned models: `ft:BASE:ORG:NAME:ID` at OpenAI and Mistral, `ACCOUNT/BASE-TAG-ID` of `tune-job` at Together.
_FINE_TUNED = re.compile(r"ft:(?P<base>[^:]+):.*")
_TUNE_JOB = re.compile(r"(?:.*/)?(?P<base>[^/]+?)(?:-reference)?-vs-[0-9a-f]{12}(?:-[^/]*)?", re.IGNORECASE)
# What names of one model may end with: a date of the version, a number format, a way of serving.
_DATED = re.compile(r"[-@](?:\d{4}-\d{2}-\d{2}|\d{8})\Z")
_VARIANT = re.compile(
    r"[-_.@:](?:\d{4}-\d{2}-\d{2}|\d{2}-\d{2}|\d{8}|\d{4}|\d{3}|latest|preview|exp|free|nitro|turbo|lite|reference|gguf|awq|gptq|mlx"
    r"|i?q\d(?:_[a-z0-9]+)*|bf16|fp?16|fp?32|fp8|int[48]|[48]bit)\Z"
)
# Names of folders and deployments that tell nothing of the model inside.
_NAMELESS = re.compile(r"(?:checkpoint|model|merged|output|out|final|default|best|last|tuned|base|export|weights|snapshot|judge|chat)s?")
_KIND = re.compile(r"\A(?:hf|gguf|vllm):")


def hosted_base(model: str) -> str | None:
    """Return the name of the base model that the name of a tuned hosted model tells, None if it tells none."""
    found = _FINE_TUNED.fullmatch(model) or _TUNE_JOB.fullmatch(model)
    return None if found is None else found["base"]


def is_tuned_from(run: RunIdentity, base: RunIdentity) -> bool:
    """Whether one run is of a tuned model and the other of its base: with and without an adapter, or by the name of a hosted model.

    A version without a date, such as `gpt-4.1-mini`, is taken for the dated base of a tuned model.
    """
    tuned, plain = run.respondent, base.respondent
    if not (run.kind == base.kind == "model" and tuned.model and plain.model) or plain.adapter_hash is not None:
        return False
    if tuned.adapter_hash is not None:
        return _untuned(tuned) == _untuned(plain)
    named = hosted_base(tuned.model)
    if named is None or (tuned.provider, tuned.base_url) != (plain.provider, plain.base_url):
        return False
    other = plain.model if "/" in named or tuned.model.startswith("ft:") else plain.model.rpartition("/")[2]
    return other.lower() in (named.lower(), _DATED.sub("", named.lower()))


def share_base(one: RunIdentity, other: RunIdentity) -> bool:
    """Whether two models, alone or inside controls, have the same base: equal weights, adapters on one base, or names of one model.

    Names are compared without provider, version and number format, so the same model at two providers has the same base.
    """
    if one.is_baseline or other.is_baseline:
        return False
    return one.same_weights(other) or _same_files(one.model, other.model) or bool(_families(one.model) & _families(other.model))


def _untuned(model: RespondentIdentity) -> dict[str, object]:
    return {key: value for key, value in model.document.items() if key not in _OF_TUNING}


def _same_files(one: RespondentIdentity, other: RespondentIdentity) -> bool:
    """Whether both rest on the same files: one folder or file may have other names."""
    local = one.base_url is None and other.base_url is None
    return local and one.revision is not None and (one.model, one.revision) == (other.model, other.revision)


def _families(model: RespondentIdentity) -> set[str]:
    """Return the names of a model without provider, adapter, version and number format."""
    names = [hosted_base(name) or name for name in (model.model, _specified(model.name)) if name]
    found: set[str] = set()
    for name in names:
        text = name.rstrip("/").rpartition("/")[2].lower()
        while (shorter := _VARIANT.sub("", text)) != text:
            text = shorter
        if not _NAMELESS.fullmatch(text):
            found.add(text)
    return found


def _specified(name: str | None) -> str:
    """Return the model of a specification, such as ORG/NAME of `hf:ORG/NAME@REVISION+ADAPTER`."""
    text = _KIND.sub("", name or "").partition("+")[0]
    # The name of a tuned hosted model follows the provider.
    return text.partition("/")[2] if "/ft:" in text else text.partition("@")[0]
