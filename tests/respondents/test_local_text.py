"""Written answers against recomputing everything for each token."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from valuestrata.respondents.base import Prompt

from . import tiny

torch = pytest.importorskip("torch", reason="needs the extra `local`")
pytest.importorskip("transformers", reason="needs the extra `local`")


pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::FutureWarning:transformers"),
    pytest.mark.usefixtures("one_thread"),
]


@pytest.mark.parametrize("kind", ["llama", "mamba"])
@pytest.mark.parametrize("batch_tokens", [1, 4096])
def test_greedy_text_is_that_of_one_prompt_alone(kind, batch_tokens):
    respondent = tiny.made(kind, batch_tokens=batch_tokens, max_new_tokens=9)
    prompts = [tiny.prompt(person, item, elicitation="text") for person in tiny.PEOPLE for item in tiny.ITEMS[:2]]
    for prompt, answer in zip(prompts, tiny.by_prompt(respondent, prompts), strict=True):
        assert answer.text == tiny.naive_text(respondent, prompt, 9)
        assert answer.finish_reason in {"stop", "length"}
        assert (answer.completion_tokens == 9) or answer.finish_reason == "stop"
        assert answer.option_probs is None


def test_sampled_text_depends_on_seed_and_sample_and_not_on_the_batch():
    prompts = [tiny.prompt(person, elicitation="text", sample=sample) for person in tiny.PEOPLE[:2] for sample in range(3)]
    together = [answer.text for answer in tiny.by_prompt(tiny.made(temperature=1.0), prompts)]
    alone = [answer.text for prompt in prompts for answer in tiny.made(temperature=1.0).answer([prompt])]
    assert together == alone
    assert len(set(together)) == len(together)
    assert [answer.text for answer in tiny.by_prompt(tiny.made(temperature=1.0, seed=1), prompts)] != together


def test_writing_stops_at_the_end_of_the_turn():
    respondent = tiny.made(max_new_tokens=40)
    head, end = respondent._loaded.model.lm_head, respondent._chat.end
    with torch.no_grad():
        head.weight[end] = 0
    bias = torch.zeros(head.weight.shape[0])
    bias[end] = 1000.0
    head.bias = torch.nn.Parameter(bias)
    (answer,) = respondent.answer([tiny.prompt(elicitation="text")])
    assert (answer.text, answer.finish_reason, answer.completion_tokens) == ("", "stop", 1)


@pytest.mark.parametrize(("elicitation", "most"), [("text", 32), ("stated-distribution", 256), ("reasoned", 512), ("open", 400)])
def test_the_length_limit_depends_on_the_elicitation(elicitation, most):
    assert tiny.made().count_tokens([tiny.prompt(elicitation=elicitation)]).written == most


def test_a_text_that_does_not_stop_is_cut_at_its_limit():
    respondent = tiny.made()
    never_stops(respondent)
    (answer,) = respondent.answer([tiny.prompt(elicitation="text")])
    assert (answer.completion_tokens, answer.finish_reason) == (32, "length")
    assert respondent.identity()["decoding"] == {"max_new_tokens": None, "temperature": 0.0, "seed": 0}


def test_prompts_of_several_elicitations_are_answered_together():
    respondent = tiny.made()
    never_stops(respondent)
    prompts = [tiny.prompt(person, elicitation=how) for person in tiny.PEOPLE[:2] for how in ("text", "stated-distribution", "logprob")]
    answers = tiny.by_prompt(respondent, prompts)
    assert [answer.completion_tokens for answer in answers] == [32, 256, 0] * 2
    assert answers[0].text == tiny.naive_text(respondent, prompts[0], 32)


def test_a_model_that_gives_no_numbers_writes_nothing():
    respondent = tiny.made(temperature=1.0)
    with torch.no_grad():
        respondent._loaded.model.lm_head.weight.fill_(float("nan"))
    (answer,) = respondent.answer([tiny.prompt(elicitation="text")])
    assert answer.text is None
    assert answer.error is not None
    assert "finite" in answer.error


def never_stops(respondent) -> None:
    """Make the tokens that end a turn impossible."""
    head = respondent._loaded.model.lm_head
    bias = torch.zeros(head.weight.shape[0])
    bias[list(respondent._stops)] = -1e4
    head.bias = torch.nn.Parameter(bias)


# --- constrained to the options ---------------------------------------------------------------------------------------


def forms_of(respondent, prompt: Prompt) -> tuple[list[int], dict[tuple[int, ...], str]]:
    """Return the tokens before the assistant's text, and the options by the tokens of their forms and the end of turn."""
    tokenizer = respondent._loaded.tokenizer
    text = tiny.chat_text(tokenizer, prompt)
    stem = tokenizer.encode(text, add_special_tokens=False)
    return stem, {
        (*tokenizer.encode(text + form, add_special_tokens=False)[len(stem) :], respondent._chat.end): option
        for option in prompt.options
        for form in (f" {option}", option)
    }


def test_constrained_text_is_the_likeliest_allowed_token_at_each_step():
    respondent = tiny.made(constrain=True)
    prompts = [tiny.prompt(person, item, options=10, elicitation="text") for person in tiny.PEOPLE for item in tiny.ITEMS]
    for prompt, answer in zip(prompts, tiny.by_prompt(respondent, prompts), strict=True):
        stem, forms = forms_of(respondent, prompt)
        written: list[int] = []
        while tuple(written) not in forms:
            row = tiny.log_probabilities(respondent._loaded.model, [*stem, *written])[-1]
            allowed = {form[len(written)] for form in forms if form[: len(written)] == tuple(written)}
            written.append(max(allowed, key=lambda token: row[token].item()))
        assert answer.text == forms[tuple(written)]
        assert (answer.finish_reason, answer.completion_tokens) == ("stop", len(written))


def test_sampled_constrained_text_follows_the_probabilities_of_what_is_allowed():
    respondent = tiny.made(constrain=True, temperature=1.0, settings={"initializer_range": 0.2})
    samples = [tiny.prompt(options=10, elicitation="text", sample=sample) for sample in range(500)]
    counts = Counter(answer.text for answer in respondent.answer(samples))
    stem, forms = forms_of(respondent, samples[0])
    expected: Counter[str] = Counter()
    for form, option in forms.items():
        chance = 1.0
        for at in range(len(form)):
            allowed = sorted({other[at] for other in forms if other[:at] == form[:at]})
            row = tiny.log_probabilities(respondent._loaded.model, [*stem, *form[:at]])[-1, allowed].softmax(-1)
            chance *= row[allowed.index(form[at])].item()
        expected[option] += chance
    assert sum(expected.values()) == pytest.approx(1)
    assert counts.keys() <= expected.keys()
    frequent = [option for option, chance in expected.items() if chance * len(samples) >= 5]
    assert len(frequent) > 3
    wanted = np.array([expected[option] for option in frequent])
    observed = np.array([counts[option] for option in frequent])
    assert chisquare(observed, wanted / wanted.sum() * observed.sum()).pvalue > 1e-3
    together = [answer.text for answer in tiny.by_prompt(respondent, samples[:5])]
    assert together == [answer.text for sample in samples[:5] for answer in respondent.answer([sample])]


@pytest.mark.parametrize("kind", ["llama", "mamba"])
def test_constrained_text_may_be_an_option_that_begins_another(kind):
    respondent = tiny.made(kind, constrain=True)
    assert len(respondent._loaded.tokenizer.encode("10", add_special_tokens=False)) == 2
    head, at = respondent._loaded.model.lm_head, respondent._loaded.tokenizer.convert_tokens_to_ids
    for liked, text in ((["1", "<|im_end|>"], "1"), (["1", "0"], "10"), ([" ", "1", "0"], "10")):
        bias = torch.zeros(head.weight.shape[0])
        # The most likely token is the first in the list that is allowed.
        for rank, token in enumerate(liked):
            bias[at(token)] = 1e4 - 1e3 * rank
        head.bias = torch.nn.Parameter(bias)
        (answer,) = respondent.answer([tiny.prompt(options=10, elicitation="text")])
        assert (answer.text, answer.finish_reason) == (text, "stop")


def test_a_tokenizer_that_merges_the_turn_with_the_answer_is_constrained_too():
    respondent = tiny.made(merges=[("\n", " "), ("\n", "1")], constrain=True)
    for person in tiny.PEOPLE:
        prompt = tiny.prompt(person, options=10, elicitation="text")
        (answer,) = respondent.answer([prompt])
        assert answer.text in prompt.options


def test_only_text_is_constrained_and_the_identity_says_so():
    respondent = tiny.made(constrain=True, max_new_tokens=6)
    free = tiny.made(max_new_tokens=6)
    assert respondent.identity()["decoding"] == {"max_new_tokens": 6, "temperature": 0.0, "seed": 0, "constrain": True}
    assert "constrain" not in free.identity()["decoding"]
    prompts = [tiny.prompt(elicitation=how) for how in ("reasoned", "stated-distribution", "logprob")]
    for one, other in zip(tiny.by_prompt(respondent, prompts), tiny.by_prompt(free, prompts), strict=True):
        assert (one.text, one.option_probs) == (other.text, other.option_probs)
