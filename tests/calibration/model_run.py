"""Runs of an invented model, written without asking one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.files import write_json
from valuestrata.responses.run.folder import RUN, Run, load_run, new_meta, write_table
from valuestrata.responses.run.schema import RESPONSES

EMBEDDED = {"name": "embedded", "provider": "transformers", "model": "small", "revision": "1"}
Shares = Callable[[str, str], np.ndarray | None]


def written(dataset: Dataset, folder: Path, shares: Shares, respondent: dict | None = None, **fields: object) -> Run:
    """Write a run whose answers to a pair are `shares(item, subgroup)`; pairs with None are left out."""
    rows = []
    for pair_id, item, subgroup in dataset.gold.filter(half="all").select("pair_id", "item", "subgroup").iter_rows():
        if subgroup == "all" or (given := shares(item, subgroup)) is None:
            continue
        codes = dataset.codes_of[item]
        rows.append(
            {"pair_id": pair_id, "item": item, "subgroup": subgroup, "order": "scale", "shown": list(codes), "sample": 0}
            | {"elicitation": "logprob", "template": "default", "template_version": "1", "paraphrase": 0, "status": "answered"}
            | {"answer": codes[int(np.argmax(given))], "option_probs": [float(p) for p in given], "attempts": 1}
        )
    found = pl.DataFrame(rows, schema={name: RESPONSES.columns[name].dtype for name in RESPONSES.columns})
    write_table(folder, found, None)
    meta = new_meta(dataset, folder.name, "asked", respondent=respondent or EMBEDDED, elicitation="logprob", template="default")
    write_json(folder / RUN, {**meta, **fields})
    return load_run(folder)


def biased(dataset: Dataset, seed: int = 0, slope: float = 3.0) -> Shares:
    """Return a model that is too confident: gold shares with noise, to a power."""
    rng = np.random.default_rng(seed)
    gold = dataset.gold.filter(half="all").select("item", "subgroup", "shares")
    found = {}
    for item, subgroup, shares in gold.iter_rows():
        logits = slope * (np.log(np.array(shares) + 0.05) + 0.3 * rng.standard_normal(len(shares)))
        found[item, subgroup] = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    return lambda item, subgroup: found[item, subgroup]
