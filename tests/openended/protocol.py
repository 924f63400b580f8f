"""Open runs and judges for these tests: writers that say what they are told to, and a judge behind a real server."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import pytest

from tests.hosted.prompts import hosted
from tests.hosted.server import Act, Request, said
from valuestrata.cli import main
from valuestrata.openended.ask import open_ask
from valuestrata.openended.open_runs import load_open_run
from valuestrata.respondents.base import Answer


class Speaks:
    """A language model that writes what `text` gives for a prompt; None fails."""

    def __init__(self, text: Callable, name: str = "fake:speaks", **identity):
        self._text, self._name, self._identity = text, name, identity
        self.asked = []

    @property
    def name(self):
        return self._name

    def identity(self):
        return {"provider": "fake", "model": self._name, **self._identity}

    def answer(self, prompts):
        for prompt in prompts:
            self.asked.append(prompt)
            text = self._text(prompt)
            yield Answer(prompt, error="timeout: planted") if text is None else Answer(prompt, text=text, finish_reason="stop")


def open_run(dataset, folder, text, name="fake:speaks", **which):
    """An open run at `folder`, whose writer says `text(prompt)`."""
    open_ask(dataset, Speaks(text, name), folder, **which)
    return load_open_run(folder)


def chance_of(*words: object) -> float:
    """A number in 0..1 that depends on the words alone."""
    return int(hashlib.sha256(repr(words).encode()).hexdigest()[:12], 16) / 16**12


def quality(seed: str):
    """A writer whose answers bear a quality that depends on pair and sample."""
    return lambda prompt: f"My view of this has weight {chance_of(seed, prompt.pair_id, prompt.sample):.6f} for me."


_TEXTS = re.compile(r"Answer (\d):\n<<<\n(.*?)\n>>>", re.DOTALL)


def judges(*, position: float = 0.0, error: float = 0.0, nonsense: float = 0.0, refuses: float = 0.0):
    """A judge that prefers the answer of more weight; planted shares take the first, the wrong one, babble or refuse."""

    def behave(request: Request) -> Act:
        content = request.body["messages"][-1]["content"]
        texts = dict(_TEXTS.findall(content))
        weights = {number: float(re.search(r"weight ([\d.]+)", text)[1].rstrip(".")) for number, text in texts.items()}
        better = max(weights, key=lambda number: weights[number])
        dice = [chance_of(kind, request.identity) for kind in ("position", "error", "nonsense", "refuses")]
        chosen = "1" if dice[0] < position else better if dice[1] >= error else {"1": "2", "2": "1"}[better]
        if dice[2] < nonsense:
            return Act(document=said("Both speak of many things and the weather is fine."))
        if dice[3] < refuses:
            return Act(document=said("I'm sorry, but I can't help with comparing these."))
        return Act(document=said(f"One has more weight than the other.\nVerdict: {chosen}"))

    return behave


def hosted_judge(url, **settings):
    return hosted(url, "openai-compatible/judge", **settings)


def speaks_and_judges(opening: str = ""):
    """One model for every role: it judges by weight, reads and chooses option 2, and gives answers that begin with `opening`."""

    def behave(request: Request) -> Act:
        content = request.body["messages"][-1]["content"]
        if "Verdict:" in content:
            return judges()(request)
        if "Takes no stance" in content or "Reply with one number" in content:
            return Act(document=said("Answer: 2"))
        return Act(document=said(f"{opening}I give it weight {chance_of(request.body['model'], content):.6f} in my life."))

    return behave


def command_line(monkeypatch, capsys):
    """A function that runs a command, checks its exit code and returns what it printed."""

    def called(*words, code=0):
        monkeypatch.setattr("sys.argv", ["valuestrata", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert (ended.value.code or 0) == code, err
        return out, err

    return called
