"""Runs that were taught on the answers of the people in the sample."""

from pathlib import Path

import polars as pl
import pytest

from tests.responses.asked import Writes
from valuestrata.calibration.calibrated import calibrate
from valuestrata.dataset.halves import halve
from valuestrata.dataset.subgroups import make_cells, make_strata
from valuestrata.dataset.training_source import source_of_split
from valuestrata.errors import UsageError
from valuestrata.estimation.people.interviewed import people_of_survey
from valuestrata.estimation.people.taught import check_taught
from valuestrata.estimation.reading import estimation_input
from valuestrata.respondents.models import make_respondent
from valuestrata.responses.ask.loop import ask
from valuestrata.responses.run.folder import Run, load_run
from valuestrata.survey import read_survey


def read(made, file, **how):
    return estimation_input(made.dataset, file, survey=made.codebook, **how)


def said(found):
    return " | ".join(str(remark) for remark in found.remarks)


def half_b(made):
    """The respondents of half B, as the build divides them."""
    survey = read_survey(made.file, made.codebook)
    cells = make_cells(survey, make_strata(survey.attributes), min_respondents=10)
    design = survey.design
    in_a = halve(cells.joint_of_respondent, cells.members, seed=0, weight=survey.weight, unit=design.unit, stratum=design.stratum)
    return ~in_a


@pytest.fixture(scope="module")
def baselines(made):
    """A baseline that was fitted to all respondents, and one that was fitted to half A."""
    runs = {}
    for name, split in (("everybody", "paper"), ("half-a", "paper+disjoint")):
        ask(made.dataset, make_respondent("baseline:item-mode", made.dataset, split=split), made.folder / name, split=split)
        runs[name] = load_run(made.folder / name)
    return runs


def test_people_of_the_gold_that_a_run_was_taught_on_are_refused(made, baselines):
    with pytest.raises(UsageError, match=r"The run 'everybody' was .* answers of the people in .*survey.csv.*\+disjoint"):
        read(made, made.file, runs=[baselines["everybody"]])
    # Half A is in the file too.
    with pytest.raises(UsageError, match=r"'half-a' .*\(half A of the respondents\)"):
        read(made, made.file, runs=[baselines["half-a"]])


def test_a_copy_of_the_gold_in_another_file_is_recognised_by_its_counts(made, baselines):
    copy = made.sample("copy.csv", rows=made.rows.reverse())
    with pytest.raises(UsageError, match="'everybody'"):
        read(made, copy, runs=[baselines["everybody"]])


def test_the_other_half_of_the_respondents_is_accepted(made, baselines):
    b = made.sample("half_b.csv", rows=made.rows.filter(pl.Series(half_b(made))))
    assert said(read(made, b, runs=[baselines["half-a"]])) == ""
    a = made.sample("half_a.csv", rows=made.rows.filter(pl.Series(~half_b(made))))
    with pytest.raises(UsageError, match="'half-a'"):
        read(made, a, runs=[baselines["half-a"]])
    with pytest.raises(UsageError, match="'everybody'"):
        read(made, b, runs=[baselines["everybody"]])


def test_other_people_of_the_survey_are_flagged_because_it_cannot_be_known(made, baselines):
    found = read(made, made.sample(), runs=[baselines["everybody"]])
    assert "everybody was taught on answers to the same survey (survey.csv)" in said(found)
    assert "their intervals are too short" in said(found)


def fake(made, name, **respondent):
    document = {"name": name, "kind": "asked", "dataset": {"fingerprint": made.dataset.fingerprint, "survey": "small"}}
    return Run(name, Path(name), document | {"respondent": {"name": name, **respondent}}, pl.DataFrame())


def test_gold_in_prompts_and_calibration_count_as_teaching_and_an_untaught_model_is_accepted(made):
    ask(made.dataset, Writes("Answer: 2"), made.folder / "plain", part="all", elicitation="text")
    ask(made.dataset, Writes("Answer: 2"), made.folder / "prompted", elicitation="text", context="gold:2")
    calibrate(made.dataset, load_run(made.folder / "plain"), made.folder / "calibrated", split="paper")
    assert said(read(made, made.file, runs=[made.folder / "plain"])) == ""
    with pytest.raises(UsageError, match="'prompted' was shown answers of the people in"):
        read(made, made.file, runs=[made.folder / "prompted"])
    with pytest.raises(UsageError, match="'calibrated' was calibrated with answers of the people in"):
        read(made, made.file, runs=[made.folder / "plain", made.folder / "calibrated"])


def test_what_the_model_inside_was_tuned_on_counts(made):
    people = people_of_survey(made.dataset, read_survey(made.file, made.codebook))
    tuned = source_of_split(made.dataset, "paper", None, method="tune:modal")
    inside = {"provider": "transformers", "model": "m", "adapter_hash": "x", "taught_on": tuned}
    with pytest.raises(UsageError, match="'control' was tuned on answers"):
        check_taught(made.dataset, [fake(made, "control", provider="control", control="no-persona", of=inside)], people)
    assert check_taught(made.dataset, [fake(made, "b", provider="baseline", model="baseline:uniform")], people) == []


def test_runs_of_unknown_training_are_flagged_and_other_surveys_accepted(made):
    people = people_of_survey(made.dataset, read_survey(made.file, made.codebook))
    (remark,) = check_taught(made.dataset, [fake(made, "foreign", provider="imported")], people)
    assert "not recorded what foreign was taught on" in str(remark)
    taught = source_of_split(made.dataset, "paper", None, method="tune:modal")
    elsewhere = taught | {"survey": "wvs7", "file": "1" * 64, "dataset": "other"}
    assert check_taught(made.dataset, [fake(made, "w", provider="openai", model="m", taught_on=elsewhere)], people) == []
    (remark,) = check_taught(made.dataset, [fake(made, "w", provider="x", taught_on=elsewhere | {"survey": "small"})], people)
    assert "w was taught on answers to the same survey (another file)" in str(remark)
