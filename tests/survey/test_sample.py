"""Sampling units, strata, replicate weights and pooling of countries, as read from survey files."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valuestrata.building import BuildSettings, build
from valuestrata.dataset.design import design_document, design_text
from valuestrata.errors import InputDataError, UsageError
from valuestrata.survey import load_codebook, read_survey
from valuestrata.survey.sample.design import DesignColumns, read_design
from valuestrata.survey.sample.weights import pool_countries

CODEBOOK = """
survey: mine
title: Mine
country_alpha_column: cntry
weight: w
{keys}
missing: {{no_answer: {{codes: [9], labels: [Not delivered]}}}}
items:
  - {{id: q, topic: T, codes: [1, 2], labels: [Yes, No], question: "Is it so?"}}
attributes:
  - {{name: sex, column: sex, levels: [{{label: Male, code: 1}}, {{label: Female, code: 2}}]}}
"""


def codebook(folder, keys=""):
    path = folder / "mine.yaml"
    path.write_text(CODEBOOK.format(keys=keys))
    return path


def table(folder, people=12, **columns):
    """Write a survey of `people` respondents, half men and half women, of one country unless columns say otherwise."""
    base = {"cntry": ["AT"] * people, "w": [1.0, 2.0] * (people // 2), "q": [1, 2, 2] * (people // 3), "sex": [1, 2] * (people // 2)}
    path = folder / "mine.csv"
    pl.DataFrame({**base, **columns}, strict=False).write_csv(path)
    return path


def units_of(survey):
    """Return the units as groups of respondents, with the stratum of each, in the order of the units."""
    design = survey.design
    return [(np.flatnonzero(design.unit == u).tolist(), int(h)) for u, h in enumerate(design.stratum)]


def test_units_are_nested_in_strata(tmp_path):
    """Unit 1 of stratum A is another unit than unit 1 of stratum B."""
    path = table(tmp_path, v=["A"] * 6 + ["B"] * 6, p=[1, 1, 1, 2, 2, 2] * 2)
    found = read_survey(path, codebook(tmp_path, "design: {psu: p, strata: v}"))
    assert units_of(found) == [([0, 1, 2], 0), ([3, 4, 5], 0), ([6, 7, 8], 1), ([9, 10, 11], 1)]
    assert found.design.columns == {"psu": ("p",), "strata": ("v",)}
    assert design_document(found.design) == {"kind": "units", "columns": {"psu": ["p"], "strata": ["v"]}, "units": 4, "strata": 2}
    assert "p" not in found.findings.ignored_columns


def test_units_and_strata_are_nested_in_countries(tmp_path):
    path = table(tmp_path, cntry=["AT"] * 6 + ["CH"] * 6, v=[1] * 12, p=[1, 1, 1, 2, 2, 2] * 2)
    found = read_survey(path, codebook(tmp_path, "design: {psu: p, strata: v}"))
    assert units_of(found) == [([0, 1, 2], 0), ([3, 4, 5], 0), ([6, 7, 8], 1), ([9, 10, 11], 1)]


def test_each_country_uses_the_first_column_with_values(tmp_path):
    """Austria delivered no units (-4), so its interviewers stand for them."""
    path = table(tmp_path, cntry=["AT"] * 6 + ["CH"] * 6, p=[-4] * 6 + [5, 5, 5, 6, 6, 6], i=[1, 1, 2, 2, 3, 3] * 2)
    found = read_survey(path, codebook(tmp_path, "design: {psu: [p, i]}"))
    assert [people for people, _ in units_of(found)] == [[0, 1], [2, 3], [4, 5], [6, 7, 8], [9, 10, 11]]
    assert found.design.columns == {"psu": ("i", "p")}


def test_strata_without_units_hold_respondents(tmp_path):
    found = read_survey(table(tmp_path, v=[1, 2] * 6), codebook(tmp_path, "design: {strata: v}"))
    assert len(found.design.stratum) == 12
    assert found.design.stratum[found.design.unit].tolist() == [0, 1] * 6
    assert not found.design.clustered
    assert "respondents in 2 strata (v)" in design_text(design_document(found.design))


@pytest.mark.parametrize("lost", [-4, None, "NA", "Not delivered"])
def test_respondents_without_a_unit_or_stratum_are_counted(tmp_path, lost):
    path = table(tmp_path, p=[1, 1, 2, 2, lost, lost, 3, 3, 4, 4, 5, 5], v=["A"] * 4 + ["B"] * 6 + [None] * 2)
    found = read_survey(path, codebook(tmp_path, "design: {psu: p, strata: v}"))
    assert [people for people, _ in units_of(found)] == [[10, 11], [0, 1], [2, 3], [6, 7], [8, 9], [4], [5]]
    notes = " ".join(found.findings.notes)
    assert "2 of 12 respondents have no sampling unit (p); each counts as a unit of its own." in notes
    assert "2 of 12 respondents have no sampling stratum (v); they form a stratum of their own." in notes


def test_a_stratum_with_one_unit_joins_the_next_and_the_last_the_one_before(tmp_path):
    # Strata 1 to 4 have 1, 2, 2 and 1 units: 1 joins 2, and 4 joins 3.
    path = table(tmp_path, v=[1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4], p=[1, 1, 1, 1, 2, 2, 1, 1, 2, 2, 1, 1])
    found = read_survey(path, codebook(tmp_path, "design: {psu: p, strata: v}"))
    assert found.design.stratum.tolist() == [0, 0, 0, 1, 1, 1]
    assert (
        "2 sampling strata have a single sampling unit each and were combined with the next stratum of the country." in found.findings.notes
    )


def test_single_units_are_never_combined_across_countries(tmp_path):
    path = table(tmp_path, cntry=["AT"] * 6 + ["CH"] * 6, v=[1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3], p=[1] * 12)
    # A column with one value names no units: respondents are the units, and no stratum is single.
    assert len(read_survey(path, codebook(tmp_path, "design: {psu: p, strata: v}")).design.stratum) == 12
    path = table(tmp_path, cntry=["AT"] * 6 + ["CH"] * 6, v=[1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3], p=[1, 1, 2, 2, 3, 3] * 2)
    assert read_survey(path, codebook(tmp_path, "design: {psu: p, strata: v}")).design.stratum.tolist() == [0, 0, 0, 1, 1, 1]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 4), st.integers(-1, 4)), min_size=2, max_size=40))
def test_every_unit_lies_in_one_stratum_and_country(rows):
    """Strata keep at least two units wherever the country has two."""
    country, stratum, unit = (np.array(column) for column in zip(*rows, strict=True))
    columns = DesignColumns([pl.Series("p", unit).replace(-1, None)], [pl.Series("v", stratum).replace(-1, None)])
    design, _ = read_design(columns, None, len(rows), None, country.astype(np.int32))
    if design is None:
        return
    units_in = {}
    for u, h in enumerate(design.stratum.tolist()):
        inside = design.unit == u
        assert len(set(country[inside].tolist())) == 1
        # A column with one value in a country does not stratify it.
        values = set(stratum[country == country[inside][0]].tolist()) - {-1}
        assert len(set(stratum[inside].tolist())) == 1 or len(values) < 2
        units_in.setdefault((int(country[inside][0]), h), set()).add(u)
    of_country = {c: set().union(*(found for (where, _), found in units_in.items() if where == c)) for c in set(country.tolist())}
    for (c, _), found in units_in.items():
        assert len(found) > 1 or len(of_country[c]) == 1
    assert len({h for _, h in units_in}) == len(units_in)  # no stratum reaches into another country


def test_a_design_without_values_is_none_and_the_build_says_so(tmp_path):
    found = read_survey(table(tmp_path, p=[-4] * 12), codebook(tmp_path, "design: {psu: p}"))
    assert found.design is None
    built = build(found, BuildSettings(min_respondents=1, min_valid=1, draws=10))
    assert built.meta["design"] is None
    assert "treat respondents as independent" in design_text(built.meta["design"], built.meta["design_effect"])


@pytest.mark.parametrize(
    "key", ["psu: nowhere", "strata: nowhere", "pooling_weight: nowhere", "replicate_weights: {columns: rep*, type: brr}"]
)
def test_absent_columns_of_a_design_are_refused(tmp_path, key):
    with pytest.raises(InputDataError, match=rf"not in the file.*remove the key `{key.split(':')[0]}`"):
        read_survey(table(tmp_path), codebook(tmp_path, f"design: {{{key}}}"))


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("design: {weight: other}", "the key `weight` names 'w'"),
        ("design: {cluster: p}", "cluster"),
        ("design: {replicate_weights: {columns: rep, type: brr}}", "write a pattern such as 'rep\\*'"),
        ("design: {replicate_weights: {columns: [r1, r2], type: brr, scale: [1, 1]}}", "brr replicates have one number"),
        ("design: {replicate_weights: {columns: [r1, r2], type: jackknife, scale: [1]}}", "found 1 numbers for 2 columns"),
        ("design: {replicate_weights: {columns: [r1, r2], type: fay}}", "jackknife"),
    ],
)
def test_a_wrong_design_is_refused_with_its_place(tmp_path, keys, problem):
    with pytest.raises(InputDataError, match=problem) as refused:
        load_codebook(codebook(tmp_path, keys))
    assert "mine.yaml" in str(refused.value)


def test_the_weight_may_be_named_under_design(tmp_path):
    text = CODEBOOK.replace("weight: w\n", "").format(keys="design: {weight: w}")
    (tmp_path / "mine.yaml").write_text(text)
    assert read_survey(table(tmp_path), tmp_path / "mine.yaml").weight.tolist() == [1.0, 2.0] * 6


def test_replicate_weights_are_read_by_pattern(tmp_path):
    r1, r2 = [2.0, 0.0] * 6, [0.0, 4.0] * 6
    keys = "design: {replicate_weights: {columns: 'Rep*', type: bootstrap}}"
    found = read_survey(table(tmp_path, rep1=r1, rep2=r2), codebook(tmp_path, keys))
    replicates = found.design.replicates
    np.testing.assert_allclose(replicates.ratios[:2], [[2, 0], [0, 2]])
    np.testing.assert_allclose(replicates.scale, 0.5)
    assert design_document(found.design) == {"kind": "bootstrap", "columns": {"replicate_weights": ["rep1", "rep2"]}, "replicates": 2}
    assert not {"rep1", "rep2"} & set(found.findings.ignored_columns)
    assert "2 replicate weights (bootstrap; rep1 to rep2)" in design_text(design_document(found.design))


def test_units_are_kept_beside_replicate_weights(tmp_path):
    """Variances come from the replicates; halves keep units together."""
    path = table(tmp_path, p=[1, 1, 2, 2, 3, 3] * 2, rep1=[2.0, 0.0] * 6, rep2=[0.0, 4.0] * 6)
    keys = "design: {psu: p, replicate_weights: {columns: [rep1, rep2], type: brr}}"
    design = read_survey(path, codebook(tmp_path, keys)).design
    assert design.unit.tolist() == [0, 0, 1, 1, 2, 2] * 2
    assert design.replicates.kind == "brr"
    assert design_document(design)["kind"] == "brr"


def test_a_data_set_is_built_from_replicate_weights(tmp_path):
    keys = "design: {replicate_weights: {columns: [rep1, rep2], type: brr}}"
    survey = read_survey(table(tmp_path, w=[1.0] * 12, rep1=[2.0, 0.0] * 6, rep2=[0.0, 2.0] * 6), codebook(tmp_path, keys))
    built = build(survey, BuildSettings(min_respondents=1, min_valid=1, draws=40))
    # Each draw is one of the two halves, in which 2 of 6 and 2 of 6 answer Yes: no variance between them.
    assert built.mode_draws.filter(pair_id="q_all", half="all")["share_se"][0].to_list() == pytest.approx([0, 0])
    assert built.gold.filter(subgroup="all", half="all")["n_eff"][0] == 12


@pytest.mark.parametrize(("cell", "problem"), [(None, "missing, negative or infinite for 1 of 12"), (-1.0, "column 'rep2'")])
def test_replicate_weights_without_a_value_are_refused(tmp_path, cell, problem):
    path = table(tmp_path, rep1=[1.0] * 12, rep2=[1.0] * 11 + [cell])
    with pytest.raises(InputDataError, match=problem):
        read_survey(path, codebook(tmp_path, "design: {replicate_weights: {columns: [rep1, rep2], type: brr}}"))


def test_replicate_weights_of_another_weight_are_refused(tmp_path):
    path = table(tmp_path, w=[0.0, 2.0] * 6, rep1=[1.0] * 12, rep2=[1.0] * 12)
    with pytest.raises(InputDataError, match="6 respondents have the weight 0 but positive replicate weights"):
        read_survey(path, codebook(tmp_path, "design: {replicate_weights: {columns: [rep1, rep2], type: brr}}"))


# Two countries: three Austrians of weights 1, 1, 2, of whom the last says Yes; one Swiss of weight 1 who says Yes.
TWO = {"cntry": ["AT", "AT", "AT", "CH"], "w": [1.0, 1.0, 2.0, 1.0], "q": [2, 2, 1, 1], "sex": [1, 2, 1, 2], "pw": [0.5, 0.5, 0.5, 3.0]}


def share_of_yes(folder, keys="", **call):
    path = folder / "two.csv"
    pl.DataFrame(TWO).write_csv(path)
    survey = read_survey(path, codebook(folder, keys), **call)
    gold = build(survey, BuildSettings(min_respondents=1, min_valid=1, draws=10)).gold
    return gold.filter(half="all", subgroup="all")["shares"][0][0], survey


@pytest.mark.parametrize(
    ("pooling", "keys", "share"),
    [
        # Each country counts half: (2/4 + 1) / 2.
        ("equal-per-country", "", 0.75),
        # Austria counts three times as much: (3 x 2/4 + 1) / 4.
        ("equal-per-respondent", "", 0.625),
        # Weights .5, .5, 1, 3: (1 + 3) / 5.
        ("weight", "design: {pooling_weight: pw}", 0.8),
        (None, "design: {pooling_weight: [absent, pw]}", 0.8),
        # A weight that contains the pooling weight is used once: 1, 1, 2, 1.
        ("weight", "design: {pooling_weight: w}", 0.6),
    ],
)
def test_shares_of_pooled_countries_by_hand(tmp_path, pooling, keys, share):
    found, survey = share_of_yes(tmp_path, keys, pooling=pooling)
    assert found == pytest.approx(share)
    assert survey.pooling == (pooling or "weight")


def test_several_countries_without_a_choice_are_refused(tmp_path):
    with pytest.raises(InputDataError, match=r"come from 2 countries.*`pooling_weight`") as refused:
        share_of_yes(tmp_path)
    text = refused.value.render("cli")
    assert text.startswith("two.csv: ")
    assert "--pooling equal-per-country" in text
    assert "--pooling equal-per-respondent" in text
    # Reading and describing the file is possible; one country needs no choice.
    assert share_of_yes(tmp_path, countries=["AT"])[0] == pytest.approx(0.5)


def test_wrong_choices_of_pooling_are_refused(tmp_path):
    with pytest.raises(UsageError, match="Did you mean 'equal-per-country'"):
        share_of_yes(tmp_path, pooling="equal-per-contry")
    with pytest.raises(InputDataError, match="the codebook names none"):
        share_of_yes(tmp_path, pooling="weight")
    with pytest.raises(UsageError, match="unweighted"):
        share_of_yes(tmp_path, pooling="equal-per-country", weighted=False)


def test_a_pooling_weight_of_text_is_refused(tmp_path):
    path = tmp_path / "two.csv"
    pl.DataFrame({**TWO, "pw": ["much", "much", "little", "little"]}).write_csv(path)
    with pytest.raises(InputDataError, match="column 'pw': the pooling weight holds text"):
        read_survey(path, codebook(tmp_path, "design: {pooling_weight: pw}"))


def test_unweighted_countries_count_each_respondent_once(tmp_path):
    path = tmp_path / "two.csv"
    pl.DataFrame(TWO).write_csv(path)
    survey = read_survey(path, codebook(tmp_path))
    built = build(survey, BuildSettings(min_respondents=1, min_valid=1, draws=10, weighted=False))
    assert built.gold.filter(half="all", subgroup="all")["shares"][0][0] == pytest.approx(0.5)
    assert built.meta["pooling"] == "equal-per-respondent"


def test_pooled_weights_by_hand():
    country = np.array([0, 0, 1])
    assert pool_countries("equal-per-country", None, country, None).tolist() == [0.75, 0.75, 1.5]
    assert pool_countries("equal-per-respondent", None, country, None) is None
    assert pool_countries("equal-per-respondent", np.array([1.0, 3.0, 8.0]), country, None).tolist() == [0.5, 1.5, 1.0]
    with pytest.raises(InputDataError, match="all zero"):
        pool_countries("equal-per-country", np.array([0.0, 0.0, 1.0]), country, None)


def test_the_choice_of_pooling_is_part_of_the_fingerprint(tmp_path):
    path = tmp_path / "two.csv"
    pl.DataFrame({**TWO, "w": [1.0] * 4}).write_csv(path)
    built = [
        build(read_survey(path, codebook(tmp_path), pooling=pooling), BuildSettings(min_respondents=1, min_valid=1, draws=10))
        for pooling in ("equal-per-country", "equal-per-respondent")
    ]
    assert built[0].fingerprint != built[1].fingerprint


def test_no_output_holds_a_sampling_unit(tmp_path):
    """Ids of units are found nowhere in a data set's folder."""
    from valuestrata.dataset.tables import write_dataset

    ids = [f"village-{number}" for number in (1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4)]
    survey = read_survey(table(tmp_path, p=ids, v=["north"] * 6 + ["south"] * 6), codebook(tmp_path, "design: {psu: p, strata: v}"))
    built = build(survey, BuildSettings(min_respondents=1, min_valid=1, draws=10))
    write_dataset(built, tmp_path / "data")
    for file in (tmp_path / "data").iterdir():
        text = file.read_bytes() if file.suffix == ".json" else repr(pl.read_parquet(file).to_dict(as_series=False)).encode()
        assert b"village" not in text
        assert b"north" not in text


def test_built_in_codebooks_name_the_designs_of_their_surveys():
    wvs = load_codebook("wvs7").design
    assert (wvs.psu, wvs.strata[0], wvs.pooling_weight) == (["I_PSU", "L_INTERVIEWER_NUMBER"], "N_REGION_WVS", ["PWGHT", "S018"])
    for name in ("gss2012", "gss2018"):
        assert (load_codebook(name).design.psu, load_codebook(name).design.strata) == (["vpsu"], ["vstrat"])


def test_a_wvs_file_of_two_countries(tmp_path):
    """Singapore has units; the United States (-4, not delivered) has interviewers. S018 makes both countries equal."""
    people = 40
    country = [702] * 10 + [840] * 30
    frame = pl.DataFrame(
        {
            "B_COUNTRY": country,
            "D_INTERVIEW": range(people),
            "W_WEIGHT": [0.5, 1.5] * (people // 2),
            "S018": [100.0 if code == 702 else 1000 / 30 for code in country],
            "I_PSU": [n // 5 if code == 702 else -4 for n, code in enumerate(country)],
            "L_INTERVIEWER_NUMBER": [(n - 10) // 3 for n in range(people)],
            "N_REGION_WVS": [code * 1000 + 1 + n % 2 for n, code in enumerate(country)],
            "Q260": [1, 2] * (people // 2),
            "Q1": [1 if code == 702 else 2 for code in country],
            "Q2": [2] * people,
        }
    )
    frame.write_csv(tmp_path / "wvs.csv")
    found = read_survey(tmp_path / "wvs.csv", "wvs7", items=["Q1", "Q2"], attributes=["sex"])
    assert found.design.columns == {"psu": ("I_PSU", "L_INTERVIEWER_NUMBER"), "strata": ("N_REGION_WVS",)}
    # Two units of five people in two regions; ten interviewers of three people, likewise.
    assert len(found.design.stratum) == 2 * 2 + 10 * 2
    assert len(set(found.design.stratum.tolist())) == 4
    assert found.pooling == "weight"
    assert any("'S018'" in note for note in found.findings.notes)
    gold = build(found, BuildSettings(min_respondents=1, min_valid=1, draws=10)).gold
    assert gold.filter(item="Q1", subgroup="all", half="all")["shares"][0].to_list() == pytest.approx([0.5, 0.5, 0, 0])
