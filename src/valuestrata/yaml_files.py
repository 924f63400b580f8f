"""Validation of YAML files, with the line and column of what is wrong, and of JSON files."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from valuestrata.errors import InputDataError, did_you_mean
from valuestrata.files import MAX_BYTES, MAX_DEPTH, read_json, read_utf8

Model = TypeVar("Model", bound=BaseModel)
Scalars = Literal["typed", "text"]

# The largest built-in file has 150 KB and 11,000 values. Aliases count as often as they are used.
MAX_VALUES = 1_000_000
_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_NO_MAPPING = ("model_type", "model_attributes_type", "dict_type")
# As in YAML 1.1, but `010`, `12:30` and numbers of more than 40 digits are text.
_NUMBERS: Mapping[str, re.Pattern[str]] = {
    f"{_TAG}int": re.compile(r"[-+]?(?:0|[1-9][0-9_]{0,39}|0x[0-9a-fA-F_]{1,16}|0b[01_]{1,64})\Z"),
    f"{_TAG}float": re.compile(
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|\.(?:inf|Inf|INF))\Z|\.(?:nan|NaN|NAN)\Z"
    ),
}
# Control characters except tab and line ends, and halves of surrogate pairs.
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def _with_a_sign(text: str) -> str:
    if not text.strip():
        raise refused("expected text, found an empty one.")
    return text


Text = Annotated[str, AfterValidator(_with_a_sign)]
"""A text with at least one character that is not a space."""


def _no_truth_value(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("bool", "expected a whole number")
    return value


Code = Annotated[int, BeforeValidator(_no_truth_value), Field(ge=-(2**31), lt=2**31)]
"""A code of an answer or level: a whole number of 32 bits."""


class StrictModel(BaseModel):
    """A section of a YAML file: unknown keys are refused, and numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Record(BaseModel):
    """A part of a JSON file that valuestrata wrote. Keys that are not named are kept; values are not converted."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)


@dataclass(frozen=True)
class Yaml:
    """A parsed YAML file.

    Attributes:
        document: its content. where: its name, for messages. root: its nodes, which know lines and columns.
    """

    document: Any
    where: str
    root: yaml.Node | None = None

    def place(self, *keys: object) -> str:
        """Return the file, line and column of a key or entry: `survey.yaml, line 3, column 5`.

        Args:
            keys: the path from the top of the file: keys and positions. What does not exist is left out.
        """
        node, found = self.root, self.root
        for key in keys:
            entry = _entry(node, key)
            if entry is None:
                break
            found, node = entry
        if found is None or found is self.root:
            return self.where
        mark: Any = found.start_mark
        return f"{self.where}, line {mark.line + 1}, column {mark.column + 1}"

    def checked(self, model: type[Model]) -> Model:
        """Validate the document; InputDataError names line, column and key, what was found and what was expected."""
        return checked(model, self.document, self)

    def mapping(self) -> Mapping[str, Any]:
        """Return the document, a mapping; InputDataError if it is something else."""
        if not isinstance(self.document, Mapping):
            raise InputDataError(f"{self.where}: expected a mapping at the top of the file, found {_kind(self.document)}.")
        return typing.cast("Mapping[str, Any]", self.document)


def refused(message: str, *keys: object) -> PydanticCustomError:
    """Return an error for a validator to raise; `keys` is the path from the validated section to what is wrong."""
    return PydanticCustomError("refused", "{message}", {"message": message, "keys": keys})


def parse_yaml(text: str, where: str, scalars: Scalars = "typed") -> Yaml:
    """Parse YAML in which `Yes`, `No`, dates and times stay text, because they may be answer labels.

    Args:
        text: the content of the file. where: its name, for messages.
        scalars: `text` keeps numbers, `true` and `null` as text too; only a value left out is None.

    Raises:
        InputDataError: not YAML, a key given twice, a control character, an alias inside itself, or a file that is too large or too
            deeply nested. Names line and column.
    """
    if len(text) > MAX_BYTES:
        raise InputDataError(f"{where}: the file has {len(text):,} characters; at most {MAX_BYTES:,} are read.")
    loader = _loader(scalars)(text)
    try:
        root: Any = loader.get_single_node()
        if root is None:
            return Yaml(None, where)
        _check_nodes(root, where)
        return Yaml(loader.construct_document(root), where, root)
    except yaml.YAMLError as error:
        raise InputDataError(f"{where}: not a YAML file: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise InputDataError(f"{where}: not a YAML file: it is nested too deeply.") from error
    except (ValueError, TypeError) as error:
        # Of values with an explicit tag, such as `!!timestamp 2020-13-45`, and keys that are lists.
        raise InputDataError(f"{where}: not a YAML file: a value cannot be read ({error}).") from error
    finally:
        loader.dispose()


def read_yaml(path: str | Path, scalars: Scalars = "typed") -> Yaml:
    """Read and parse a YAML file; InputDataError if it is absent, not UTF-8 or not YAML (see `parse_yaml`)."""
    return parse_yaml(read_utf8(Path(path)), str(path), scalars)


def read_document(path: Path, model: type[BaseModel], advice: str) -> dict[str, Any]:
    """Read a JSON file and return it as it is, after validation.

    Args:
        path: the file. model: its format. advice: what to do about an invalid file, a sentence.

    Raises:
        InputDataError: the file is absent, not JSON or invalid; names the key, what was found and what was expected.
    """
    document = read_json(path)
    checked(model, document, str(path), advice)
    return document


def checked(model: type[Model], document: Any, where: str | Yaml, advice: str = "") -> Model:
    """Validate a parsed document; messages end with `advice`.

    Raises:
        InputDataError: names the place and key, what was found and, for an unknown key, the closest known one.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problem = _told(error)
        location: tuple[int | str, ...] = (*problem["loc"], *problem.get("ctx", {}).get("keys", ()))
        if isinstance(where, Yaml):
            location = tuple(_existing(where.root, location))
            at = where.place(*location)
        else:
            at = where
        key, advice = ".".join(str(part) for part in location), f" {advice}" if advice else ""
        if problem["type"] == "extra_forbidden":
            hint = did_you_mean(str(location[-1]), _keys_at(model, location[:-1]))
            raise InputDataError(f"{at}: the key {key!r} is not known.{hint}{advice}") from error
        if problem["type"] in ("refused", "value_error"):
            said = problem["msg"].removeprefix("Value error, ").rstrip(".")
            raise InputDataError(f"{at}: {key + ': ' if key else ''}{said}.{advice}") from error
        if problem["type"] == "missing":
            inside = ".".join(str(part) for part in location[:-1])
            raise InputDataError(f"{at}: the key {str(location[-1])!r} is missing{f' from {inside}' if inside else ''}.{advice}") from error
        said = "expected a mapping of keys to values" if problem["type"] in _NO_MAPPING else problem["msg"]
        raise InputDataError(f"{at}: {key or 'the file'}: {said} (found {_shown(problem.get('input'))}).{advice}") from error


def _told(error: ValidationError) -> Any:
    """Return the first problem; rather a misspelt key than the required key that is then missing."""
    first, *rest = error.errors()
    beside = (one for one in rest if one["type"] == "extra_forbidden" and one["loc"][:-1] == first["loc"][:-1])
    return next(beside, first) if first["type"] == "missing" else first


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**40 else "a number of more than 40 digits"
    return text if len(text) <= 80 else text[:77] + "..."


def _kind(document: Any) -> str:
    return "nothing" if document is None else type(document).__name__


def _loader(scalars: Scalars) -> type[Any]:
    base: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    kept = ("null",) if scalars == "text" else ("null", "bool", "int", "float", "merge")
    resolvers: dict[str, list[tuple[str, Any]]] = {}
    for first, known in base.yaml_implicit_resolvers.items():
        if scalars == "typed" or not first:
            resolvers[first] = [
                (tag, _NUMBERS.get(tag, pattern))
                for tag, pattern in known
                if tag.removeprefix(_TAG) in kept and (tag != f"{_TAG}bool" or first in "tTfF")
            ]

    return type("Loader", (base,), {"yaml_implicit_resolvers": resolvers})


def _check_nodes(root: yaml.Node, where: str) -> None:
    """Refuse keys given twice, aliases inside themselves, deep nesting and too many values, before anything is expanded."""
    sizes: dict[int, int] = {}
    open_: set[int] = set()
    stack: list[tuple[yaml.Node, bool]] = [(root, False)]
    while stack:
        node, done = stack.pop()
        name = id(node)
        mark: Any = node.start_mark
        at = f"{where}, line {mark.line + 1}, column {mark.column + 1}"
        inner = list(_children(node))
        if done:
            open_.discard(name)
            sizes[name] = 1 + sum(sizes[id(child)] for child in inner)
            if sizes[name] > MAX_VALUES:
                raise InputDataError(f"{at}: with its aliases expanded, the file has more than {MAX_VALUES:,} values.")
        elif name in open_:
            raise InputDataError(f"{at}: an alias is used inside what it stands for.")
        elif name not in sizes:
            open_.add(name)
            if len(open_) > MAX_DEPTH:
                raise InputDataError(f"{at}: nested more than {MAX_DEPTH} levels deep.")
            _check_keys(node, where)
            if isinstance(node, yaml.ScalarNode) and (wrong := _NOT_TEXT.search(node.value)):
                raise InputDataError(f"{at}: the text holds the control character U+{ord(wrong[0]):04X}. Remove it.")
            stack.append((node, True))
            stack.extend((child, False) for child in inner)


def _check_keys(node: yaml.Node, where: str) -> None:
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, Any] = {}
    for key, _ in node.value:
        mark = key.start_mark
        if not isinstance(key, yaml.ScalarNode):
            raise InputDataError(f"{where}, line {mark.line + 1}, column {mark.column + 1}: a key must be a text or a number.")
        if key.tag == _MERGE:
            continue
        first = seen.setdefault(key.value, mark)
        if first is not mark:
            raise InputDataError(
                f"{where}, line {mark.line + 1}, column {mark.column + 1}: the key {key.value!r} is given twice, first in line "
                f"{first.line + 1}. Remove one of them."
            )


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _entry(node: yaml.Node | None, key: object) -> tuple[yaml.Node, yaml.Node] | None:
    """Return the node that shows where an entry begins (a mapping's key), and the node of its value."""
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.tag != _MERGE and name.value == str(key):
                return name, value
        merged = [value for name, value in node.value if name.tag == _MERGE]
        for source in (one for value in merged for one in (value.value if isinstance(value, yaml.SequenceNode) else [value])):
            if (found := _entry(source, key)) is not None:
                return found
    elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key], node.value[key]
    return None


def _existing(root: yaml.Node | None, location: Iterable[int | str]) -> Iterator[int | str]:
    """Yield the parts of a location without those that pydantic adds to name the alternatives of a value's type."""
    node = root
    for part in location:
        if isinstance(node, yaml.ScalarNode):
            return
        entry = _entry(node, part)
        node = node if entry is None else entry[1]
        yield part


def _keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the known keys at `location`, following sections and lists of sections."""
    here = model
    for part in location:
        field = here.model_fields.get(str(part)) or here.model_fields.get("root")
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
