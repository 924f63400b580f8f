"""The baselines that a score is read against, answered on the same pairs without being asked for.

Fitting the whole ladder takes up to a minute, so its runs are kept in the data set's folder (`ladder/`, ordinary run
folders) and used again as long as data set, split, part and version are the same. Building the data set anew removes
them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset import Dataset
from valuestrata.errors import UsageError, did_you_mean
from valuestrata.files import canonical_hash, folder_written_beside, read_json, write_json
from valuestrata.progress import progress
from valuestrata.prompts import load_template, questions_of, render_prompts
from valuestrata.respondents.baselines import CHEAP, LADDER, make_baseline
from valuestrata.responses.kinds import Identified, kind_of
from valuestrata.responses.reading import row_of
from valuestrata.responses.run import RUN, TABLE, Run, counts_by_status, load_run, new_meta, write_table
from valuestrata.responses.schema import RESPONSES

SETS = ("none", "cheap", "all")
KEPT_IN = "ladder"


def kinds_of(words: str) -> tuple[str, ...]:
    """Return the baselines that `none`, `cheap`, `all` or kinds separated by commas name, cheapest first.

    Raises:
        UsageError: a kind that does not exist.
    """
    named = [word.strip() for word in words.split(",") if word.strip()]
    for word in named:
        if word not in SETS and word not in LADDER:
            raise UsageError(f"There is no baseline {word!r}.{did_you_mean(word, [*SETS, *LADDER])}")
    wanted = {kind for word in named for kind in {"none": (), "cheap": CHEAP, "all": LADDER}.get(word, (word,))}
    return tuple(kind for kind in LADDER if kind in wanted)


def baseline_name(kind: str) -> str:
    """Return the name of the run in which a baseline of that kind stands beside others."""
    return f"baseline-{kind}"


def baselines_beside(
    dataset: Dataset,
    runs: Iterable[Identified],
    *,
    kinds: Sequence[str] = LADDER,
    split: str = "paper",
    part: str = "test",
    fold: int | None = None,
    train_on: Dataset | None = None,
) -> list[Run]:
    """Answer the pairs of a part with each baseline that is not among `runs` yet.

    Args:
        dataset: what is asked about. runs: those at hand; a baseline among them is not answered again.
        kinds: which baselines. split, part, fold: which pairs, and whose training gold is seen.
        train_on: the data set that trains under `transfer`.

    Returns:
        Runs called `baseline-KIND`, in the order of `kinds`. A split in which nothing trains gives only the baselines
        that need no training gold.
    """
    there = {rule for kind, rule in map(kind_of, runs) if kind == "baseline"}
    wanted = [kind for kind in kinds if kind not in there]
    if split.removesuffix("+disjoint") == "transfer" and train_on is None:
        wanted = [kind for kind in wanted if kind in ("uniform", "midpoint")]
    found: list[Run] = []
    with progress("answering with baselines", len(wanted)) as advance:
        for kind in wanted:
            found.append(_answered(dataset, kind, split, part, fold, train_on))
            advance(1)
    return found


def _answered(dataset: Dataset, kind: str, split: str, part: str, fold: int | None, train_on: Dataset | None) -> Run:
    other = None if train_on is None else train_on.fingerprint
    place = "_".join([split, part, *([] if fold is None else [str(fold)]), *([] if other is None else [other[:12]])])
    # In a folder that may not be written to, nothing is kept and the baselines are answered again next time.
    kept_in = dataset.path if dataset.path is not None and os.access(dataset.path, os.W_OK) else None
    folder = None if kept_in is None else kept_in / KEPT_IN / place / baseline_name(kind)
    name = baseline_name(kind)
    meta = new_meta(dataset, name, "baseline", template="default", elicitation="logprob")
    key = canonical_hash([dataset.fingerprint, kind, split, part, fold, other, meta["versions"]["valuestrata"]])
    if folder is not None and _kept(folder, key):
        return load_run(folder)
    respondent = make_baseline(kind, dataset, split=split, fold=fold, train_on=train_on)
    recipe = load_template("default")
    labels = {item: question.label_of for item, question in questions_of(dataset).items()}
    prompts = list(render_prompts(dataset, dataset.part(split, part, fold), template=recipe, elicitation="logprob"))
    rows: list[dict[str, Any]] = [row_of(answer, labels[answer.prompt.item]) for answer in respondent.answer(prompts)]
    responses = RESPONSES.frame(rows)
    document = {
        **meta,
        "respondent": {"name": respondent.name, **respondent.identity()},
        "template_version": recipe.version,
        "plan": {"split": split, "part": part, "fold": fold},
        "counts": counts_by_status(responses),
        "key": key,
    }
    if folder is not None:
        _keep(folder, document, responses)
    return Run(name, folder or Path(name), document, responses)


def _kept(folder: Path, key: str) -> bool:
    return (folder / RUN).is_file() and (folder / TABLE).is_file() and read_json(folder / RUN).get("key") == key


def _keep(folder: Path, document: dict[str, Any], responses: pl.DataFrame) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder_written_beside(folder) as made:
        write_table(made, responses, None)
        write_json(made / RUN, document)
