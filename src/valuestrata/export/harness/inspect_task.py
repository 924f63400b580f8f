"""The plug-in of Inspect AI: a survey task, a persona solver and scorers, named `valuestrata/...`.

Inspect loads this module through the entry point of the package. Everything but Inspect's own decorators is imported when a task is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, ModelOutput
from inspect_ai.scorer import Score, Scorer, Target, accuracy, grouped, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver

if TYPE_CHECKING:
    from valuestrata.export.harness.documents import HarnessDocument
    from valuestrata.respondents.base import Answer

# Key of a sample's metadata with the document, without its messages.
DOCUMENT = "valuestrata"
SYSTEM = "system"
_GROUPS = [grouped(mean(), key, all=False, name_template=f"{key}: {{group_name}}") for key in ("topic", "stratum")]


@task
def survey(
    dataset: str, split: str = "paper", part: str = "test", fold: int | None = None, template: str = "default", elicitation: str = "text"
) -> Task:
    """Ask the pairs of a data set.

    Args:
        dataset: folder of a data set, or of an export (`valuestrata export DATASET --to inspect`), which fixes the other arguments.
        split: split scheme.
        part: train, validation, test or all.
        fold: fold of the split; all folds by default.
        template: persona template, by name or file.
        elicitation: text, stated-distribution or reasoned.
    """
    from valuestrata.export.harness.documents import DOCUMENTS, read_documents

    folder = Path(dataset)
    if (folder / DOCUMENTS).is_file():
        return _task(read_documents(folder / DOCUMENTS))
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.export.harness.documents import documents_of
    from valuestrata.export.harness.inspect_folder import INSPECT

    return _task(documents_of(load_dataset(folder), INSPECT, split=split, part=part, fold=fold, template=template, elicitation=elicitation))


@solver
def persona() -> Solver:
    """Put the template's system message, if it has one, before the question."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        if text := state.metadata.get(SYSTEM):
            state.messages.insert(0, ChatMessageSystem(content=str(text)))
        return state

    return solve


@scorer(metrics=[accuracy(), stderr(cluster="block"), *_GROUPS])
def gold_mode() -> Scorer:
    """Score 1 for the most frequent answer of the subgroup, else 0."""
    return _scorer("accuracy")


@scorer(metrics=[accuracy(), stderr(cluster="block"), *_GROUPS])
def expected_accuracy() -> Scorer:
    """Score the probability that the answer is the most frequent one of the subgroup."""
    return _scorer("accuracy_expected")


@scorer(metrics=[mean(), stderr(cluster="block"), *_GROUPS])
def distance() -> Scorer:
    """Score the distance to the gold, from 0 to 1; nominal items are not scored.

    It is the distance of the answer to the gold mode (NMAE), or under `stated-distribution` the W1 distance to the gold shares.
    """
    return _scorer("distance")


def _task(documents: Sequence[HarnessDocument]) -> Task:
    return Task(
        dataset=MemoryDataset([_sample(document) for document in documents], name="valuestrata"),
        solver=[persona(), generate()],
        scorer=[gold_mode(), expected_accuracy(), distance()],
    )


def _sample(document: HarnessDocument) -> Sample:
    kept = document.model_dump()
    messages = kept.pop("messages")
    system = [message["content"] for message in messages if message["role"] == "system"]
    asked: list[ChatMessage] = [
        ChatMessageUser(content=message["content"]) if message["role"] == "user" else ChatMessageAssistant(content=message["content"])
        for message in messages
        if message["role"] != "system"
    ]
    shown = ("item", "subgroup", "topic", "block", "stratum")
    return Sample(
        id=document.pair_id,
        input=asked,
        target=document.options[document.shown.index(document.mode)],
        metadata={**{key: kept[key] for key in shown}, **({SYSTEM: system[0]} if system else {}), DOCUMENT: kept},
    )


def _scorer(metric: str) -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        from valuestrata.export.harness.documents import document_of, metrics_of
        from valuestrata.responses.parse.read import row_of

        document = document_of({**state.metadata[DOCUMENT], "messages": sent(state.messages)}, f"sample {state.sample_id}")
        row = row_of(answer_of(document, state.output, sample=state.epoch - 1), document.label_of)
        value = metrics_of(document, row)[metric]
        answer = None if row["answer"] is None else document.options[document.shown.index(row["answer"])]
        return Score(value=value, answer=answer, explanation=row["error"] or row["status"])

    return score


def sent(messages: Sequence[ChatMessage]) -> list[dict[str, str]]:
    """Return the messages that a model was sent, given those of the finished sample."""
    return [{"role": message.role, "content": message.text} for message in messages if message.role in ("system", "user")]


def answer_of(document: HarnessDocument, output: ModelOutput, *, sample: int) -> Answer:
    """Return a model's output as an answer to a document.

    Args:
        document: what was asked, with the messages that were sent. output: the reply. sample: number of the answer, from 0.
    """
    from valuestrata.respondents.base import Answer

    prompt = document.prompt(sample)
    if output.empty:
        return Answer(prompt, error=output.error or "the model returned nothing")
    usage = output.usage
    reasoning = "\n\n".join(part.reasoning for part in _parts(output) if part.type == "reasoning")
    return Answer(
        prompt,
        text=output.completion,
        reasoning=reasoning or None,
        finish_reason=output.stop_reason,
        prompt_tokens=None if usage is None else usage.input_tokens,
        completion_tokens=None if usage is None else usage.output_tokens,
        latency=output.time,
    )


def _parts(output: ModelOutput) -> Sequence[Any]:
    content = output.message.content
    return () if isinstance(content, str) else content
