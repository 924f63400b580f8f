"""The commands `audit` and `power`, and audits in studies."""

import json
import shutil

import polars as pl
import pytest

from valuestrata import Audit
from valuestrata.claims.fairness.subject import RULES
from valuestrata.claims.table import CLAIMS
from valuestrata.dataset.tables import load_dataset
from valuestrata.errors import InputDataError, MissingExtraError, UsageError
from valuestrata.fairness.power.power import POWER
from valuestrata.fairness.tables.schema import MEASURES
from valuestrata.responses.import_runs import import_run
from valuestrata.study import run_study
from valuestrata.study.config import load_study

FEW = ("--permutations", 40, "--bootstrap", 40)


@pytest.fixture(scope="session")
def asked_once(built_tiny, tmp_path_factory):
    """The tiny data set with two runs of test answers, made once: one always first, one that refuses every second. Use `asked`, a copy."""
    folder = tmp_path_factory.mktemp("asked")
    shutil.copytree(built_tiny, folder / "data")
    dataset = load_dataset(folder / "data")
    pairs = dataset.splits.filter(pl.col("part") == "test")["pair_id"]
    for name, answer in (("base", lambda k: "1"), ("tuned", lambda k: "I cannot answer that." if k % 2 == 0 else "2")):
        rows = "".join(f'"{pair}","{answer(k)}"\n' for k, pair in enumerate(pairs))
        (folder / f"{name}.csv").write_text("custom_id,response\n" + rows)
        import_run(dataset, folder / f"{name}.csv", folder / "runs" / name)
    return folder


@pytest.fixture
def asked(asked_once, tiny):
    return shutil.copytree(asked_once, tiny, dirs_exist_ok=True)


def test_audit_prints_tables_and_verdicts_and_writes_a_folder(call, asked):
    outcome = call(
        "audit", asked / "data", asked / "runs" / "base", asked / "runs" / "tuned", "--against", "base", "-o", asked / "out", *FEW
    )
    assert outcome.code == 0, outcome.err
    assert "Accuracy over" in outcome.out
    assert "Noise alone" in outcome.out
    assert "\ntuned:\n  1. 50\u00a0% of the answers are missing" in outcome.out
    assert "baseline-item-mode:" not in outcome.out
    assert "audit.html" in outcome.err
    verdicts = pl.read_parquet(asked / "out" / "verdicts.parquet")
    assert set(verdicts["rule"]) <= set(RULES)
    assert set(verdicts["run"]) >= {"base", "tuned", "baseline-item-mode"}
    # Refusal rates are audited without being requested.
    assert "refusal_rate" in pl.read_parquet(asked / "out" / "groups.parquet")["metric"].to_list()
    assert set(pl.read_csv(asked / "out" / "changes.csv")["against"]) == {"base"}
    assert "<html" in (asked / "out" / "audit.html").read_text()
    assert r"\toprule" in (asked / "out" / "tex" / "disparity.tex").read_text()


def test_audit_json_is_one_document_of_all_tables(call, asked):
    words = ("audit", asked / "data", asked / "runs" / "base", "--metrics", "accuracy", "--json", *FEW)
    outcome = call(*words)
    document = json.loads(outcome.out)
    assert set(document) == {"verdicts", "disparity", "groups", "gaps", "changes", "excess", "errs", "warnings"}
    assert list(document["verdicts"][0]) == list(CLAIMS.columns)
    assert {row["metric"] for row in document["disparity"]} == {"accuracy"}
    assert len([row for row in document["disparity"] if row["run"] == "base" and row["by"] == "all"]) == len(MEASURES)
    assert document["changes"] == []
    # The same call gives the same document.
    assert call(*words).out == outcome.out
    alone = json.loads(call(*words, "--baselines", "none").out)
    assert {row["run"] for row in alone["groups"]} == {"base"}
    assert "no-baseline" in {row["rule"] for row in alone["verdicts"]}


def test_published_figures_are_added_to_the_named_run(call, asked):
    words = ("audit", asked / "data", asked / "runs" / "base", "--metrics", "accuracy", "--json", *FEW)
    rows = json.loads(call(*words, "--published", "base=Sailor2-8B base").out)["disparity"]
    found = {(row["run"], row["measure"]): row["published"] for row in rows if row["by"] == "all"}
    assert (found["base", "norm_range"], found["base", "cv"], found["base", "gini"]) == (0.305, 0.101, None)
    assert found["baseline-item-mode", "cv"] is None


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--against", "nobody"], 2, "'nobody'"),
        (["--metrics", "acuracy"], 2, "Did you mean 'accuracy'"),
        (["--metrics", "bias"], 2, "no better direction"),
        (["--published", "base"], 2, "RUN=MODEL"),
        (["--published", "base=GPT"], 2, "No disparities are published"),
        (["--split", "papper"], 2, "Did you mean 'paper'"),
        (["--permutations", "-1"], 2, "permutations"),
        (["--mixed", "bays"], 2, "Did you mean 'bayes'"),
    ],
)
def test_invalid_audits_are_refused_before_anything_is_written(call, asked, words, code, message):
    outcome = call("audit", asked / "data", asked / "runs" / "base", "-o", asked / "out", *words)
    assert outcome.code == code, outcome.err
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert not (asked / "out").exists()


def test_power_needs_no_run(call, asked):
    shown = call("power", asked / "data", "--items", 2, "--effect", 0.1)
    assert shown.code == 0, shown.err
    assert "no model was asked" in shown.out
    assert "Power for .100" in shown.out
    assert "Town, Country" in shown.out or "Country, Town" in shown.out
    rows = json.loads(call("power", asked / "data", "--items", 2, "--effect", 0.1, "--json").out)["power"]
    assert list(rows[0]) == list(POWER.columns)
    levels = [row for row in rows if row["by"] == "level"]
    # The table has both directions of each pair of levels; one is printed.
    assert [row["attribute"] for row in levels] == ["age_group", "age_group", "area", "area"]
    assert sum(line.startswith(("age_group ", "area ")) for line in shown.out.splitlines()) == 2
    for row in levels:
        assert row["items"] == 2
        assert 0 <= row["power"] <= 1


@pytest.mark.parametrize(("words", "message"), [(["--effect", 2], "effect=2"), (["--items", 99], "items=99"), (["--metric", "w1"], "nmae")])
def test_invalid_power_options_are_refused(call, asked, words, message):
    outcome = call("power", asked / "data", *words)
    assert (outcome.code, message in outcome.err) == (2, True), outcome.err


STUDY = """
name: tiny
survey: {file: tiny.csv, codebook: tiny.yaml}
build: {draws: 50}
models: [{model: baseline:nearest-parent, name: parent}, {model: baseline:item-mode, name: mode}]
score: {bootstrap: 40, baselines: none}
"""


def test_a_study_with_an_audit(tiny):
    (tiny / "study.yaml").write_text(STUDY + "audit: {against: mode, permutations: 40}\n")
    result = run_study(load_study(tiny / "study.yaml"))
    assert isinstance(result.audit, Audit)
    assert set(result.audit.changes.select("run", "against").rows()) == {("parent", "mode")}
    folder = tiny / "runs" / "tiny"
    assert (folder / "audit" / "audit.html").is_file()
    assert (folder / "tables" / "audit_gaps.csv").is_file()
    assert '<section id="audit"' in result.report.read_text()


def test_audit_true_means_defaults_and_false_means_none(tiny):
    for line, wanted in (("audit: true\n", True), ("audit: false\n", False), ("", False)):
        (tiny / "study.yaml").write_text(STUDY + line)
        study = load_study(tiny / "study.yaml")
        assert (study.audit is not None) == wanted
    assert study.audit is None
    assert run_study(study).audit is None
    assert not (tiny / "runs" / "tiny" / "audit").exists()


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("audit: {against: mood}", UsageError, "Did you mean 'mode'"),
        ("audit: {metrics: [acuracy]}", InputDataError, "Did you mean 'accuracy'"),
        ("audit: {agianst: mode}", InputDataError, "against"),
        ("audit: {mixed: bays}", InputDataError, "audit.mixed.*'penalised' or 'bayes'"),
    ],
)
def test_invalid_audit_sections_are_refused(tiny, line, error, message):
    (tiny / "study.yaml").write_text(STUDY + line + "\n")
    with pytest.raises(error, match=message):
        run_study(load_study(tiny / "study.yaml"))


def test_mixed_bayes_without_its_library_is_refused_first(tiny, call, asked, monkeypatch):
    monkeypatch.setattr("valuestrata.fairness.assemble.find_spec", lambda name: None)
    outcome = call("audit", asked / "data", asked / "runs" / "base", "--mixed", "bayes", "-o", asked / "out", *FEW)
    assert outcome.code == 2, outcome.err
    assert "valuestrata[bayes]" in outcome.err
    assert not (asked / "out").exists()
    (tiny / "study.yaml").write_text(STUDY + "audit: {mixed: bayes}\n")
    with pytest.raises(MissingExtraError, match="bayes"):
        run_study(load_study(tiny / "study.yaml"))
    assert not (tiny / "runs" / "tiny" / "runs").exists()


def test_importing_the_package_does_not_hide_the_function():
    import valuestrata as vs
    import valuestrata.fairness.power.power

    with pytest.raises(UsageError, match="bootstrap=-1"):
        vs.audit(None, [], bootstrap=-1)
    assert valuestrata.fairness.audit is vs.audit
