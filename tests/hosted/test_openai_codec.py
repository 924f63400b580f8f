"""Requests and replies of chat completions, as they stand on the codec."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hosted.prompts import prompt
from tests.hosted.server import problem, said
from valuestrata.prompts.prompt import Message
from valuestrata.respondents.hosted.codecs.openai_chat import OpenAICodec
from valuestrata.respondents.hosted.codecs.reply import Position, Reply
from valuestrata.respondents.hosted.errors import CallError
from valuestrata.respondents.hosted.providers import PROVIDERS
from valuestrata.respondents.hosted.settings import HostedSettings

PLAIN = HostedSettings()


def codec(name="openai"):
    return OpenAICodec(PROVIDERS[name], "planted", base_url="http://127.0.0.1:9/v1", key=None)


def test_the_messages_stand_as_they_were_rendered():
    asked = replace(prompt(), messages=(Message("system", "You are."), Message("user", "Say.")))
    assert codec().body(asked, PLAIN) == {
        "model": "planted",
        "messages": [{"role": "system", "content": "You are."}, {"role": "user", "content": "Say."}],
        "max_completion_tokens": 32,
        "temperature": 0.0,
    }


@pytest.mark.parametrize(
    ("elicitation", "tokens"),
    [("text", 32), ("first-token", 8), ("reasoned", 512), ("stated-distribution", 256), ("logprob", 8)],
)
def test_an_elicitation_may_write_as_much_as_it_needs_or_as_the_user_says(elicitation, tokens):
    assert codec("groq").body(prompt(0, elicitation), PLAIN)["max_completion_tokens"] == tokens
    assert codec("ollama").body(prompt(0, elicitation), HostedSettings(max_new_tokens=7))["max_tokens"] == 7


def test_every_sample_has_its_own_seed_where_the_provider_takes_one():
    seeded = HostedSettings(seed=10)
    assert [codec().body(prompt(0, sample=sample), seeded)["seed"] for sample in (0, 1, 2)] == [10, 11, 12]
    assert codec("mistral").body(prompt(0, sample=1), seeded)["random_seed"] == 11
    assert "seed" not in codec("deepseek").body(prompt(0, sample=1), seeded)
    assert "seed" not in codec().body(prompt(0, sample=1), PLAIN)


def test_a_temperature_of_none_is_not_sent_and_extra_has_the_last_word():
    body = codec().body(prompt(), HostedSettings(temperature=None, extra={"reasoning_effort": "low", "max_completion_tokens": 900}))
    assert "temperature" not in body
    assert (body["reasoning_effort"], body["max_completion_tokens"]) == ("low", 900)
    body = codec().body(prompt(), HostedSettings(seed=1, extra={"seed": None, "top_p": 0.5}))
    assert "seed" not in body
    assert body["top_p"] == 0.5


def test_first_token_asks_for_alternatives_and_continues_the_prefill_where_that_works():
    body = codec().body(prompt(0, "first-token"), PLAIN)
    assert (body["logprobs"], body["top_logprobs"], len(body["messages"])) == (True, 20, 1)
    body = codec("vllm-server").body(prompt(0, "first-token"), HostedSettings(top_logprobs=5))
    assert body["messages"][-1] == {"role": "assistant", "content": "Answer:"}
    assert (body["continue_final_message"], body["add_generation_prompt"], body["top_logprobs"]) == (True, False, 5)
    body = codec("llamacpp").body(prompt(0, "first-token"), PLAIN)
    assert body["messages"][-1]["role"] == "assistant"
    assert "continue_final_message" not in body


def test_a_template_without_a_prefill_begins_no_turn():
    body = codec("vllm-server").body(replace(prompt(0, "first-token"), prefill=""), PLAIN)
    assert [message["role"] for message in body["messages"]] == ["user"]
    assert "continue_final_message" not in body


def test_an_answer_can_be_held_to_the_options():
    held = HostedSettings(constrain=True)
    assert codec("vllm-server").body(prompt(options=3), held)["structured_outputs"] == {"choice": ["1", "2", "3"]}
    schema = codec().body(prompt(options=3), held)["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert schema["schema"]["properties"]["answer"]["enum"] == ["1", "2", "3"]
    # Thinking and percentages are no option; a probability is not to be changed by a grammar.
    for elicitation in ("reasoned", "stated-distribution", "first-token"):
        assert "response_format" not in codec().body(prompt(0, elicitation), held)


def test_a_reply_is_read_with_all_that_it_took():
    document = said("Answer: 3", tokens=(120, 9), finish="length")
    document["choices"][0]["message"]["reasoning_content"] = "She would say 3."
    document["usage"] |= {"prompt_tokens_details": {"cached_tokens": 64}, "completion_tokens_details": {"reasoning_tokens": 5}}
    assert codec().parse_reply(document) == Reply(
        text="Answer: 3",
        reasoning="She would say 3.",
        finish_reason="length",
        prompt_tokens=120,
        cached_tokens=64,
        completion_tokens=9,
        reasoning_tokens=5,
        model="planted-model",
    )


def test_reasoning_counted_beside_the_answer_is_paid_like_it():
    document = said("3", tokens=(100, 4))
    document["usage"] |= {"total_tokens": 134, "completion_tokens_details": {"reasoning_tokens": 30}}
    assert codec("xai").parse_reply(document).completion_tokens == 34


def test_text_in_parts_and_a_refusal_of_its_own_are_text():
    document = said("")
    document["choices"][0]["message"]["content"] = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
        {"type": "text", "text": "Answer: 2"},
    ]
    reply = codec("mistral").parse_reply(document)
    assert (reply.text, reply.reasoning) == ("Answer: 2", "Hm.")
    document["choices"][0]["message"] = {"role": "assistant", "content": None, "refusal": "I can't help with that."}
    assert codec().parse_reply(document).text == "I can't help with that."


def test_written_tokens_come_with_their_alternatives():
    entry = {
        "token": " 3",
        "logprob": -0.5,
        "bytes": [32],
        "top_logprobs": [{"token": " 3", "logprob": -0.5}, {"token": "3", "logprob": -1}],
    }
    document = said(" 3", logprobs={"content": [entry, {"token": "!", "logprob": -9}]})
    assert codec().parse_reply(document).positions == (Position(" 3", -0.5, ((" 3", -0.5), ("3", -1))), Position("!", -9, ()))
    assert codec().parse_reply(said("3", logprobs=None)).positions is None


def test_an_answer_that_was_filtered_is_an_answer_without_text():
    document = said("", finish="content_filter")
    document["choices"][0]["message"]["content"] = None
    reply = codec().parse_reply(document)
    assert (reply.text, reply.finish_reason) == ("", "content_filter")


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"choices": []}, "empty reply"),
        ({"choices": [{"message": {"content": None}, "finish_reason": "stop"}]}, "empty reply"),
        ({"choices": [{}]}, "garbled reply"),
        ({"choices": None}, "garbled reply"),
        ({}, "garbled reply"),
        ([], "garbled reply"),
        ("hello", "garbled reply"),
        (None, "garbled reply"),
        ({"error": {"message": "upstream is busy", "code": 429}}, "rate limit"),
        ({"error": {"message": "upstream broke", "code": 502}}, "server error"),
        ({"choices": [{"error": {"message": "upstream broke", "code": 502}, "message": {"content": "Ans"}}]}, "server error"),
        ({"error": "broken"}, "server error"),
        ({"error": {"message": "used up", "code": "insufficient_quota"}}, "no credit"),
        ({"choices": [{"message": {"content": "Ans"}, "finish_reason": "error"}]}, "server error"),
    ],
)
def test_what_is_no_answer_is_a_fault(document, kind):
    with pytest.raises(CallError) as raised:
        codec().parse_reply(document)
    assert raised.value.failure.kind == kind
    if isinstance(document, dict) and "error" in str(document):
        assert raised.value.failure.paid is ("choices" in document)
    assert codec().failure_from(raised.value) is raised.value.failure


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "usage", "error", "logprobs", "finish_reason", "prompt_tokens", "token"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_json_at_all_is_a_defect(document):
    reply = None
    with contextlib.suppress(CallError):
        reply = codec().parse_reply(document)
    if reply is not None:
        assert isinstance(reply.text, str)
        assert isinstance(reply.finish_reason, str | None)
        assert all(isinstance(count, int | None) for count in (reply.prompt_tokens, reply.completion_tokens))


def test_an_error_that_is_none_of_ours_is_raised_again():
    with pytest.raises(KeyError):
        codec().failure_from(KeyError("a defect"))
    assert problem("x")["error"]["message"] == "x"
