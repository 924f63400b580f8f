"""What notebooks show: overviews of results, the report in a frame, and figures."""

from __future__ import annotations

import html
import json
import re
import sys

import pytest

import valuestrata as vs
from tests.browser import browser
from valuestrata.errors import InputDataError, MissingExtraError, UsageError


@pytest.fixture
def runs(folder):
    return [vs.load_run(folder / "runs" / name) for name in ("twos", "ones")]


@pytest.fixture
def dataset(folder):
    return vs.load_dataset(folder / "data")


@pytest.fixture(scope="module")
def reported(made):
    runs = [vs.load_run(made / "runs" / name) for name in ("twos", "ones")]
    return vs.report(vs.load_dataset(made / "data"), runs, baselines="cheap", bootstrap=20, title="A <title>")


def test_runs_and_results_describe_themselves(dataset, runs):
    assert repr(runs[0]).splitlines()[:2] == ["Run twos: writer", "  12 answered."]
    assert "Answer: 2" in runs[0]._repr_html_()
    assessment = vs.assess(dataset, runs, bootstrap=0)
    page = assessment._repr_html_()
    assert "Scores: split paper, part test" in page
    assert re.search(r">twos</td><td[^>]*>\.\d{3}<", page)
    audit = vs.audit(dataset, runs[:1], bootstrap=20, permutations=20)
    assert repr(audit).startswith("Audit of accuracy by subgroup\n  twos: ")
    assert "Best minus worst" in audit._repr_html_()


def test_the_report_refuses_what_no_report_can_show(dataset, runs, make_handmade):
    with pytest.raises(InputDataError, match="belongs to another data set"):
        vs.report(make_handmade(fingerprint="a" * 64), runs)
    with pytest.raises(UsageError, match="at most 50 runs, and 51 were given"):
        vs.report(dataset, runs[:1] * 51)


@pytest.mark.slow
def test_the_report_is_shown_inline_and_saved(reported, tmp_path):
    frame = reported._repr_html_()
    page = html.unescape(re.search(r'srcdoc="([^"]*)"', frame)[1])
    assert page == reported.html
    assert "A &lt;title&gt;" in page
    assert frame.count("<iframe") == 1
    saved = reported.save(tmp_path / "report.html")
    assert "A &lt;title&gt;" in saved.read_text(encoding="utf-8")
    assert (tmp_path / "tables" / "headline.csv").is_file()


@pytest.mark.slow
def test_showing_it_needs_ipython(reported, monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(MissingExtraError, match=re.escape('pip install "valuestrata[notebook]"')):
        reported.show()


@pytest.mark.slow
def test_a_notebook_runs_and_its_outputs_are_readable(folder, tmp_path):
    import nbformat
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter

    cells = [
        "import altair\nimport valuestrata as vs\naltair.renderers.enable('svg')",
        f"dataset = vs.load_dataset({str(folder / 'data')!r})\ndataset",
        f"runs = [vs.load_run(folder) for folder in ({str(folder / 'runs' / 'twos')!r}, {str(folder / 'runs' / 'mode')!r})]\nruns[0]",
        "report = vs.report(dataset, runs, baselines='cheap', bootstrap=20, height=500)\nreport",
        "report.assessment",
        "vs.plot_scores(dataset, report.runs, report.assessment.scores)",
        "vs.plot_scores(dataset, report.runs, report.assessment.scores, by='subgroup')",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = [cell.outputs[-1]["data"] for cell in notebook.cells[1:]]
    assert all("text/html" in output for output in outputs[:4])
    assert all("item-mode" in output["image/svg+xml"] for output in outputs[4:])
    page = tmp_path / "notebook.html"
    page.write_text(HTMLExporter(theme="dark").from_notebook_node(notebook)[0], encoding="utf-8")
    with browser(tmp_path) as tab:
        tab.open(page.as_uri())
        tab.wait("document.querySelector('iframe')")
        assert tab.js("document.querySelector('iframe').getBoundingClientRect().height") == 500
        # Text of the tables has the colour of the notebook's theme.
        colours = "(one => [getComputedStyle(one).color, getComputedStyle(one.closest('.jp-OutputArea')).color])"
        own, around = tab.js(f"{colours}(document.querySelector('td'))")
        assert own == around


@pytest.mark.slow
def test_figures_of_scores(dataset, runs):
    scores = vs.score(dataset, runs, bootstrap=0)
    for by, words in (("all", "Scores of all runs"), ("subgroup", "Scores by subgroup"), ("topic", "Scores by topic")):
        chart = vs.plot_scores(dataset, runs, scores, by=by)
        document = json.dumps(chart.to_dict())
        assert words in document
        assert '"twos' in document
        assert '"href"' not in document


def test_figures_that_cannot_be_drawn(dataset, runs):
    scores = vs.score(dataset, runs, bootstrap=0)
    with pytest.raises(UsageError, match=r"by='topics': there is no such figure\. Did you mean 'topic'"):
        vs.plot_scores(dataset, runs, scores, by="topics")
    with pytest.raises(InputDataError, match="The scores hold no score by topic"):
        vs.plot_scores(dataset, runs, scores.filter(scores["by"] != "topic"), by="topic")
