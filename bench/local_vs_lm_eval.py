"""The embedded model against lm-evaluation-harness on the same prompts, persona first and item first.

The harness scores options by log P(continuation | context) and computes a context once for all continuations of one token
(`logits_cache`, on by default). The options here are the letters A to E, whose forms ` A` and `A` are one token each, and we read the
first token. Both sides therefore sum P(` A`) and P(`A`) after the same tokens and run each prompt once. This is the harness's best
case: with options of several tokens, or an end of turn, it runs each form separately.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
from functools import partial
from typing import Any

import numpy as np
from local_prompts import chat, item_first, persona_first
from local_timing import best_of, row

from valuestrata.respondents.base import Prompt
from valuestrata.respondents.local.load import load_model
from valuestrata.respondents.local.respondent import LocalRespondent

ROUNDS = 2
# Batch sizes tried by the harness on some prompts; the fastest is compared.
BATCHES = (1, 4, 8, 16)
TRIED = 16


def masses(harness: Any, tokenizer: Any, prompts: list[Prompt]) -> list[list[float]]:
    """Return the probability of each option according to the harness, summed over its two forms."""
    from lm_eval.api.instance import Instance

    asked: list[Any] = []
    for prompt in prompts:
        text = chat(tokenizer, prompt) + prompt.prefill
        for form in (form for option in prompt.options for form in (f" {option}", option)):
            asked.append(Instance(request_type="loglikelihood", doc={}, arguments=(text, form), idx=len(asked)))
    found = [math.exp(log) for log, _ in harness.loglikelihood(asked, disable_tqdm=True)]
    forms = 2 * len(prompts[0].options)
    return [[found[at + i] + found[at + i + 1] for i in range(0, forms, 2)] for at in range(0, len(found), forms)]


def harness_of(loaded: Any, batch: int) -> Any:
    """Return the harness for a loaded model, without its log messages."""
    from lm_eval.models.huggingface import HFLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    with contextlib.redirect_stderr(io.StringIO()):
        return HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=batch, device="cpu", max_length=2048)


def compared(name: str, loaded: Any, peer_loaded: Any, prompts: list[Prompt]) -> dict[str, Any]:
    """Return one comparison after checking that both sides have equal scores."""
    respondent = LocalRespondent("embedded", loaded)
    answers = {answer.prompt.key: answer for answer in respondent.answer(prompts)}
    expected = masses(harness_of(peer_loaded, 8), loaded.tokenizer, prompts)
    for prompt, each in zip(prompts, expected, strict=True):
        answer = answers[prompt.key]
        np.testing.assert_allclose(answer.option_mass, sum(each), rtol=1e-3)
        np.testing.assert_allclose(answer.option_probs, np.array(each) / sum(each), rtol=1e-3)
    harnesses = [harness_of(peer_loaded, batch) for batch in BATCHES]
    tried = [partial(masses, harness, loaded.tokenizer, prompts[:TRIED]) for harness in harnesses]
    best = int(np.argmin(best_of(ROUNDS, tried)[0]))
    peers = [partial(masses, harnesses[best], loaded.tokenizer, prompts)]
    (ours,), (peer,) = best_of(ROUNDS, [lambda: list(respondent.answer(prompts))], peers)
    count = respondent.count_tokens(prompts)
    detail = (
        f"{len(prompts)} prompts x 5 one-token options, probabilities and masses equal; {count.computed} of {count.prompts} tokens computed"
    )
    each = 1e3 / len(prompts)
    return row(name, ours * each, peer * each, f"lm_eval HFLM, batch {BATCHES[best]}", "ms per prompt", detail)


def run() -> list[dict[str, Any]]:
    """Return the comparisons with the persona first and the item first."""
    # Separate model objects, so that neither side changes the settings of the other.
    loaded, peer = (load_model("embedded", device="cpu", dtype=None) for _ in range(2))
    return [
        compared("local_vs_lm_eval", loaded, peer, persona_first("first-token", options="ABCDE")),
        compared("local_vs_lm_eval_item_first", loaded, peer, item_first("first-token", options="ABCDE")),
    ]


if __name__ == "__main__":
    for found in run():
        print(found)
