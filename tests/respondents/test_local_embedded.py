"""The embedded model itself."""

from __future__ import annotations

import pytest

from valuestrata.errors import MissingExtraError

from . import tiny

torch = pytest.importorskip("torch", reason="needs the extra `local`")
pytest.importorskip("transformers", reason="needs the extra `local`")

from valuestrata.respondents.local import respondent as local  # noqa: E402
from valuestrata.respondents.local.load import load_model  # noqa: E402
from valuestrata.respondents.local.respondent import LocalRespondent  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::FutureWarning:transformers")


@pytest.fixture(scope="module")
def embedded():
    try:
        loaded = load_model("embedded", device="cpu", dtype=None)
    except MissingExtraError as error:
        pytest.skip(str(error))
    return LocalRespondent("embedded", loaded, max_new_tokens=10)


@pytest.mark.model
@pytest.mark.slow
def test_the_embedded_model_gives_the_probabilities_of_whole_sequences(embedded):
    prompts = [
        tiny.prompt("a woman", "family life"),
        tiny.prompt("a woman", "family life", options=10),
        tiny.prompt("a man", "work", options=4),
    ]
    assert len(embedded._loaded.tokenizer.encode("10", add_special_tokens=False)) == 2
    tiny.check_against_naive(embedded, prompts)
    assert local._end_tokens(embedded._loaded, embedded._chat.end) == {embedded._loaded.tokenizer.convert_tokens_to_ids("<|im_end|>")}


@pytest.mark.model
@pytest.mark.slow
def test_the_embedded_model_writes_what_it_writes_alone(embedded):
    prompts = [tiny.prompt(person, "family life", elicitation="text") for person in tiny.PEOPLE[:2]]
    for prompt, answer in zip(prompts, tiny.by_prompt(embedded, prompts), strict=True):
        assert answer.text == tiny.naive_text(embedded, prompt, 10)
