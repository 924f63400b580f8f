"""The page: nothing from outside, nothing unescaped, the numbers of the scores, and sections that vanish with a reason."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from valuestrata.errors import InputDataError
from valuestrata.formatting import number
from valuestrata.prompts import load_template, render_prompts
from valuestrata.reports import headline_table
from valuestrata.reports import write_report as write_whole_report

# The explorer has tests of its own.
write_report = partial(write_whole_report, explore=False)
ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


class Page(HTMLParser):
    """What a page holds: tags, attributes, and the text of table cells by row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.sections: dict[str, list[list[str]]] = {}
        self.heads: list[str] = []
        self._section, self._cell = "", None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "section":
            self._section = dict(attrs)["id"]
            self.sections[self._section] = []
        elif tag == "tr":
            self.sections[self._section].append([])
        elif tag in ("td", "small"):
            self._cell = tag
            self.sections[self._section][-1].append("")

    def handle_endtag(self, tag):
        if tag in ("td", "small"):
            self._cell = "td" if tag == "small" else None

    def handle_data(self, data):
        if self._cell:
            self.sections[self._section][-1][-1] += data.strip()


@pytest.fixture(scope="module")
def page_file(world, tmp_path_factory) -> Path:
    return write_report(world.dataset, world.runs, world.scores, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def page(page_file) -> Page:
    return Page(page_file.read_text(encoding="utf-8"))


def test_nothing_is_loaded_from_anywhere(page, page_file):
    loads = {name for _, name, _ in page.attributes if name in ("src", "srcset", "xlink:href", "data", "action", "poster", "background")}
    assert loads == set()
    assert not {"script", "link", "iframe", "img", "object", "embed", "base"} & set(page.tags)
    links = {value for tag, name, value in page.attributes if tag == "a" and name == "href" and not value.startswith("#")}
    assert links == {"https://arxiv.org/abs/2604.12851"}
    text = page_file.read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\"'<\s]+", text)) == links
    assert set(re.findall(r"url\(([^)]*)\)", text)) <= {f"#{i}" for i in re.findall(r'id="([^"]+)"', text)}
    assert "@import" not in text


def test_ids_are_unique_and_every_anchor_leads_somewhere(page):
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for tag, name, value in page.attributes if tag == "a" and name == "href" and value[0] == "#"} <= set(ids)


def test_every_chart_says_what_it_is(page):
    charts = [value for tag, name, value in page.attributes if tag == "svg" and name == "aria-labelledby"]
    assert len(charts) == 6
    assert page.tags.count("figure") == 6


def test_sections_stand_in_their_order(page):
    assert list(page.sections) == [
        "results",
        "by-subgroup",
        "by-topic",
        "answers",
        "examples",
        "landscape",
        "setup",
        "usage",
        "published",
        "method",
    ]


def test_headline_numbers_are_those_of_the_scores(page, world):
    rows = {row[0].removesuffix(" ‡"): row for row in page.sections["results"] if row}
    metrics = ["accuracy", "accuracy_expected", "nmae", "refusal_rate", "invalid_rate"]
    for run in world.runs:
        row = rows[run.name]
        values = world.scores.filter(pl.col("run") == run.name, pl.col("by") == "all")
        for place, metric in enumerate(metrics):
            value, low, high = values.filter(pl.col("metric") == metric).select("value", "ci_low", "ci_high").row(0)
            cell, ends = row[3 + 2 * place : 5 + 2 * place]
            assert float(cell) == pytest.approx(value, abs=5e-4)
            assert [float(end) for end in ends.split("–")] == pytest.approx([low, high], abs=5e-4)
    assert next(iter(rows)) == "HuggingFaceTB/SmolLM2-135M-Instruct"
    oracle = world.dataset.gold.join(world.dataset.part("paper", "test"), on="pair_id")["ceiling_oracle"].mean()
    assert float(next(t for t in rows["Ceiling: knows the population, not the sample"][3:] if t)) == pytest.approx(oracle, abs=5e-4)


def test_subgroup_numbers_are_those_of_the_scores(page, world):
    rows = [row for row in page.sections["by-subgroup"] if row]
    model = world.scores.filter(pl.col("run").str.contains("SmolLM2"), pl.col("by") == "subgroup", pl.col("metric") == "nmae")
    assert len(rows) == len(model) + 1  # and the stratum's own row
    found = {row[0]: row[7] for row in rows}
    titles = dict(world.dataset.subgroups.select("subgroup", pl.concat_str("age_group", "ethnicity", separator=", ")).iter_rows())
    for key, value in model.select("key", "value").iter_rows():
        assert float(found[titles[key]]) == pytest.approx(value, abs=5e-4)


@pytest.mark.usefixtures("no_charts")
def test_hostile_text_is_shown_and_not_run(worlds, tmp_path):
    world = worlds(items=4, subgroups=50)
    items = world.dataset.items.with_columns(
        topic=pl.lit(f"Topic {ATTACK}"), question=pl.col("item") + f" {ATTACK}", labels=pl.col("labels").list.eval(pl.element() + ATTACK)
    )
    groups = world.dataset.subgroups.with_columns(ethnicity=pl.col("ethnicity") + ATTACK)
    data = replace(world.dataset, items=items, subgroups=groups, meta={**world.dataset.meta, "place": ATTACK})
    model = world.runs[2]
    model.name = f"model {ATTACK}"
    model.meta = {**model.meta, "respondent": {"provider": ATTACK}}
    model.responses = model.responses.with_columns(text=pl.lit(ATTACK))
    renamed = pl.when(pl.col("run").str.contains("SmolLM2")).then(pl.lit(model.name)).otherwise("run").alias("run")
    hostile_key = pl.when(pl.col("by") == "topic").then(pl.lit(f"Topic {ATTACK}")).otherwise("key").alias("key")
    scores = world.scores.with_columns(renamed, hostile_key)
    path = write_report(data, world.runs, scores, tmp_path / "r.html", title=ATTACK, notes=[ATTACK])
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert not {"script", "img"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script" not in text


@pytest.mark.usefixtures("no_charts")
def test_prompt_is_shown_only_where_it_is_the_one_that_was_asked(world, tmp_path):
    run = world.runs[2]
    template = load_template("default")
    prompts = render_prompts(world.dataset, run.responses, template=template, elicitation="text")
    hashes = {prompt.pair_id: prompt.hash for prompt in prompts}
    asked = run.responses.with_columns(template=pl.lit("default"), prompt_hash=pl.col("pair_id").replace_strict(hashes))
    model = replace(run, responses=asked)
    scores = world.scores.filter(pl.col("run") == run.name)
    text = write_report(world.dataset, [model], scores, tmp_path / "a.html").read_text(encoding="utf-8")
    assert text.count("What the model was shown") == 5
    assert "Answer the following question as this person would." in text
    other = replace(run, responses=asked.with_columns(prompt_hash=pl.lit("f" * 64)))
    assert "What the model was shown" not in write_report(world.dataset, [other], scores, tmp_path / "b.html").read_text("utf-8")


@pytest.mark.usefixtures("no_charts")
def test_no_intervals_and_no_published_figures(worlds, tmp_path):
    world = worlds(items=6, intervals=False)
    text = write_report(world.dataset, world.runs, world.scores, tmp_path / "r.html", published=False).read_text(encoding="utf-8")
    page = Page(text)
    assert "published" not in page.sections
    assert "No intervals" in text
    assert "Not shown: Published figures (left out on request)" in text
    assert not (tmp_path / "tables" / "published.csv").exists()
    assert "nan" not in text.lower().replace("dominant", "")


@pytest.mark.usefixtures("no_charts")
def test_nominal_items_have_accuracies_only(worlds, tmp_path):
    world = worlds(items=6, nominal=True)
    text = write_report(world.dataset, world.runs, world.scores, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Signed bias by attribute level" not in text
    assert "Mean Wasserstein distance" not in text
    assert "NMAE and W1" in text  # named among what is not shown


@pytest.mark.usefixtures("no_charts")
def test_baselines_alone_make_a_report(world, tmp_path):
    runs = [run for run in world.runs if run.name.startswith("baseline")]
    scores = world.scores.filter(pl.col("run").str.starts_with("baseline"))
    text = write_report(world.dataset, runs, scores, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "No language model was scored" in text
    assert "Not shown: Examples (no language model answered here)" in text


@pytest.mark.usefixtures("no_charts")
def test_scores_without_topics_or_subgroups_lose_those_sections(world, tmp_path):
    scores = world.scores.filter(pl.col("by") == "all")
    text = write_report(world.dataset, world.runs, scores, tmp_path / "r.html").read_text(encoding="utf-8")
    assert not {"by-subgroup", "by-topic"} & set(Page(text).sections)
    assert "Not shown: Scores by topic (no run was scored by topic)" in text


@pytest.mark.usefixtures("no_charts")
def test_low_coverage_is_said(world, tmp_path):
    partly = pl.when(pl.col("run").str.contains("SmolLM2")).then(0.62).otherwise("coverage").alias("coverage")
    text = write_report(world.dataset, world.runs, world.scores.with_columns(partly), tmp_path / "r.html").read_text(encoding="utf-8")
    assert "was scored on only 62\u00a0% of the pairs" in text
    assert "It was asked 62\u00a0% of the pairs" in text


@pytest.mark.slow
@pytest.mark.usefixtures("no_charts")
def test_two_models_of_one_short_name_stay_apart(world, fake_run, scored, tmp_path):
    runs = [fake_run(world.dataset, f"org{i}/same-name", 0.3 + i / 10, "text", i) for i in range(3)]
    runs += [fake_run(world.dataset, "baseline:item-mode", 0.7, "stated-distribution", 9)]
    scores = scored(world.dataset, runs)
    text = write_report(world.dataset, runs, scores, tmp_path / "r.html").read_text(encoding="utf-8")
    assert text.count('class="verdict"') == 3
    assert all(f"org{i}/same-name" in text for i in range(3))


@pytest.mark.usefixtures("no_charts")
def test_every_part_scored_gets_its_table(world, tmp_path):
    other = world.scores.with_columns(scheme=pl.lit("unseen-item"))
    scores = pl.concat([other, world.scores])
    splits = world.dataset.splits
    both = replace(world.dataset, splits=pl.concat([splits, splits.with_columns(scheme=pl.lit("unseen-item"))]))
    frame = headline_table(both, world.runs, scores)
    assert frame["scheme"].unique(maintain_order=True).to_list() == ["paper", "unseen-item"]
    text = write_report(both, world.runs, scores, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<summary>All metrics: split paper, part test</summary>" in text
    assert "<summary>All metrics: split unseen-item, part test</summary>" in text


@pytest.mark.usefixtures("no_charts")
def test_a_folder_gets_report_html_and_an_empty_table_is_refused(world, tmp_path):
    assert write_report(world.dataset, world.runs, world.scores, tmp_path / "folder") == tmp_path / "folder" / "report.html"
    with pytest.raises(InputDataError, match="nothing to report"):
        write_report(world.dataset, world.runs, world.scores.clear(), tmp_path / "none.html")
    with pytest.raises(InputDataError, match="'baseline-uniform', which was not given"):
        write_report(world.dataset, world.runs[1:], world.scores, tmp_path / "none.html")
    assert not (tmp_path / "none.html").exists()


def test_writing_twice_gives_the_same_bytes(world, page_file, tmp_path):
    again = write_report(world.dataset, world.runs, world.scores, tmp_path / "report.html")
    assert again.read_bytes() == page_file.read_bytes()


def test_a_browser_without_a_network_renders_it(page_file, tmp_path):
    browser = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium): the page was not rendered")
    flags = "--headless --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"
    command = [browser, *flags.split(), "--no-sandbox", "--disable-sync", "--enable-logging=stderr", f"--user-data-dir={tmp_path}"]
    offline = "--host-resolver-rules=MAP * ~NOTFOUND"
    command += [offline, "--virtual-time-budget=4000", "--dump-dom", page_file.resolve().as_uri()]
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("<figure>") == done.stdout.count('role="img"') == 6
    assert done.stdout.rstrip().endswith("</html>")
    assert "CONSOLE" not in done.stderr  # neither a blocked load nor a style that the policy refuses


@pytest.mark.slow
def test_a_large_survey_stays_a_small_file(worlds, tmp_path):
    world = worlds(214, 98, 4, everywhere=True)
    path = write_report(world.dataset, world.runs, world.scores, tmp_path / "report.html")
    assert path.stat().st_size < 3_000_000
    page = Page(path.read_text(encoding="utf-8"))
    assert len([row for row in page.sections["landscape"] if row]) == 2 * 214  # both measures, item by item
    value = world.scores.filter(pl.col("by") == "item", pl.col("key") == "Q214", pl.col("metric") == "accuracy")["value"][2]
    row = next(row for row in page.sections["by-topic"] if row and row[0] == "Q214")
    assert number(value) in row
