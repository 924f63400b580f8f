"""Convert the answer of a respondent model to a row of RESPONSES."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from valuestrata.prompts.prompt import Prompt
from valuestrata.respondents.base import Answer, was_withheld
from valuestrata.responses.parse.choice import parse_answer, refuses
from valuestrata.responses.parse.distribution import parse_distribution
from valuestrata.responses.parse.normalise import thoughts_blanked
from valuestrata.responses.parse.reasoned import split_reasoned
from valuestrata.responses.run.schema import Status

# Allows for rounding by libraries.
_SUM_TOLERANCE = 1e-3
_MOST_TOKENS = 2**53
# Finish reasons of a text that reached its maximum length.
CUT_OFF = frozenset({"length", "max_tokens", "max_output_tokens"})


@dataclass(frozen=True, slots=True)
class AnswerReading:
    """What an answer says; probabilities in displayed order."""

    code: int | None
    status: Status
    note: str | None
    probabilities: Sequence[float] | None
    text: str | None
    reasoning: str | None


# Reads the text of an answer, given the labels of its item.
Reader = Callable[[Answer, str, Mapping[int, str]], AnswerReading]


def row_of(answer: Answer, labels: Mapping[int, str], reader: Reader | None = None) -> dict[str, Any]:
    """Return the row of an answer.

    The code is the chosen one; else the most likely option (the lowest code of a tie); else parsed from the text: under
    `stated-distribution` the option with the largest share, under `reasoned` from the closing part. An answer withheld by the
    service (see `finish_reason`) without a code is `refused`. Under `open` any text is `answered` unless it refuses as a
    whole. An answer with an error, without content, or with invalid probabilities is `failed`.

    Args:
        answer: the answer. labels: scale code -> label of the item, in scale order.
    """
    prompt = answer.prompt
    read = _read(answer, labels, reader)
    failed = read.status == "failed"
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
        "text": _storable(read.text),
        "reasoning": _storable(read.reasoning),
        "answer": read.code,
        "status": read.status,
        "error": _storable(read.note) if read.status != "answered" else None,
        "attempts": answer.attempts,
        "finish_reason": _storable(answer.finish_reason),
        "option_probs": None if failed or read.probabilities is None else in_scale_order(prompt, read.probabilities, labels),
        "option_mass": None if failed else _finite(answer.option_mass),
        "prompt_tokens": _count(answer.prompt_tokens),
        "completion_tokens": _count(answer.completion_tokens),
        "cost": _finite(answer.cost),
        "latency": _finite(answer.latency),
    }


def was_cut_off(answer: Answer) -> bool:
    """Whether an answer's text reached the maximum length."""
    return answer.finish_reason is not None and answer.finish_reason.lower() in CUT_OFF


def in_scale_order(prompt: Prompt, probabilities: Sequence[float], codes: Iterable[int]) -> list[float]:
    """Return probabilities given in displayed order, in the order of `codes`."""
    probability_of = dict(zip(prompt.shown, probabilities, strict=True))
    return [float(probability_of[code]) for code in codes]


def likeliest(shown: Sequence[int], probabilities: Sequence[float]) -> int:
    """Return the scale code with the largest probability, the lowest such code where several share it."""
    best = max(probabilities)
    return min(code for code, probability in zip(shown, probabilities, strict=True) if probability == best)


def _read(answer: Answer, labels: Mapping[int, str], reader: Reader | None) -> AnswerReading:
    prompt = answer.prompt

    def as_given(code: int | None, status: Status, note: str | None = None) -> AnswerReading:
        return AnswerReading(code, status, note, answer.option_probs, answer.text, answer.reasoning)

    if answer.error is not None:
        return as_given(None, "failed", answer.error)
    if answer.option_probs is not None and (problem := _not_a_distribution(prompt, answer.option_probs)):
        return as_given(None, "failed", problem)
    if answer.choice is not None:
        if answer.choice in prompt.shown:
            return as_given(answer.choice, "answered")
        return as_given(None, "invalid_code", f"chose {answer.choice}, which is no code of the item")
    if answer.option_probs is not None:
        return as_given(likeliest(prompt.shown, answer.option_probs), "answered")
    if answer.text is None and answer.reasoning is None:
        return as_given(None, "failed", "empty answer: neither text, probabilities nor a choice")
    # Reasoning without text is an answered call.
    read = (reader or _READERS.get(prompt.elicitation, _of_text))(answer, answer.text or "", labels)
    if read.status == "unparsed" and was_withheld(answer.finish_reason):
        return replace(read, status="refused", note=f"withheld by the service ({answer.finish_reason})")
    # Under first-token the text is always cut off.
    if read.status == "unparsed" and was_cut_off(answer) and (prompt.elicitation != "first-token" or _only_begins(answer)):
        return replace(read, note=f"cut off before it was finished ({read.note}); raise max_new_tokens")
    return read


def _of_text(answer: Answer, text: str, labels: Mapping[int, str]) -> AnswerReading:
    prompt = answer.prompt
    if ends_within_number(answer, text, prompt.options):
        return AnswerReading(None, "unparsed", "it ends within a number", None, text, answer.reasoning)
    parsed = parse_answer(text, prompt.options, prompt.shown, labels)
    return AnswerReading(parsed.answer, parsed.status, parsed.note, None, text, answer.reasoning)


def _of_reasoned(answer: Answer, text: str, labels: Mapping[int, str]) -> AnswerReading:
    prompt = answer.prompt
    parts = split_reasoned(text, prompt.options, prompt.shown, labels)
    thinking = [thought for thought in (answer.reasoning, parts.thinking) if thought]
    reasoning = "\n\n".join(thinking) if thinking else None
    if was_cut_off(answer) and not parts.marked:
        # Unfinished reasoning has no answer.
        return AnswerReading(None, "unparsed", "no closing answer", None, parts.closing, reasoning)
    return replace(_of_text(answer, parts.closing, labels), reasoning=reasoning)


def _of_stated(answer: Answer, text: str, labels: Mapping[int, str]) -> AnswerReading:
    prompt = answer.prompt
    stated = parse_distribution(text, prompt.options, prompt.shown, labels)
    code = None if stated.probabilities is None else likeliest(prompt.shown, stated.probabilities)
    return AnswerReading(code, stated.status, stated.note, stated.probabilities, text, answer.reasoning)


def _of_open(answer: Answer, text: str, _labels: Mapping[int, str]) -> AnswerReading:
    _, end = thoughts_blanked(text)
    thinking = [thought for thought in (answer.reasoning, text[:end]) if thought]
    clean, reasoning = text[end:].strip(), "\n\n".join(thinking) if thinking else None
    if not clean:
        return AnswerReading(None, "unparsed", "nothing was written", None, clean, reasoning)
    return AnswerReading(None, "refused" if refuses(clean) else "answered", None, None, clean, reasoning)


def _of_first_token(answer: Answer, text: str, labels: Mapping[int, str]) -> AnswerReading:
    """Read a reply without a likely option. It is not a failed call, but its text is not a first token either."""
    parsed = parse_answer(text, answer.prompt.options, answer.prompt.shown, labels)
    if parsed.status == "refused":
        return AnswerReading(None, "refused", None, None, text, answer.reasoning)
    note = "no answer token" if _only_begins(answer) else "no option among the likeliest tokens"
    return AnswerReading(None, "unparsed", note, None, text, answer.reasoning)


_READERS = {"first-token": _of_first_token, "stated-distribution": _of_stated, "reasoned": _of_reasoned, "open": _of_open}


def _only_begins(answer: Answer) -> bool:
    """Whether the text is only the beginning of the answer prefix."""
    return answer.prompt.prefill.casefold().startswith((answer.text or "").strip().casefold())


def ends_within_number(answer: Answer, text: str, options: Sequence[str]) -> bool:
    """Whether a text was cut off and ends with the beginning of a longer option, such as the 1 of 10."""
    last = re.search(r"\d{1,9}\Z", text) if was_cut_off(answer) else None
    return last is not None and any(option != last[0] and option.startswith(last[0]) for option in options)


def _not_a_distribution(prompt: Prompt, probabilities: Sequence[float]) -> str | None:
    if len(probabilities) != len(prompt.shown):
        return f"bad probabilities: {len(probabilities)} for {len(prompt.shown)} options"
    if not all(math.isfinite(p) and p >= 0 for p in probabilities) or abs(sum(probabilities) - 1) > _SUM_TOLERANCE:
        return "bad probabilities: they are not numbers from 0 that sum to 1"
    return None


def _count(value: int | None) -> int | None:
    # A number too large for the table would make the run unreadable.
    return value if type(value) is int and 0 <= value < _MOST_TOKENS else None


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _storable(text: str | None) -> str | None:
    # A lone surrogate, from a stream that was cut off, is not valid UTF-8.
    return None if text is None else text.encode("utf-8", "replace").decode("utf-8")
