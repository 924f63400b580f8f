"""Agreement with people and corrected figures, on planted judges; and the whole way from folders to sentences."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom
from sklearn.metrics import cohen_kappa_score
from typer.testing import CliRunner

from tests.openended.judged import coded, contests, drawn_key, judged_folder, made_up, open_run, read_folder, stances, verdicts
from valuestrata.cli.open.validity import code_, sample_, validity_
from valuestrata.dataset.tables import write_dataset
from valuestrata.errors import InputDataError, UsageError, ValuestrataError
from valuestrata.openended.annotation.files import KEYS, append_codings, coder_file, load_key, load_sample
from valuestrata.openended.annotation.sample import pairwise_units, stance_units
from valuestrata.openended.schema import STANCES, VERDICTS
from valuestrata.openended.sources import instructions_of, load_sources
from valuestrata.openended.validity.corrected import corrected_table
from valuestrata.openended.validity.human_agreement import agreement_table, measured, ratings_of
from valuestrata.openended.validity.judge_validity import Codings, judge_validity, load_codings
from valuestrata.openended.validity.units import coded_places, judged_pairs, judged_stances
from valuestrata.responses.run.folder import load_run

DATASET = made_up()
FEW = {"bootstrap": 200, "seed": 0}


def keyed(units, n, seed=0, codes=None):
    return drawn_key(DATASET, units, n, seed, codes)


def value(table, **where):
    found = table.filter(pl.all_horizontal(pl.col(name) == what for name, what in where.items()))
    assert len(found) == 1, found
    return found.row(0, named=True)


def test_a_judge_is_compared_on_the_side_its_orders_lean_to():
    row = {"item": "Q1", "subgroup": "sex_Male", "sample": 0, "run": "r", "reference": "b", "judge": "j", "criterion": "overall"}
    said = {"a": ("run", "run"), "b": ("run", "tie"), "c": ("run", "reference"), "d": ("tie", "reference"), "e": ("run", None)}
    orders = ("run-first", "reference-first")
    rows = [
        {**row, "pair_id": pair, "order": order, "verdict": word, "status": "answered" if word else "unparsed"}
        for pair, words in said.items()
        for order, word in zip(orders, words, strict=True)
    ]
    found = judged_pairs(VERDICTS.frame(rows)).select("pair_id", "score", "place").rows()
    assert found == [("a", 1.0, 1.0), ("b", 0.75, 1.0), ("c", 0.5, 0.5), ("d", 0.25, 0.0)]


def test_codings_are_read_through_the_key():
    row = {"kind": "pairwise", "criterion": "overall", "run": "r", "reference": "b", "item": "Q1", "subgroup": "all", "sample": 0}
    stance = {**row, "kind": "stance", "criterion": "stance", "reference": None, "codes": [1, 2, 3, 4]}
    key = KEYS.frame(
        [
            {"code_id": "C1", "first": "run", "pair_id": "a", **row},
            {"code_id": "C2", "first": "reference", "pair_id": "b", **row},
            {"code_id": "C3", "pair_id": "c", **stance},
        ]
    )
    said = {"x": {"C1": ("1", ""), "C2": ("1", ""), "C3": ("3", "")}, "y": {"C1": ("tie", ""), "C2": ("skip", ""), "C3": ("none", "")}}
    found = coded_places(key, said).select("coder", "pair_id", "place").rows()
    assert found == [("x", "a", 1.0), ("x", "b", 0.0), ("x", "c", pytest.approx(2 / 3)), ("y", "a", 0.5), ("y", "c", None)]


def test_agreement_is_that_of_scikit_learn_pair_by_pair():
    planted = contests(DATASET)
    table = verdicts(planted, error=0.3)
    key = keyed(pairwise_units(table), 120)
    people = coded_places(key, {name: coded(key, planted, seed, error=0.2) for seed, name in enumerate(("x", "y"))})
    judged = judged_pairs(table)
    found = agreement_table(DATASET, judged, people, **FEW)
    wide = people.pivot("coder", index="pair_id", values="place").join(judged.select("pair_id", "place"), on="pair_id")
    codes = {name: (wide[name] * 2).cast(pl.Int64).to_list() for name in ("x", "y", "place")}
    for measure, weights in (("kappa", None), ("kappa_linear", "linear"), ("kappa_quadratic", "quadratic")):
        theirs = {
            two: cohen_kappa_score(codes[two[0]], codes[two[1]], weights=weights, labels=[0, 1, 2])
            for two in (("place", "x"), ("place", "y"), ("x", "y"))
        }
        ours = {
            between: value(found, by="all", measure=measure, between=between) for between in ("judge-people", "people-people", "difference")
        }
        with_people = (theirs["place", "x"] + theirs["place", "y"]) / 2
        assert ours["judge-people"]["value"] == pytest.approx(with_people)
        assert ours["people-people"]["value"] == pytest.approx(theirs["x", "y"])
        assert ours["difference"]["value"] == pytest.approx(with_people - theirs["x", "y"])
        assert (ours["difference"]["n"], ours["difference"]["coders"], ours["difference"]["items"]) == (
            120,
            2,
            wide["pair_id"].str.split("_").list[0].n_unique(),
        )
        assert ours["difference"]["ci_low"] <= ours["difference"]["value"] <= ours["difference"]["ci_high"]
    assert value(found, by="level", key="sex=Female", measure="agreement", between="people-people")["n"] < 120


def test_nominal_items_and_no_stance_stay_out_of_weighted_measures():
    planted = contests(DATASET)
    taken, table = stances(DATASET, planted, none=0.2)
    units = stance_units(table)
    key = keyed(units, 160, codes=[1, 2, 3, 4])
    truth = {row["pair_id"]: code for row, code in zip(planted.rows, taken, strict=True)}
    said = {
        row["code_id"]: ("none" if truth[row["pair_id"]] is None else str(truth[row["pair_id"]]), "") for row in key.iter_rows(named=True)
    }
    people = coded_places(key, {"x": said, "y": dict(list(said.items())[:100])})
    judged = judged_stances(table, DATASET.codes_of)
    _, ratings = ratings_of(judged, people, DATASET)
    assert len(ratings.places) == 5
    plain, weighted = (measured(ratings, name, **FEW)["judge-people"][0] for name in ("kappa", "kappa_quadratic"))
    assert (plain.value, plain.n, weighted.value) == (1.0, 160, 1.0)
    assert weighted.n == sum(truth[pair] is not None and not pair.startswith("Q20_") for pair in key["pair_id"])
    assert measured(ratings, "alpha_interval", **FEW)["people-people"][0].value == 1.0


def studied(seed, *, n=150, error=0.25, toward=0.9):
    """A judge that is wrong in a quarter of cases, then mostly for the run, and one person on a sample."""
    planted = contests(DATASET, seed)
    table = verdicts(planted, seed, error=error, toward=toward)
    key = keyed(pairwise_units(table), min(n, len(planted.rows)), seed)
    return planted, table, Codings(key, {"x": coded(key, planted, seed)}, {})


@pytest.mark.slow
def test_the_win_rate_is_put_right():
    """Planted errors: the judge alone misses the truth, the corrected interval covers it as often as it says."""
    covered = naive = 0
    repetitions, truth = 200, 0.5 + 0.5 * 0.2
    for seed in range(repetitions):
        _, table, codings = studied(seed, n=80)
        units = pairwise_units(table).with_columns(judge=pl.lit("fake"))
        people = coded_places(codings.key, codings.verdicts)
        row = value(corrected_table(DATASET, units, judged_pairs(table), people, bootstrap=100, seed=0), by="all", metric="win_rate")
        covered += row["ci_low"] <= truth <= row["ci_high"]
        naive += row["judge_low"] <= truth <= row["judge_high"]
    low, high = binom.ppf([0.001, 0.999], repetitions, 0.95)
    assert low <= covered <= high
    assert naive < 0.75 * repetitions


def test_corrected_figures_beside_what_they_are_made_of():
    planted, table, codings = studied(1)
    row = value(judge_validity(DATASET, table, STANCES.empty(), codings=codings, **FEW).corrected, by="all", metric="win_rate")
    assert row["judge_value"] == pytest.approx(judged_pairs(table)["score"].mean())
    assert row["people_value"] == pytest.approx(coded_places(codings.key, codings.verdicts)["place"].mean())
    assert (row["coded"], row["judged"], row["items"]) == (150, 160, 20)
    assert abs(row["value"] - planted.truth.mean()) < abs(row["judge_value"] - planted.truth.mean())


def test_stances_are_put_right_too():
    planted = contests(DATASET, samples=4)
    taken, table = stances(DATASET, planted, error=0.5, none=0.3)
    key = keyed(stance_units(table), 400, codes=[1, 2, 3, 4])
    truth = {(row["pair_id"], row["sample"]): code for row, code in zip(planted.rows, taken, strict=True)}
    said = {row["code_id"]: (str(truth[row["pair_id"], row["sample"]] or "none"), "") for row in key.iter_rows(named=True)}
    found = judge_validity(DATASET, VERDICTS.empty(), table, codings=Codings(key, {"x": said}, {}), **FEW).corrected
    place = np.mean([(code - 1) / 3 for code in taken if code is not None])
    for metric, true in (("place", place), ("no_stance", np.mean([code is None for code in taken]))):
        row = value(found, by="all", metric=metric)
        assert row["ci_low"] <= true <= row["ci_high"]
        assert not row["judge_low"] <= true <= row["judge_high"]
    assert set(found["metric"]) == {"place", "no_stance"}  # no item has fifty coded answers


def test_places_of_a_nominal_item_have_no_mean():
    """The last item is nominal: its places count in no mean, its silence does."""
    planted = contests(DATASET)
    taken, table = stances(DATASET, planted, none=0.2)
    key = keyed(stance_units(table), 160, codes=[1, 2, 3, 4])
    truth = {row["pair_id"]: code for row, code in zip(planted.rows, taken, strict=True)}
    said = {row["code_id"]: (str(truth[row["pair_id"]] or "none"), "") for row in key.iter_rows(named=True)}
    found = judge_validity(DATASET, VERDICTS.empty(), table, codings=Codings(key, {"x": said}, {}), **FEW).corrected
    place, silent = (value(found, by="all", metric=metric) for metric in ("place", "no_stance"))
    ordinal = [(code - 1) / 3 for pair, code in truth.items() if code is not None and not pair.startswith("Q20_")]
    assert place["value"] == pytest.approx(np.mean(ordinal)) == place["judge_value"]
    assert (place["judged"], place["items"], silent["judged"], silent["items"]) == (152, 19, 160, 20)
    nominal = judge_validity(DATASET, VERDICTS.empty(), table.filter(pl.col("item") == "Q20"), codings=Codings(key, {"x": said}, {}), **FEW)
    assert set(nominal.corrected["metric"]) == {"no_stance"}


def test_shares_of_options_need_fifty_answers_of_an_item():
    one = made_up(2)
    planted = contests(one, samples=20)
    taken, table = stances(one, planted, error=0.5)
    key = keyed(stance_units(table), 120, codes=[1, 2, 3, 4])
    truth = {(row["pair_id"], row["sample"]): code for row, code in zip(planted.rows, taken, strict=True)}
    said = {row["code_id"]: (str(truth[row["pair_id"], row["sample"]] or "none"), "") for row in key.iter_rows(named=True)}
    found = judge_validity(one, VERDICTS.empty(), table, codings=Codings(key, {"x": said}, {}), **FEW).corrected
    shares = found.filter(pl.col("metric") == "share", pl.col("key") == "Q1")
    assert shares["answer"].to_list() == [1, 2, 3, 4]
    for row in shares.iter_rows(named=True):
        true = np.mean(
            [code == row["answer"] for code, planted_row in zip(taken, planted.rows, strict=True) if planted_row["item"] == "Q1"]
        )
        assert row["ci_low"] - 0.05 <= true <= row["ci_high"] + 0.05


@pytest.fixture
def study(tmp_path):
    planted = contests(DATASET)
    # Tables that `build` would have filled are empty here; what is read back must still be of this data set.
    write_dataset(DATASET, tmp_path / "data")
    tuned, base = (
        open_run(tmp_path / "tuned", DATASET, planted),
        open_run(tmp_path / "base", DATASET, planted, text=lambda row: "As it is."),
    )
    _, read = stances(DATASET, planted)
    judged = judged_folder(tmp_path / "judged", DATASET, verdicts(planted, error=0.1), [tuned], base)
    return tmp_path, planted, judged, read_folder(tmp_path / "read", DATASET, read, [tuned])


def command(function, *words):
    import typer

    app = typer.Typer()
    app.command()(function)
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=True)


def test_from_folders_to_sentences(study):
    home, planted, judged, read = study
    drawn = command(sample_, home / "data", judged, read, "-o", home / "sample", "-n", 150, "--json")
    assert drawn.exit_code == 0, drawn.output
    assert json.loads(drawn.stdout) == {
        "sample": str(home / "sample"),
        "tasks": 150,
        "drawn_from": 320,
        "by_criterion": {"overall": 75, "stance": 75},
        "seed": 0,
    }
    assert "All in all" in (home / "sample" / "items.csv").read_text(encoding="utf-8-sig")
    assert isinstance(command(validity_, home / "data", judged, "--sample", home / "sample").exception, InputDataError)
    key = load_key(home / "sample")
    for seed, coder in enumerate(("ana", "ben")):
        said = coded(key, planted, seed, error=0.1)
        append_codings(coder_file(home / "sample", coder), [(code_id, *what) for code_id, what in said.items()])
    (home / "filled.csv").write_text(
        "code_id,verdict\n" + "".join(f"{task.id},2\n" for task in load_sample(home / "sample").tasks if task.kind == "stance")
    )
    taken = command(code_, home / "sample", "--coder", "cleo", "--import", home / "filled.csv")
    assert "75 codings imported" in taken.stdout
    assert "75 of 150 tasks are not coded" in taken.stdout
    told = command(validity_, home / "data", judged, read, "--sample", home / "sample", "-o", home / "out", "--bootstrap", 200)
    assert told.exit_code == 0, told.output
    assert "its kappa with people is at most .100 lower than theirs; code more answers" in told.stdout
    assert "win rate" in told.stdout
    assert {file.name for file in (home / "out").iterdir()} >= {
        "validity.csv",
        "validity.parquet",
        "agreement.csv",
        "corrected.csv",
        "validity.txt",
    }
    assert (
        "Judge fake passes the checks of its own verdicts for overall, but is not validated:" in (home / "out" / "validity.txt").read_text()
    )
    as_json = json.loads(command(validity_, home / "data", judged, "--bootstrap", 200, "--json").stdout)
    assert set(as_json) == {"checks", "usable", "agreement", "corrected", "corrected_differences", "lines", "claims"}
    assert as_json["usable"][0]["verdict"] == "usable, not validated"


def test_folders_that_do_not_belong_together_are_refused(study):
    home, planted, judged, _ = study
    with pytest.raises(UsageError, match="No folder of verdicts"):
        load_sources(DATASET, [home / "tuned"])
    with pytest.raises(InputDataError, match=r"run\.json"):
        load_sources(DATASET, [home])
    with pytest.raises(UsageError, match="in two of the folders"):
        load_sources(DATASET, [judged, judged])
    with pytest.raises(InputDataError, match="another data set"):
        load_sources(replace(DATASET, meta={**DATASET.meta, "fingerprint": "0" * 64}), [judged])
    (home / "away").mkdir()
    (home / "base").rename(home / "away" / "base")
    assert load_sources(DATASET, [judged]).missing_runs == ("base",)
    assert isinstance(command(sample_, home / "data", judged, "-o", home / "s").exception, ValuestrataError)
    assert load_sources(DATASET, [judged, home / "away" / "base"]).missing_runs == ()
    open_run(home / "away" / "base", DATASET, planted, text=lambda row: "Asked again.")
    with pytest.raises(InputDataError, match="does not hold the answers that were judged"):
        load_sources(DATASET, [judged, home / "away" / "base"])
    with pytest.raises(InputDataError, match="criteria="):
        instructions_of({"overall": "9+abcdef"})


def test_a_sample_of_another_population_is_remarked(study):
    home, _, judged, _ = study
    assert command(sample_, home / "data", judged, "-o", home / "sample", "-n", 60).exit_code == 0
    append_codings(coder_file(home / "sample", "ana"), [(load_sample(home / "sample").tasks[0].id, "1", "")])
    more = judged_folder(
        home / "more",
        DATASET,
        verdicts(contests(DATASET)).filter(pl.col("item") != "Q1"),
        [open_run(home / "tuned", DATASET, contests(DATASET))],
        load_run(home / "base", closed=False),
    )
    told = command(validity_, home / "data", more, "--sample", home / "sample", "--bootstrap", 50)
    assert "drawn from 160 answers of tuned, but 152 are judged now" in told.stdout
    gone = load_key(home / "sample").filter(pl.col("item") == "Q1").height
    assert f"{gone} of the 60 tasks about tuned are not among the judged answers" in told.stdout


def test_codings_of_answers_that_were_asked_again_are_refused(study):
    """Runs of the same name and pairs, judged anew: what people said is of other texts."""
    home, planted, judged, _ = study
    assert command(sample_, home / "data", judged, "-o", home / "sample", "-n", 60).exit_code == 0
    append_codings(coder_file(home / "sample", "ana"), [(load_sample(home / "sample").tasks[0].id, "1", "")])
    assert command(validity_, home / "data", judged, "--sample", home / "sample", "--bootstrap", 50).exit_code == 0
    anew = open_run(home / "tuned", DATASET, planted, text=lambda row: "Asked again.")
    again = judged_folder(home / "again", DATASET, verdicts(planted), [anew], load_run(home / "base", closed=False))
    told = command(validity_, home / "data", again, "--sample", home / "sample", "--bootstrap", 50)
    assert isinstance(told.exception, InputDataError)
    assert "showed other answers" in str(told.exception)
    assert coder_file(home / "sample", "ana").is_file()
    # Without the texts at hand it cannot be seen, and that is said.
    (home / "away").mkdir()
    (home / "tuned").rename(home / "away" / "tuned")
    unseen = command(validity_, home / "data", again, "--sample", home / "sample", "--bootstrap", 50)
    assert "It was not checked whether people coded the answers that were judged" in unseen.stdout


def test_codings_of_another_sample_are_told_by_their_names(study):
    """Two samples of one study: as many tasks, and nothing else in common."""
    home, _, judged, _ = study
    for seed in (0, 1):
        assert command(sample_, home / "data", judged, "-o", home / f"sample{seed}", "-n", 60, "--seed", seed).exit_code == 0
    one, other = load_sample(home / "sample0"), load_sample(home / "sample1")
    assert not {task.id for task in one.tasks} & {task.id for task in other.tasks}
    (home / "filled.csv").write_text("code_id,verdict\n" + "".join(f"{task.id},1\n" for task in other.tasks))
    told = command(code_, one.path, "--coder", "ana", "--import", home / "filled.csv")
    assert "is not a task of this sample" in str(told.exception)
    assert not coder_file(one.path, "ana").exists()
    append_codings(coder_file(one.path, "ana"), [(other.tasks[0].id, "1", "")])
    with pytest.raises(InputDataError, match="row 2, column 'code_id'"):
        load_codings(one.path)


def test_skips_are_told(study):
    home, planted, judged, _ = study
    assert command(sample_, home / "data", judged, "-o", home / "sample", "-n", 60).exit_code == 0
    said = coded(load_key(home / "sample"), planted, 0)
    words = {code_id: "skip" if at < 9 else word for at, (code_id, (word, _)) in enumerate(said.items())}
    append_codings(coder_file(home / "sample", "ana"), [(code_id, word, "") for code_id, word in words.items()])
    told = command(validity_, home / "data", judged, "--sample", home / "sample", "--bootstrap", 50)
    assert "Coders: ana 51 of 60 (9 skipped)." in told.stdout
    assert "A coder skipped 9 of 60 tasks" in told.stdout


def test_a_stray_file_among_codings_is_named(study):
    home, _, judged, _ = study
    assert command(sample_, home / "data", judged, "-o", home / "sample", "-n", 60).exit_code == 0
    append_codings(coder_file(home / "sample", "ana"), [(load_sample(home / "sample").tasks[0].id, "1", "")])
    (home / "sample" / "codings" / "ana (copy).csv").write_text("code_id,verdict,note,time\n")
    with pytest.raises(InputDataError, match=r"codings/ana \(copy\)\.csv: not a coder's file"):
        load_codings(home / "sample")
    (home / "sample" / "codings" / "ana (copy).csv").unlink()
    for name in ("key.json", "key.parquet"):
        (home / "sample" / name).unlink()
        with pytest.raises(InputDataError, match="is missing; it says which answers the tasks show"):
            load_codings(home / "sample")
