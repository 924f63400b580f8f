"""Resuming a finished run of 200,000 responses (limit: 5 s): the same command again, which finds nothing to ask.

What is timed is `ask` as a user calls it on a data set in memory: every prompt rendered and its identity computed, the
store read and checked line by line, the run's table found to be current. The respondent model would tell if it was asked.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from population import synthetic_survey

from valuestrata.building import BuildSettings, build
from valuestrata.respondents.base import Answer, Prompt
from valuestrata.responses.ask.loop import ask
from valuestrata.responses.run.folder import load_run

RESPONDENTS, ITEMS, SAMPLES, RESPONSES = 2_000, 278, 10, 200_000


class AtOnce:
    """Answers everything with a sentence, at once."""

    name = "bench:at-once"

    def identity(self) -> Mapping[str, Any]:
        """Nothing but its name."""
        return {"provider": "bench"}

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        """Yield the first option of every prompt."""
        for prompt in prompts:
            text = f"Answer: {prompt.options[0]}"
            yield Answer(prompt, text=text, finish_reason="stop", prompt_tokens=130, completion_tokens=4, cost=0.0003, latency=0.4)


def run() -> dict[str, Any]:
    """Make the run, then ask the same again three times and take the median."""
    dataset = build(synthetic_survey(RESPONDENTS, ITEMS), BuildSettings(draws=10))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "run"
        start = time.perf_counter()
        made = ask(dataset, AtOnce(), place, elicitation="text", samples=SAMPLES, max_calls=RESPONSES)
        first = time.perf_counter() - start
        # What lies over 200,000 is left out: the rest of the plan is never asked.
        seconds: list[float] = []
        for _ in range(3):
            start = time.perf_counter()
            again = ask(dataset, AtOnce(), place, elicitation="text", samples=SAMPLES, max_calls=0)
            seconds.append(time.perf_counter() - start)
            if (again.asked, again.kept) != (0, RESPONSES):
                raise AssertionError(f"asked {again.asked}, kept {again.kept} of {RESPONSES}")
        if load_run(place).responses.height != RESPONSES or made.answered != RESPONSES:
            raise AssertionError("the run does not hold what was answered")
    return {
        "ours": sorted(seconds)[1],
        "peer": None,
        "peer_name": None,
        "ratio": None,
        "unit": "s",
        "detail": f"{RESPONSES:,} responses; making them took {first:.1f} s, {first / RESPONSES * 1e6:.0f} us each",
    }


if __name__ == "__main__":
    print(run())
