"""What answered a run: a model, a control around a model, or a baseline; read from what the run says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["model", "control", "baseline"]
KINDS: tuple[Kind, ...] = ("model", "control", "baseline")
# Where a run has no document of its respondent, these keys of its own document say what answered.
_OWN_KEYS = ("provider", "base_url", "model", "revision", "adapter_hash", "decoding")


class Identified(Protocol):
    """A run that says what made it."""

    @property
    def name(self) -> str:
        """Name of the run."""
        ...

    @property
    def meta(self) -> Mapping[str, Any]:
        """The document of `run.json`."""
        ...


class Answered(Identified, Protocol):
    """A run with what made it and its responses."""

    @property
    def responses(self) -> pl.DataFrame:
        """RESPONSES schema."""
        ...


def identity_of(run: Identified) -> dict[str, Any]:
    """Return what the run says of its respondent model: `respondent` where that is a mapping, else the run's own document."""
    found = run.meta.get("respondent") or run.meta.get("identity")
    if isinstance(found, Mapping):
        return dict(cast("Mapping[str, Any]", found))
    return {key: run.meta[key] for key in _OWN_KEYS if key in run.meta}


def kind_of(run: Identified) -> tuple[Kind, str]:
    """Return whether the run is a model, a control or a baseline, and the rule's name for the latter two.

    A control's rule is what follows `control:`, the model included: `no-persona@embedded` (see `control_of`).
    """
    identity = identity_of(run)
    names = [run.meta.get("respondent"), run.meta.get("model"), *(identity.get(key) for key in ("name", "model", "kind")), run.name]
    words = [name for name in names if isinstance(name, str)]
    for kind in ("baseline", "control"):
        if identity.get("provider") == kind or any(word.startswith(f"{kind}:") for word in words):
            rules = [word.removeprefix(f"{kind}:") for word in words if word.startswith(f"{kind}:")]
            return kind, rules[0] if rules else words[0].removeprefix(f"{kind}-")
    return "model", ""


def control_of(run: Identified) -> tuple[str, dict[str, Any]] | None:
    """Return a control's name (`shuffled-persona`) and the identity of the model inside it; None where the run is no control.

    A run that names its control but does not describe the model inside has `{"name": MODEL}` for its identity, from what
    stands behind the `@`.
    """
    kind, rule = kind_of(run)
    if kind != "control":
        return None
    identity = identity_of(run)
    word, _, inside = rule.partition("@")
    control = str(identity.get("control") or word.partition("=")[0])
    of = identity.get("of")
    return control, dict(cast("Mapping[str, Any]", of)) if isinstance(of, Mapping) else {"name": inside}


def same_model(a: Identified, b: Identified) -> bool:
    """Whether the same model answered in both runs, in either of them perhaps inside a control.

    Identities are equal whole (provider, revision, adapter, decoding, ...). A control that only names the model inside
    is compared by that name. Runs that say nothing of what answered are never the same.
    """
    first, second = _inside(a), _inside(b)
    if not first or not second:
        return False
    if first.keys() == {"name"} or second.keys() == {"name"}:
        return bool(first.get("name")) and first.get("name") == second.get("name")
    return first == second


def same_weights(a: Identified, b: Identified) -> bool:
    """Whether the same model answered in both runs, however it was made to write (`same_model`, decoding left out)."""
    first, second = ({key: value for key, value in _inside(run).items() if key not in ("decoding", "name")} for run in (a, b))
    return first == second if first and second else same_model(a, b)


def same_readout(a: Identified, b: Identified) -> bool:
    """Whether both runs were asked with the same elicitation and template, as far as both say."""
    keys = ("elicitation", "template", "template_version")
    return all(a.meta.get(key) == b.meta.get(key) for key in keys if a.meta.get(key) is not None and b.meta.get(key) is not None)


def _inside(run: Identified) -> dict[str, Any]:
    control = control_of(run)
    return identity_of(run) if control is None else control[1]
