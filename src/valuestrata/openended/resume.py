"""A folder of a judge's words whose runs were asked more since: it goes on where nothing that it holds was said of other texts.

A call that failed and was asked again, or a run that was stopped and went on, adds answers and changes none. The verdicts there are
then still about the texts that the judge read, and only the hashes of the runs in `run.json` are of before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from valuestrata.files import write_json
from valuestrata.prompts.prompt import Prompt
from valuestrata.responses.run.folder import RUN, check_same_identity, load_run, read_meta

_SLOT = ("pair_id", "template", "template_version", "order", "paraphrase", "sample")
_HASHED = ("runs", "reference")


def same_but_for_answers(there: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether two `judged` documents name the same runs, criteria and cut, whatever the runs hold."""
    return _without_hashes(there) == _without_hashes(now)


def only_added(folder: Path, prompts: Iterable[Prompt]) -> bool:
    """Whether everything that a judge's run holds was said of what it would be shown now."""
    held = {tuple(row[:-1]): row[-1] for row in load_run(folder, closed=False).responses.select(*_SLOT, "prompt_hash").iter_rows()}
    for prompt in prompts:
        slot = tuple(getattr(prompt, name) for name in _SLOT)
        if slot in held and held.pop(slot) != prompt.hash:
            return False
    return not held


def go_on_with(folder: Path, meta: Mapping[str, Any], prompts: Iterable[Prompt]) -> None:
    """Take the runs' new hashes into the `run.json` of a judge's run where answers were added and none was changed.

    In every other case nothing is done, and opening the folder refuses what differs.

    Args:
        folder: the judge's run, which need not be there. meta: the document that it would have now.
        prompts: all that the judge would be shown or that is settled without it; gone through only where hashes differ.

    Raises:
        InputDataError: the folder holds a run of another identity than `meta`, its runs' answers aside.
    """
    there = read_meta(folder)
    if there is None or "judged" not in there or there["judged"] == meta["judged"]:
        return
    if not same_but_for_answers(there["judged"], meta["judged"]):
        return
    check_same_identity(folder, {**there, "judged": meta["judged"]}, meta)
    if only_added(folder, prompts):
        write_json(folder / RUN, {**there, "judged": meta["judged"]})


def _without_hashes(judged: Mapping[str, Any]) -> dict[str, Any]:
    return {key: sorted(value) if key in _HASHED else value for key, value in judged.items()}
