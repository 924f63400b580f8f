"""Reading and validating YAML files written by users."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from valuestrata.errors import InputDataError, did_you_mean

Model = TypeVar("Model", bound=BaseModel)


class StrictModel(BaseModel):
    """A section of a YAML file: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def parse_yaml(text: str, where: str, loader: Any = None) -> Any:
    """Parse YAML in which `Yes`, `No`, `on` and `off` stay text, because they may be answer labels.

    Raises:
        InputDataError: not YAML; names the place.
    """
    try:
        return yaml.load(text, Loader=loader or _loader())  # noqa: S506 - a safe loader, the C one if available
    except yaml.YAMLError as error:
        raise InputDataError(f"{where}: not a YAML file: {' '.join(str(error).split())}") from error


def read_yaml(path: Path, loader: Any = None) -> Any:
    """Read and parse a YAML file; InputDataError if it is absent, not UTF-8 or not YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputDataError(f"{path}: the file does not exist.") from error
    except (UnicodeDecodeError, OSError) as error:
        raise InputDataError(f"{path}: not a UTF-8 text file ({error}).") from error
    return parse_yaml(text, str(path), loader)


def read_text_mapping(path: str | Path) -> Mapping[str, Any]:
    """Read a YAML mapping in which every scalar stays text, because `Yes`, `No` and `1` may be labels.

    Raises:
        InputDataError: the file is absent, not UTF-8, not YAML or not a mapping.
    """
    document = read_yaml(Path(path), loader=yaml.BaseLoader)
    if not isinstance(document, Mapping):
        raise InputDataError(f"{path}: expected a mapping at the top of the file, found {type(document).__name__}.")
    return typing.cast("Mapping[str, Any]", document)


def checked(model: type[Model], document: Any, where: str) -> Model:
    """Validate a parsed document.

    Raises:
        InputDataError: names the place and key, what was found and, for an unknown key, the closest known one.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problem = error.errors()[0]
        location = problem["loc"]
        place = ".".join(str(part) for part in location)
        if problem["type"] == "extra_forbidden":
            hint = did_you_mean(str(location[-1]), _keys_at(model, location[:-1]))
            raise InputDataError(f"{where}: the key {place!r} is not known.{hint}") from error
        found = repr(problem.get("input"))
        found = found if len(found) <= 80 else found[:77] + "..."
        raise InputDataError(f"{where}: {place or 'the file'}: {problem['msg']} (found {found}).") from error


def _loader() -> type[yaml.SafeLoader]:
    base: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader = type("Loader", (base,), {})
    loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool" or first in "tTfF"]
        for first, resolvers in base.yaml_implicit_resolvers.items()
    }
    return loader


def _keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the known keys at `location`, following sections and lists of sections."""
    here = model
    for part in location:
        field = here.model_fields.get(str(part))
        inner = _model_within(field.annotation) if field else None
        if inner is not None:
            here = inner
    return list(here.model_fields)


def _model_within(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in typing.get_args(annotation):
        if (found := _model_within(argument)) is not None:
            return found
    return None
