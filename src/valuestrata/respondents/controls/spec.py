"""Control specifications: `control:KIND[=COUNTRY]@MODEL`."""

from __future__ import annotations

from dataclasses import dataclass

from valuestrata.errors import UsageError, did_you_mean

CONTROLS = ("no-persona", "country-only", "shuffled-persona", "wrong-country")
# Controls that use the same persona, and therefore the same prompt, for every subgroup.
ONE_PERSONA = ("no-persona", "country-only")


@dataclass(frozen=True)
class ControlSpec:
    """The parts of `control:KIND[=COUNTRY]@MODEL`."""

    kind: str
    country: str | None
    model: str


def parse_control(spec: str) -> ControlSpec:
    """Split `control:KIND[=COUNTRY]@MODEL` into its parts.

    Raises:
        UsageError: unknown control, no model, a baseline or another control as the model, or a country for a control other
            than wrong-country.
    """
    head, at, model = spec.removeprefix("control:").partition("@")
    kind, equals, country = head.partition("=")
    if kind not in CONTROLS:
        raise UsageError(f"There is no control {kind!r}.{did_you_mean(kind, CONTROLS)}")
    if equals and kind != "wrong-country":
        raise UsageError(f"{spec}: {kind} takes no '={country}'; only wrong-country names a country.")
    if equals and not country.strip():
        raise UsageError(f"{spec}: name a country after '=' (wrong-country=JPN), or remove '=' to draw one by seed.")
    if not at or not model:
        raise UsageError(f"{spec}: a control needs a model; write control:{head}@MODEL, for example control:{head}@embedded.")
    inner = model.partition(":")[0]
    if inner == "baseline":
        raise UsageError(f"{spec}: a baseline does not use the persona, so a control does not change it; name a language model.")
    if inner == "control":
        raise UsageError(f"{spec}: controls cannot be nested; name a language model.")
    return ControlSpec(kind, country.strip() or None, model)
