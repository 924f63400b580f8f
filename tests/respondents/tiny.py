"""Tiny language models with random weights and a tokenizer made here: tests need nothing from a model hub."""

from __future__ import annotations

import contextlib
import math
import string
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valuestrata.respondents.base import Elicitation, Message, Prompt

if TYPE_CHECKING:
    from valuestrata.respondents.base import Answer
    from valuestrata.respondents.local.respondent import LocalRespondent

PEOPLE = ["a woman", "a man", "a woman of 35", "a man of 35 in a town"]
ITEMS = ["work", "faith", "fair play"]

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_tokenizer(merges: Sequence[tuple[str, str]] = ()) -> Any:
    """Return a tokenizer with a token a character (so `10` is two) and the given merges besides, over spaces as well."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    pieces = ["<unk>", "<|im_start|>", "<|im_end|>", "<|end|>", *string.printable, *(one + other for one, other in merges)]
    vocabulary = {piece: at for at, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges), unk_token="<unk>"))
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<|end|>", additional_special_tokens=["<|im_start|>", "<|im_end|>"]
    )
    wrapped.chat_template = TEMPLATE
    return wrapped


def tiny_model(tokenizer: Any, kind: str = "llama", **settings: Any) -> Any:
    """Return a model of two layers whose weights are large enough for every token to matter."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 1024,
        "initializer_range": 0.4,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": None,
    }
    if kind == "gpt2":
        shape = {"vocab_size": len(tokenizer), "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 1024, "initializer_range": 0.4}
        shape |= {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    if kind == "bloom":
        shape = {"vocab_size": len(tokenizer), "hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.4}
        shape |= {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    if kind == "mamba":
        shape = {"vocab_size": len(tokenizer), "hidden_size": 32, "state_size": 4, "num_hidden_layers": 2, "initializer_range": 0.4}
        shape |= {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 0}
    torch.manual_seed(7)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **(shape | settings))).eval()


def save_tiny(folder: Path, kind: str = "llama", merges: Sequence[tuple[str, str]] = (), **settings: Any) -> Path:
    """Write a tiny model and its tokenizer to a folder and return it."""
    tokenizer = tiny_tokenizer(merges)
    tiny_model(tokenizer, kind, **settings).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def prompt(
    persona: str = "a woman", item: str = "work", *, options: int = 3, elicitation: Elicitation = "logprob", sample: int = 0, first: int = 1
) -> Prompt:
    """Return a short prompt of the project's form."""
    codes = tuple(range(first, first + options))
    return Prompt(
        pair_id=f"{item}_{persona}",
        item=item,
        subgroup=persona,
        messages=(Message("user", f"You are {persona}. How is {item}? Reply with 1 to {options}."),),
        prefill="Answer:",
        options=tuple(str(code) for code in codes),
        shown=codes,
        elicitation=elicitation,
        template="tiny",
        template_version="1",
        sample=sample,
    )


def made(
    kind: str = "llama",
    merges: Sequence[tuple[str, str]] = (),
    *,
    name: str = "hf:tiny",
    settings: dict[str, Any] | None = None,
    **options: Any,
) -> LocalRespondent:
    """Return a local respondent around a tiny model."""
    from valuestrata.respondents.local.load import Loaded
    from valuestrata.respondents.local.respondent import LocalRespondent

    tokenizer = tiny_tokenizer(merges)
    return LocalRespondent(name, Loaded(tiny_model(tokenizer, kind, **(settings or {})), tokenizer, {"model": "tiny"}), **options)


def chat_text(tokenizer: Any, prompt: Prompt) -> str:
    """Return the rendered chat of a prompt, up to where the assistant's turn begins."""
    turns = [{"role": message.role, "content": message.content} for message in prompt.messages]
    return tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)


def log_probabilities(model: Any, ids: Sequence[int]) -> Any:
    """Return the log-probabilities after each token, in float64, from one pass over the sequence alone."""
    import torch

    with torch.inference_mode():
        return model(input_ids=torch.tensor([list(ids)])).logits[0].double().log_softmax(-1)


def naive(model: Any, tokenizer: Any, prompt: Prompt, end: int, stem: int | None = None) -> list[float]:
    """Return each option's probability from passes over whole sequences."""
    text = chat_text(tokenizer, prompt) + prompt.prefill
    start = len(tokenizer.encode(text, add_special_tokens=False)) if stem is None else stem
    found = []
    for option in prompt.options:
        wholes = {tuple(tokenizer.encode(text + form, add_special_tokens=False)) for form in (f" {option}", option)}
        total = 0.0
        for whole in wholes:
            ids = [*whole, end]
            rows = log_probabilities(model, ids)
            total += math.exp(sum(rows[at - 1, ids[at]].item() for at in range(start, len(ids))))
        found.append(total)
    return found


def by_prompt(respondent: LocalRespondent, prompts: Sequence[Prompt]) -> list[Answer]:
    """Return the answers in the order of the prompts; each must have come exactly once."""
    answers = list(respondent.answer(prompts))
    assert len(answers) == len(prompts)
    found = {answer.prompt.key: answer for answer in answers}
    return [found[prompt.key] for prompt in prompts]


def naive_probabilities(respondent: LocalRespondent, prompts: Sequence[Prompt], stem: Callable[[Prompt], int] | None = None) -> Any:
    """Return for each prompt the probability of each option, from passes over whole sequences."""
    model, tokenizer = respondent._loaded.model, respondent._loaded.tokenizer
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    return [naive(model, tokenizer, prompt, end, stem(prompt) if stem else None) for prompt in prompts]


def check_against_naive(respondent: LocalRespondent, prompts: Sequence[Prompt], stem: Callable[[Prompt], int] | None = None) -> None:
    """Compare a respondent's option probabilities with those of whole sequences."""
    check_probabilities(by_prompt(respondent, prompts), naive_probabilities(respondent, prompts, stem))


def check_probabilities(answers: Sequence[Answer], probabilities: Sequence[Sequence[float]]) -> None:
    """Compare answers with the expected probability of each option."""
    import pytest

    for answer, expected in zip(answers, probabilities, strict=True):
        assert answer.error is None
        assert answer.option_mass == pytest.approx(sum(expected), rel=1e-4)
        assert answer.option_probs == pytest.approx([value / sum(expected) for value in expected], rel=1e-4)
        assert sum(answer.option_probs) == pytest.approx(1, abs=1e-12)


def naive_text(respondent: LocalRespondent, prompt: Prompt, new: int) -> str:
    """Return what the model writes greedily, recomputing everything for each token."""
    import torch

    model, tokenizer = respondent._loaded.model, respondent._loaded.tokenizer
    ids = tokenizer.encode(chat_text(tokenizer, prompt), add_special_tokens=False)
    stops = {tokenizer.convert_tokens_to_ids("<|im_end|>"), tokenizer.eos_token_id}
    written = []
    for _ in range(new):
        with torch.inference_mode():
            token = int(model(input_ids=torch.tensor([ids + written]), logits_to_keep=1).logits[0, -1].argmax())
        if token in stops:
            break
        written.append(token)
    return tokenizer.decode(written, skip_special_tokens=True)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: passes of tiny models spend their time on waking others."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def prompts() -> list[Prompt]:
    """Return twelve prompts, of three options and of ten."""
    return [prompt(person, item, options=3 if item == "faith" else 10) for person in PEOPLE for item in ITEMS]
