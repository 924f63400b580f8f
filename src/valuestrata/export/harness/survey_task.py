"""A task of lm-evaluation-harness that asks survey questions in persona.

`valuestrata export DATASET --to lm-eval` copies this file next to the task's YAML files. It needs lm-evaluation-harness only, except that
`elicitation: text` reads answers with valuestrata's own parser.

The harness scores each option in two written forms, with and without a space before it, each followed by the end of the model's turn. The
probability of an option is the sum over its forms, divided by the sum over all options.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask

_HERE = Path(__file__).resolve().parent
# An assistant's message used to find the token that a chat template writes after it.
_PROBE = "17"


def load(file: str, **_: Any) -> dict[str, datasets.Dataset]:
    """Return the documents of a file beside this module, as the part `test`.

    The harness also passes the model's arguments, which are not used.
    """
    with (_HERE / file).open(encoding="utf-8") as lines:
        return {"test": datasets.Dataset.from_list([json.loads(line) for line in lines])}


class SurveyTask(ConfigurableTask):
    """Asks the document's messages through the model's chat template and scores the answer against the gold."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config={key: value for key, value in config.items() if key != "class"})
        self._end: str | None = None

    def fewshot_context(self, doc: Mapping[str, Any], *_: Any, chat_template: Callable[..., str] | None = None, **__: Any) -> str:
        """Return the chat up to where the answer begins.

        Raises:
            ValueError: the harness was started without a chat template.
        """
        if chat_template is None:
            raise ValueError("This task asks chat models: start `lm_eval run` with --apply_chat_template.")
        messages = [{"role": message["role"], "content": message["content"]} for message in doc["messages"]]
        text = chat_template(messages, add_generation_prompt=True)
        return text + doc["prefill"] if self.OUTPUT_TYPE == "multiple_choice" else text

    def construct_requests(self, doc: dict[str, Any], ctx: str | list[str], **kwargs: Any) -> list[Instance] | Instance:
        """Return two requests for each option, ` N` and `N`, or one request for a text."""
        chat_template = kwargs.pop("chat_template")
        kwargs.pop("apply_chat_template", None)
        if self.OUTPUT_TYPE != "multiple_choice":
            return Instance(
                request_type="generate_until", doc=doc, arguments=(ctx, dict(self.config.generation_kwargs or {})), idx=0, **kwargs
            )
        if self._end is None:
            self._end = _end_of_turn(chat_template)
        forms = [f"{space}{option}{self._end}" for option in doc["options"] for space in (" ", "")]
        return [Instance(request_type="loglikelihood", doc=doc, arguments=(ctx, form), idx=at, **kwargs) for at, form in enumerate(forms)]


def score(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """Return the metrics of one answer. An answer that cannot be read scores 0."""
    code = _written(doc, str(results[0])) if doc["elicitation"] == "text" else _likeliest(doc, [log for log, _ in results])
    if code is None:
        return {"accuracy": 0.0, "accuracy_expected": 0.0}
    return {"accuracy": float(code == doc["mode"]), "accuracy_expected": doc["p_mode"][doc["shown"].index(code)]}


def _likeliest(doc: Mapping[str, Any], logs: Sequence[float]) -> int | None:
    """Return the scale code of the likeliest option, the lowest of a tie; None if no option has a finite probability."""
    options = [_log_sum(logs[at : at + 2]) for at in range(0, len(logs), 2)]
    total = _log_sum(options)
    if not math.isfinite(total):
        return None
    probabilities = [math.exp(log - total) for log in options]
    best = max(probabilities)
    return min(code for code, probability in zip(doc["shown"], probabilities, strict=True) if probability == best)


def _log_sum(logs: Sequence[float]) -> float:
    top = max(logs)
    return top + math.log(math.fsum(math.exp(log - top) for log in logs)) if math.isfinite(top) else top


def _written(doc: Mapping[str, Any], text: str) -> int | None:
    """Return the scale code that a text gives, None if it gives none."""
    from valuestrata.responses.parse.choice import parse_answer

    return parse_answer(text, doc["options"], doc["shown"], dict(zip(doc["shown"], doc["labels"], strict=True))).answer


def _end_of_turn(chat_template: Callable[..., str]) -> str:
    """Return the text of the special token that the chat template writes after an assistant's message, or of the end of sequence.

    The harness passes the method of a model, whose tokenizer knows the special tokens.
    """
    tokenizer: Any = chat_template.__self__.tokenizer  # pyright: ignore[reportFunctionMemberAccess]
    chat = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _PROBE}]
    text = str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=False))
    after = text[text.rindex(_PROBE) + len(_PROBE) :]
    special = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
    # The first one that is written; the longest where several begin there.
    found = min(((after.index(token), -len(token), token) for token in special if token and token in after), default=None)
    return str(tokenizer.eos_token) if found is None else found[2]
