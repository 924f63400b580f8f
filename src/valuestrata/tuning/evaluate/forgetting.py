"""Forgetting: a small general check of a model before and after tuning.

| measure | definition |
| --- | --- |
| `perplexity` | exp of the mean of -log p over the tokens of a fixed text; comparable between models of one tokenizer only |
| `bits_per_byte` | the same text, -log2 p of all its tokens over its bytes; comparable between tokenizers |
| `valid_share` | share of off-topic closed questions whose generated answer (`text`) is one of the options |
| `right_share` | share of them whose generated answer is correct; an invalid answer is wrong |
| `right_share_logprob` | share whose likeliest option after the prefill is correct (`logprob`) |
| `option_mass` | mean total probability of all options after the prefill |

With twenty questions the standard error is about .1: the check can show that a model is broken, not that it is intact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.errors import InputDataError, RunFailedError
from valuestrata.files import write_text
from valuestrata.frames import Column, Schema, csv_text, unescaped
from valuestrata.respondents.local.load import Loaded, load_model
from valuestrata.respondents.local.respondent import LocalRespondent
from valuestrata.responses.parse.choice import parse_answer
from valuestrata.tuning.evaluate.general_questions import GeneralPrompt, general_text, general_version, off_topic

FORGETTING = Schema(
    "forgetting",
    {
        "measure": Column(pl.String, "perplexity, bits_per_byte, valid_share, right_share, right_share_logprob or option_mass"),
        "before": Column(pl.Float64, "value of the model before"),
        "after": Column(pl.Float64, "value of the model after"),
        "difference": Column(pl.Float64, "after - before"),
        "better": Column(pl.String, "`lower` or `higher`: the better direction"),
        "count": Column(pl.Int64, "number of tokens or questions"),
        "version": Column(pl.String, "hash of the text and the questions"),
    },
)
FORGETTING_FILE = "forgetting.csv"
MEASURES: tuple[str, ...] = ("perplexity", "bits_per_byte", "valid_share", "right_share", "right_share_logprob", "option_mass")
_LOWER = ("perplexity", "bits_per_byte")
# Maximum tokens per pass. Each pass after the first starts with half of them as context; these are already counted.
_WINDOW = 1024


def forgetting(before: str, after: str, *, device: str | None = None, dtype: str | None = None) -> pl.DataFrame:
    """Check a model before and after tuning.

    Args:
        before: a local model: `hf:ORG/NAME`, `gguf:FILE` or `embedded`.
        after: the same with `+ADAPTER`, or another model.
        device, dtype: as for `load_local`, for both models.

    Returns:
        A frame of FORGETTING, one row per measure.

    Raises:
        UsageError, MissingExtraError, InputDataError: as `load_local`.
        RunFailedError: a model gives no finite probabilities.
    """
    # One after the other: memory may not suffice for two models.
    first, counts = measured_of(before, device, dtype)
    second, after_counts = measured_of(after, device, dtype)
    return compared(first, second, {name: min(counts[name], after_counts[name]) for name in MEASURES})


def write_forgetting(folder: str | Path, found: pl.DataFrame) -> Path:
    """Write a frame of FORGETTING into an adapter's folder and return the file's path."""
    path = Path(folder) / FORGETTING_FILE
    write_text(path, csv_text(FORGETTING.check(found, "forgetting")))
    return path


def read_forgetting(folder: str | Path) -> pl.DataFrame | None:
    """Return the frame of FORGETTING in an adapter's folder; None without one.

    Raises:
        InputDataError: the file has another format.
    """
    path = Path(folder) / FORGETTING_FILE
    if not path.is_file():
        return None
    try:
        # Read as text: a hash may look like a number.
        found = pl.read_csv(path, infer_schema=False).with_columns(pl.all().map_elements(unescaped, return_dtype=pl.String))
        return FORGETTING.check(found, str(path))
    except pl.exceptions.PolarsError as error:
        raise InputDataError(f"{path} is not a table of forgetting ({error}); delete it and run the check again.") from error


def compared(before: Mapping[str, float], after: Mapping[str, float], counts: Mapping[str, int]) -> pl.DataFrame:
    """Return the frame of FORGETTING from the measures of two models."""
    return FORGETTING.frame(
        [
            {
                "measure": name,
                "before": before[name],
                "after": after[name],
                "difference": after[name] - before[name],
                "better": "lower" if name in _LOWER else "higher",
                "count": counts[name],
                "version": general_version(),
            }
            for name in MEASURES
        ]
    )


def general_check(name: str, loaded: Loaded) -> tuple[dict[str, float], dict[str, int]]:
    """Return each measure of a loaded model, and its number of tokens or questions.

    Raises:
        InputDataError: the tokenizer has no chat template.
        RunFailedError: the model gives no finite probabilities.
    """
    text = general_text()
    ids = loaded.tokenizer(text)["input_ids"]
    places = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None) or _WINDOW
    losses = token_losses(loaded.model, ids, window=min(_WINDOW, places))
    total = math.fsum(losses)
    if not math.isfinite(total):
        raise RunFailedError(f"{name}: the model gives no finite probabilities for a plain text; its weights are damaged.")
    respondent = LocalRespondent(name, loaded)
    measures = {"perplexity": math.exp(min(total / len(losses), 700.0)), "bits_per_byte": total / math.log(2) / len(text.encode())}
    asked = {way: off_topic(way) for way in ("text", "logprob")}
    measures |= _written(respondent, asked["text"]) | _scored(respondent, asked["logprob"])
    counts = {measure: len(losses) if measure in _LOWER else len(asked["text"]) for measure in MEASURES}
    return measures, counts


def token_losses(model: Any, ids: Sequence[int], *, window: int) -> list[float]:
    """Return -log p, in nats, of every token except the first, each given the tokens before it.

    Args:
        model: a causal language model. ids: the tokens of a text.
        window: maximum tokens per pass. Passes overlap by half a window, so every token after the first window has at
            least half a window before it.
    """
    import torch

    losses: list[float] = []
    done = 1
    while done < len(ids):
        begin = 0 if done == 1 else done - window // 2
        part = torch.tensor([list(ids[begin : begin + window])], device=model.device)
        with torch.inference_mode():
            logits = model(input_ids=part, use_cache=False).logits[0, done - begin - 1 : -1].float()
            wanted = part[0, done - begin :]
            losses += torch.nn.functional.cross_entropy(logits, wanted, reduction="none").tolist()
        done = begin + part.shape[1]
    return losses


def measured_of(model: str, device: str | None = None, dtype: str | None = None) -> tuple[dict[str, float], dict[str, int]]:
    """Load a model and return the result of `general_check`; arguments and errors as for `forgetting`."""
    return general_check(model, load_model(model, device=device, dtype=dtype))


def _written(respondent: LocalRespondent, asked: Sequence[GeneralPrompt]) -> dict[str, float]:
    """Return the shares of valid and of correct generated answers."""
    question_of = {one.prompt.key: one for one in asked}
    valid = right = 0
    for answer in respondent.answer([one.prompt for one in asked]):
        one = question_of[answer.prompt.key]
        parsed = parse_answer(answer.text or "", one.prompt.options, one.prompt.shown, one.labels)
        valid += parsed.status == "answered"
        right += parsed.answer == one.right
    return {"valid_share": valid / len(asked), "right_share": right / len(asked)}


def _scored(respondent: LocalRespondent, asked: Sequence[GeneralPrompt]) -> dict[str, float]:
    """Return the share of questions whose likeliest option is correct, and the mean mass of all options."""
    question_of = {one.prompt.key: one for one in asked}
    right, mass = 0, 0.0
    for answer in respondent.answer([one.prompt for one in asked]):
        one, shares = question_of[answer.prompt.key], answer.option_probs or ()
        # If several options are equally likely, the model has chosen none of them.
        best = [code for code, share in zip(one.prompt.shown, shares, strict=True) if share == max(shares)]
        right += best == [one.right]
        mass += answer.option_mass or 0.0
    return {"right_share_logprob": right / len(asked), "option_mass": mass / len(asked)}
