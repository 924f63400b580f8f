"""From what a respondent model gave back to a row of the table of responses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from valuestrata.prompts.prompt import Prompt
from valuestrata.respondents.base import Answer
from valuestrata.responses.parse import parse_answer
from valuestrata.responses.schema import Status

# A library's rounding is no reason to throw an answer away.
_SUM_TOLERANCE = 1e-3


def row_of(answer: Answer, labels: Mapping[int, str]) -> dict[str, Any]:
    """Return the row of an answer; `labels` has every code of the item with its label, in scale order.

    A code chosen outright is the answer; else the likeliest option (the lowest code among equals); else what the text
    says. An answer with an error, with none of the three, or with probabilities that are not a distribution over the
    prompt's options is `failed`.
    """
    prompt = answer.prompt
    code, status, note = _read(answer, labels)
    failed = status == "failed"
    return {
        "pair_id": prompt.pair_id,
        "item": prompt.item,
        "subgroup": prompt.subgroup,
        "elicitation": prompt.elicitation,
        "template": prompt.template,
        "template_version": prompt.template_version,
        "paraphrase": prompt.paraphrase,
        "order": prompt.order,
        "shown": list(prompt.shown),
        "sample": prompt.sample,
        "prompt_hash": prompt.hash,
        "text": _storable(answer.text),
        "reasoning": _storable(answer.reasoning),
        "answer": code,
        "status": status,
        "error": _storable(note) if status != "answered" else None,
        "attempts": answer.attempts,
        "finish_reason": answer.finish_reason,
        "option_probs": None if failed or answer.option_probs is None else in_scale_order(prompt, answer.option_probs, labels),
        "option_mass": None if failed else _finite(answer.option_mass),
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "cost": _finite(answer.cost),
        "latency": _finite(answer.latency),
    }


def in_scale_order(prompt: Prompt, probabilities: Sequence[float], codes: Iterable[int]) -> list[float]:
    """Return probabilities given in displayed order, in the order of `codes`."""
    probability_of = dict(zip(prompt.shown, probabilities, strict=True))
    return [float(probability_of[code]) for code in codes]


def likeliest(shown: Sequence[int], probabilities: Sequence[float]) -> int:
    """Return the scale code with the largest probability, the lowest such code where several share it."""
    best = max(probabilities)
    return min(code for code, probability in zip(shown, probabilities, strict=True) if probability == best)


def _read(answer: Answer, labels: Mapping[int, str]) -> tuple[int | None, Status, str | None]:
    prompt = answer.prompt
    if answer.error is not None:
        return None, "failed", answer.error
    if answer.option_probs is not None and (problem := _not_a_distribution(prompt, answer.option_probs)):
        return None, "failed", problem
    if answer.choice is not None:
        if answer.choice in prompt.shown:
            return answer.choice, "answered", None
        return None, "invalid_code", f"chose {answer.choice}, which is no code of the item"
    if answer.option_probs is not None:
        return likeliest(prompt.shown, answer.option_probs), "answered", None
    if answer.text is not None:
        parsed = parse_answer(answer.text, prompt.options, prompt.shown, labels)
        return parsed.answer, parsed.status, parsed.note
    return None, "failed", "empty answer: neither text, probabilities nor a choice"


def _not_a_distribution(prompt: Prompt, probabilities: Sequence[float]) -> str | None:
    if len(probabilities) != len(prompt.shown):
        return f"bad probabilities: {len(probabilities)} for {len(prompt.shown)} options"
    if not all(math.isfinite(p) and p >= 0 for p in probabilities) or abs(sum(probabilities) - 1) > _SUM_TOLERANCE:
        return "bad probabilities: they are not numbers from 0 that sum to 1"
    return None


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _storable(text: str | None) -> str | None:
    # Half a surrogate pair, as a cut-off stream leaves it, is not UTF-8.
    return None if text is None else text.encode("utf-8", "replace").decode("utf-8")
