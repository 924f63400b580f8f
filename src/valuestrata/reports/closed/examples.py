"""Example pairs: the answers of respondents, the answer of the model, and its prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.reports.core.names import clipped, subgroup_titles
from valuestrata.reports.core.view import Entry, RunLike, View
from valuestrata.reports.explore.prompts import prompt_text, prompts_again
from valuestrata.responses.run.halves import response_keys, scored_responses
from valuestrata.responses.run.schema import RESPONSES

# Longest text of a model that is shown, in characters.
LONGEST_TEXT = 400
STATUS_WORDS: Mapping[str, str] = {
    "refused": "refused",
    "unparsed": "not recognised as an answer",
    "invalid_code": "not an option of the item",
    "failed": "the call failed",
}


@dataclass(frozen=True)
class AnswerOption:
    """One option of an example: label, share of respondents, probability given by the model (or None), and who chose it."""

    label: str
    share: float
    probability: float | None
    gold: bool
    answered: bool


@dataclass(frozen=True)
class PairExample:
    """One pair with its response."""

    run: str
    outcome: str
    subgroup: str
    question: str
    n: int
    options: tuple[AnswerOption, ...]
    text: str | None
    prompt: str | None


def choose(view: View, entry: Entry, run: RunLike) -> list[PairExample]:
    """Return up to five pairs of a run, from different items: two correct, two wrong, and one without an answer.

    The choice is deterministic.
    """
    gold = view.gold.select("pair_id", "half", "item", "subgroup", "n", "mode", "shares", "margin")
    answers = scored_responses(run, view.scheme, view.fold).filter(pl.col("elicitation").is_in(entry.elicitation.split("+")))
    answers = answers.drop("item", "subgroup").unique("pair_id", keep="first", maintain_order=True)
    # Under cross-fitting a pair has gold of both halves.
    frame = answers.join(gold, on=response_keys(answers), maintain_order="left").unique("pair_id", keep="first", maintain_order=True)
    wrong = (pl.col("status") == "answered") & (pl.col("answer") != pl.col("mode"))
    right = (pl.col("status") == "answered") & (pl.col("answer") == pl.col("mode"))
    # Correct answers with the narrowest margin, wrong answers with the widest.
    wanted = (
        (frame.filter(right).sort("margin", maintain_order=True), 2),
        (frame.filter(wrong).sort("margin", descending=True, maintain_order=True), 2),
        (frame.filter(pl.col("status") != "answered"), 1),
    )
    rows: list[dict[str, Any]] = []
    for part, most in wanted:
        for row in part.unique("item", keep="first", maintain_order=True).head(40).iter_rows(named=True):
            if most and row["item"] not in {other["item"] for other in rows}:
                rows.append(row)
                most -= 1
    prompts = prompts_for(view.dataset, rows, getattr(run, "meta", {}))
    return [_example(view.dataset, entry, row, prompts.get(row["pair_id"])) for row in rows]


def _example(dataset: Dataset, entry: Entry, row: Mapping[str, Any], prompt: str | None) -> PairExample:
    item = dataset.items.row(by_predicate=pl.col("item") == row["item"], named=True)
    probabilities = row["option_probs"] or [None] * len(item["codes"])
    options = tuple(
        AnswerOption(label, share, probability, code == row["mode"], code == row["answer"])
        for code, label, share, probability in zip(item["codes"], item["labels"], row["shares"], probabilities, strict=True)
    )
    if row["status"] == "answered":
        outcome = "correct" if row["answer"] == row["mode"] else "wrong"
    else:
        outcome = STATUS_WORDS.get(row["status"], row["status"])
    text = clipped(row["text"], LONGEST_TEXT) if row["text"] else None
    return PairExample(entry.label, outcome, subgroup_titles(dataset)[row["subgroup"]], item["question"], row["n"], options, text, prompt)


def prompts_for(dataset: Dataset, rows: Sequence[Mapping[str, Any]], meta: Mapping[str, Any]) -> dict[str, str]:
    """Return pair_id -> prompt of responses (rows of RESPONSES), rendered again as the run says; only if its hash is the recorded one."""
    columns = ("pair_id", "item", "subgroup", "elicitation", "template", "order", "paraphrase", "prompt_hash")
    asked = RESPONSES.frame([{name: row[name] for name in columns} for row in rows])
    found = prompts_again(dataset, asked, meta)
    return {row["pair_id"]: prompt_text(found[row["prompt_hash"]]) for row in rows if row["prompt_hash"] in found}
