"""Tiny language models with random weights and a tokenizer made here, so that tests need nothing from a model hub."""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from valuestrata.respondents.base import Elicitation, Message, Prompt

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
