"""The embedded model on prompts with common prefixes, against one call per prompt and a bare forward pass."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import torch
from local_prompts import chat, item_first, persona_first
from local_timing import best_of, row

from valuestrata.respondents.base import Prompt
from valuestrata.respondents.local.load import Loaded, load_model
from valuestrata.respondents.local.respondent import LocalRespondent

ROUNDS = 3
EACH = "ms per prompt"


def exact_alone(loaded: Loaded, prompt: Prompt) -> list[float]:
    """Return the option probabilities of one prompt from one padded batch of its option strings."""
    model, tokenizer = loaded.model, loaded.tokenizer
    stem = tokenizer.encode(chat(tokenizer, prompt) + prompt.prefill, add_special_tokens=False)
    forms = [tokenizer.encode(form, add_special_tokens=False) for option in prompt.options for form in (f" {option}", option)]
    rows = [[*stem, *form, tokenizer.eos_token_id] for form in forms]
    width = max(map(len, rows))
    ids = torch.tensor([row + [tokenizer.eos_token_id] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    first = len(stem) - 1
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=width - first).logits.double().log_softmax(-1)
    logs = [sum(logits[r, at - 1 - first, row[at]].item() for at in range(len(stem), len(row))) for r, row in enumerate(rows)]
    masses = [math.exp(logs[i]) + math.exp(logs[i + 1]) for i in range(0, len(logs), 2)]
    return [mass / sum(masses) for mass in masses]


def generated(loaded: Loaded, prompt: Prompt, most: int) -> str:
    """Return the text of one call of `generate`."""
    tokenizer = loaded.tokenizer
    asked = tokenizer(chat(tokenizer, prompt), return_tensors="pt", add_special_tokens=False)
    out = loaded.model.generate(**asked, max_new_tokens=most, do_sample=False, pad_token_id=tokenizer.eos_token_id)
    return tokenizer.decode(out[0, asked["input_ids"].shape[1] :], skip_special_tokens=True)


def bare(model: Any, ids: torch.Tensor) -> None:
    """Run one forward pass; the output layer is computed at one position per row."""
    with torch.inference_mode():
        model(input_ids=ids, use_cache=False, logits_to_keep=1)


def fraction(name: str, loaded: Loaded, prompts: list[Prompt]) -> dict[str, Any]:
    """Compare computed tokens per second with a bare pass over rows of the prompts' mean length, at its best batch size."""
    respondent = LocalRespondent("embedded", loaded)
    count = respondent.count_tokens(prompts)
    width = round(count.prompts / len(prompts))
    batches = [torch.randint(5, 1000, (rows, width)) for rows in (1, 2, 4, 8, 16, 32)]
    (ours,), peers = best_of(ROUNDS, [lambda: list(respondent.answer(prompts))], [partial(bare, loaded.model, ids) for ids in batches])
    rates = [ids.numel() / took for ids, took in zip(batches, peers, strict=True)]
    best = int(np.argmax(rates))
    return {
        "name": name,
        "ours": count.computed / ours,
        "peer": rates[best],
        "peer_name": f"bare pass, {len(batches[best])} x {width}",
        "ratio": count.computed / ours / rates[best],
        "unit": "tokens per second",
        "detail": f"{count.computed / count.prompts:.3f} of {count.prompts} tokens computed; includes planning and readout",
    }


def scores(loaded: Loaded) -> dict[str, Any]:
    """Compare exact scores with one padded batch per prompt."""
    respondent, prompts = LocalRespondent("embedded", loaded), persona_first("logprob")
    some = prompts[:: len(prompts) // 5]
    answers = {answer.prompt.key: answer for answer in respondent.answer(prompts)}
    for prompt in some:
        np.testing.assert_allclose(answers[prompt.key].option_probs, exact_alone(loaded, prompt), rtol=1e-3)
    (ours,), alone = best_of(ROUNDS, [lambda: list(respondent.answer(prompts))], [partial(exact_alone, loaded, prompt) for prompt in some])
    peer = sum(alone) / len(alone)
    detail = f"probabilities equal; {len(prompts)} prompts, {len(some)} of them for the peer"
    return row("local_vs_alone", ours / len(prompts) * 1e3, peer * 1e3, "exact scores, one padded batch per prompt", EACH, detail)


def texts(loaded: Loaded, most: int = 32) -> dict[str, Any]:
    """Compare generated text with one call of `generate` per prompt."""
    respondent, prompts = LocalRespondent("embedded", loaded, max_new_tokens=most), persona_first("text", people=10)
    answers = {answer.prompt.key: answer for answer in respondent.answer(prompts)}
    some = prompts[::5]
    if different := [prompt for prompt in some if generated(loaded, prompt, most) != answers[prompt.key].text]:
        raise AssertionError(f"{len(different)} of {len(some)} texts differ from generate")
    timed = some[::4]
    peers = [partial(generated, loaded, prompt, most) for prompt in timed]
    (ours,), alone = best_of(ROUNDS, [lambda: list(respondent.answer(prompts))], peers)
    peer = sum(alone) / len(alone)
    written = sum(answer.completion_tokens or 0 for answer in answers.values()) / len(answers)
    detail = f"{len(prompts)} prompts, {written:.0f} tokens per answer; {len(some)} texts equal, {len(timed)} timed"
    return row("local_vs_generate", ours / len(prompts) * 1e3, peer * 1e3, f"generate, at most {most} tokens", EACH, detail)


def run() -> list[dict[str, Any]]:
    """Return the comparisons with transformers."""
    loaded = load_model("embedded", device="cpu", dtype=None)
    return [
        scores(loaded),
        texts(loaded),
        fraction("local_forward_fraction", loaded, persona_first("logprob")),
        fraction("local_forward_fraction_item_first", loaded, item_first("logprob")),
    ]


if __name__ == "__main__":
    for found in run():
        print(found)
