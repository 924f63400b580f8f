"""`first-token` out of the likeliest tokens: whose probability it is, and when nobody can tell."""

import math
from dataclasses import replace

import pytest

from tests.hosted.prompts import hosted, prompt, prompts
from tests.hosted.server import Act, Server, said
from valuestrata.cli.output import exit_if_failed
from valuestrata.errors import RunFailedError
from valuestrata.respondents.hosted.codecs.reply import Position
from valuestrata.respondents.hosted.readout import read_first_token
from valuestrata.responses.ask.loop import ask
from valuestrata.responses.run.folder import load_run


def position(token, **probabilities):
    """A position at which `token` was written; names are tokens, `_` stands for a blank before them."""
    given = {name.replace("_", " "): math.log(value) for name, value in probabilities.items()}
    return Position(token, given.get(token, -1.0), tuple(given.items()))


def read(*positions, options=3, whole=False):
    return read_first_token(prompt(0, "first-token", options), positions, whole_numbers=whole)


ANSWER = position(" 2", **{"_2": 0.5, "2": 0.1, "_1": 0.2, "_3": 0.05, "_maybe": 0.1})


@pytest.mark.parametrize(
    "before",
    [
        [],
        ["Answer", ":"],
        ["Ans", "wer", ":", " "],
        ["**", "Answer", ":**", "\n"],
        [" ", "answer:"],
        ["Answer: "],
    ],
)
def test_what_the_model_writes_before_its_answer_is_passed_over(before):
    reading = read(*(position(token) for token in before), ANSWER)
    assert reading.mass == pytest.approx(0.85)
    assert reading.probs == pytest.approx((0.2 / 0.85, 0.6 / 0.85, 0.05 / 0.85))


def test_the_place_is_read_whatever_was_written_there():
    reading = read(position("I", **{"I": 0.9, "1": 0.02, "2": 0.01}))
    assert reading.probs == pytest.approx((2 / 3, 1 / 3, 0.0))
    assert reading.mass == pytest.approx(0.03)


def test_an_option_that_is_not_listed_counts_as_nothing_and_none_at_all_is_no_answer():
    assert read(position("1", **{"1": 0.9})).probs == (1.0, 0.0, 0.0)
    for nothing in (read(position("I", **{"I": 0.9, "We": 0.1})), read(), read(position("Answer"), position(":"))):
        assert (nothing.probs, nothing.mass, nothing.error) == (None, 0.0, None)


def test_one_and_ten_are_told_apart_only_where_ten_is_seen_as_a_token():
    """Where `10` is written as `1`, `0`, what stands at `1` belongs to both."""
    digits = position("1", **{"1": 0.7, "2": 0.2})
    assert read(digits, options=10).error == (
        "ambiguous first token: the options '1' and '10' both begin with the token '1', so its probability cannot be divided between "
        "them. Ask for the probability of whole options (logprob), or for text"
    )
    assert read(digits, options=10, whole=True).probs[0] == pytest.approx(7 / 9)
    seen = position("1", **{"1": 0.5, "10": 0.25, "2": 0.25})
    assert read(seen, options=10).probs == pytest.approx((0.5, 0.25, *[0.0] * 7, 0.25))
    assert read(digits, options=9).error is None
    # Where no `1` was likely, neither option is, whichever way the longer is written.
    assert read(position("7", **{"7": 0.6, "8": 0.2}), options=10).probs[6:8] == pytest.approx((0.75, 0.25))


def test_two_digit_options_that_begin_alike_are_not_told_apart_either():
    years = replace(prompt(0, "first-token", 3), options=("10", "11", "20"))
    for token, error in (("1", "the options '10' and '11' both begin with the token '1'"), ("2", None), ("I", None)):
        reading = read_first_token(years, [position(token, **{token: 0.9})], whole_numbers=False)
        assert (reading.error or "").startswith("ambiguous first token: " + error if error else "")
        assert reading.probs is None
    assert read_first_token(years, [position("10", **{"10": 0.6, "1": 0.2})], whole_numbers=False).probs == (1.0, 0.0, 0.0)


def test_the_command_line_says_why_it_failed_and_that_asking_again_does_not_help():
    with pytest.raises(RunFailedError) as raised:
        exit_if_failed(3, {"ambiguous first token": 2, "timeout": 1})
    message = raised.value.render("cli")
    assert message.startswith("3 responses failed (2 ambiguous first token, 1 timeout). ")
    assert "the beginning of several options" in message
    assert "--elicitation logprob" in message
    assert "--elicitation text" in message
    assert "Run the same command again" not in message
    with pytest.raises(RunFailedError, match="Run the same command again"):
        exit_if_failed(1, {"timeout": 1})


def test_a_server_of_openai_is_asked_and_read():
    entry = {
        "token": "2",
        "logprob": math.log(0.6),
        "top_logprobs": [{"token": str(n), "logprob": math.log(p)} for n, p in ((2, 0.6), (1, 0.3))],
    }
    lead = {"token": "Answer: ", "logprob": 0.0, "top_logprobs": [{"token": "Answer: ", "logprob": 0.0}]}
    act = Act(document=said("Answer: 2", logprobs={"content": [lead, entry]}))
    with Server(lambda request: act) as server:
        answer = next(iter(hosted(server.url).answer(prompts(1, "first-token"))))
    assert answer.option_probs == pytest.approx((1 / 3, 2 / 3, 0.0, 0.0))
    assert answer.option_mass == pytest.approx(0.9)
    assert (answer.text, answer.error) == ("Answer: 2", None)
    assert (server.log[0].body["logprobs"], server.log[0].body["top_logprobs"]) == (True, 20)


def test_an_answer_that_cannot_be_read_keeps_what_it_cost():
    from valuestrata.respondents.hosted.prices import Prices

    entry = {"token": "1", "logprob": 0.0, "top_logprobs": [{"token": "1", "logprob": 0.0}]}
    act = Act(document=said("1", logprobs={"content": [entry]}))
    with Server(lambda request: act) as server:
        answer = next(iter(hosted(server.url, prices=Prices(1.0, 1.0)).answer(prompts(1, "first-token", options=10))))
    assert answer.error.startswith("ambiguous first token: ")
    assert answer.option_probs is None
    assert answer.cost == pytest.approx(104 / 1e6)


def test_a_reply_without_an_option_is_a_result_and_not_paid_again(handmade, tmp_path):
    entry = {"token": "I", "logprob": 0.0, "top_logprobs": [{"token": "I", "logprob": 0.0}]}
    act = Act(document=said("I cannot answer that.", logprobs={"content": [entry]}))
    with Server(lambda request: act) as server:
        results = [ask(handmade, hosted(server.url), tmp_path / "run", elicitation="first-token") for _ in range(2)]
        calls = len(server.log)
    assert calls == results[0].asked == results[0].counts["refused"] == results[1].kept
    assert (results[0].failed, results[1].asked) == (0, 0)
    row = load_run(tmp_path / "run").responses.row(0, named=True)
    assert (row["answer"], row["option_probs"], row["option_mass"], row["text"]) == (None, None, 0.0, "I cannot answer that.")


def test_a_server_that_tells_no_probabilities_stops_the_run_at_the_first_call():
    with Server() as server:
        asking = hosted(server.url).answer(prompts(200, "first-token"))
        assert next(asking).error.startswith("wrong setting: no log-probabilities came")
        with pytest.raises(RunFailedError, match="no log-probabilities came, though openai-compatible was asked for them"):
            list(asking)
    assert len(server.log) == 1
