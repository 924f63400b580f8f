"""Files of one simulated population in every format give the same answers, levels and weight."""

import zipfile
from dataclasses import replace

import numpy as np
import pytest

from valuestrata.survey.read import read_survey

FORMATS = (
    "csv comma",
    "csv semicolon, titled",
    "csv tab, titled",
    "excel labels",
    "excel numbers",
    "sav",
    "dta",
    "rds",
    "rds haven",
    "rdata factors",
    "parquet",
)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_simulated_answers(written, people, wvs_files, kind):
    survey = read_survey(written[kind])
    assert survey.codebook.survey == "wvs7"
    assert survey.findings.label_problems == ()
    assert survey.findings.unknown_levels == ()
    assert survey.findings.unanswered_items == (wvs_files.UNANSWERED,)
    assert [item.id for item in survey.items] == [name for name in people.items if name != wvs_files.UNANSWERED]
    kept = [place for place, name in enumerate(people.items) if name != wvs_files.UNANSWERED]
    for place, item in zip(kept, survey.items, strict=True):
        expected, read = people.answers[:, place], survey.answers[:, survey.items.index(item)]
        assert np.array_equal(expected, read), f"{item.id}: expected {expected[expected != read]}, read {read[expected != read]}"
    assert survey.answers.dtype == np.int8
    assert survey.answers.flags.f_contiguous
    np.testing.assert_allclose(survey.weight, people.weight, rtol=0, atol=0)
    expected_levels = {
        "sex": people.sex,
        "age_group": people.age,
        "religion": people.religion,
        "ethnicity": people.ethnicity,
    }
    assert [attribute.name for attribute in survey.attributes] == ["sex", "age_group", "ethnicity", "religion"]
    for j, attribute in enumerate(survey.attributes):
        levels = survey.levels[:, j]
        if attribute.name in ("religion", "ethnicity"):  # simulated as codes
            levels = np.array([attribute.levels[level].codes[0] if level >= 0 else -1 for level in levels])
        assert np.array_equal(levels, expected_levels[attribute.name]), attribute.name
    assert [country.alpha for country in survey.countries] == ["SGP", "USA"]


def test_column_names_in_lower_case_with_spaces(people, wvs_files, tmp_path):
    path = wvs_files.numeric_csv(people, tmp_path / "lower.csv")
    header, rest = path.read_text().split("\n", 1)
    path.write_text(",".join(f" {name.lower()} " for name in header.split(",")) + "\n" + rest)
    survey = read_survey(path, "wvs7", items=["Q1", "Q2"])
    assert np.array_equal(survey.answers, people.answers[:, :2])
    assert survey.findings.ignored_columns == (" a_wave ", " a_study ", " n_town ")


@pytest.mark.parametrize("name", ["SGP", "sgp", 702, "702", "Singapore"])
@pytest.mark.parametrize("kind", ["csv comma", "excel labels"])
def test_a_country_by_code_alpha_or_name(written, people, name, kind):
    survey = read_survey(written[kind], countries=[name], items=["Q1"])
    assert survey.source.rows == len(people.country)
    assert survey.respondents == (people.country == 702).sum()
    assert np.array_equal(survey.answers[:, 0], people.answers[people.country == 702, 0])
    assert np.array_equal(survey.weight, people.weight[people.country == 702])
    assert survey.place == "Singapore"


@pytest.mark.parametrize("column", ["B_COUNTRY", "B_COUNTRY_ALPHA"])
def test_one_country_column_is_enough(people, wvs_files, tmp_path, column):
    raw = {name: cells for name, cells in people.raw.items() if name != column}
    path = wvs_files.numeric_csv(replace(people, raw=raw), tmp_path / "one.csv")
    for wanted in (840, "USA"):
        assert read_survey(path, countries=[wanted], items=["Q1"]).respondents == (people.country == 840).sum()


def test_several_countries(written):
    both = read_survey(written["parquet"], countries=["USA", "SGP"], items=["Q1"])
    assert [country.alpha for country in both.countries] == ["USA", "SGP"]
    assert any("2 countries" in note for note in read_survey(written["parquet"], items=["Q1"]).findings.notes)


@pytest.mark.parametrize("kind", ["csv comma", "sav", "excel labels"])
def test_a_zip_archive(written, people, tmp_path, kind):
    path = tmp_path / "download.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(written[kind], f"WVS/{written[kind].name}")
        archive.writestr("__MACOSX/WVS/._x.csv", "junk")
        archive.writestr("WVS/readme.txt", "cite us")
    survey = read_survey(path, items=["Q1"])
    assert survey.source.file == "download.zip"
    assert np.array_equal(survey.answers[:, 0], people.answers[:, 0])


def test_age_from_the_categorical_column(people, wvs_files, tmp_path):
    raw = {name: cells for name, cells in people.raw.items() if name != "Q262"}
    survey = read_survey(wvs_files.numeric_csv(replace(people, raw=raw), tmp_path / "cut.csv"), items=["Q1"], attributes=["age"])
    assert np.array_equal(survey.levels[:, 0], people.age)
    assert any("X003R" in note for note in survey.findings.notes)


def test_levels_without_country_prefix(people, wvs_files, tmp_path):
    plain = {702004: "Chinese", 702006: "Malay", 702008: "Eurasian"}
    raw = {**people.raw, "Q290": [plain.get(code, code) for code in people.raw["Q290"]]}
    path = wvs_files.numeric_csv(replace(people, raw=raw), tmp_path / "plain.csv")
    survey = read_survey(path, countries=["SGP"], items=["Q1"], attributes=["ethnicity"])
    levels = [survey.attributes[0].levels[level].codes[0] if level >= 0 else -1 for level in survey.levels[:, 0]]
    assert np.array_equal(levels, people.ethnicity[people.country == 702])
