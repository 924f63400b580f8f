"""Averages of a model's answers."""

from types import SimpleNamespace

import polars as pl
import pytest

from valuestrata.calibration.model_answers import model_answers


def test_orders_have_equal_weight_whatever_their_number_of_samples():
    dataset = SimpleNamespace(codes_of={"q": (1, 2)})
    rows = [
        ("q", "s", "scale", None, [0.2, 0.8]),
        ("q", "s", "scale", None, [0.4, 0.6]),
        ("q", "s", "reversed", 2, None),
        ("q", "s", "reversed", None, None),
    ]
    schema = {"item": pl.String, "subgroup": pl.String, "order": pl.String, "answer": pl.Int32, "option_probs": pl.List(pl.Float64)}
    found = model_answers(dataset, pl.DataFrame(rows, schema=schema, orient="row"))
    assert found.shares["q", "s"] == pytest.approx([0.15, 0.85])
    assert found.n["q", "s"] == 3


def test_responses_that_stand_for_respondents_count_as_many():
    dataset = SimpleNamespace(codes_of={"q": (1, 2), "r": (1, 2, 3)})
    rows = [("q", "s", "scale", 1, [0.75, 0.25], 40), ("r", "s", "scale", 3, None, None)]
    schema = {"item": pl.String, "subgroup": pl.String, "order": pl.String, "answer": pl.Int32, "option_probs": pl.List(pl.Float64)}
    found = model_answers(dataset, pl.DataFrame(rows, schema={**schema, "respondents": pl.Int64}, orient="row"))
    assert found.n == {("q", "s"): 40, ("r", "s"): 1}
    assert found.shares["r", "s"].tolist() == [0, 0, 1]
