"""The explorer in a real browser: what it shows is what was scored, links lead to it, and it can be used by everyone."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import polars as pl
import pytest

from bench.explore_20k import make_page, opened
from bench.explore_20k import world as large_world
from tests.browser import browser
from tests.report.conftest import FakeRun, make_dataset, make_run, score
from valuestrata.dataset.tables import Dataset
from valuestrata.fairness import audit
from valuestrata.prompts import load_template, render_prompts
from valuestrata.reports import write_report

pytestmark = pytest.mark.slow
EVIL = "<script>document.title = 'broken'</script><img src=x onerror=\"document.title = 'broken'\">"
ANSWER = f"{EVIL} As a language model I cannot hold a view."
READY = "performance.getEntriesByName('explorer-ready').length && document.querySelector('#explore-table tbody a')"
SUMMARY = "document.querySelector('#explore-summary').textContent"
MODEL, OTHER, BEST = "org/tuned", "org/base", "baseline-nearest-parent"
# Impacts of findings of axe-core that fail the test.
SERIOUS = {"serious", "critical"}


@dataclass(frozen=True)
class Reported:
    """A report on disk, and what it was made from."""

    page: Path
    dataset: Dataset
    runs: list[FakeRun]

    def pairs(self, run: str) -> pl.DataFrame:
        """The scored pairs with a run's accuracy, computed here."""
        found = next(one for one in self.runs if one.name == run).responses.select("pair_id", "answer", "status")
        rows = self.dataset.part("paper", "test").join(self.dataset.gold.drop("item", "subgroup"), on="pair_id").join(found, on="pair_id")
        rows = rows.join(self.dataset.items.select("item", "topic", "question"), on="item")
        rows = rows.join(self.dataset.subgroups.drop("n", "n_eff"), on="subgroup")
        return rows.with_columns(correct=(pl.col("answer") == pl.col("mode")).fill_null(value=False))


def with_prompts(dataset: Dataset, run: FakeRun) -> FakeRun:
    """Record the prompts that the model would have seen, with tokens and cost."""
    prompts = render_prompts(dataset, run.responses, template=load_template("default"), elicitation="text")
    hashes = {prompt.pair_id: prompt.hash for prompt in prompts}
    asked = run.responses.with_columns(
        template=pl.lit("default"),
        prompt_hash=pl.col("pair_id").replace_strict(hashes),
        prompt_tokens=pl.lit(123, dtype=pl.Int64),
        completion_tokens=pl.lit(7, dtype=pl.Int64),
        cost=pl.lit(0.00025),
        text=pl.when(pl.col("status") == "refused").then(pl.lit(ANSWER)).otherwise("text"),
    )
    return replace(run, responses=asked)


@pytest.fixture(scope="module")
def reported(tmp_path_factory) -> Reported:
    made = make_dataset(items=10, subgroups=50)
    questions = pl.when(pl.col("item") == "Q2").then(pl.lit(f"Evil {EVIL} question?")).otherwise("question").alias("question")
    groups = made.subgroups.with_columns(pl.col("ethnicity").str.replace("Other", f"Other {EVIL}", literal=True))
    attributes = [
        {**one, "levels": [{**level, "label": level["label"].replace("Other", f"Other {EVIL}")} for level in one["levels"]]}
        for one in made.meta["attributes"]
    ]
    meta = {**made.meta, "attributes": attributes}
    dataset = replace(made, meta=meta, items=made.items.with_columns(questions), subgroups=groups)
    runs = [
        with_prompts(dataset, make_run(dataset, MODEL, 0.6, "text", 8)),
        make_run(dataset, OTHER, 0.4, "logprob", 9),
        make_run(dataset, "baseline:item-mode", 0.7, "stated-distribution", 2),
        make_run(dataset, "baseline:nearest-parent", 0.8, "stated-distribution", 5),
    ]
    found = audit(dataset, runs, against=OTHER, permutations=20, bootstrap=20)
    folder = tmp_path_factory.mktemp("explored")
    page = write_report(dataset, runs, score(dataset, runs), folder / "report.html", audit=found)
    return Reported(page, dataset, runs)


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture
def open_page(tab, reported):
    """Open the report, with or without filters in its address."""

    def opened_at(address: str = "", file: Path | None = None) -> Any:
        tab.errors.clear()
        tab.open("about:blank")
        tab.open((file or reported.page).as_uri() + address)
        tab.wait(READY)
        return tab

    return opened_at


def choose(tab, name: str, value: str) -> None:
    tab.js(
        f"(field => {{ field.value = {json.dumps(value)}; field.dispatchEvent(new Event(field.name === 'search' ? 'input' : 'change', "
        f"{{bubbles: true}})); }})(document.querySelector('#explore-filters [name={name}]'))"
    )


def margins_shown(tab) -> list[float]:
    """The next to last column of the table."""
    rows = tab.js("Array.from(document.querySelectorAll('#explore-table tbody tr'), row => row.cells[row.cells.length - 2].innerText)")
    return [float(row) for row in rows]


def said(tab) -> str:
    return tab.js(SUMMARY)


def written(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def test_the_summary_and_the_filters_agree_with_the_scores(open_page, reported):
    tab = open_page()
    mine, best = reported.pairs(MODEL), reported.pairs(BEST)
    assert said(tab).startswith(f"{mine.height} of {mine.height} pairs. {MODEL}: accuracy {written(mine['correct'].mean())},")
    assert f"Best cheap baseline, {BEST}: accuracy {written(best['correct'].mean())}" in said(tab)
    assert f"Mean ceiling of expected accuracy: {written(mine['ceiling_oracle'].mean())}." in said(tab)
    topic, subgroup = mine["topic"][0], mine["subgroup"][3]
    filters = {
        "topic": (topic, pl.col("topic") == topic),
        "subgroup": (subgroup, pl.col("subgroup") == subgroup),
        "item": ("Q3", pl.col("item") == "Q3"),
        "attribute": ("age_group=16-24 years", pl.col("age_group") == "16-24 years"),
        "outcome": ("wrong", (pl.col("status") == "answered") & ~pl.col("correct")),
        "search": ("MATTER number 5", pl.col("question").str.contains("matter number 5", literal=True)),
    }
    for name, (value, wanted) in filters.items():
        choose(tab, name, value)
        rows = mine.filter(wanted)
        assert 0 < rows.height < mine.height
        assert said(tab).startswith(f"{rows.height} of {mine.height} pairs. {MODEL}: accuracy {written(rows['correct'].mean())},"), name
        tab.click("#explore-clear")
        assert said(tab).startswith(f"{mine.height} of"), name
    choose(tab, "outcome", "none")
    assert said(tab).startswith(f"{mine.filter(pl.col('status') != 'answered').height} of")
    choose(tab, "run", OTHER)
    assert f"{OTHER}: accuracy .000" in said(tab)
    assert not tab.errors


def test_two_runs_are_compared(open_page, reported):
    tab = open_page()
    assert tab.js("document.querySelectorAll('#explore-table thead th').length") == 7
    choose(tab, "versus", OTHER)
    assert tab.js("document.querySelectorAll('#explore-table thead th').length") == 9
    both = reported.pairs(MODEL).join(reported.pairs(OTHER).select("pair_id", other="correct"), on="pair_id")
    choose(tab, "outcome", "first")
    assert said(tab).startswith(f"{both.filter(pl.col('correct') & ~pl.col('other')).height} of")
    assert f"{OTHER}: accuracy .000" in said(tab)
    assert not tab.errors


def test_the_table_sorts_and_turns_its_pages(open_page, reported):
    tab = open_page()
    expected = "#explore-table thead th[data-name=margin]"
    for order in (True, False):
        tab.click(expected)
        margins = sorted(reported.pairs(MODEL)["margin"], reverse=order)
        tab.wait(f"document.querySelector('#explore-table tbody tr').cells[5].innerText.startsWith('{written(margins[0])[:3]}')")
        assert margins_shown(tab) == pytest.approx(margins[:10], abs=0.0006)
    assert "sort=margin" in tab.js("location.hash") or tab.js("location.hash") == ""
    tab.click("#explorer .dt-paging-button.next")
    assert margins_shown(tab) == pytest.approx(margins[10:20], abs=0.0006)
    assert not tab.errors


def test_a_pair_shows_distributions_prompt_answer_and_cost(open_page, reported):
    row = reported.pairs(MODEL).filter(pl.col("status") == "answered", pl.col("item") == "Q1").row(0, named=True)
    tab = open_page(f"#explore?run={MODEL.replace('/', '%2F')}&versus={OTHER.replace('/', '%2F')}&item=Q1")
    tab.js("document.querySelector('#explore-table tbody a').focus()")
    tab.js(f"location.hash += '&pair={row['pair_id']}'")
    tab.wait("!document.querySelector('#explore-detail').hidden && document.activeElement.id === 'explore-pair'")
    text = tab.text("#explore-detail")
    assert "Thinking of matter number 1" in text
    assert f"{row['n']}\n" in text
    shown = tab.js(
        "Array.from(document.querySelectorAll('#explore-detail .shares tbody tr'), row => row.cells[1].querySelector('.share').innerText)"
    )
    assert [int(share.split("\u00a0")[0]) for share in shown] == pytest.approx([100 * share for share in row["shares"]], abs=0.51)
    stated = next(run for run in reported.runs if run.name == OTHER).responses.filter(pl.col("pair_id") == row["pair_id"])["option_probs"]
    shown = tab.js(
        "Array.from(document.querySelectorAll('#explore-detail .shares tbody tr'), row => row.cells[3].querySelector('.share').innerText)"
    )
    assert [int(share.split("\u00a0")[0]) for share in shown] == pytest.approx([100 * share for share in stated[0]], abs=0.51)
    assert "123 tokens in" in text
    assert "$0.00025" in text
    assert tab.js("document.querySelector('#explore-detail [data-raw=text]').textContent") == f"Answer: {row['answer']}"
    prompts = list(
        render_prompts(
            reported.dataset,
            reported.runs[0].responses.filter(pl.col("pair_id") == row["pair_id"]),
            template=load_template("default"),
            elicitation="text",
        )
    )
    shown = tab.js("Array.from(document.querySelectorAll('#explore-detail pre'), one => one.textContent)")
    assert shown == [message.content for message in prompts[0].messages]
    tab.click("#explore-detail .close")
    tab.wait("document.querySelector('#explore-detail').hidden")
    assert tab.js("document.activeElement.closest('#explore-table') !== null")
    assert not tab.errors


def test_what_models_and_surveys_wrote_stays_text(open_page, reported):
    refused = reported.pairs(MODEL).filter(pl.col("status") == "refused").row(0, named=True)
    tab = open_page(f"#explore?pair={refused['pair_id'].replace(' ', '+')}")
    tab.wait("!document.querySelector('#explore-detail').hidden")
    assert tab.js("document.querySelector('#explore-detail [data-raw=text]').textContent") == ANSWER
    other = reported.pairs(MODEL).filter(pl.col("ethnicity").str.contains("Other"))["pair_id"][0]
    tab.js(f"location.hash = '#explore?pair=' + encodeURIComponent({json.dumps(other)})")
    tab.wait("document.querySelector('#explore-detail dl').innerText.includes('broken')")
    assert EVIL in tab.text("#explore-detail dl")
    choose(tab, "item", "Q2")
    assert "document.title = 'broken'" in tab.text("#explore-table")
    assert tab.js("document.title") == "Synthetic Values Survey 2020"
    assert tab.js("document.querySelectorAll('#explore img, #explore script').length") == 0
    assert not tab.errors


def test_every_link_of_a_figure_finds_pairs(open_page):
    tab = open_page()
    links = tab.js("Array.from(new Set(Array.from(document.querySelectorAll('figure svg a'), one => one.getAttribute('href'))))")
    assert len(links) > 100
    assert {key for link in links for key in parse_qs(link.partition("?")[2])} >= {
        "run",
        "versus",
        "subgroup",
        "topic",
        "attribute",
        "gold",
    }
    # Every link of each kind would take minutes.
    kinds = {tuple(sorted(parse_qs(link.partition("?")[2]))): [] for link in links}
    for link in links:
        kinds[tuple(sorted(parse_qs(link.partition("?")[2])))].append(link)
    followed = [link for some in kinds.values() for link in some[:: max(1, len(some) // 15)]]
    empty = []
    for link in followed:
        tab.js(
            "(link => new Promise(done => { addEventListener('popstate', () => setTimeout(done), {once: true}); location.hash = link; }))"
            f"({json.dumps(link)})"
        )
        if said(tab).startswith("0 of") or "has no" in tab.js("document.querySelector('#explore-note').textContent"):
            empty.append(link)
    # A cell of the confusion matrix may hold no pair, and says so by its 0.
    assert not [link for link in empty if "answer=" not in link]
    assert not tab.errors


def test_links_and_the_back_button_move_between_views(open_page, reported):
    tab = open_page()
    dot = "figure svg a[href*='org%2Ftuned'][href*='topic=']"
    tab.click(dot)
    href = tab.js(f"document.querySelector(\"{dot}\").getAttribute('href')")
    topic = parse_qs(href.partition("?")[2])["topic"][0]
    rows = reported.pairs(MODEL).filter(pl.col("topic") == topic)
    tab.wait(f"{SUMMARY}.startsWith('{rows.height} of')")
    assert tab.js("document.querySelector('#explore-filters [name=topic]').value") == topic
    assert tab.js("Math.abs(document.querySelector('#explore').getBoundingClientRect().top) < innerHeight")
    choose(tab, "outcome", "correct")
    right = rows.filter("correct").height
    assert said(tab).startswith(f"{right} of")
    shared = tab.js("location.href")
    tab.js("history.back()")
    tab.wait(f"{SUMMARY}.startsWith('{rows.height} of')")
    assert tab.js("document.querySelector('#explore-filters [name=outcome]').value") == ""
    tab.open("about:blank")
    tab.open(shared)
    tab.wait(f"{READY} && {SUMMARY}.startsWith('{right} of')")
    assert not tab.errors


def test_unknown_filters_are_named(open_page):
    tab = open_page()
    tab.js("location.hash = '#explore?run=nobody&subgroup=moon&outcome=toString'")
    tab.wait("!document.querySelector('#explore-note').hidden")
    assert "This page has no run “nobody”." in tab.text("#explore-note")
    assert "This page has no subgroup “moon”." in tab.text("#explore-note")
    assert "This page has no outcome “toString”." in tab.text("#explore-note")
    assert "No pair matches these filters." in tab.text("#explore-table")
    assert not tab.errors


def test_the_keyboard_is_enough(open_page):
    tab = open_page()
    stops = "Array.from(document.querySelectorAll('figure svg'), svg => svg.querySelectorAll('a[tabindex=\"0\"]').length)"
    assert set(tab.js(stops)) <= {0, 1}, "one stop of the Tab key in each chart"
    tab.js("document.querySelector('figure svg a').focus()")
    before = tab.js("document.activeElement.getAttribute('aria-label')")
    tab.key("ArrowRight")
    assert tab.js("document.activeElement.getAttribute('aria-label')") != before
    tab.js("document.querySelector('#explore-table tbody a').focus()")
    tab.js("document.activeElement.click()")
    tab.wait("document.activeElement.id === 'explore-pair'")
    tab.key("Tab")
    assert tab.js("document.activeElement.className") == "close"
    assert not tab.errors


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (380, "light")])
def test_axe_finds_no_serious_violation(open_page, reported, tab, tmp_path, width, scheme):
    tab.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
    tab.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    pair = reported.pairs(MODEL)["pair_id"][0]
    open_page(f"#explore?versus={OTHER.replace('/', '%2F')}&pair={pair}")
    tab.wait("!document.querySelector('#explore-detail').hidden")
    tab.js("document.querySelectorAll('details').forEach(one => one.open = true)")
    axe = Path(find_spec("axe_playwright_python").origin).parent / "axe.min.js"
    tab.ask("Runtime.evaluate", expression=axe.read_text(encoding="utf-8"))
    found = json.loads(tab.js("axe.run(document, {resultTypes: ['violations']}).then(found => JSON.stringify(found.violations))"))
    assert not [(one["id"], one["nodes"][0]["html"][:200]) for one in found if one["impact"] in SERIOUS]
    assert tab.js("document.documentElement.scrollWidth") <= width
    tab.ask("Emulation.clearDeviceMetricsOverride")
    tab.ask("Emulation.setEmulatedMedia", features=[])
    assert not tab.errors


def test_print_says_that_the_explorer_is_left_out(open_page):
    tab = open_page()
    tab.ask("Emulation.setEmulatedMedia", media="print")
    assert tab.js("getComputedStyle(document.querySelector('#explorer')).display") == "none"
    assert "is not printed" in tab.text("#explore .print")
    tab.ask("Emulation.setEmulatedMedia", media="")


def test_without_scripts_links_jump_to_the_section_and_tables_remain(tab, reported):
    tab.ask("Emulation.setScriptExecutionDisabled", value=True)
    tab.open("about:blank")
    tab.open(reported.page.as_uri() + f"#explore?run={MODEL.replace('/', '%2F')}")
    time.sleep(1)
    tab.ask("Emulation.setScriptExecutionDisabled", value=False)
    assert tab.js("document.querySelector('#explorer').hidden")
    assert "needs JavaScript" in tab.text("#explore noscript")
    assert abs(tab.js("document.querySelector('#explore').getBoundingClientRect().top")) < 400
    assert tab.js("document.querySelectorAll('#results table tbody tr').length") > 4


def test_a_large_report_is_small_and_quick(open_page, tab, tmp_path, capsys):
    made = large_world()
    file = tmp_path / "report.html"
    took, without = make_page(made, file)
    size = file.stat().st_size
    tab.ask("Performance.enable", timeDomain="threadTicks")
    tab.errors.clear()
    seconds = opened(tab, file)
    busy = {one["name"]: one["value"] for one in tab.ask("Performance.getMetrics")["metrics"]}["TaskDuration"]
    with capsys.disabled():
        print(f"\n{size / 1e6:.2f} MB; the explorer was made in {took - without:.1f} s; {seconds}; the browser computed for {busy:.2f} s")
    assert size <= 10_000_000
    # Of the browser's own time, because other work of the machine counts in the others.
    assert busy < 2
    pairs = made.dataset.part("paper", "all")["pair_id"].n_unique()
    assert pairs >= 20_000
    assert f"of {pairs:,} pairs." in said(tab)
    assert not tab.errors
