"""Every output of scores begins with a warning about a run that was trained on what is tested, and makes no claim about it."""

import io

import polars as pl
import pytest
from rich.console import Console

from tests.core.people import random_survey
from valuestrata.assessment import assess
from valuestrata.building import BuildSettings, build
from valuestrata.claims.fairness.rules import audit_claims, audit_verdicts
from valuestrata.dataset.tables import write_dataset
from valuestrata.errors import InputDataError
from valuestrata.fairness import audit
from valuestrata.reports import headline_table, print_audit, print_headline, write_audit, write_report
from valuestrata.responses.import_runs import import_run
from valuestrata.responses.reference_baselines import reference_baselines
from valuestrata.responses.run.folder import check_same_identity, load_run
from valuestrata.responses.run.identity import run_identity
from valuestrata.scores import score
from valuestrata.scores.train_test_overlap import warnings_about

WHERE = {"split": "paper+disjoint"}
WARNING = "Warning: theirs: not a test: trained on all respondents, including those scored (split paper+disjoint, part test)."


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    built = build(random_survey(500, seed=3), BuildSettings(min_respondents=20, min_valid=5, draws=20, share_draws=2))
    write_dataset(built, tmp_path_factory.mktemp("data") / "d")
    return built


@pytest.fixture(scope="module")
def outputs(data, tmp_path_factory):
    """Outputs of a model that answers the first code of everything."""
    file = tmp_path_factory.mktemp("outputs") / "outputs.csv"
    pairs = data.part("paper", "all").unique("pair_id")
    first = [data.codes_of[item][0] for item in pairs["item"]]
    pl.DataFrame({"custom_id": pairs["pair_id"], "response": first}).write_csv(file)
    return file


def imported(data, outputs, folder, stated):
    import_run(data, outputs, folder / "theirs", trained_on=stated)
    return load_run(folder / "theirs")


@pytest.fixture
def runs(data, outputs, tmp_path):
    run = imported(data, outputs, tmp_path, "paper")
    return [run, *reference_baselines(data, [run], kinds=("item-mode", "nearest-parent"), **WHERE)]


def printed(call, *arguments):
    out = io.StringIO()
    call(*arguments, Console(file=out, width=200))
    return out.getvalue()


def test_scores_say_it_first_and_claim_nothing(data, runs):
    found = assess(data, runs, bootstrap=50, **WHERE)
    assert printed(print_headline, data, runs, found.scores).splitlines()[0] == WARNING
    note = "not a test: trained on all respondents, including those scored"
    for table in (found.scores, found.relative, headline_table(data, runs, found.scores).rename({"row": "run"})):
        assert set(table.filter(pl.col("run") == "theirs")["note"]) == {note}
        assert table.filter(pl.col("run") != "theirs")["note"].null_count() == table.filter(pl.col("run") != "theirs").height
    assert set(found.comparisons.filter(pl.col("run") == "theirs")["note"]) == {f"theirs: {note}"}
    mine = [claim for claim in found.claims if claim.run == "theirs"]
    assert "halves-not-disjoint" in {claim.kind for claim in mine}
    assert {claim.kind for claim in mine if claim.against} == {"cannot-be-judged"}


def test_an_audit_says_it_first_and_claims_nothing(data, runs):
    found = audit(data, runs, against="baseline-item-mode", bootstrap=30, permutations=50, **WHERE)
    for table in (found.disparity, found.groups, found.gaps, found.excess):
        assert table.filter(pl.col("run") == "theirs")["note"].str.contains("not a test", literal=True).all()
    kinds = {claim.kind for claim in audit_claims(found, runs, data) if claim.run == "theirs" and claim.part == "test"}
    assert "not-a-test" in kinds
    assert kinds <= {"not-a-test", "mostly-missing", "many-missing", "incomplete"}
    assert printed(print_audit, data, runs, found, audit_verdicts(found, runs, data)).splitlines()[0] == WARNING


@pytest.mark.slow
def test_pages_begin_with_the_warning(data, runs, tmp_path):
    found, audited = assess(data, runs, bootstrap=30, **WHERE), audit(data, runs, bootstrap=30, permutations=50, **WHERE)
    pages = [
        write_report(data, runs, found.scores, tmp_path / "report.html", assessment=found).read_text(),
        write_audit(data, runs, audited, tmp_path / "audit").read_text(),
    ]
    for page in pages:
        # The banner marks the line as a warning, and shows it before anything else.
        assert page.index('class="status warning"') < page.index(WARNING.removeprefix("Warning: ")) < page.index("<main>")
    assert "not a test" in next((tmp_path / "audit" / "tex").glob("disparity.tex")).read_text()


@pytest.mark.parametrize("stated", ["paper+disjoint", "none", None])
def test_no_warning_for_runs_that_were_not_trained_on_the_test(data, outputs, tmp_path, stated):
    run = imported(data, outputs, tmp_path, stated)
    found = score(data, [run], by=("all",), bootstrap=0, **WHERE)
    assert found["note"].null_count() == found.height
    assert warnings_about(data, [run], found) == []
    assert [source.method for source in run_identity(run).sources] == ([] if stated is None else ["stated"])


def test_a_run_asked_by_an_earlier_version_continues(data, tmp_path):
    old = {"kind": "asked", "respondent": {"name": "hf:M", "adapter_hash": "a", "taught_on": {"dataset": "x", "split": "paper"}}}
    new = {"kind": "asked", "respondent": {**old["respondent"], "taught_on": {"dataset": "x", "split": "paper", "halves": ["all"]}}}
    check_same_identity(tmp_path, old, new)
    other = {"kind": "asked", "respondent": {**old["respondent"], "taught_on": {"dataset": "x", "split": "unseen-item"}}}
    with pytest.raises(InputDataError, match=r"taught_on\.split"):
        check_same_identity(tmp_path, old, other)
