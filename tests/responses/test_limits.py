"""Limits, stops and interrupts of asking."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.responses.asked import Writes
from valuestrata.errors import InputDataError, UsageError
from valuestrata.respondents.base import Answer, CostEstimate, SupportsBudget, SupportsEstimate, SupportsStop
from valuestrata.respondents.controls.control import Control
from valuestrata.respondents.models import make_respondent
from valuestrata.responses.ask.estimate import estimate_run
from valuestrata.responses.ask.loop import ask
from valuestrata.responses.ask.plan import plan_asking
from valuestrata.responses.run.folder import load_run

ROOT = Path(__file__).resolve().parents[2]
TEST_PAIRS = 9


class Paid(Writes):
    """Costs 0.25 dollars per call and supports a budget."""

    stopped = None
    left = float("inf")

    def spend_at_most(self, dollars):
        self.stopped, self.left = None, dollars

    def stop(self, why):
        self.stopped = why

    def estimate(self, prompts):
        return CostEstimate(len(prompts), 100 * len(prompts), None, 5 * len(prompts), 0.25 * len(prompts), "told")

    def answer(self, prompts):
        for prompt in prompts:
            if self.left < 0.25:
                self.stop("max_cost is reached")
                return
            self.left -= 0.25
            self.asked.append(prompt)
            yield Answer(prompt, text="Answer: 2", cost=0.25, prompt_tokens=100, completion_tokens=5)


def test_a_cost_limit_stops_cleanly_and_counts_what_was_spent_before(handmade, tmp_path):
    model = Paid()
    assert isinstance(model, SupportsStop)
    assert isinstance(model, SupportsBudget)
    assert isinstance(model, SupportsEstimate)
    first = ask(handmade, model, tmp_path / "run", elicitation="text", max_cost=1.1)
    assert (first.asked, first.answered, first.failed, first.left) == (4, 4, 0, TEST_PAIRS - 4)
    assert first.stopped == "max_cost is reached"
    assert first.usage == {"prompt_tokens": 400, "completion_tokens": 20, "cost": 1.0}
    again = ask(handmade, model, tmp_path / "run", elicitation="text", max_cost=1.1)
    assert (again.asked, again.kept) == (0, 4)
    rest = ask(handmade, model, tmp_path / "run", elicitation="text", max_cost=10)
    assert (rest.asked, rest.left, rest.stopped) == (TEST_PAIRS - 4, 0, None)
    assert load_run(tmp_path / "run").meta["usage"]["cost"] == 0.25 * TEST_PAIRS
    assert len({prompt.key for prompt in model.asked}) == len(model.asked) == TEST_PAIRS


def test_a_cost_limit_for_a_model_that_costs_nothing_is_refused_before_a_folder_is_made(handmade, tmp_path):
    with pytest.raises(UsageError, match="is free"):
        ask(handmade, Writes(), tmp_path / "run", elicitation="text", max_cost=1)
    with pytest.raises(UsageError, match="must be 0 or more"):
        ask(handmade, Paid(), tmp_path / "run", elicitation="text", max_cost=-1)
    with pytest.raises(UsageError, match="max_cost=nan`: it must be 0 or more"):
        ask(handmade, Paid(), tmp_path / "run", elicitation="text", max_cost=float("nan"))
    assert not (tmp_path / "run").exists()


def test_a_control_hands_limits_and_estimates_on_to_the_model_inside(handmade, tmp_path):
    from valuestrata.respondents.controls.control import make_control

    model = Paid()
    control = make_control("control:no-persona@fake:paid", handmade, lambda _word: model)
    assert isinstance(control, Control)
    items = handmade.part("paper", "test")["item"].n_unique()
    dry = estimate_run(handmade, control, tmp_path / "run", plan_asking(handmade, elicitation="text"))
    assert (dry.planned, dry.kept, dry.estimate.calls) == (TEST_PAIRS, 0, items)
    result = ask(handmade, control, tmp_path / "run", elicitation="text", max_cost=0.25)
    assert (len(model.asked), result.stopped) == (1, "max_cost is reached")
    dry = estimate_run(handmade, control, tmp_path / "run", plan_asking(handmade, elicitation="text"))
    assert dry.estimate.calls == items - 1
    free = make_control("control:no-persona@fake:writes", handmade, lambda _word: Writes())
    with pytest.raises(UsageError, match="this model is free; max_cost does not apply"):
        ask(handmade, free, tmp_path / "free", elicitation="text", max_cost=1)


def test_a_dry_run_leaves_out_what_is_answered_and_writes_nothing(handmade, tmp_path):
    asking = plan_asking(handmade, elicitation="text")
    dry = estimate_run(handmade, Paid(), tmp_path / "run", asking)
    assert (dry.planned, dry.kept, dry.estimate.cost) == (TEST_PAIRS, 0, 0.25 * TEST_PAIRS)
    assert not (tmp_path / "run").exists()
    ask(handmade, Paid(), tmp_path / "run", elicitation="text", max_calls=3)
    dry = estimate_run(handmade, Paid(), tmp_path / "run", asking)
    assert (dry.kept, dry.estimate.calls, dry.estimate.prompt_tokens) == (3, TEST_PAIRS - 3, 100 * (TEST_PAIRS - 3))
    with pytest.raises(InputDataError, match="one identity"):
        estimate_run(handmade, Paid(name="fake:other"), tmp_path / "run", asking)


def test_a_baseline_takes_no_tokens_and_no_money(handmade, tmp_path):
    baseline = make_respondent("baseline:item-mode", handmade)
    dry = estimate_run(handmade, baseline, tmp_path / "run", plan_asking(handmade))
    assert (dry.estimate.calls, dry.estimate.prompt_tokens, dry.estimate.cost) == (TEST_PAIRS, 0, 0.0)


INTERRUPTED = """
import os, signal, sys
from dataclasses import replace
from valuestrata.dataset.tables import load_dataset
from tests.responses.test_limits import Paid
from valuestrata.respondents.base import Answer
from valuestrata.responses.ask.loop import ask

class Slow(Paid):
    def answer(self, prompts):
        for number, prompt in enumerate(prompts):
            if self.stopped is not None:
                # What was under way when it was told to stop.
                yield Answer(prompt, text="Answer: 1", cost=0.25)
                return
            yield Answer(prompt, text="Answer: 2", cost=0.25)
            if number == 3:
                os.kill(os.getpid(), getattr(signal, sys.argv[3]))

ask(load_dataset(sys.argv[1]), Slow(), sys.argv[2], elicitation="text")
print("not reached")
"""


@pytest.mark.parametrize("name", ["SIGINT", pytest.param("SIGTERM", marks=pytest.mark.slow)])
def test_an_interrupt_keeps_the_answers_under_way_and_ends_the_command(handmade, tmp_path, name):
    from valuestrata.dataset.tables import write_dataset

    write_dataset(replace(handmade), tmp_path / "data")
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "data"), str(tmp_path / "run"), name],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode in (1, -signal.SIGINT, 130)
    assert "KeyboardInterrupt" in done.stderr
    assert "not reached" not in done.stdout
    run = load_run(tmp_path / "run")
    assert run.responses["status"].to_list() == ["answered"] * 5
    assert sorted(run.responses["text"]) == ["Answer: 1", *["Answer: 2"] * 4]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["counts"]["answered"] == 5
