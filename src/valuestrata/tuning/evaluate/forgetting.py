"""What tuning costs elsewhere: a small general check of a model before and after.

| measure | what |
| --- | --- |
| `perplexity` | exp of the mean of -log p over the tokens of a fixed text; comparable between models of one tokenizer only |
| `bits_per_byte` | the same text, -log2 p of all its tokens over its bytes; comparable between tokenizers |
| `valid_share` | share of off-topic closed questions that are answered with one of their options, in the model's own words (`text`) |
| `right_share` | share of them answered rightly so; an answer that is none is wrong |
| `right_share_logprob` | share whose likeliest option, behind the prefill, is the right one (`logprob`) |
| `option_mass` | mean probability of all options together behind the prefill |

It is small: twenty questions have a standard error of a tenth. It shows that a model was broken, not that it was not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.errors import InputDataError, RunFailedError
from valuestrata.files import write_text
from valuestrata.frames import Column, Schema
from valuestrata.respondents.local.load import Loaded, load_model
from valuestrata.respondents.local.respondent import LocalRespondent
from valuestrata.responses.parse.choice import parse_answer
from valuestrata.tuning.evaluate.general_questions import Asked, general_text, general_version, off_topic

FORGETTING = Schema(
    "forgetting",
    {
        "measure": Column(pl.String, "perplexity, bits_per_byte, valid_share, right_share, right_share_logprob or option_mass"),
        "before": Column(pl.Float64, "of the model before"),
        "after": Column(pl.Float64, "of the model after"),
        "difference": Column(pl.Float64, "after - before"),
        "better": Column(pl.String, "`lower` or `higher`: where a model that forgot nothing would be"),
        "count": Column(pl.Int64, "tokens or questions behind it"),
        "version": Column(pl.String, "hash of the text and the questions"),
    },
)
FORGETTING_FILE = "forgetting.csv"
MEASURES: tuple[str, ...] = ("perplexity", "bits_per_byte", "valid_share", "right_share", "right_share_logprob", "option_mass")
_LOWER = ("perplexity", "bits_per_byte")
# Tokens in a pass at most; each pass after the first begins with half of them, already counted, as context.
_WINDOW = 1024


def forgetting(before: str, after: str, *, device: str | None = None, dtype: str | None = None) -> pl.DataFrame:
    """Check a model before and after tuning.

    Args:
        before: a model of this machine: `hf:ORG/NAME`, `gguf:FILE` or `embedded`.
        after: the same with `+ADAPTER`, or another one.
        device, dtype: as `load_local` takes them, for both.

    Returns:
        A frame of FORGETTING, a row a measure.

    Raises:
        UsageError, MissingExtraError, InputDataError: as `load_local`.
        RunFailedError: a model gives no finite probabilities.
    """
    # One after the other: two models may not fit where one does.
    first, counts = measured_of(before, device, dtype)
    second, after_counts = measured_of(after, device, dtype)
    return compared(first, second, {name: min(counts[name], after_counts[name]) for name in MEASURES})


def write_forgetting(folder: str | Path, found: pl.DataFrame) -> Path:
    """Keep a frame of FORGETTING in an adapter's folder, where its card finds it; return the file's path."""
    path = Path(folder) / FORGETTING_FILE
    write_text(path, FORGETTING.check(found, "forgetting").write_csv())
    return path


def read_forgetting(folder: str | Path) -> pl.DataFrame | None:
    """Return what an adapter's folder says of forgetting, a frame of FORGETTING; None where nobody looked.

    Raises:
        InputDataError: the file is of another form.
    """
    path = Path(folder) / FORGETTING_FILE
    if not path.is_file():
        return None
    try:
        # As text first: a hash may look like a number.
        return FORGETTING.check(pl.read_csv(path, infer_schema=False), str(path))
    except pl.exceptions.PolarsError as error:
        raise InputDataError(f"{path}: is no table of forgetting ({error}); remove it and look again.") from error


def compared(before: Mapping[str, float], after: Mapping[str, float], counts: Mapping[str, int]) -> pl.DataFrame:
    """Return the frame of FORGETTING of two results of `general_check`."""
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
    """Return each measure of a loaded model, and how many tokens or questions stand behind it.

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
        raise RunFailedError(f"{name}: the model gives no finite probabilities for a plain text; its weights are broken.")
    respondent = LocalRespondent(name, loaded)
    measures = {"perplexity": math.exp(min(total / len(losses), 700.0)), "bits_per_byte": total / math.log(2) / len(text.encode())}
    asked = {way: off_topic(way) for way in ("text", "logprob")}
    measures |= _written(respondent, asked["text"]) | _scored(respondent, asked["logprob"])
    counts = {measure: len(losses) if measure in _LOWER else len(asked["text"]) for measure in MEASURES}
    return measures, counts


def token_losses(model: Any, ids: Sequence[int], *, window: int) -> list[float]:
    """Return -log p, in nats, of every token but the first, each given what stands before it.

    Args:
        model: a causal language model. ids: the tokens of a text.
        window: tokens in a pass at most. A longer text is read in passes that overlap by half, so that from the second on
            every token has half a window before it at least.
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


def measured_of(word: str, device: str | None = None, dtype: str | None = None) -> tuple[dict[str, float], dict[str, int]]:
    """Load a model and return what `general_check` finds; arguments and errors as of `forgetting`."""
    return general_check(word, load_model(word, device=device, dtype=dtype))


def _written(respondent: LocalRespondent, asked: Sequence[Asked]) -> dict[str, float]:
    of = {one.prompt.key: one for one in asked}
    valid = right = 0
    for answer in respondent.answer([one.prompt for one in asked]):
        one = of[answer.prompt.key]
        parsed = parse_answer(answer.text or "", one.prompt.options, one.prompt.shown, one.labels)
        valid += parsed.status == "answered"
        right += parsed.answer == one.right
    return {"valid_share": valid / len(asked), "right_share": right / len(asked)}


def _scored(respondent: LocalRespondent, asked: Sequence[Asked]) -> dict[str, float]:
    of = {one.prompt.key: one for one in asked}
    right, mass = 0, 0.0
    for answer in respondent.answer([one.prompt for one in asked]):
        one, shares = of[answer.prompt.key], answer.option_probs or ()
        # A model that says the same of several options has chosen none of them.
        best = max(shares)
        first = [code for code, share in zip(one.prompt.shown, shares, strict=True) if share == best]
        right += first == [one.right]
        mass += answer.option_mass or 0.0
    return {"right_share_logprob": right / len(asked), "option_mass": mass / len(asked)}
