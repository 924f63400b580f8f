"""Schema of the table of responses, one row per response."""

from __future__ import annotations

from typing import Literal

import polars as pl

from valuestrata.frames import Column, Schema

Status = Literal["answered", "refused", "unparsed", "invalid_code", "failed"]
STATUSES: tuple[Status, ...] = ("answered", "refused", "unparsed", "invalid_code", "failed")

RESPONSES = Schema(
    "responses.parquet",
    {
        "pair_id": Column(pl.String, "{item}_{subgroup}"),
        "item": Column(pl.String, "item id"),
        "subgroup": Column(pl.String, "subgroup id"),
        "elicitation": Column(
            pl.String, "readout: text, logprob, first-token, stated-distribution, reasoned or open; per-respondent or shares if imported"
        ),
        "template": Column(pl.String, "persona template"),
        "template_version": Column(pl.String, "its version"),
        "paraphrase": Column(pl.Int32, "paraphrase of the template, from 0"),
        "order": Column(pl.String, "option order: scale, reversed, shuffled-SEED, balanced-I-of-N"),
        "shown": Column(pl.List(pl.Int32), "scale codes in displayed order"),
        "sample": Column(pl.Int32, "0, 1, ..."),
        "prompt_hash": Column(pl.String, "SHA-256 of the prompt"),
        "text": Column(pl.String, "text written by the model; for reasoned its closing part"),
        "reasoning": Column(pl.String, "reasoning returned separately by the provider; for reasoned also the text before the closing part"),
        "answer": Column(pl.Int32, "scale code, null unless answered; always null for open"),
        "status": Column(pl.String, "answered, refused, unparsed, invalid_code or failed"),
        "error": Column(pl.String, "reason of a failure or of an unread answer"),
        "attempts": Column(pl.Int32, "number of calls"),
        "finish_reason": Column(pl.String, "as returned by the provider"),
        "option_probs": Column(pl.List(pl.Float64), "probabilities in SCALE order (not displayed order), sum 1"),
        "option_mass": Column(pl.Float64, "total probability of the options before normalisation; null if not measured"),
        "prompt_tokens": Column(pl.Int64, "input tokens"),
        "completion_tokens": Column(pl.Int64, "output tokens"),
        "cost": Column(pl.Float64, "US dollars"),
        "latency": Column(pl.Float64, "seconds"),
        "respondents": Column(pl.Int64, "simulated respondents behind `option_probs`; null if it is one answer", optional=True),
    },
)
