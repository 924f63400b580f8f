"""Attributes that the test part cannot show: which they are, where they are audited, and for which runs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from bench.audit_worlds import make_world
from valuestrata.claims.fairness.rules import audit_claims
from valuestrata.claims.templates import word
from valuestrata.fairness import AuditedPart, Resampling, audit
from valuestrata.fairness.elsewhere import unaudited, with_elsewhere
from valuestrata.responses.run.schema import RESPONSES

OPTIONS = {"bootstrap": 200, "permutations": 200, "seed": 0}


@pytest.fixture(scope="module")
def dataset():
    return make_world(8, 0, items=20, draws=20, bootstrap=0).dataset


def answers(dataset, part, name="m", worse="sex 1", **model):
    """A run of one part that gives the label to 8 in 10 pairs, and to 4 in 10 of one level of sex."""
    rows = dataset.gold.join(dataset.part("paper", part), on=["item", "subgroup"], how="semi").filter(half="all")
    rows = rows.join(dataset.subgroups.select("subgroup", "sex"), on="subgroup", maintain_order="left")
    rows = rows.join(dataset.items.select("item", "codes"), on="item", maintain_order="left")
    chance = np.where(rows["sex"].fill_null("") == worse, 0.4, 0.8)
    right = np.random.default_rng(0).random(len(rows)) < chance
    shown = zip(rows["mode"], rows["codes"], right, strict=True)
    answer = [mode if yes else next(code for code in codes if code != mode) for mode, codes, yes in shown]
    frame = rows.select("pair_id", "item", "subgroup").with_columns(
        elicitation=pl.lit("text"),
        template=pl.lit("default"),
        order=pl.lit("scale"),
        sample=pl.lit(0),
        status=pl.lit("answered"),
        answer=pl.Series(answer, dtype=pl.Int64),
    )
    respondent = {"name": "embedded", "provider": "transformers", **model}
    meta = {"respondent": respondent, "dataset": {"fingerprint": dataset.fingerprint}}
    return SimpleNamespace(name=name, meta=meta, responses=RESPONSES.frame(frame.to_dicts()))


def audited(dataset, runs):
    found = audit(dataset, runs, metrics=["accuracy"], **OPTIONS)
    return found, with_elsewhere(dataset, runs, found, AuditedPart(), Resampling(**OPTIONS), metrics=["accuracy"])


def test_the_test_part_has_no_two_sexes(dataset):
    where = unaudited(dataset, "paper", "test")
    assert (where.attributes, where.part) == (("sex",), "train")
    assert where.strata == ("sex", "sex_x_age", "sex_x_religion")
    assert len(where.subgroups) == 2 + 2 * 4 + 2 * 2
    assert unaudited(dataset, "paper", "all") is None
    assert unaudited(dataset, "paper", "train") is None


def test_sex_is_audited_where_it_is_asked(dataset):
    found, more = audited(dataset, [answers(dataset, "all")])
    assert set(found.gaps["attribute"]) == {"age_group", "religion"}
    added = more.gaps.filter(part="train")
    assert added["attribute"].to_list() == ["sex"]
    assert abs(abs(added["gap"][0]) - 0.4) < 0.1
    # Only rows about sex are added, and those of the test part stay.
    assert more.gaps.filter(part="test").equals(found.gaps)
    assert more.groups.equals(found.groups)
    assert set(more.disparity.filter(part="train").select("by", "key").rows()) == {("attribute", "sex")}
    added_notes = more.notes[len(found.notes) :]
    assert added_notes[0].startswith("The part test of the split paper has no two subgroups that differ in sex")
    assert added_notes[1] == "sex is audited on the part train instead, in 14 subgroups."


def test_claims_name_the_part_and_share_the_error_of_the_first_screen(dataset):
    runs = [answers(dataset, "all")]
    found, more = audited(dataset, runs)
    claims = audit_claims(more, runs)
    (differ,) = [claim for claim in claims if claim.kind == "differ" and claim.key == "sex"]
    assert word(differ).sentence.startswith("On the part train: Accuracy differs between levels of sex beyond noise")
    # One third of the level, nine tenths of it for differences.
    p = more.disparity.filter(part="train", measure="spread_corrected")["p"][0]
    assert differ.page_p == pytest.approx(p / 0.3)
    assert differ.on_first_screen
    alone = {(one.kind, one.key): one.page_p for one in audit_claims(found, runs) if one.page_p is not None}
    both = {(one.kind, one.key): one.page_p for one in claims if one.part == "test" and one.page_p is not None}
    assert all(min(1.0, value * 1.5) == pytest.approx(both[key]) for key, value in alone.items() if key in both)


def test_a_run_that_was_not_asked_is_told_how(dataset):
    found, more = audited(dataset, [answers(dataset, "test")])
    assert more.gaps.equals(found.gaps)
    assert more.notes[-1] == (
        "m has no answers to pairs with sex: to audit sex, ask with part train and strata sex, sex_x_age, sex_x_religion."
    )


def test_a_run_trained_there_is_flagged(dataset):
    runs = [answers(dataset, "all", adapter_hash="a", taught_on={"dataset": dataset.fingerprint})]
    _, more = audited(dataset, runs)
    assert "m: trained on pairs of this data set, so figures on the part train are no test." in more.notes
    (differ,) = [claim for claim in audit_claims(more, runs) if claim.kind == "differ" and claim.key == "sex"]
    assert word(differ).sentence.startswith("On the part train, on which the run was trained: Accuracy differs")
