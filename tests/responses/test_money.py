"""Failures: their cost, retries and order."""

import json
import math

import pytest

from tests.responses.asked import Writes
from tests.responses.test_limits import TEST_PAIRS, Paid
from valuestrata.errors import RunFailedError, UsageError
from valuestrata.respondents.base import Answer
from valuestrata.respondents.controls.control import make_control
from valuestrata.responses.ask.loop import ask, ask_planned
from valuestrata.responses.ask.plan import plan_asking
from valuestrata.responses.batch.folder import BatchFolder
from valuestrata.responses.distributed.shards import parse_shard, sharded
from valuestrata.responses.run.folder import load_run


class Fails(Paid):
    """Fails the prompts chosen by a function, at 0.25 dollars each; records the limits it receives."""

    def __init__(self, fails):
        super().__init__()
        self.fails = fails
        self.limits = []
        self.known = []

    def spend_at_most(self, dollars):
        super().spend_at_most(dollars)
        self.limits.append(dollars)

    def answered_before(self, number):
        self.known.append(number)

    def answer(self, prompts):
        for prompt in prompts:
            self.asked.append(prompt)
            if self.fails(prompt):
                yield Answer(prompt, error="timeout: nothing came", cost=0.25, prompt_tokens=100)
            else:
                yield Answer(prompt, text="Answer: 2", cost=0.25, prompt_tokens=100)


def test_the_cost_of_failures_that_were_asked_again_counts_against_the_limit_and_in_the_totals(handmade, tmp_path):
    model = Fails(lambda prompt: prompt.item == "Q1")
    first = ask(handmade, model, tmp_path / "run", elicitation="text")
    failed = first.failed
    assert 0 < failed < TEST_PAIRS
    again = ask(handmade, Fails(lambda _prompt: False), tmp_path / "run", elicitation="text")
    assert (again.asked, again.failed, again.left) == (failed, 0, 0)
    # The table shows what the answers cost; the run cost what failed as well.
    assert load_run(tmp_path / "run").responses["cost"].sum() == pytest.approx(0.25 * TEST_PAIRS)
    assert again.usage["cost"] == pytest.approx(0.25 * (TEST_PAIRS + failed))
    assert json.loads((tmp_path / "run" / "run.json").read_text())["usage"]["cost"] == again.usage["cost"]
    last = Fails(lambda _prompt: False)
    ask(handmade, last, tmp_path / "run", elicitation="text", max_cost=5)
    assert last.limits[-1] == pytest.approx(5 - 0.25 * (TEST_PAIRS + failed))


def test_a_call_without_a_limit_lifts_the_limit_of_the_call_before(handmade, tmp_path):
    model = Fails(lambda _prompt: False)
    ask(handmade, model, tmp_path / "one", elicitation="text", max_cost=5)
    ask(handmade, model, tmp_path / "two", elicitation="text")
    assert model.limits[-1] == math.inf


def test_what_failed_before_is_asked_after_what_was_never_tried(handmade, tmp_path):
    ask(handmade, Fails(lambda prompt: prompt.item == "Q1"), tmp_path / "run", elicitation="text", max_calls=TEST_PAIRS - 2)
    model = Fails(lambda _prompt: False)
    ask(handmade, model, tmp_path / "run", elicitation="text")
    order = [prompt.item == "Q1" and prompt.key in failed_keys(tmp_path / "run") for prompt in model.asked]
    assert order == sorted(order)
    assert model.known == [load_run(tmp_path / "run").responses.height - len(model.asked)]


def failed_keys(run):
    lines = [json.loads(line) for line in (run / "store" / "responses.jsonl").read_text().splitlines()]
    return {line["key"] for line in lines if line["status"] == "failed"}


def test_failures_of_another_plan_are_no_failures_of_this_one(handmade, tmp_path):
    ask(handmade, Fails(lambda prompt: prompt.item == "Q1"), tmp_path / "run", elicitation="text")
    narrowed = ask(handmade, Fails(lambda _prompt: True), tmp_path / "run", elicitation="text", items=["spend"])
    assert (narrowed.failed, narrowed.left, narrowed.asked) == (0, 0, 0)
    assert narrowed.counts["failed"] > 0


def test_prompts_in_batch_files_are_not_asked_live(handmade, tmp_path, monkeypatch):
    run = tmp_path / "run"
    ask(handmade, Writes(), run, elicitation="text", max_calls=1)
    (run / "batch").mkdir()
    monkeypatch.setattr(BatchFolder, "open_keys", lambda _self: frozenset({"a", "b"}))
    monkeypatch.setattr(BatchFolder, "there", property(lambda _self: True))
    with pytest.raises(UsageError, match="2 prompts of this run are in batch files"):
        ask(handmade, Writes(), run, elicitation="text")


def test_a_control_that_asks_each_question_once_is_not_cut_into_shards(handmade, tmp_path):
    control = make_control("control:no-persona@fake:paid", handmade, lambda _word: Paid())
    part = sharded(handmade, plan_asking(handmade, elicitation="text"), parse_shard("1/2"))
    with pytest.raises(UsageError, match="without `shard="):
        ask_planned(handmade, control, tmp_path / "run", part)
    assert not (tmp_path / "run").exists()


def test_a_nonsense_number_of_tokens_makes_no_run_unreadable(handmade, tmp_path):
    numbers = iter([10**30, -1, True, 7] * TEST_PAIRS)
    model = Writes(lambda prompt: Answer(prompt, text="Answer: 1", prompt_tokens=next(numbers), finish_reason="stop\ud800"))
    ask(handmade, model, tmp_path / "run", elicitation="text")
    responses = load_run(tmp_path / "run").responses
    assert set(responses["prompt_tokens"]) == {None, 7}
    assert set(responses["status"]) == {"answered"}


def test_where_nothing_succeeds_the_run_says_so_and_what_failed(handmade, tmp_path):
    with pytest.raises(RunFailedError, match=rf"no call succeeded; {TEST_PAIRS} failed: {TEST_PAIRS} x timeout: nothing came"):
        ask(handmade, Fails(lambda _prompt: True), tmp_path / "run", elicitation="text")
