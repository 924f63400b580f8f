"""Files of a prediction: tables, and a document that says how they were made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.files import sha256_of, write_json, write_parquet, write_text
from valuestrata.frames import csv_text
from valuestrata.prediction.conformal import CONFIDENCE
from valuestrata.prediction.predict import Prediction
from valuestrata.prediction.sentences import opening
from valuestrata.responses.run.folder import new_meta

FORMAT = "valuestrata-prediction-1"
DOCUMENT = "predict.json"


def write_prediction_tables(prediction: Prediction, out: Path) -> None:
    """Write predictions.parquet, predictions.csv, backtest.parquet, errors.csv, coverage.csv, similarity.csv and predict.json."""
    write_parquet(out / "predictions.parquet", prediction.table)
    write_parquet(out / "backtest.parquet", prediction.backtest.pairs)
    frames = {
        "predictions": prediction.table,
        "errors": prediction.backtest.errors,
        "coverage": prediction.backtest.coverage,
        "similarity": prediction.similarity,
    }
    for name, frame in frames.items():
        write_text(out / f"{name}.csv", csv_text(frame))
    document = prediction_document(prediction)
    document["sha256"] = {name: sha256_of(out / name) for name in ("predictions.parquet", "backtest.parquet")}
    write_json(out / DOCUMENT, document)


def prediction_document(prediction: Prediction) -> dict[str, Any]:
    """Return how a prediction was made, with its backtest, for JSON."""
    backtest = prediction.backtest
    made = new_meta(prediction.dataset, "prediction", "prediction")
    return {
        **{key: value for key, value in made.items() if key not in ("name", "kind")},
        "format": FORMAT,
        "model": prediction.model,
        "runs": dict(prediction.runs),
        "method": prediction.method,
        "settings": json.loads(json.dumps(prediction.settings, default=str)),
        "questions": [one.document for one in prediction.questions],
        "sentences": opening(prediction),
        "intervals": {
            "confidence": CONFIDENCE,
            "units": backtest.units,
            "unit": "block" if backtest.by_block else "item",
            "coverage": backtest.coverage.to_dicts(),
        },
        "backtest": {
            "held_out": backtest.held.unit,
            "folds": list(backtest.held.labels),
            "best_without_model": backtest.best,
            "errors": backtest.errors.to_dicts(),
        },
        "similarity": prediction.similarity.to_dicts(),
    }


def population_table(prediction: Prediction) -> pl.DataFrame:
    """Return the predictions for the population: question, option, share and interval, most likely answer with its probability."""
    rows = prediction.table.filter(pl.col("subgroup") == "all")
    return rows.select("question", "option", "share", "low", "high", "probability", "outside")
