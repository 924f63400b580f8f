"""The embedded model on persona-first prompts: shared prefixes against a call a prompt, and how near to a bare forward pass."""

from __future__ import annotations

import itertools
import math
import time
from typing import Any

import numpy as np
import torch

from valuestrata.respondents._load import load_model
from valuestrata.respondents.base import Elicitation, Message, Prompt
from valuestrata.respondents.local import LocalRespondent

TOPICS = ["schools", "health care", "big cities", "roads", "parks", "space travel", "welfare", "defense", "child care", "energy"]
PEOPLE = [f"a {sex} aged {age}" for sex, age in itertools.product(["woman", "man"], ["18 to 29", "30 to 44"])]


def prompts(elicitation: Elicitation) -> list[Prompt]:
    """Return 40 prompts of about 130 tokens, of which about 45 are the persona's."""
    return [
        Prompt(
            pair_id=f"{topic}_{person}",
            item=topic,
            subgroup=person,
            messages=(
                Message(
                    "user",
                    f"You are {person} living in the United States. Your highest degree is from a high school. "
                    f"Answer as such people would in a survey.\n\nThe nation spends public money on {topic}. Would you say that it is "
                    "now spending too much, about the right amount, or too little?\n1. Too much\n2. About right\n3. Too little\n\n"
                    "Reply with one number only, in the form Answer: N",
                ),
            ),
            prefill="Answer:",
            options=("1", "2", "3"),
            shown=(-1, 0, 1),
            elicitation=elicitation,
            template="bench",
            template_version="1",
        )
        for person in PEOPLE
        for topic in TOPICS
    ]


def chat(tokenizer: Any, prompt: Prompt) -> str:
    """Return the rendered chat of a prompt."""
    turns = [{"role": message.role, "content": message.content} for message in prompt.messages]
    return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)


def exact_alone(model: Any, tokenizer: Any, prompt: Prompt) -> list[float]:
    """Return the option probabilities of one prompt: its six forms as one padded batch, the usual way to score a closed set."""
    stem = tokenizer.encode(chat(tokenizer, prompt) + prompt.prefill, add_special_tokens=False)
    forms = [tokenizer.encode(form, add_special_tokens=False) for option in prompt.options for form in (f" {option}", option)]
    rows = [[*stem, *form, tokenizer.eos_token_id] for form in forms]
    width = max(map(len, rows))
    ids = torch.tensor([row + [tokenizer.eos_token_id] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    first = len(stem) - 1
    logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=width - first).logits.double().log_softmax(-1)
    logs = [sum(logits[r, at - 1 - first, row[at]].item() for at in range(len(stem), len(row))) for r, row in enumerate(rows)]
    masses = [math.exp(logs[i]) + math.exp(logs[i + 1]) for i in range(0, len(logs), 2)]
    return [mass / sum(masses) for mass in masses]


def run() -> list[dict[str, Any]]:
    """Return three comparisons: exact scores, written text, and tokens a second against a bare pass."""
    loaded = load_model("embedded", device="cpu", dtype=None)
    model, tokenizer = loaded.model, loaded.tokenizer
    respondent = LocalRespondent("embedded", loaded, max_new_tokens=8)
    scored, written = prompts("logprob"), prompts("text")
    list(respondent.answer(scored[:4]))

    respondent.prompt_tokens = respondent.forwarded_tokens = 0
    start = time.perf_counter()
    answers = {answer.prompt.key: answer for answer in respondent.answer(scored)}
    ours = time.perf_counter() - start
    fraction, rate = respondent.forwarded_tokens / respondent.prompt_tokens, respondent.forwarded_tokens / ours

    width, rows = respondent.prompt_tokens // len(scored), 8
    ids = torch.randint(5, 1000, (rows, width))
    with torch.inference_mode():
        bare = max(rows * width / _seconds(lambda: model(input_ids=ids, use_cache=False, logits_to_keep=1)) for _ in range(3))
        start = time.perf_counter()
        alone = [exact_alone(model, tokenizer, prompt) for prompt in scored[:10]]
        peer = (time.perf_counter() - start) * len(scored) / len(alone)
    for prompt, expected in zip(scored, alone, strict=False):
        np.testing.assert_allclose(answers[prompt.key].option_probs, expected, rtol=1e-3)

    start = time.perf_counter()
    texts = {answer.prompt.key: answer.text for answer in respondent.answer(written)}
    ours_text = time.perf_counter() - start
    start = time.perf_counter()
    equal = 0
    for prompt in written:
        asked = tokenizer(chat(tokenizer, prompt), return_tensors="pt", add_special_tokens=False)
        out = model.generate(**asked, max_new_tokens=8, do_sample=False, pad_token_id=tokenizer.eos_token_id)
        equal += tokenizer.decode(out[0, asked["input_ids"].shape[1] :], skip_special_tokens=True) == texts[prompt.key]
    peer_text = time.perf_counter() - start
    if equal < len(written):
        raise AssertionError(f"{len(written) - equal} of {len(written)} texts differ from generate")
    each, count = "ms a prompt", len(scored)
    return [
        _row(
            "local_vs_alone", ours / count * 1e3, peer / count * 1e3, "exact scores, a call a prompt", each, f"{fraction:.3f} of tokens run"
        ),
        _row("local_vs_generate", ours_text / count * 1e3, peer_text / count * 1e3, "generate, 8 tokens", each, "texts equal"),
        {"name": "local_forward_fraction", "ours": rate, "peer": bare, "peer_name": f"bare pass, {rows} x {width}", "ratio": rate / bare}
        | {"unit": "tokens a second", "detail": "tokens really computed"},
    ]


def _row(name: str, ours: float, peer: float, peer_name: str, unit: str, detail: str) -> dict[str, Any]:
    return {"name": name, "ours": ours, "peer": peer, "peer_name": peer_name, "ratio": peer / ours, "unit": unit, "detail": detail}


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    for row in run():
        print(row)
