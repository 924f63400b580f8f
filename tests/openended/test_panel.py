"""Several judges of the same stances: their agreement and their majority, against tables worked by hand."""

import polars as pl
import pytest

from valuestrata.openended.schema import STANCES
from valuestrata.openended.stance.majority import judges_compared, majority

MALAY, OTHERS = "age_x_ethnicity_16-24-years_SG:-Malay", "age_x_ethnicity_35-44-years_SG:-Others"
# Of three judges: what each reads of five answers; a word is a status.
READ = {
    ("Q1", MALAY): (1, 1, 1),
    ("Q1", OTHERS): (4, 4, 2),
    ("Q182", MALAY): ("no_stance", "no_stance", 3),
    ("Q182", OTHERS): (1, 2, "unparsed"),
    ("spend", MALAY): ("silent", "silent", "silent"),
}


def readings(judges=3, run="open"):
    rows = []
    for number in range(judges):
        for (item, subgroup), said in READ.items():
            word = said[number]
            status = "answered" if isinstance(word, int) else "refused" if word == "silent" else word
            rows.append(
                {"pair_id": f"{item}_{subgroup}", "item": item, "subgroup": subgroup, "sample": 0, "run": run, "judge": "abc"[number]}
                | {"answer": word if isinstance(word, int) else None, "status": status, "attempts": 0 if word == "silent" else 1}
            )
    return STANCES.frame(rows)


def test_a_majority_is_more_than_half_of_the_judges():
    found = majority(readings())
    said = {row["pair_id"]: (row["status"], row["answer"]) for row in found.iter_rows(named=True)}
    assert said == {
        f"Q1_{MALAY}": ("answered", 1),
        f"Q1_{OTHERS}": ("answered", 4),
        f"Q182_{MALAY}": ("no_stance", None),
        f"Q182_{OTHERS}": ("unparsed", None),
        f"spend_{MALAY}": ("refused", None),
    }
    assert set(found["judge"]) == {"majority of 3 judges"}
    assert found.filter(pl.col("status") == "unparsed")["error"].to_list() == ["no reading has a majority of the judges"]
    assert found.filter(pl.col("attempts") == 0)["item"].to_list() == ["spend"]


def test_two_judges_have_a_majority_where_they_agree_and_one_has_none():
    two = dict(majority(readings(2)).select("pair_id", "status").iter_rows())
    assert (two[f"Q1_{OTHERS}"], two[f"Q182_{OTHERS}"]) == ("answered", "unparsed")
    assert majority(readings(1)).is_empty()
    # An answer that the second judge has not come to yet is no majority of two.
    part = readings(2).filter((pl.col("judge") == "a") | (pl.col("item") != "Q1"))
    assert dict(majority(part).select("pair_id", "status").iter_rows())[f"Q1_{MALAY}"] == "unparsed"


def test_every_two_judges_are_compared_on_what_both_read(handmade):
    found = judges_compared(handmade, readings(), by=("all",), bootstrap=0)
    figures = {(row["judge"], row["other"], row["metric"]): row for row in found.iter_rows(named=True)}
    assert {key[:2] for key in figures} == {("a", "b"), ("a", "c"), ("b", "c")}
    same = figures["a", "b", "same"]
    assert (same["value"], same["pairs"], same["items"]) == (pytest.approx(3 / 4), 4, 2)
    # a and c: 1 and 1, 4 and 2 (positions 1 and 1/3); no stance against an option is no place for kappa.
    assert figures["a", "c", "same"]["value"] == pytest.approx(1 / 3)
    kappa = figures["a", "c", "kappa"]
    expected = (0 + 1) / 2 + (0 + 1 / 9) / 2 - 2 * (1 / 2) * (1 / 6)
    assert (kappa["value"], kappa["pairs"]) == (pytest.approx(1 - (4 / 9) / 2 / expected), 2)
    assert judges_compared(handmade, readings(1)).is_empty()
