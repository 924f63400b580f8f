"""Token counts without running the model, against the tokens that a run takes."""

from __future__ import annotations

import pytest

from valuestrata.respondents.base import CostEstimate, SupportsEstimate

from . import tiny

torch = pytest.importorskip("torch", reason="needs the extra `local`")
pytest.importorskip("transformers", reason="needs the extra `local`")

from valuestrata.respondents.local.respondent import TokenCount  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::FutureWarning:transformers"),
    pytest.mark.usefixtures("one_thread"),
]


def asked(elicitation):
    prompts = [tiny.prompt(person, item, options=10, elicitation=elicitation) for person in tiny.PEOPLE[:2] for item in tiny.ITEMS[:2]]
    return [*prompts, *prompts]


@pytest.mark.parametrize("kind", ["llama", "mamba"])
@pytest.mark.parametrize("elicitation", ["logprob", "first-token"])
def test_scoring_takes_what_was_counted(kind, elicitation):
    respondent = tiny.made(kind)
    prompts = asked(elicitation)
    count = respondent.count_tokens(prompts)
    assert (respondent.prompt_tokens, respondent.forwarded_tokens) == (0, 0)
    answers = list(respondent.answer(prompts))
    assert count == TokenCount(respondent.prompt_tokens, respondent.forwarded_tokens)
    assert count.prompts == sum(answer.prompt_tokens or 0 for answer in answers)


@pytest.mark.parametrize("batch_tokens", [100, 4096])
def test_writing_takes_what_was_counted_and_what_is_written(batch_tokens):
    respondent = tiny.made(batch_tokens=batch_tokens, max_new_tokens=7)
    prompts = asked("text")
    count = respondent.count_tokens(prompts)
    answers = list(respondent.answer(prompts))
    assert count.prompts == respondent.prompt_tokens
    assert count.written == 7 * len(prompts)
    # The last token that a prompt writes is not fed to the model any more.
    assert respondent.forwarded_tokens == count.computed + sum((answer.completion_tokens or 0) - 1 for answer in answers)


def test_counting_does_not_run_the_model(monkeypatch):
    respondent = tiny.made(constrain=True)

    def forward(cache=None):
        raise AssertionError("the model was run")

    monkeypatch.setattr(respondent._loaded.model, "forward", forward)
    assert isinstance(respondent, SupportsEstimate)
    assert respondent.count_tokens([]) == TokenCount()
    text = [tiny.prompt(person, options=10, elicitation="text") for person in tiny.PEOPLE]
    # ` 10` and the end of turn are four tokens, of which the model is made to choose among options only.
    assert respondent.count_tokens(text).written == 4 * len(text)
    mixed = [*text, tiny.prompt(elicitation="reasoned"), tiny.prompt()]
    count = respondent.count_tokens(mixed)
    assert count.written == 4 * len(text) + 512
    assert respondent.estimate(mixed) == CostEstimate(
        len(mixed), count.prompts, count.computed, count.written, 0.0, "the model's own tokenizer"
    )
