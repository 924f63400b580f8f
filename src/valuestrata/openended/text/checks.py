"""Checks of open answers without a judge: refusals, persona leakage, stereotype markers, similarity, length and readability.

docs/open-text-checks.md defines each check and its limits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, UsageError
from valuestrata.files import write_parquet, write_text
from valuestrata.frames import csv_text
from valuestrata.openended.text.markers import markers
from valuestrata.openended.text.persona_leakage import leak_of
from valuestrata.openended.text.persona_names import Name, name_of, names_of, single_words, without_names
from valuestrata.openended.text.rates import text_rates
from valuestrata.openended.text.schema import SIMILARITY, TEXTS
from valuestrata.openended.text.similarity import similarity, vectors_of
from valuestrata.openended.text.words import WORD, readability
from valuestrata.progress import progress
from valuestrata.prompts.persona import Words, personas_of
from valuestrata.prompts.template import builtin_templates, load_template
from valuestrata.responses.parse.read import CUT_OFF
from valuestrata.responses.run.identity import Answered


@dataclass(frozen=True)
class TextChecks:
    """Results of the checks.

    Attributes:
        texts: a frame of TEXTS, one row per answer. rates: TEXT_RATES. markers: MARKERS. similarity: SIMILARITY.
    """

    texts: pl.DataFrame
    rates: pl.DataFrame
    markers: pl.DataFrame
    similarity: pl.DataFrame

    def tables(self) -> dict[str, pl.DataFrame]:
        """Return the tables by name, as they are written."""
        return {"texts": self.texts, "text_rates": self.rates, "markers": self.markers, "similarity": self.similarity}


def text_checks(dataset: Dataset, runs: Sequence[Answered], *, permutations: int = 500, seed: int = 0) -> TextChecks:
    """Check the open answers of runs.

    Args:
        dataset: the data set of the runs. runs: runs of open answers. permutations, seed: shuffles of levels for the similarity.

    Raises:
        UsageError: no run, or two of one name.
        InputDataError: a run with answers to pairs that the data set does not have.
    """
    names = [run.name for run in runs]
    if not names:
        raise UsageError("There is no run to check. Make one with `valuestrata open ask`.")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"Two runs are named {twice!r}, but tables identify runs by name. Rename the folder of one.")
    found: list[TextChecks] = []
    with progress("Checking texts", len(runs)) as advance:
        for run in runs:
            found.append(_of_run(dataset, run, permutations, seed))
            advance(1)
    return TextChecks(**{name: pl.concat([getattr(one, name) for one in found]) for name in ("texts", "rates", "markers", "similarity")})


def _of_run(dataset: Dataset, run: Answered, permutations: int, seed: int) -> TextChecks:
    subgroups, attributes = dataset.subgroups, dataset.attributes
    personas, words = personas_of(dataset), _words_of_template(run)
    names = {subgroup: names_of(persona, words) for subgroup, persona in personas.items()}
    responses = _known(dataset, run)
    texts = _checked(run, responses, names, dataset.meta.get("place"))
    written = texts.select("run", "item", "subgroup", "written").hstack(responses.select("text")).filter(pl.col("written"))
    similar = SIMILARITY.empty()
    if not written.is_empty():
        # Names of the persona make answers similar; they are counted as leakage instead.
        vectors = vectors_of([without_names(text, names[subgroup]) for text, subgroup in written.select("text", "subgroup").iter_rows()])
        similar = similarity(written, vectors, subgroups, attributes, dataset.block_names, permutations=permutations, seed=seed)
    traits = {(trait.attribute, trait.label): trait for persona in personas.values() for trait in persona.traits}
    own = {(attribute, label): single_words((name_of(trait, words),)) for (attribute, label), trait in traits.items()}
    return TextChecks(
        texts=texts,
        rates=text_rates(texts, dataset.items, subgroups, attributes),
        markers=markers(written, subgroups, attributes, own),
        similarity=similar,
    )


def _words_of_template(run: Answered) -> Words | None:
    """Return the persona wording of the run's template; None if the template is a file, which may have changed."""
    name = run.meta.get("template")
    return load_template(name).words if isinstance(name, str) and name in builtin_templates() else None


def _known(dataset: Dataset, run: Answered) -> pl.DataFrame:
    """Return the responses that did not fail, in the data set's order of items and subgroups."""
    rows = run.responses.filter(pl.col("status") != "failed")
    for column, frame in (("item", dataset.items), ("subgroup", dataset.subgroups)):
        foreign = rows.filter(~pl.col(column).is_in(frame[column].implode()))
        if not foreign.is_empty():
            raise InputDataError(
                f"run {run.name!r}: {foreign.height:,} answers are about a {column} that the data set does not have "
                f"({foreign[column][0]!r} first). Give the data set that the run was asked on."
            )
        rows = rows.join(frame.select(column, pl.int_range(pl.len()).alias(f"_{column}")), on=column, how="left")
    return rows.sort("_item", "_subgroup", "sample").drop("_item", "_subgroup").with_columns(pl.col("text").fill_null(""))


def _checked(run: Answered, responses: pl.DataFrame, names: Mapping[str, tuple[Name, ...]], place: str | None) -> pl.DataFrame:
    """Return the TEXTS rows of a run's responses, in their order."""
    given = responses.select("text", "status", "subgroup").iter_rows()
    made = TEXTS.frame([_row(text, status, names[subgroup], place) for text, status, subgroup in given])
    cut = pl.col("finish_reason").str.to_lowercase().is_in(sorted(CUT_OFF)).fill_null(value=False)
    head = responses.select(pl.lit(run.name).alias("run"), "pair_id", "item", "subgroup", "sample", cut.alias("cut"))
    return head.hstack(made.drop(head.columns)).select(TEXTS.columns.keys())


def _row(text: str, status: str, names: tuple[Name, ...], place: str | None) -> dict[str, Any]:
    refused, empty = status == "refused", WORD.search(text) is None
    written = not refused and not empty
    row: dict[str, Any] = {"refused": refused, "empty": empty, "written": written}
    if not empty:
        row |= asdict(readability(text))
    leak = leak_of(text, names, place) if written else None
    if leak is not None:
        row |= {"leak": leak.kind, "leak_attributes": list(leak.attributes), "leak_text": leak.text}
    return row


def write_text_checks(found: TextChecks, folder: Path) -> None:
    """Write every table into a folder, as Parquet and as CSV (lists joined by `;`)."""
    for name, frame in found.tables().items():
        write_parquet(folder / f"{name}.parquet", frame)
        flat = frame.with_columns(pl.col(pl.List(pl.String)).list.join(";"))
        write_text(folder / f"{name}.csv", csv_text(flat))
