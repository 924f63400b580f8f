"""One pair as a document of a harness: its prompt, and the gold that scores an answer."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from valuestrata import measures
from valuestrata.dataset.tables import CROSSFIT, Dataset
from valuestrata.errors import InputDataError, Option, UsageError, one_of
from valuestrata.files import check_file
from valuestrata.prompts.prompt import Elicitation, Message, Prompt, Role
from valuestrata.responses.ask.plan import plan_asking
from valuestrata.scores.pairs import gold_of
from valuestrata.yaml_files import Record

DOCUMENTS = "pairs.jsonl"
_LEVELS = Literal["ordinal", "nominal", "binary"]


class HarnessMessage(Record):
    """One chat message of a document."""

    role: Role
    content: str


class HarnessDocument(Record):
    """A pair with its rendered prompt and its gold. Lists of options are in displayed order, which is the order of the scale.

    Attributes:
        dataset: fingerprint of the data set.
        pair_id, item, subgroup, topic, block, stratum: the pair. An item without a block is a block of its own.
        half: the respondents of the gold: all, A or B.
        elicitation, template, template_version, paraphrase, order: how it is asked.
        messages, prefill: the chat, and the start of the model's turn.
        options: answer strings. shown: their scale codes. labels: their labels.
        level: ordinal, nominal or binary.
        mode: scale code of the gold mode. p_mode: probability of each option to be the mode.
        shares: gold shares; empty unless the elicitation states a distribution.
    """

    dataset: str
    pair_id: str
    item: str
    subgroup: str
    topic: str
    block: str
    stratum: str
    half: str
    elicitation: Elicitation
    template: str
    template_version: str
    paraphrase: int
    order: str
    messages: list[HarnessMessage] = Field(min_length=1)
    prefill: str
    options: list[str] = Field(min_length=2)
    shown: list[int]
    labels: list[str]
    level: _LEVELS
    mode: int
    p_mode: list[float]
    shares: list[float]

    def prompt(self, sample: int = 0, messages: Sequence[Message] | None = None) -> Prompt:
        """Return the prompt.

        Args:
            sample: number of the answer. messages: those that were sent, if they are known to differ.
        """
        return Prompt(
            pair_id=self.pair_id,
            item=self.item,
            subgroup=self.subgroup,
            messages=tuple(messages or (Message(message.role, message.content) for message in self.messages)),
            prefill=self.prefill,
            options=tuple(self.options),
            shown=tuple(self.shown),
            elicitation=self.elicitation,
            template=self.template,
            template_version=self.template_version,
            order=self.order,
            paraphrase=self.paraphrase,
            sample=sample,
        )

    @property
    def label_of(self) -> dict[int, str]:
        """Scale code -> label, in scale order."""
        return dict(zip(self.shown, self.labels, strict=True))


def documents_of(
    dataset: Dataset,
    known: Sequence[Elicitation],
    *,
    split: str = "paper",
    part: str | None = None,
    fold: int | None = None,
    template: str | Path = "default",
    elicitation: str | None = None,
) -> list[HarnessDocument]:
    """Return the documents of the pairs that `score` uses for a part of a split, in the order in which `ask` asks them.

    Args:
        dataset: the data set. known: the elicitations that the harness supports, its default first.
        split, fold, template: as for `plan_asking`. part: of the split; None for `test`.
        elicitation: one of `known`; None for the default.

    Raises:
        UsageError: an unknown name, an elicitation that the harness does not support, or a split that scores pairs twice.
        InputDataError: no pairs to ask, or an invalid template.
    """
    chosen = known[0] if elicitation is None else one_of(elicitation, known, "This harness does not support the elicitation")
    if split.endswith(CROSSFIT):
        raise UsageError(Option("split", split), f" scores each pair against two halves of the respondents; use {split.split('+')[0]!r}.")
    asked = part or "test"
    asking = plan_asking(dataset, split=split, part=asked, fold=fold, template=template, elicitation=chosen)
    gold = gold_of(dataset, dataset.scored_pairs(split, asked, fold).select("pair_id", "half"))
    gold_by_pair = {row["pair_id"]: row for row in gold.iter_rows(named=True)}
    items = {row["item"]: row for row in dataset.items.iter_rows(named=True)}
    strata = dict(dataset.subgroups.select("subgroup", "stratum").iter_rows())
    return [
        _document(dataset.fingerprint, prompt, gold_by_pair[prompt.pair_id], items[prompt.item], strata[prompt.subgroup])
        for prompt in asking.prompts_with(dataset, None)
    ]


def _document(fingerprint: str, prompt: Prompt, gold: Mapping[str, Any], item: Mapping[str, Any], stratum: str) -> HarnessDocument:
    return HarnessDocument(
        dataset=fingerprint,
        pair_id=prompt.pair_id,
        item=prompt.item,
        subgroup=prompt.subgroup,
        topic=item["topic"],
        block=item["block"] or prompt.item,
        stratum=stratum,
        half=gold["half"],
        elicitation=prompt.elicitation,
        template=prompt.template,
        template_version=prompt.template_version,
        paraphrase=prompt.paraphrase,
        order=prompt.order,
        messages=[HarnessMessage(role=message.role, content=message.content) for message in prompt.messages],
        prefill=prompt.prefill,
        options=list(prompt.options),
        shown=list(prompt.shown),
        labels=list(item["labels"]),
        level=item["level"],
        mode=gold["mode"],
        p_mode=list(gold["p_mode"]),
        shares=list(gold["shares"]) if prompt.elicitation == "stated-distribution" else [],
    )


def metrics_of(document: HarnessDocument, row: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of one answer, as `scores.pairs` defines them: accuracy, accuracy_expected, distance (NaN for nominal items).

    Args:
        document: the pair. row: the answer, from `responses.parse.read.row_of`.
    """
    ordered = document.level != "nominal"
    if row["status"] != "answered":
        return {"accuracy": 0.0, "accuracy_expected": 0.0, "distance": 1.0 if ordered else math.nan}
    place, count = document.shown.index(row["answer"]), len(document.shown)
    if document.elicitation == "stated-distribution":
        distance = measures.w1(row["option_probs"], document.shares)
    else:
        distance = measures.nmae(place, document.shown.index(document.mode), count)
    return {
        "accuracy": float(row["answer"] == document.mode),
        "accuracy_expected": document.p_mode[place],
        "distance": float(distance) if ordered else math.nan,
    }


def as_lines(documents: Sequence[HarnessDocument]) -> str:
    """Return the documents as JSON lines."""
    return "".join(json.dumps(document.model_dump(), ensure_ascii=False) + "\n" for document in documents)


def read_documents(file: Path) -> list[HarnessDocument]:
    """Read the documents of an exported folder.

    Raises:
        InputDataError: absent, or not JSON lines of documents.
    """
    check_file(file)
    with file.open(encoding="utf-8") as lines:
        return [document_of(line, f"{file}: line {number}") for number, line in enumerate(lines, 1) if line.strip()]


def document_of(document: str | Mapping[str, Any], where: str) -> HarnessDocument:
    """Read one document, as JSON or as a mapping.

    Raises:
        InputDataError: it lacks keys of an exported document; the message begins with `where`.
    """
    try:
        return HarnessDocument.model_validate_json(document) if isinstance(document, str) else HarnessDocument.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(map(str, first["loc"])) or "the document"
        raise InputDataError(
            f"{where}: {key}: {first['msg']}. It was not written by `valuestrata export` or was changed; export again."
        ) from error
