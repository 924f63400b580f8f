"""Option probabilities against the plain computation: every sequence through the model alone, nothing shared or cached."""

from __future__ import annotations

import pytest

from valuestrata.respondents.base import Prompt

from . import tiny

torch = pytest.importorskip("torch", reason="needs the extra `local`")
pytest.importorskip("transformers", reason="needs the extra `local`")

from valuestrata.respondents.local.runner import choose_runner  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::FutureWarning:transformers"),
    pytest.mark.usefixtures("one_thread"),
]

PROMPTS = tiny.prompts()


def test_option_probabilities_are_those_of_whole_sequences():
    respondent = tiny.made()
    # One token per character: `10` is two tokens, ` 10` three.
    assert len(respondent._loaded.tokenizer.encode("10", add_special_tokens=False)) == 2
    expected = tiny.naive_probabilities(respondent, PROMPTS[:6])
    for slice_tokens in (7, 64, 4096):
        tiny.check_probabilities(tiny.by_prompt(tiny.made(batch_tokens=slice_tokens), PROMPTS[:6]), expected)


def test_an_option_that_is_one_token_and_also_two():
    respondent = tiny.made(merges=[("1", "0"), (" ", "1")])
    tiny.check_against_naive(respondent, PROMPTS[:3])


def test_a_tokenizer_that_merges_the_prefill_with_the_answer():
    # `: ` is one token, so the form ` 3` replaces the last token of the prefill; both forms are then scored from before it.
    respondent = tiny.made(merges=[(":", " ")])
    tokenizer = respondent._loaded.tokenizer

    def stem(prompt: Prompt) -> int:
        return len(tokenizer.encode(tiny.chat_text(tokenizer, prompt) + "Answer", add_special_tokens=False))

    tiny.check_against_naive(respondent, PROMPTS[:3], stem)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("gpt2", {}),
        ("bloom", {}),
        ("qwen3", {}),
        ("gemma2", {"sliding_window": 1000, "attn_implementation": "eager"}),
        ("mistral", {"sliding_window": 24}),
        ("gemma2", {"sliding_window": 24, "attn_implementation": "eager"}),
        ("mamba", {}),
    ],
    ids=["gpt2", "bloom", "qwen3", "gemma2", "mistral-window", "gemma2-window", "mamba"],
)
def test_other_architectures_give_their_own_numbers_too(kind, settings):
    tiny.check_against_naive(tiny.made(kind, settings=settings), PROMPTS[:2])


def test_models_that_can_run_a_tree_are_found_by_a_probe():
    tokenizer = tiny.tiny_tokenizer()
    assert choose_runner(tiny.tiny_model(tokenizer)).uses_tree
    assert choose_runner(tiny.tiny_model(tokenizer, "gpt2")).uses_tree
    assert not choose_runner(tiny.tiny_model(tokenizer, "bloom")).uses_tree
    assert not choose_runner(tiny.tiny_model(tokenizer, "mamba")).uses_tree


def test_every_distinct_prefix_is_computed_once():
    respondent = tiny.made(batch_tokens=50)
    tokenizer = respondent._loaded.tokenizer
    list(respondent.answer([*PROMPTS, *PROMPTS]))
    prefixes = set()
    for prompt in PROMPTS:
        text = tiny.chat_text(tokenizer, prompt) + prompt.prefill
        for option in prompt.options:
            for form in (f" {option}", option):
                ids = tokenizer.encode(text + form, add_special_tokens=False)
                prefixes |= {tuple(ids[:length]) for length in range(1, len(ids) + 1)}
    assert respondent.forwarded_tokens == len(prefixes)
    assert respondent.forwarded_tokens < respondent.prompt_tokens / 2


def test_answers_do_not_depend_on_the_order_of_prompts():
    one = tiny.by_prompt(tiny.made(batch_tokens=30), PROMPTS)
    other = tiny.by_prompt(tiny.made(batch_tokens=77), PROMPTS[::-1])[::-1]
    for first, second in zip(one, other, strict=True):
        assert first.option_probs == pytest.approx(second.option_probs, rel=1e-4)


def test_prompts_of_which_one_begins_the_other():
    short = tiny.prompt()
    long = Prompt(**{field: getattr(short, field) for field in short.__slots__} | {"prefill": "Answer: 1", "options": ("0", "1", "2")})
    tiny.check_against_naive(tiny.made(), [short, long, tiny.prompt(options=10)])


def test_first_token_is_the_first_token_and_nothing_more():
    respondent = tiny.made()
    prompt = tiny.prompt(options=10, elicitation="first-token")
    (answer,) = respondent.answer([prompt])
    tokenizer = respondent._loaded.tokenizer
    row = tiny.log_probabilities(
        respondent._loaded.model, tokenizer.encode(tiny.chat_text(tokenizer, prompt) + "Answer:", add_special_tokens=False)
    )[-1]
    at = {char: row[tokenizer.convert_tokens_to_ids(char)].exp().item() for char in " 123456789"}
    raw = [at[" "] + at[option[0]] for option in prompt.options]
    assert answer.option_probs == pytest.approx([value / sum(raw) for value in raw], rel=1e-4)
    assert answer.option_probs[0] == answer.option_probs[9]
    assert answer.option_mass == pytest.approx(sum(at.values()), rel=1e-4)
