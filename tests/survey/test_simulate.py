"""Simulated populations: true shares, seeds and the files written."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import polars as pl
import pyreadstat
import pytest
from polars.testing import assert_frame_equal
from scipy import stats
from typer.testing import CliRunner

from valuestrata.building import BuildSettings, build
from valuestrata.cli import make_app
from valuestrata.errors import UsageError
from valuestrata.files import sha256_of
from valuestrata.survey.read import read_survey
from valuestrata.survey.simulation.population import MISSING_MIX, SimulationSettings, draw_survey, plant
from valuestrata.survey.simulation.sav_file import FILE_LABEL, write_simulated
from valuestrata.survey.simulation.truth import truth

PLAIN = SimulationSettings(respondents=400, items=12, nominal=0.4, missing=0.0, seed=5)
WVS = SimulationSettings(survey="wvs7", respondents=300, items=40, weighted=True, seed=3)


def in_subgroup(survey, row):
    """Return a mask of the respondents in the subgroup of a row of the true shares."""
    inside = np.ones(survey.respondents, dtype=bool)
    for place, attribute in enumerate(survey.attributes):
        if row[attribute.name] is not None:
            labels = [level.label for level in attribute.levels]
            inside &= survey.levels[:, place] == labels.index(row[attribute.name])
    return inside


@pytest.mark.parametrize(
    ("weighted", "options", "respondents"),
    [
        (True, (2,), 20_000),
        pytest.param(False, PLAIN.options, 150_000, marks=pytest.mark.slow),
        pytest.param(True, PLAIN.options, 150_000, marks=pytest.mark.slow),
    ],
)
def test_shares_of_a_large_sample_approach_the_true_shares(weighted, options, respondents):
    population = plant(replace(PLAIN, weighted=weighted, options=options, main_effects=0.5, interactions=0.3, oversampling=0.6))
    survey = draw_survey(population, 1, respondents=respondents)
    weight = np.ones(survey.respondents) if survey.weight is None else survey.weight
    column = {item.id: place for place, item in enumerate(survey.items)}
    distances = []
    for row in truth(population).iter_rows(named=True):
        inside = in_subgroup(survey, row)
        answers, w = survey.answers[inside, column[row["item"]]], weight[inside]
        for option, share in enumerate(row["shares"]):
            # Linearised standard error of a ratio of sums of independent terms.
            residual = w * ((answers == option) - share)
            distances.append(residual.sum() / np.sqrt((residual**2).sum()))
    distances = np.array(distances)
    assert np.abs(distances).max() < stats.norm.isf(1e-4 / len(distances))
    # Each is standard normal, but they share a sample, so the mean square is only close to 1.
    assert np.mean(distances**2) == pytest.approx(1, abs=0.25)


def test_shares_of_a_cell_equal_the_closed_form():
    population = plant(replace(PLAIN, main_effects=0.4, interactions=0.2))
    cell = 7
    sex, age, religion = population.cells[cell]
    shift = (
        population.main["sex"][sex]
        + population.main["age_group"][age]
        + population.main["religion"][religion]
        + population.interactions["sex", "age_group"][sex, age]
        + population.interactions["sex", "religion"][sex, religion]
        + population.interactions["age_group", "religion"][age, religion]
    )
    levels = set()
    for i, item in enumerate(population.items):
        base = population.base[i, : len(item.codes)]
        if item.level == "nominal":
            odds = base * np.exp(shift[i] * population.direction[i, : len(item.codes)])
            expected = odds / odds.sum()
        else:
            # P(latent + shift <= threshold), with thresholds that give the base shares without effects.
            below = [stats.norm.cdf(stats.norm.ppf(base[: k + 1].sum()) - shift[i]) for k in range(len(base) - 1)]
            expected = np.diff([0, *below, 1])
        assert population.shares[cell, i, : len(base)] == pytest.approx(expected, abs=1e-12)
        assert not population.shares[cell, i, len(base) :].any()
        levels.add(item.level)
    assert levels == {"binary", "ordinal", "nominal"}


def test_without_effects_all_subgroups_have_the_same_shares():
    without = truth(plant(replace(PLAIN, main_effects=0, interactions=0)))
    for _, rows in without.group_by("item"):
        shares = np.array(rows["shares"].to_list())
        assert shares == pytest.approx(np.broadcast_to(shares[0], shares.shape), abs=1e-12)
        assert rows["mode"].n_unique() == 1
    with_effects = truth(plant(replace(PLAIN, main_effects=0.5, interactions=0)))
    assert with_effects.group_by("item").agg(pl.col("shares").n_unique())["shares"].min() > 1


def test_population_shares_of_a_stratum_sum_to_one():
    table = truth(plant(PLAIN), order=3)
    used = [pl.col(name).is_null() for name in ("sex", "age_group", "religion")]
    sums = table.group_by("item", *used).agg(pl.col("population_share").sum())
    assert sums["population_share"].to_numpy() == pytest.approx(1)
    assert len(sums) == 12 * 8
    assert all(sum(shares) == pytest.approx(1) for shares in table["shares"])


def test_the_weight_corrects_for_oversampling():
    population = plant(replace(PLAIN, weighted=True, oversampling=0.7))
    assert population.sampling * population.weight == pytest.approx(population.joint)
    assert np.abs(population.sampling / population.joint - 1).max() > 0.5
    survey = draw_survey(population, 2, respondents=60_000)
    found = np.array([survey.weight[(survey.levels == cell).all(axis=1)].sum() for cell in population.cells]) / survey.weight.sum()
    unweighted = np.array([(survey.levels == cell).all(axis=1).mean() for cell in population.cells])
    assert found == pytest.approx(population.joint, abs=0.01)
    assert np.abs(unweighted - population.joint).max() > 0.02
    uniform = plant(PLAIN)
    assert draw_survey(uniform, 2).weight is None
    assert uniform.joint == pytest.approx(population.joint)


def test_missing_answers_have_the_shares_of_their_classes():
    population = plant(replace(PLAIN, missing=0.2))
    survey = draw_survey(population, 4, respondents=30_000)
    total = survey.answers.size
    for kind, mix in MISSING_MIX.items():
        share = (survey.answers == kind).sum() / total
        assert share == pytest.approx(0.2 * mix, abs=5 * np.sqrt(0.2 * mix / total))
    full = draw_survey(replace(population, settings=replace(population.settings, missing=0.0)), 4, respondents=30_000)
    kept = survey.answers >= 0
    assert (survey.answers[kept] == full.answers[kept]).all()


def test_traits_correlate_the_answers_of_a_respondent():
    def correlations(common):
        population = plant(replace(PLAIN, items=8, options=(10,), nominal=0, levels=(2, 2), common=common, main_effects=0, interactions=0))
        answers = draw_survey(population, 1, respondents=20_000).answers.astype(float)
        upper = np.triu_indices(8, 1)
        return np.corrcoef(answers.T)[upper], (population.loadings @ population.loadings.T)[upper]

    found, _ = correlations(0.0)
    assert np.abs(found).max() < 4.5 / np.sqrt(20_000)
    found, expected = correlations(0.6)
    assert np.abs(found).max() > 0.2
    assert np.corrcoef(found, expected)[0, 1] > 0.99


def test_seeds_are_independent():
    base, again = plant(PLAIN), plant(PLAIN)
    assert (base.shares == again.shares).all()
    other_items, other_people = plant(replace(PLAIN, seed=6)), plant(replace(PLAIN, structure_seed=1))
    assert (other_items.joint == base.joint).all()
    assert not (other_items.base[:, :2] == base.base[:, :2]).any()
    assert (other_people.base == base.base).all()
    assert not np.isclose(other_people.joint, base.joint).all()
    # Only the size of the effects differs.
    doubled = plant(replace(PLAIN, main_effects=2 * PLAIN.main_effects))
    assert (doubled.base == base.base).all()
    assert doubled.main["sex"] == pytest.approx(2 * base.main["sex"])
    one, same, other = (draw_survey(base, seed) for seed in (1, 1, 2))
    assert (one.answers == same.answers).all()
    assert (one.answers != other.answers).any()
    assert one.source.sha256 == same.source.sha256 != other.source.sha256


def test_every_pair_of_a_data_set_has_true_shares():
    population = plant(replace(PLAIN, respondents=900, missing=0.1))
    dataset = build(draw_survey(population, 1), BuildSettings(draws=10))
    names = dataset.attributes
    gold = dataset.gold.filter(pl.col("half") == "all").join(dataset.subgroups.select("subgroup", *names), on="subgroup")
    joined = gold.join(truth(population), on=["item", *names], nulls_equal=True, suffix="_true")
    assert len(joined) == len(gold) > 200
    gap = joined.select((pl.col("shares").explode() - pl.col("shares_true").explode()).abs())["shares"]
    assert gap.mean() < 0.05


@pytest.mark.slow
def test_gold_of_a_large_sample_is_unbiased_only_with_the_weight():
    population = plant(replace(PLAIN, weighted=True, oversampling=0.8, main_effects=0.5, missing=0.1))
    survey = draw_survey(population, 3, respondents=40_000)
    squares = {}
    for weighted in (True, False):
        dataset = build(survey, BuildSettings(draws=2, weighted=weighted))
        names = dataset.attributes
        gold = dataset.gold.filter(pl.col("half") == "all").join(dataset.subgroups.select("subgroup", *names), on="subgroup")
        joined = gold.join(truth(population), on=["item", *names], nulls_equal=True, suffix="_true")
        gaps = []
        for n_eff, found, true in joined.select("n_eff", "shares", "shares_true").iter_rows():
            found, true = np.array(found), np.array(true)
            gaps += ((found - true) / np.sqrt(true * (1 - true) / n_eff)).tolist()
        squares[weighted] = np.mean(np.square(gaps))
        if weighted:
            clear = joined.filter(pl.col("margin_true") > 0.1)
            assert len(clear) > 100
            assert (clear["mode"] == clear["mode_true"]).all()
    # Differences in units of standard errors.
    assert squares[True] == pytest.approx(1, abs=0.3)
    assert squares[False] > 2


@pytest.mark.parametrize(
    ("country", "weighted"),
    [
        ("SGP", True),
        pytest.param("United States", True, marks=pytest.mark.slow),
        pytest.param("SGP", False, marks=pytest.mark.slow),
        pytest.param("United States", False, marks=pytest.mark.slow),
    ],
)
def test_the_file_reads_back_to_the_drawn_survey(tmp_path, country, weighted):
    population = plant(replace(WVS, country=country, weighted=weighted, items=None))
    write_simulated(population, 8, tmp_path / "simulated.sav")
    drawn, read = draw_survey(population, 8), read_survey(tmp_path / "simulated.sav", "wvs7")
    assert [item.id for item in read.items] == [item.id for item in drawn.items]
    assert len(read.items) == 239
    assert [a.name for a in read.attributes] == [a.name for a in drawn.attributes] == ["sex", "age_group", "ethnicity", "religion"]
    assert (read.answers == drawn.answers).all()
    assert (read.levels == drawn.levels).all()
    assert read.countries == drawn.countries
    if weighted:
        assert (read.weight == drawn.weight).all()
    else:
        assert read.weight is None
    assert not read.findings.label_problems
    assert not read.findings.unknown_levels
    # The survey is detected from the columns, and the categorical age gives the same levels as the age in years.
    assert read_survey(tmp_path / "simulated.sav").codebook.survey == "wvs7"
    table, _ = pyreadstat.read_sav(tmp_path / "simulated.sav")
    pyreadstat.write_sav(table.drop(columns="Q262"), tmp_path / "categories.sav")
    assert (read_survey(tmp_path / "categories.sav", "wvs7").levels == drawn.levels).all()


def test_a_country_without_ethnic_groups_has_three_attributes(tmp_path):
    population = plant(replace(WVS, country="JPN"))
    assert [a.name for a in population.attributes] == ["sex", "age_group", "religion"]
    write_simulated(population, 1, tmp_path / "jp.sav")
    assert read_survey(tmp_path / "jp.sav", "wvs7").findings.absent_attributes == ("ethnicity",)


def test_the_file_label_states_that_respondents_are_simulated(tmp_path):
    write_simulated(plant(WVS), 1, tmp_path / "simulated.sav")
    _, header = pyreadstat.read_sav(tmp_path / "simulated.sav", user_missing=True)
    assert header.file_label == FILE_LABEL
    assert "not people" in FILE_LABEL
    assert len(FILE_LABEL.encode()) <= 64
    assert header.missing_ranges["Q260"] == [{"lo": -9.0, "hi": -1.0}]


def test_the_files_of_true_values_match_the_survey_file(tmp_path):
    population = plant(WVS)
    made = write_simulated(population, 1, tmp_path / "simulated.sav")
    assert_frame_equal(pl.read_parquet(made.truth), truth(population))
    document = json.loads(made.planted.read_text())
    assert document["sha256"] == sha256_of(made.sav) == hashlib.sha256(made.sav.read_bytes()).hexdigest()
    assert document["settings"]["main_effects"] == WVS.main_effects
    assert sum(cell["population_share"] for cell in document["cells"]) == pytest.approx(1)
    # Recompute the shares of a subgroup from the JSON file alone.
    table = pl.read_parquet(made.truth)
    row = table.filter(pl.col("sex") == "Female", pl.col("age_group") == "25-34 years").row(0, named=True)
    item = next(entry for entry in document["items"] if entry["item"] == row["item"])
    cuts = stats.norm.ppf(np.cumsum(item["base_shares"])[:-1])
    total = np.zeros(len(item["codes"]))
    for cell in document["cells"]:
        if (cell["sex"], cell["age_group"]) == ("Female", "25-34 years"):
            levels = {name: cell[name] for name in document["main_effects"]}
            shift = sum(document["main_effects"][name][level][item["item"]] for name, level in levels.items())
            for entry in document["interactions"]:
                if all(levels[name] == level for name, level in entry.items() if name != "effects"):
                    shift += entry["effects"][item["item"]]
            total += cell["population_share"] * np.diff([0, *stats.norm.cdf(cuts - shift), 1])
    assert row["population_share"] == pytest.approx(
        sum(c["population_share"] for c in document["cells"] if (c["sex"], c["age_group"]) == ("Female", "25-34 years"))
    )
    assert row["shares"] == pytest.approx(total / total.sum(), abs=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"respondents": 0}, "respondents is 0"),
        ({"items": 0}, "items is 0"),
        ({"options": (2, 11)}, "numbers from 2 to 10"),
        ({"levels": (2, 1)}, "each at least 2"),
        ({"main_effects": -0.1}, "main_effects is -0.1"),
        ({"common": 1.0}, "common is 1.0"),
        ({"missing": 1.0}, "missing is 1.0"),
        ({"seed": -1}, "`seed=-1`: a seed is a whole number"),
        ({"survey": "wvs6"}, "'simulated' or 'wvs7'"),
        ({"survey": "wvs7", "items": 240}, "wvs7 has 239"),
        ({"survey": "wvs7", "country": "Singapor"}, "Did you mean 'Singapore'"),
    ],
)
def test_a_setting_out_of_range_is_an_error(change, message):
    with pytest.raises(UsageError, match=message):
        plant(replace(SimulationSettings(), **change))


def test_invalid_calls_of_write_simulated(tmp_path):
    with pytest.raises(UsageError, match="only a wvs7 population"):
        write_simulated(plant(PLAIN), 1, tmp_path / "x.sav")
    with pytest.raises(UsageError, match=r"ends in \.sav"):
        write_simulated(plant(WVS), 1, tmp_path / "x.csv")
    assert not list(tmp_path.iterdir())


def test_the_command_simulate(tmp_path):
    call = ["simulate", "-o", str(tmp_path / "s.sav"), "--respondents", "120", "--items", "6", "--country", "USA"]
    shown = CliRunner().invoke(make_app(), call)
    assert shown.exit_code == 0
    assert "120 simulated respondents, 6 items, United States" in shown.stdout
    result = json.loads(CliRunner().invoke(make_app(), [*call, "--weighted", "--json"]).stdout)
    assert result["settings"]["weighted"] is True
    assert result["settings"]["items"] == 6
    survey = read_survey(result["file"], "wvs7")
    assert survey.respondents == 120
    assert survey.weight is not None
    assert pl.read_parquet(result["truth"])["item"].n_unique() == 6
