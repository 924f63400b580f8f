"""Hidden states at the answer position, read from a token tree."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from valuestrata.errors import MissingExtraError, RunFailedError, UsageError

from . import tiny

torch = pytest.importorskip("torch", reason="needs the extra `local`")
pytest.importorskip("transformers", reason="needs the extra `local`")

from valuestrata.respondents.local import respondent as local  # noqa: E402
from valuestrata.respondents.local.load import load_model  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::FutureWarning:transformers"),
    pytest.mark.usefixtures("one_thread"),
]

PROMPTS = [tiny.prompt(person, item, options=options) for person in tiny.PEOPLE for item in tiny.ITEMS for options in (2, 10)]


def plain_states(model, prompt, layers):
    """Hidden states of one prompt alone, at its last token, as transformers returns them."""
    tokenizer = model._loaded.tokenizer
    ids = tokenizer(tiny.chat_text(tokenizer, prompt) + prompt.prefill, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        states = model._loaded.model(input_ids=ids, output_hidden_states=True).hidden_states
    return np.stack([states[layer][0, -1].float().numpy() for layer in layers])


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mamba"])
@pytest.mark.parametrize("batch_tokens", [30, 4096])
def test_states_are_those_of_each_prompt_alone(kind, batch_tokens):
    model = tiny.made(kind, batch_tokens=batch_tokens)
    layers = (0, 1, 2)
    states = model.hidden_states(PROMPTS, layers)
    assert states.shape == (len(PROMPTS), 3, 32)
    for prompt, found in zip(PROMPTS, states, strict=True):
        np.testing.assert_allclose(found, plain_states(model, prompt, layers), rtol=1e-3, atol=1e-3)


def test_shared_prefixes_and_equal_prompts_are_computed_once(monkeypatch):
    model = tiny.made()
    runners = []
    made = model._runner
    monkeypatch.setattr(model, "_runner", lambda longest: runners.append(made(longest)) or runners[-1])
    states = model.hidden_states([*PROMPTS, *PROMPTS], [2])
    np.testing.assert_array_equal(states[: len(PROMPTS)], states[len(PROMPTS) :])
    stems = {model._chat.tokenize_options(prompt).stem for prompt in PROMPTS}
    assert runners[0].meter.forwarded == len({stem[:length] for stem in stems for length in range(1, len(stem) + 1)})


def test_the_state_is_where_all_forms_continue_if_the_tokenizer_merges_the_prefill_with_the_answer():
    model = tiny.made(merges=[(":", " ")])
    prompt = tiny.prompt()
    stem = model._chat.tokenize_options(prompt).stem
    with torch.inference_mode():
        expected = model._loaded.model(input_ids=torch.tensor([stem]), output_hidden_states=True).hidden_states[1][0, -1]
    np.testing.assert_allclose(model.hidden_states([prompt], [1])[0, 0], expected.numpy(), rtol=1e-4, atol=1e-4)


def test_a_longer_reply_has_no_answer_position():
    with pytest.raises(UsageError, match="'reasoned' asks for a longer reply"):
        tiny.made().hidden_states([tiny.prompt(elicitation="reasoned")], [1])


def test_a_smaller_pass_follows_exhausted_memory_and_another_failure_is_reported(monkeypatch):
    model = tiny.made()
    expected = model.hidden_states(PROMPTS, [2])
    forward, most, message = model._loaded.model.forward, 40, "out of memory"

    @functools.wraps(forward)
    def limited(**inputs):
        if inputs["input_ids"].shape[1] > most:
            raise RuntimeError(message)
        return forward(**inputs)

    monkeypatch.setattr(model._loaded.model, "forward", limited)
    np.testing.assert_allclose(model.hidden_states(PROMPTS, [2]), expected, rtol=1e-3, atol=1e-3)
    most, message = 0, "broken"
    with pytest.raises(RunFailedError, match="hidden states could not be read: RuntimeError: broken"):
        model.hidden_states(PROMPTS, [2])


def test_no_prompts_have_no_states():
    assert tiny.made().hidden_states([], [1, 2]).shape[:2] == (0, 2)


@pytest.mark.model
@pytest.mark.slow
def test_states_of_the_embedded_model_are_those_of_transformers():
    try:
        model = local.LocalRespondent("embedded", load_model("embedded", device="cpu", dtype=None))
    except MissingExtraError as error:
        pytest.skip(str(error))
    assert model.layers == 30
    prompts = [tiny.prompt(person, "family life") for person in tiny.PEOPLE[:2]]
    for prompt, found in zip(prompts, model.hidden_states(prompts, (12, 30)), strict=True):
        expected = plain_states(model, prompt, (12, 30))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
