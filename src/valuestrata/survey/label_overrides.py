"""Label overrides: a YAML file that assigns labels to codes, per item or attribute, or under `*` for all of them.

    Q106: {"Incomes should be made more equal": 1, "Who knows": dont_know}
    religion: {"Church of England": Protestant}
    "*": {"Can't say": dont_know}

The target of a label is a scale code or label of the item, a level of the attribute (label or code), or a class of missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from valuestrata.errors import InputDataError, did_you_mean
from valuestrata.survey.codebook import Attribute, Codebook, Item, Missing
from valuestrata.survey.labels import LabelTable
from valuestrata.survey.levels import UNKNOWN_LEVEL
from valuestrata.yaml_files import Yaml, read_yaml

_CLASSES = {kind.key: kind for kind in Missing}


@dataclass(frozen=True)
class LabelOverrides:
    """The overrides: item or attribute name -> ((label, option index, level index or `Missing` value), ...)."""

    pairs: Mapping[str, tuple[tuple[str, int], ...]]

    def of(self, name: str) -> tuple[tuple[str, int], ...]:
        """Return the overrides of an item or attribute."""
        return self.pairs.get(name, ())


def read_label_overrides(path: str | Path | None, codebook: Codebook) -> LabelOverrides:
    """Read an overrides file; without a path there are no overrides.

    Raises:
        InputDataError: an unknown item, attribute, code, level or class of missing.
    """
    if path is None:
        return LabelOverrides({})
    items = {item.id: item for item in codebook.items}
    attributes = {name: attribute for attribute in codebook.attributes for name in (attribute.short, attribute.name)}
    common: dict[str, int] = {}
    pairs: dict[str, tuple[tuple[str, int], ...]] = {}
    file = read_yaml(path, "text")
    for name, entry in file.mapping().items():
        targets = _targets(file, name, entry)
        if name == "*":
            common = {label: _missing(target, where) for label, target, where in targets}
        elif name in items:
            pairs[name] = tuple((label, _option(items[name], target, where)) for label, target, where in targets)
        elif name in attributes:
            attribute = attributes[name]
            pairs[attribute.name] = tuple((label, _level(attribute, target, where)) for label, target, where in targets)
        else:
            hint = did_you_mean(str(name), [*items, *attributes])
            raise InputDataError(f"{file.place(name)}: the {codebook.survey} codebook has no item or attribute {name!r}.{hint}")
    for name in items:
        own = pairs.get(name, ())
        rest = tuple((label, target) for label, target in common.items() if label not in dict(own))
        pairs[name] = (*own, *rest)
    for attribute in codebook.attributes:
        own = pairs.get(attribute.name, ())
        pairs[attribute.name] = (*own, *((label, UNKNOWN_LEVEL) for label in common if label not in dict(own)))
    return LabelOverrides(pairs)


def _targets(file: Yaml, name: str, entry: Any) -> list[tuple[str, str, str]]:
    """Return (label, target, place in the file) of every label of an item or attribute."""
    if not isinstance(entry, Mapping):
        raise InputDataError(f"{file.place(name)}: {name}: expected a mapping of labels to codes, found {entry!r:.60}.")
    found: list[tuple[str, str, str]] = []
    for label, target in cast("Mapping[Any, Any]", entry).items():
        where = f"{file.place(name, label)}: {name}"
        if not isinstance(target, str) or not isinstance(label, str):
            raise InputDataError(f"{where}: {label!r:.60}: expected a code, a level or a class of missing, found {target!r:.60}.")
        found.append((label, target, where))
    return found


def _missing(target: str, where: str) -> int:
    if target in _CLASSES:
        return _CLASSES[target]
    raise InputDataError(f"{where}: {target!r} is not a class of missing; under '*' no codes are allowed.{did_you_mean(target, _CLASSES)}")


def _option(item: Item, target: str, where: str) -> int:
    if target in _CLASSES:
        return _CLASSES[target]
    codes = [str(code) for code in item.codes]
    if target in codes:
        return codes.index(target)
    index = LabelTable(zip(item.labels, range(len(item.labels)), strict=True)).find(target)
    if index is None:
        raise InputDataError(
            f"{where}: {target!r} is neither a scale code ({', '.join(codes)}) nor a class of missing ({', '.join(_CLASSES)})."
        )
    return index


def _level(attribute: Attribute, target: str, where: str) -> int:
    if target in _CLASSES:
        return UNKNOWN_LEVEL
    own = [(label, i) for i, level in enumerate(attribute.levels) for label in (level.label, *level.synonyms, *map(str, level.codes))]
    index = LabelTable(own).find(target)
    if index is None:
        raise InputDataError(
            f"{where}: {target!r} is not a level of {attribute.name}.{did_you_mean(target, (x.label for x in attribute.levels))}"
        )
    return index
