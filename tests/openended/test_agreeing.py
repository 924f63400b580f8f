"""Closed against open: hand-worked agreement, and kappa against another library's."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from tests.openended.protocol import Speaks, open_run
from valuestrata.errors import InputDataError
from valuestrata.openended.files import load_stances
from valuestrata.openended.schema import STANCES
from valuestrata.openended.stance.closed_vs_open import closed_against_open, closed_runs_of
from valuestrata.openended.stance.read import open_stance, plan_stance
from valuestrata.respondents.controls.control import make_control
from valuestrata.responses.ask.loop import ask
from valuestrata.responses.run.folder import load_run
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.stats.agreement import kappa_from_moments

PAIRS = [f"age_x_ethnicity_{rest}" for rest in ("16-24-years_SG:-Malay", "35-44-years_SG:-Others")]


def closed_run(rows):
    made = [
        {"pair_id": f"{item}_{subgroup}", "item": item, "subgroup": subgroup, "answer": code, "status": status, "sample": 0}
        for item, subgroup, code, status in rows
    ]
    return SimpleNamespace(name="closed", meta={}, responses=RESPONSES.frame(made))


def stances(rows):
    return STANCES.frame(
        [
            {"pair_id": f"{item}_{subgroup}", "item": item, "subgroup": subgroup, "sample": sample, "run": "open", "judge": "judge"}
            | {"answer": code, "status": status}
            for item, subgroup, sample, code, status in rows
        ]
    )


def test_agreement_against_a_table_worked_by_hand(handmade):
    malay, others = PAIRS
    closed = closed_run(
        [("Q1", malay, 1, "answered"), ("Q1", others, 4, "answered"), ("spend", malay, 0, "answered"), ("spend", others, None, "refused")]
    )
    said = stances(
        [
            ("Q1", malay, 0, 1, "answered"),  # positions 0 and 0
            ("Q1", malay, 1, 4, "answered"),  # 0 and 1: the pair is half same, half a scale apart
            ("Q1", others, 0, 3, "answered"),  # 1 and 2/3
            ("spend", malay, 0, None, "no_stance"),
            ("spend", others, 0, 1, "answered"),
        ]
    )
    found = closed_against_open(handmade, said, [("open", closed)], bootstrap=0)
    everything = dict(found.filter(pl.col("by") == "all").select("metric", "value").iter_rows())
    assert everything["same"] == pytest.approx((0.5 + 0) / 2)
    assert everything["distance"] == pytest.approx((0.5 + 1 / 3) / 2)
    assert everything["both"] == pytest.approx(2 / 4)
    # Means over pairs: apart (1/2 + 1/9)/2, x 1/2, y (1/2 + 2/3)/2, x^2 1/2, y^2 (1/2 + 4/9)/2.
    expected = 1 / 2 + (1 / 2 + 4 / 9) / 2 - 2 * (1 / 2) * (1 / 2 + 2 / 3) / 2
    assert everything["kappa"] == pytest.approx(1 - (1 / 2 + 1 / 9) / 2 / expected)
    level = found.filter(pl.col("key") == "ethnicity=SG: Others", pl.col("metric") == "same").row(0, named=True)
    assert (level["value"], level["pairs"], level["items"]) == (0.0, 1, 1)


@given(st.data())
def test_kappa_is_that_of_another_library_on_one_scale(data):
    options = data.draw(st.integers(2, 7))
    size = data.draw(st.integers(2, 60))
    codes = st.lists(st.integers(0, options - 1), min_size=size, max_size=size)
    left, right = np.array(data.draw(codes)), np.array(data.draw(codes))
    x, y = left / (options - 1), right / (options - 1)
    ours = float(kappa_from_moments(np.array([(x - y) ** 2, x, y, x**2, y**2]).mean(axis=1)))
    if len(set(left) | set(right)) == 1:
        assert np.isnan(ours)
    else:
        assert ours == pytest.approx(cohen_kappa_score(left, right, labels=range(options), weights="quadratic"), abs=1e-9)


def test_a_closed_run_is_found_by_its_model_whatever_its_decoding(handmade, tmp_path):
    run = open_run(handmade, tmp_path / "open", lambda _: "I care a lot.", "fake:one")
    open_stance(plan_stance(handmade, [run], Speaks(lambda _: "Answer: 1", "fake:judge"), elicitation="text"), tmp_path / "read")
    read = load_stances(tmp_path / "read")
    ask(handmade, Speaks(lambda _: "Answer: 1", "fake:one", decoding={"max_new_tokens": 32}), tmp_path / "same", elicitation="text")
    ask(handmade, Speaks(lambda _: "Answer: 1", "fake:two"), tmp_path / "else", elicitation="text")
    same, other = load_run(tmp_path / "same"), load_run(tmp_path / "else")
    assert [(name, closed.name) for name, closed in closed_runs_of(read, [other, same])] == [("open", "same")]
    found = closed_against_open(handmade, read.stances, closed_runs_of(read, [same]), by=("all",), bootstrap=0)
    # `Answer: 1` is the first option of Q1 and Q182, and of spend, too, whose negative codes are printed as 1 to 3.
    assert dict(found.select("metric", "value").iter_rows())["same"] == 1
    with pytest.raises(InputDataError, match=r"none of the closed runs \(else\) is by a model that wrote these open answers \(open\)"):
        closed_runs_of(read, [other])


def test_a_control_is_not_the_model_inside_it(handmade, tmp_path):
    run = open_run(handmade, tmp_path / "open", lambda _: "I care a lot.", "fake:one")
    open_stance(plan_stance(handmade, [run], Speaks(lambda _: "Answer: 1", "fake:judge"), elicitation="text"), tmp_path / "read")
    told_nothing = make_control("control:no-persona@fake:one", handmade, lambda word: Speaks(lambda _: "Answer: 1", word))
    ask(handmade, told_nothing, tmp_path / "nobody", elicitation="text")
    control = load_run(tmp_path / "nobody")
    with pytest.raises(InputDataError, match=r"none of the closed runs \(nobody\) is by a model"):
        closed_runs_of(load_stances(tmp_path / "read"), [control])
