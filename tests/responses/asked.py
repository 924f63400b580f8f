"""Respondent models for tests."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

from valuestrata.respondents.base import Answer


class Writes:
    """Returns one text, or the result of a function of the prompt; records the prompts."""

    def __init__(self, text="Answer: 2", name="fake:writes", **identity):
        self.name = name
        self.text = text
        self.more = identity
        self.asked = []

    def identity(self):
        return {"provider": "fake", "decoding": {"temperature": 0.0, "stop": ("a", "b")}} | self.more

    def answer(self, prompts):
        for prompt in prompts:
            self.asked.append(prompt)
            text = self.text(prompt) if callable(self.text) else self.text
            yield text if isinstance(text, Answer) else Answer(prompt, text=text)


class Logged(Writes):
    """Slow; logs each call to a file before answering, for tests that kill the process."""

    def __init__(self, log: Path, seconds: float = 0.0):
        super().__init__()
        self.log = log
        self.seconds = seconds

    def answer(self, prompts):
        with self.log.open("a") as log:
            for prompt in prompts:
                time.sleep(self.seconds)
                log.write(json.dumps(prompt.key) + "\n")
                log.flush()
                yield Answer(prompt, text=f"Answer: {1 + len(prompt.pair_id) % 3}")


class Each(Writes):
    """Answers each prompt with every code, as samples, like a baseline."""

    def answer(self, prompts):
        for prompt in prompts:
            self.asked.append(prompt)
            for sample, code in enumerate(sorted(prompt.shown)):
                yield Answer(replace(prompt, sample=sample), choice=code, option_probs=(1 / len(prompt.shown),) * len(prompt.shown))
