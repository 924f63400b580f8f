"""The page of open answers: what stands first, what is greyed, what is escaped, and that its figures are those of the tables."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from itertools import product
from pathlib import Path

import polars as pl
import pytest

from tests.openended.judged import contests, judged_folder, made_up, open_run, read_folder, stances, verdicts
from valuestrata.claims.claim import Strength
from valuestrata.claims.judges import gap_strength, own_answer_claims, text_claims
from valuestrata.claims.templates import word
from valuestrata.dataset.tables import GOLD, LANDSCAPE, SPLITS, Dataset
from valuestrata.errors import InputDataError, UsageError
from valuestrata.formatting import points
from valuestrata.openended.files import load_stances
from valuestrata.openended.pairwise.win_rates import winrates
from valuestrata.openended.sources import load_sources
from valuestrata.reports.open.examples import Chosen, choose_example
from valuestrata.reports.open.findings import open_findings
from valuestrata.reports.open.judges import own_answers, shared_bases
from valuestrata.reports.open.page import open_status, write_open_report
from valuestrata.reports.open.texts import texts_section
from valuestrata.responses.run.folder import Run
from valuestrata.responses.run.identity import RunIdentity
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores.plan import Declared, Plan

NASTY = "<script>alert(1)</script> & I mean it as a whole thing."
QUICK = {"bootstrap": 100, "permutations": 20}
# Shares that differ most between young and old women, on Q3.
FLAT, FIRST, LAST = [0.3, 0.3, 0.2, 0.2], [0.9, 0.1, 0.0, 0.0], [0.0, 0.0, 0.1, 0.9]


def with_people(dataset: Dataset) -> Dataset:
    """The made-up study with gold, a split and a landscape: Q3 divides, and on it young women from old ones."""
    rows = []
    for item, subgroup in product(dataset.items["item"], dataset.subgroups["subgroup"]):
        women = {"sex_x_age_Female_16-24-years": FIRST, "sex_x_age_Female_35-44-years": LAST}
        shares = women.get(subgroup, FLAT) if item == "Q3" else FLAT
        mode = 1 + shares.index(max(shares))
        counts = [round(60 * share) for share in shares]
        known = {"pair_id": f"{item}_{subgroup}", "item": item, "subgroup": subgroup, "half": "all", "n": 60, "n_eff": 60.0}
        known |= {
            "counts_raw": counts,
            "counts_weighted": counts,
            "shares": shares,
            "mode": mode,
            "modes": [mode],
            "mode_share": max(shares),
        }
        p_mode = [float(code == mode) for code in (1, 2, 3, 4)]
        rows.append(known | {"p_mode": p_mode, "margin": 0.1, "entropy": 1.0, "ceiling_oracle": 1.0, "ceiling_human": 1.0})
    splits = [
        {name: row[name] for name in ("pair_id", "item", "subgroup")} | {"scheme": "paper", "fold": 0, "seed": 42, "part": "test"}
        for row in rows
        if row["subgroup"] != "all"
    ]
    land = [{"item": item, "stratum": "sex_x_age", "subgroups": 4, "mds": 1.0 if item == "Q3" else 0.0} for item in dataset.items["item"]]
    return replace(dataset, gold=GOLD.frame(rows), splits=SPLITS.frame(splits), landscape=LANDSCAPE.frame(land))


def closed_run(dataset: Dataset, planted, answer: int) -> Run:
    rows = [
        {key: row[key] for key in ("pair_id", "item", "subgroup", "sample")}
        | {"elicitation": "text", "template": "default", "shown": [1, 2, 3, 4], "order": "scale", "answer": answer, "status": "answered"}
        for row in planted.rows
    ]
    meta = {"name": "closed", "kind": "asked", "respondent": {"model": "m", "provider": "p"}, "elicitation": "text", "template": "default"}
    return Run("closed", Path("closed"), meta | {"dataset": {"fingerprint": dataset.fingerprint}}, RESPONSES.frame(rows))


class Study:
    """Runs `tuned` and `base`, a judge that is fair on value and takes the first answer on persona, and readings of stances."""

    def __init__(self, folder: Path) -> None:
        self.dataset = with_people(made_up())
        self.planted = contests(self.dataset)
        # On Q3 the markup stands in front, where the page shows it.
        self.tuned = open_run(
            folder / "tuned", self.dataset, self.planted, text=lambda row: NASTY if row["item"] == "Q3" else f"I like {row['item']}."
        )
        self.base = open_run(folder / "base", self.dataset, self.planted)
        self.table = pl.concat([verdicts(self.planted, criterion="value"), verdicts(self.planted, criterion="persona", first=1.0)])
        judged = judged_folder(folder / "verdicts", self.dataset, self.table, [self.tuned], self.base)
        self.taken, readings = stances(self.dataset, self.planted)
        read = read_folder(folder / "stances", self.dataset, readings, [self.tuned])
        self.sources = load_sources(self.dataset, [judged, read, folder / "tuned", folder / "base"])
        said = load_stances(read)
        self.stances = replace(said, meta={**said.meta, "contestants": {"tuned": {"respondent": {"model": "m", "provider": "p"}}}})
        self.closed = closed_run(self.dataset, self.planted, 1)

    def write(self, out: Path, **how) -> str:
        page = write_open_report(
            self.dataset, [self.tuned, self.base], out, sources=self.sources, stances=[self.stances], closed=[self.closed], **QUICK, **how
        )
        return page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    return Study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def written(study, tmp_path_factory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("page")
    return study.write(folder / "open.html"), folder


def section(page: str, name: str) -> str:
    return page.split(f'<section id="{name}"')[1].split("</section>")[0]


def cells(html: str) -> list[list[str]]:
    """The text of every cell of every row, the small print left out."""
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in re.findall(r"<tr[^>]*>(.*?)</tr>", html, re.DOTALL)]
    return [[unescape(re.sub(r"<small>.*?</small>|<[^>]+>", "", cell)).strip() for cell in row] for row in rows]


def test_what_a_model_wrote_is_text_and_nothing_else(written):
    page, _ = written
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in section(page, "examples")
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert not re.findall(r'(?:src|href)="(?!#)', page)


def test_the_judge_stands_above_its_win_rates_and_what_it_may_not_say_is_greyed(written, study):
    page, _ = written
    order = re.findall(r'<section id="([^"]+)"', page)
    assert order == ["what", "judges", "wins", "wins-by-level", "stances", "agreement", "texts", "examples", "setup", "method"]
    assert "Judge fake is not usable for Persona" in section(page, "what")
    assert "but is not validated" in section(page, "what")
    assert "Judge fake is not usable for Persona" in section(page, "judges")
    wins = section(page, "wins")
    assert "Win rates in grey and brackets may not be used" in wins
    assert "Persona by fake (not usable)" in wins
    row = next(row for row in cells(wins) if row[:1] == ["tuned"])
    rates = winrates(study.dataset, study.table, by=("all",), bootstrap=0).filter(pl.col("metric") == "win_rate")
    values = dict(rates.select("criterion", "value").iter_rows())
    assert row[1:3] == [points(values["value"]), f"({points(values['persona'])})"]
    assert '<td class="num quiet">(50.0)' in wins
    # Where it may not be used, the summary says nothing of who wins.
    assert "on Value" in section(page, "what")
    assert "on Persona" not in section(page, "what")


def test_the_first_screen_has_a_claim_about_each_and_one_figure(written):
    page, _ = written
    first = section(page, "what")
    assert re.findall(r'<article class="verdict">\s*<h3>(.*?)</h3>', first) == ["Judge fake", "tuned", "base"]
    assert first.count("<figure>") == 1
    assert "Win rates by level: Value, against base, judged by fake" in first
    # At most one table of a section is open.
    for one in re.findall(r"<section .*?</section>", page, re.DOTALL):
        assert re.sub(r"<details.*?</details>", "", one, flags=re.DOTALL).count("<table>") <= 1


def test_the_banner_names_the_plan_of_the_study(study):
    found = open_findings(study.dataset, [study.tuned], **QUICK)
    plan = Declared(Plan(), "a" * 64, "2026-01-01T00:00:00Z", "declared")
    assert any("plan aaaaaaaaaaaa declares comparisons of runs" in line.text for line in open_status(study.dataset, found, plan))
    assert any("uses no plan" in line.text for line in open_status(study.dataset, found))


def test_a_judge_of_no_use_has_no_chart(study, tmp_path):
    table = study.table.filter(pl.col("criterion") == "persona")
    sources = replace(study.sources, verdicts=table)
    page = write_open_report(study.dataset, [study.tuned, study.base], tmp_path / "open.html", sources=sources, **QUICK).read_text()
    assert "None of these win rates may be used" in section(page, "wins")
    assert "<svg role" not in section(page, "wins-by-level")
    assert "is preferred to" not in section(page, "what")


def test_stances_stand_beside_closed_answers_and_baselines(study, tmp_path):
    page = study.write(tmp_path / "open.html", baselines=("uniform",))
    whole = section(page, "stances").split("<details>")[0]
    rows = cells(whole)
    assert [row[0] for row in rows if row] == ["tuned", "closed", "uniform"]
    accuracy = {row[0]: row[2] for row in rows if row}
    gold = dict(study.dataset.gold.select("pair_id", "mode").iter_rows())
    right = [code == gold[row["pair_id"]] for row, code in zip(study.planted.rows, study.taken, strict=True)]
    assert accuracy["tuned"] == f"{sum(right) / len(right):.3f}".lstrip("0")
    ones = [gold[row["pair_id"]] == 1 for row in study.planted.rows]
    assert accuracy["closed"] == f"{sum(ones) / len(ones):.3f}".lstrip("0")
    assert accuracy["uniform"] == ".250"


def test_closed_against_open_is_counted(written, study):
    page, _ = written
    taken = [code for code in study.taken if code is not None]
    row = next(row for row in cells(section(page, "agreement")) if row[:2] == ["tuned", "closed"])
    assert row[3] == points(taken.count(1) / len(taken))
    assert row[-1] == f"{len(taken)}"
    assert "Subgroups with the largest distance" in section(page, "agreement")


@pytest.mark.slow
def test_published_figures_can_be_left_out(written, study, tmp_path):
    page, _ = written
    # They are of the criterion overall, which nobody judged here.
    assert "published" not in section(page, "wins")
    overall = study.table.filter(pl.col("criterion") == "value").with_columns(criterion=pl.lit("overall"))
    sources = replace(study.sources, verdicts=overall)
    for published in (True, False):
        how = {"sources": sources, "published": published, **QUICK}
        text = write_open_report(study.dataset, [study.tuned, study.base], tmp_path / f"{published}.html", **how).read_text()
        assert ("Llama-3.1-8B" in section(text, "wins")) == published


def test_tables_lie_beside_the_page(written):
    page, folder = written
    names = {file.name for file in (folder / "open-tables").iterdir()}
    assert names >= {"win_rates.csv", "judges.csv", "judges_usable.csv", "stance_scores.csv", "closed_against_open.csv", "text_rates.csv"}
    assert "in the folder open-tables" in page
    rates = pl.read_csv(folder / "open-tables" / "win_rates.csv")
    assert rates.filter((pl.col("metric") == "win_rate") & (pl.col("by") == "all")).height == 2


def test_the_example_is_the_most_divided_item_and_the_two_furthest_apart(study):
    found = open_findings(study.dataset, [study.tuned, study.base], **QUICK)
    assert choose_example(study.dataset, found) == Chosen("Q3", "sex_x_age_Female_16-24-years", "sex_x_age_Female_35-44-years")
    wanted = ("Q1", "sex_Female", "sex_Male")
    assert choose_example(study.dataset, found, wanted) == Chosen(*wanted)
    with pytest.raises(UsageError, match="no item 'Q33'"):
        choose_example(study.dataset, found, ("Q33", "sex_Female", "sex_Male"))
    with pytest.raises(UsageError, match="no run was asked 'Q1' as 'all'"):
        choose_example(study.dataset, found, ("Q1", "all", "sex_Male"))


def test_a_drafted_question_is_told_and_shown(study, tmp_path):
    items = study.dataset.items.with_columns(pl.when(pl.col("item") != "Q3").then("open_question").alias("open_question"))
    drafted = replace(study.tuned, meta={**study.tuned.meta, "plan": {"drafted_items": ["Q3"]}})
    page = write_open_report(replace(study.dataset, items=items), [drafted], tmp_path / "open.html", **QUICK).read_text()
    assert "The open questions of Q3. Read them before" in section(page, "setup")
    assert "Q3 (drafted by rule): How much does matter 3 mean to you?" in section(page, "examples")


def test_too_few_questions_and_words_are_said_to_be_too_few(study):
    few = study.tuned.responses.filter(pl.col("item").is_in(["Q1", "Q2"]))
    found = open_findings(study.dataset, [replace(study.tuned, responses=few)], **QUICK).texts
    rows = found.similarity.filter(pl.col("by") == "attribute").to_dicts()
    assert {gap_strength(row) for row in rows} == {Strength.UNDETERMINED}
    assert all(row["gap"] is not None and row["gap_low"] is None for row in rows)
    (claim,) = (one for one in text_claims(found) if one.kind == "wording")
    assert claim.strength is Strength.UNDETERMINED
    assert "too few questions to tell whether the wording differs" in word(claim).sentence
    assert claim.figure("across").value == pytest.approx(1.0)
    (all_,) = found.similarity.filter(pl.col("by") == "all").to_dicts()
    assert all_["across"] == pytest.approx(1.0), "what is the same for everybody is flat"
    tables = dict(texts_section(study.dataset, found).tables)
    assert any(cell.text == "Every subgroup" for row in tables["Similarity of answers across levels"].rows for cell in row.cells)
    one = open_findings(study.dataset, [replace(study.tuned, responses=few.head(3))], **QUICK).texts
    words = dict(texts_section(study.dataset, one).tables)["Words that are more frequent in a level's answers"]
    assert "Too few answers" in words.rows[0].cells[3].text


def test_a_judge_of_its_own_answers_is_warned_of(study):
    alone = replace(study.tuned, meta={**study.tuned.meta, "respondent": {"name": "fake", "model": "m"}})
    inside = replace(study.base, meta={**study.base.meta, "respondent": {"provider": "control", "name": "control:no-persona@fake"}})
    found = open_findings(study.dataset, [alone, inside], sources=study.sources, **QUICK)
    assert own_answers(found) == {"fake": ["tuned", "base"]}
    (claim,) = own_answer_claims(own_answers(found))
    assert word(claim).sentence.startswith("Judge fake judges its own answers (tuned and base)")
    assert own_answer_claims(own_answers(open_findings(study.dataset, [study.tuned, study.base], sources=study.sources, **QUICK))) == []


@pytest.mark.slow
def test_a_judge_on_the_base_of_a_judged_model_is_warned_of(study, tmp_path):
    tuned = replace(study.tuned, meta={**study.tuned.meta, "respondent": {"provider": "p", "model": "ft:gpt-4.1-mini:acme::A1"}})
    judge = RunIdentity.from_document({"respondent": {"name": "fake", "provider": "p", "model": "gpt-4.1-mini-2025-04-14"}}, "fake")
    sources = replace(study.sources, judges={"fake": judge})
    found = open_findings(study.dataset, [tuned, study.base], sources=sources, **QUICK)
    assert shared_bases(found) == {"fake": ["tuned"]}
    page = write_open_report(study.dataset, [tuned, study.base], tmp_path / "open.html", sources=sources, **QUICK).read_text()
    assert page.count("Judge fake has the same base model as the writer of tuned") >= 2


def test_texts_alone_make_a_page(study, tmp_path):
    page = write_open_report(study.dataset, [study.tuned], tmp_path / "out", **QUICK).read_text()
    assert (tmp_path / "out" / "open.html").is_file()
    assert re.findall(r'<section id="([^"]+)"', page) == ["what", "texts", "examples", "setup", "method"]
    assert "Not shown: Win rates (no verdicts of a judge were given)." in page


def test_what_is_lacking_is_told(study, tmp_path):
    with pytest.raises(InputDataError, match="are about the run 'base', which was not given"):
        write_open_report(study.dataset, [study.tuned], tmp_path / "x.html", sources=study.sources, **QUICK)
    with pytest.raises(UsageError, match="needs the runs themselves"):
        write_open_report(study.dataset, [], tmp_path / "x.html", sources=study.sources)
    other = replace(study.closed, meta={**study.closed.meta, "respondent": {"model": "another", "provider": "p"}})
    with pytest.raises(InputDataError, match="none of the closed runs"):
        write_open_report(
            study.dataset, [study.tuned, study.base], tmp_path / "x.html", sources=study.sources, stances=[study.stances], closed=[other]
        )
    assert not (tmp_path / "x.html").exists()
