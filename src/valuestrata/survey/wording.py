"""Wording files: questions and option labels that replace those of a codebook in prompts.

    source: WVS 7 Singapore, Malay questionnaire
    items:
      Q1:
        question: Sejauh manakah keluarga penting dalam hidup anda?
        labels: {1: Sangat penting, 4: Langsung tidak penting}

Labels of the survey file are still matched to the codebook first, then to the labels of the wording file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from valuestrata.errors import InputDataError, did_you_mean
from valuestrata.survey.codebook import Codebook, Item
from valuestrata.yaml_files import read_yaml

_KEYS = ("source", "items")
_ITEM_KEYS = ("question", "open_question", "labels")


def apply_wording(codebook: Codebook, path: str | Path) -> Codebook:
    """Return the codebook with the questions and labels of a wording file.

    Raises:
        InputDataError: an unknown key, item or code, or an empty text.
    """
    document = read_yaml(path, "text").mapping()
    _check_keys(document, _KEYS, f"{path}: the key")
    source = str(document.get("source") or Path(path).name)
    entries = _mapping(document.get("items"), f"{path}: items")
    known = {item.id: item for item in codebook.items}
    replaced: dict[str, Item] = {}
    for item_id, entry in entries.items():
        if item_id not in known:
            raise InputDataError(f"{path}: the {codebook.survey} codebook has no item {item_id!r}.{did_you_mean(item_id, known)}")
        replaced[item_id] = _replaced(known[item_id], _mapping(entry, f"{path}: items.{item_id}"), source, str(path))
    return replace(codebook, items=tuple(replaced.get(item.id, item) for item in codebook.items))


def _replaced(item: Item, entry: Mapping[str, Any], source: str, where: str) -> Item:
    _check_keys(entry, _ITEM_KEYS, f"{where}: items.{item.id}: the key")
    labels = list(item.labels)
    for key, label in _mapping(entry.get("labels", {}), f"{where}: items.{item.id}.labels").items():
        codes = [str(code) for code in item.codes]
        if key not in codes:
            raise InputDataError(f"{where}: item {item.id} has no code {key!r}; its codes are {', '.join(codes)}.")
        labels[codes.index(key)] = _text(label, f"{where}: items.{item.id}.labels.{key}")
    if len(set(labels)) != len(labels):
        raise InputDataError(f"{where}: item {item.id}: two options have the same label: {labels}.")
    return replace(
        item,
        question=_text(entry.get("question", item.question), f"{where}: items.{item.id}.question"),
        open_question=_text(entry["open_question"], f"{where}: items.{item.id}.open_question")
        if "open_question" in entry
        else item.open_question,
        labels=tuple(labels),
        wording_source=source,
    )


def _check_keys(mapping: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    for key in mapping:
        if key not in known:
            raise InputDataError(f"{what} {key!r} is not known.{did_you_mean(str(key), known)}")


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputDataError(f"{where}: expected a mapping, found {value!r:.60}.")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputDataError(f"{where}: expected text, found {value!r:.60}.")
    return " ".join(value.split())
