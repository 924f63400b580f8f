"""Continuing a judge's folder after answers were added to the judged runs.

Repeating failed calls or continuing a run adds answers and changes none. The stored verdicts are then still about the same texts; only
the hashes of the runs in `run.json` are outdated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from valuestrata.files import write_json
from valuestrata.prompts.prompt import Prompt
from valuestrata.responses.run.folder import RUN, check_same_identity, load_run, read_meta

_PROMPT_KEY = ("pair_id", "template", "template_version", "order", "paraphrase", "sample")
_HASHED = ("runs", "reference")


def same_except_answers(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Return whether two `judged` documents name the same runs, criteria and truncation, ignoring the hashes of the answers."""
    return _without_hashes(before) == _without_hashes(now)


def only_added(folder: Path, prompts: Iterable[Prompt]) -> bool:
    """Return whether all responses of a judge's run belong to prompts that would be sent unchanged now."""
    stored = {tuple(row[:-1]): row[-1] for row in load_run(folder, closed=False).responses.select(*_PROMPT_KEY, "prompt_hash").iter_rows()}
    for prompt in prompts:
        key = tuple(getattr(prompt, name) for name in _PROMPT_KEY)
        if key in stored and stored.pop(key) != prompt.hash:
            return False
    return not stored


def accept_added_answers(folder: Path, meta: Mapping[str, Any], prompts: Iterable[Prompt]) -> None:
    """Update the hashes in the `run.json` of a judge's run if answers were added and none changed.

    Otherwise nothing is done, and opening the folder reports the difference.

    Args:
        folder: the judge's run, which need not exist. meta: its metadata now.
        prompts: all prompts, including those decided without the judge; used only if hashes differ.

    Raises:
        InputDataError: the folder holds a run of another identity, apart from the answers.
    """
    existing = read_meta(folder)
    if existing is None or "judged" not in existing or existing["judged"] == meta["judged"]:
        return
    if not same_except_answers(existing["judged"], meta["judged"]):
        return
    updated = {**existing, "judged": meta["judged"]}
    check_same_identity(folder, updated, meta)
    if only_added(folder, prompts):
        write_json(folder / RUN, updated)


def _without_hashes(judged: Mapping[str, Any]) -> dict[str, Any]:
    return {key: sorted(value) if key in _HASHED else value for key, value in judged.items()}
