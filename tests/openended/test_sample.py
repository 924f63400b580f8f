"""The calibration sample: fair, blind, whole, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.openended.judged import contests, made_up, stances, verdicts
from valuestrata.errors import InputDataError, UsageError
from valuestrata.files import canonical_hash
from valuestrata.frames import escaped, unescaped
from valuestrata.openended.annotation.files import load_key, load_sample
from valuestrata.openended.annotation.sample import Instruction, draw_units, pairwise_units, stance_units, write_sample

TOLD = {name: Instruction(f"Look at {name}.", persona=name != "style") for name in ("overall", "persona", "style")}


@pytest.fixture(scope="module")
def study():
    dataset = made_up()
    tuned, other = contests(dataset, 0), contests(dataset, 1, run="other")
    table = pl.concat([verdicts(one, criterion=name) for one in (tuned, other) for name in ("overall", "persona", "style")])
    _, read = stances(dataset, tuned)
    answers = pl.DataFrame(
        [{**row, "run": run, "text": f"{run} wrote of {row['pair_id']}"} for row in tuned.rows for run in ("tuned", "other", "base")]
    ).select("run", "pair_id", pl.col("sample").cast(pl.Int32), "text")
    units = pl.concat([pairwise_units(table), stance_units(read)])
    return dataset, table, units, answers


def strata(dataset):
    return dict(dataset.subgroups.select("subgroup", "stratum").iter_rows())


def test_units_are_what_a_person_can_repeat(study):
    """One for both orders and all judges; nothing that was settled by rule."""
    dataset, table, units, _ = study
    assert len(units) == 160 * 2 * 3 + 160
    twice = pl.concat([table, table.with_columns(judge=pl.lit("second"))])
    assert pairwise_units(twice).equals(pairwise_units(table))
    ruled = table.with_columns(status=pl.when(pl.col("item") == "Q1").then(pl.lit("by_rule")).otherwise("status"))
    assert "Q1" not in pairwise_units(ruled)["item"].to_list()
    _, read = stances(dataset, contests(dataset))
    silent = read.with_columns(attempts=pl.when(pl.col("item") == "Q2").then(0).otherwise("attempts"))
    assert set(read["item"]) - set(stance_units(silent)["item"]) == {"Q2"}


def test_every_stratum_gets_its_share(study):
    dataset, _, units, _ = study
    drawn = draw_units(units, strata(dataset), 224, seed=5)
    assert drawn.n_unique() == 224
    cell = ["kind", "criterion", "run", "_s"]
    stratum = pl.col("subgroup").replace_strict(strata(dataset)).alias("_s")
    have = units.with_columns(stratum).group_by(cell).len("all").join(drawn.with_columns(stratum).group_by(cell).len("got"), on=cell)
    assert len(have) == 7 * 3
    assert (have["got"] - have["all"] * 224 / 1120).abs().max() < 1.0001


@pytest.mark.slow
def test_every_unit_has_the_same_chance(study):
    dataset, _, units, _ = study
    few = units.filter(pl.col("item").is_in(["Q1", "Q2"]), pl.col("criterion") == "overall")
    counts = dict.fromkeys(few.rows(), 0)
    for seed in range(2000):
        for row in draw_units(few, strata(dataset), 8, seed).rows():
            counts[row] += 1
    expected = 2000 * 8 / len(few)
    # Five standard errors of a binomial count; no unit stands where the others do not.
    assert max(abs(count - expected) for count in counts.values()) < 5 * (expected * 0.75) ** 0.5


def test_the_seed_decides_and_nothing_else(study):
    dataset, _, units, _ = study
    one, again = draw_units(units, strata(dataset), 50, 3), draw_units(units.reverse(), strata(dataset), 50, 3)
    assert one.equals(again)
    assert not one.equals(draw_units(units, strata(dataset), 50, 4))
    assert len(draw_units(units, strata(dataset), 10**6, 3)) == len(units)


def test_what_coders_get_is_blind(study, tmp_path):
    dataset, _, units, answers = study
    hidden = answers.with_columns(text=pl.format("An answer to {}, kind {}", "pair_id", pl.col("run").str.len_chars()))
    sample = write_sample(dataset, units, hidden, tmp_path / "sample", n=101, seed=1, instructions=TOLD)
    sheet = (tmp_path / "sample" / "items.csv").read_bytes()
    assert sheet.startswith(b"\xef\xbb\xbf")
    described = (tmp_path / "sample" / "sample.json").read_bytes()
    for word in (b"tuned", b"other", b"base", b"fake", b"reference", b"run-first"):
        assert word not in sheet
        assert word not in described
    assert json.loads(described).keys() == {"format", "dataset", "tasks", "drawn_from", "by_criterion"}
    rows = list(csv.DictReader(io.StringIO(sheet.decode("utf-8-sig"))))
    assert len(rows) == len(sample.tasks) == 101
    assert {row["verdict"] + row["note"] for row in rows} == {""}
    for row in rows:
        assert bool(row["persona"]) == (row["criterion"] in ("overall", "persona"))
        assert row["question"].startswith("What do you think" if row["kind"] == "pairwise" else "How much")
        assert row["options"] == ("" if row["kind"] == "pairwise" else "1 = Very much\n2 = Rather\n3 = Not much\n4 = Not at all")
    female = next(row for row in rows if "sex_x_age_Female_35" in row["answer_1"] and row["persona"])
    assert female["persona"] == "A woman aged 35 to 44 living in Singapore"


def test_the_key_says_what_stands_behind(study, tmp_path):
    dataset, _, units, answers = study
    sample = write_sample(dataset, units, answers, tmp_path / "sample", n=150, seed=1, instructions=TOLD)
    key = load_key(tmp_path / "sample")
    assert sample.meta["drawn_from"] == len(units)
    behind = json.loads((tmp_path / "sample" / "key.json").read_text())
    assert sum(row["answers"] for row in behind["population"]) == len(units)
    assert behind["seed"] == 1
    for task, row in zip(sample.tasks, key.iter_rows(named=True), strict=True):
        assert task.id == row["code_id"]
        shown = [row["run"]] if task.kind == "stance" else [row[row["first"]], row["reference" if row["first"] == "run" else "run"]]
        assert list(task.answers) == [f"{run} wrote of {row['pair_id']}" for run in shown]
        assert row["codes"] == (None if task.kind == "pairwise" else [1, 2, 3, 4])
        both = [row["run"]] if task.kind == "stance" else [row["run"], row["reference"]]
        assert row["texts_hash"] == canonical_hash([f"{run} wrote of {row['pair_id']}" for run in both])
    first = key.filter(pl.col("kind") == "pairwise")["first"]
    assert abs((first == "run").sum() - (first == "reference").sum()) <= 1


def test_nothing_is_drawn_over_what_people_did(study, tmp_path):
    dataset, _, units, answers = study
    write_sample(dataset, units, answers, tmp_path / "s", n=5, seed=1, instructions=TOLD)
    (tmp_path / "s" / "codings").mkdir()
    (tmp_path / "s" / "codings" / "ana.csv").write_text("code_id,verdict,note,time\n")
    with pytest.raises(InputDataError, match="codings of ana"):
        write_sample(dataset, units, answers, tmp_path / "s", n=5, seed=1, instructions=TOLD)
    assert (tmp_path / "s" / "codings" / "ana.csv").is_file()


def test_what_cannot_be_shown_is_said(study, tmp_path):
    dataset, _, units, answers = study
    with pytest.raises(InputDataError, match="has no answer to"):
        write_sample(dataset, units, answers.filter(pl.col("run") != "base"), tmp_path / "a", n=50, seed=1, instructions=TOLD)
    with pytest.raises(InputDataError, match="'style' has no wording"):
        write_sample(dataset, units, answers, tmp_path / "b", n=999, seed=1, instructions={k: TOLD[k] for k in ("overall", "persona")})
    with pytest.raises(InputDataError, match="nothing to draw"):
        write_sample(dataset, units.clear(), answers, tmp_path / "c", n=5, seed=1, instructions=TOLD)
    with pytest.raises(UsageError, match="at least one"):
        write_sample(dataset, units, answers, tmp_path / "d", n=0, seed=1, instructions=TOLD)
    foreign = units.head(1).with_columns(item=pl.lit("Q99"))
    with pytest.raises(InputDataError, match="is not in"):
        write_sample(dataset, foreign, answers, tmp_path / "e", n=5, seed=1, instructions=TOLD)
    assert list(tmp_path.iterdir()) == []


def test_a_spreadsheet_takes_no_answer_for_a_formula(study, tmp_path):
    dataset, _, units, answers = study
    evil = '=HYPERLINK("http://x";"y")\nand, more'
    sample = write_sample(dataset, units, answers.with_columns(text=pl.lit(evil)), tmp_path / "s", n=4, seed=1, instructions=TOLD)
    with (tmp_path / "s" / "items.csv").open(encoding="utf-8-sig", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
    assert any(cell.startswith("'=HYPERLINK") for cell in cells)
    assert {answer for task in sample.tasks for answer in task.answers} == {evil}


@given(st.text(alphabet=st.sampled_from("'=+-@\t\r\n aé＝"), max_size=6))
def test_guarding_is_undone_without_loss(text):
    assert unescaped(escaped(text)) == text
    assert not escaped(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝"))


def test_a_broken_sample_is_refused(tmp_path):
    with pytest.raises(InputDataError, match="open sample"):
        load_sample(tmp_path)
    (tmp_path / "sample.json").write_text(json.dumps({"format": "other"}))
    with pytest.raises(InputDataError, match="draw the sample again"):
        load_sample(tmp_path)
