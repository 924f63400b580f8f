"""Wording overlay: questions and option labels in other words or another language, laid over a codebook's.

    source: WVS 7 Singapore, Malay questionnaire
    items:
      Q1:
        question: Sejauh manakah keluarga penting dalam hidup anda?
        labels: {1: Sangat penting, 4: Langsung tidak penting}

It changes what prompts show. How the file's labels are recognised stays with the codebook, whose own labels are
tried first; an overlaid label is recognised besides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from valuestrata.errors import InputDataError, did_you_mean
from valuestrata.survey.codebook import Codebook, Item

_KEYS = ("source", "items")
_ITEM_KEYS = ("question", "open_question", "labels")


def read_mapping(path: str | Path) -> Mapping[str, Any]:
    """Return a YAML file's mapping with every scalar as text, so that `Yes`, `No` and `1` mean themselves.

    Raises:
        InputDataError: no such file, not YAML, or not a mapping.
    """
    try:
        document: Any = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506 - builds text, lists and mappings only
    except FileNotFoundError as error:
        raise InputDataError(f"{path}: there is no such file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputDataError(f"{path}: not readable as UTF-8 text ({error}).") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f" (line {mark.line + 1})"
        raise InputDataError(f"{path}: not a YAML file{line}: {getattr(error, 'problem', None) or str(error).splitlines()[0]}.") from error
    if not isinstance(document, Mapping):
        raise InputDataError(f"{path}: expected a mapping at the top of the file, found {type(document).__name__}.")
    return document


def apply_wording(codebook: Codebook, path: str | Path) -> Codebook:
    """Return the codebook with the questions and labels of the overlay file in place of its own.

    Raises:
        InputDataError: a key, item or code that is not known (with the nearest that is), or a text that is empty.
    """
    document = read_mapping(path)
    _refuse_unknown(document, _KEYS, f"{path}: the key")
    source = str(document.get("source") or Path(path).name)
    entries = _mapping(document.get("items"), f"{path}: items")
    known = {item.id: item for item in codebook.items}
    overlaid: dict[str, Item] = {}
    for item_id, entry in entries.items():
        if item_id not in known:
            raise InputDataError(f"{path}: the {codebook.survey} codebook has no item {item_id!r}.{did_you_mean(item_id, known)}")
        overlaid[item_id] = _overlaid(known[item_id], _mapping(entry, f"{path}: items.{item_id}"), source, str(path))
    return replace(codebook, items=tuple(overlaid.get(item.id, item) for item in codebook.items))


def _overlaid(item: Item, entry: Mapping[str, Any], source: str, where: str) -> Item:
    _refuse_unknown(entry, _ITEM_KEYS, f"{where}: items.{item.id}: the key")
    labels = list(item.labels)
    for key, label in _mapping(entry.get("labels", {}), f"{where}: items.{item.id}.labels").items():
        codes = [str(code) for code in item.codes]
        if key not in codes:
            raise InputDataError(f"{where}: item {item.id} has no code {key!r}; its codes are {', '.join(codes)}.")
        labels[codes.index(key)] = _text(label, f"{where}: items.{item.id}.labels.{key}")
    if len(set(labels)) != len(labels):
        raise InputDataError(f"{where}: item {item.id}: two options would carry the same label: {labels}.")
    return replace(
        item,
        question=_text(entry.get("question", item.question), f"{where}: items.{item.id}.question"),
        open_question=_text(entry["open_question"], f"{where}: items.{item.id}.open_question")
        if "open_question" in entry
        else item.open_question,
        labels=tuple(labels),
        wording_source=source,
    )


def _refuse_unknown(mapping: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    for key in mapping:
        if key not in known:
            raise InputDataError(f"{what} {key!r} is not known.{did_you_mean(str(key), known)}")


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputDataError(f"{where}: expected a mapping, found {value!r:.60}.")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputDataError(f"{where}: expected a text, found {value!r:.60}.")
    return " ".join(value.split())
