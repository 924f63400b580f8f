"""Resuming a finished run of 200,000 responses, with nothing left to ask (limit: 5 s).

We time `ask` as a user calls it on a data set in memory: rendering every prompt, computing its key, reading and checking the store
line by line, and finding that the run's table is current.
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
    """A respondent that answers everything immediately."""

    name = "bench:at-once"

    def identity(self) -> Mapping[str, Any]:
        """Return the provider only."""
        return {"provider": "bench"}

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        """Yield the first option of every prompt."""
        for prompt in prompts:
            text = f"Answer: {prompt.options[0]}"
            yield Answer(prompt, text=text, finish_reason="stop", prompt_tokens=130, completion_tokens=4, cost=0.0003, latency=0.4)


def run() -> dict[str, Any]:
    """Make the run, repeat the command three times and return the median time."""
    dataset = build(synthetic_survey(RESPONDENTS, ITEMS), BuildSettings(draws=10))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "run"
        start = time.perf_counter()
        made = ask(dataset, AtOnce(), place, elicitation="text", samples=SAMPLES, max_calls=RESPONSES)
        first = time.perf_counter() - start
        # Prompts beyond 200,000 are not asked.
        seconds: list[float] = []
        for _ in range(3):
            start = time.perf_counter()
            again = ask(dataset, AtOnce(), place, elicitation="text", samples=SAMPLES, max_calls=0)
            seconds.append(time.perf_counter() - start)
            if (again.asked, again.kept) != (0, RESPONSES):
                raise AssertionError(f"asked {again.asked}, kept {again.kept} of {RESPONSES}")
        if load_run(place).responses.height != RESPONSES or made.answered != RESPONSES:
            raise AssertionError("the run does not contain all answers")
    return {
        "ours": sorted(seconds)[1],
        "peer": None,
        "peer_name": None,
        "ratio": None,
        "unit": "s",
        "detail": f"{RESPONSES:,} responses; asking them took {first:.1f} s, {first / RESPONSES * 1e6:.0f} us each",
    }


if __name__ == "__main__":
    print(run())
