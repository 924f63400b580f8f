"""Questions as prompts show them: text, options, and printed numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from valuestrata.dataset.tables import Dataset

Numbers = Literal["code", "position"]


@dataclass(frozen=True, slots=True)
class Question:
    """The wording of an item. `codes` and `labels` are in scale order; `open_text` is the open question."""

    item: str
    text: str
    codes: tuple[int, ...]
    labels: tuple[str, ...]
    open_text: str | None = None

    @property
    def is_numeric_scale(self) -> bool:
        """Whether only the ends of the scale have labels."""
        inner = zip(self.codes[1:-1], self.labels[1:-1], strict=True)
        return len(self.codes) > 3 and all(label.strip() == str(code) for code, label in inner)

    @property
    def label_of(self) -> dict[int, str]:
        """Scale code -> label."""
        return dict(zip(self.codes, self.labels, strict=True))


def questions_of(dataset: Dataset) -> dict[str, Question]:
    """Return item id -> question, in the data set's order."""
    rows = dataset.items.select("item", "question", "codes", "labels", "open_question").iter_rows()
    return {item: Question(item, text, tuple(codes), tuple(labels), asked) for item, text, codes, labels, asked in rows}


def printed_numbers(shown: Sequence[int], order: str, numbers: Numbers = "code") -> tuple[str, ...]:
    """Return the number printed before each option, in displayed order.

    These are scale codes if the options are in scale order and no code is negative, else 1..K by position: numbers that
    count down, or have a minus sign, confuse. `numbers="position"` always gives 1..K.
    """
    if numbers == "code" and order == "scale" and min(shown) >= 0:
        return tuple(str(code) for code in shown)
    return tuple(str(position) for position in range(1, len(shown) + 1))


def options_text(question: Question, shown: Sequence[int], numbers: Sequence[str]) -> str:
    """Return the options, one per line: `1. Very important`. Inner points of a numeric scale have no label (`2.`)."""
    labels = question.label_of
    ends = {question.codes[0], question.codes[-1]}
    numeric = question.is_numeric_scale
    return "\n".join(
        f"{number}." if numeric and code not in ends else f"{number}. {labels[code]}" for number, code in zip(numbers, shown, strict=True)
    )
