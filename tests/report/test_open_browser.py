"""The page of open answers in a real browser: what models wrote neither runs nor breaks the layout."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.browser import browser
from tests.report.test_open_page import Study

EVIL = "<script>document.title = 'broken'</script><img src=x onerror=\"document.title = 'broken'\">"
LONG = "Donaudampfschifffahrt" * 80
NAME = "a-run-with-a-very-long-name-" * 6


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    study = Study(folder)
    texts = [EVIL, LONG, f"First.\n\n- {LONG}", "As a woman, I keep quiet."]
    rows = study.tuned.responses.with_row_index("at")
    nasty = rows.with_columns(text=rows["at"].map_elements(lambda at: texts[at % len(texts)], return_dtype=rows["text"].dtype)).drop("at")
    study.tuned = replace(study.tuned, responses=nasty)
    long = replace(study.base, name=NAME, meta={**study.base.meta, "name": NAME}, responses=study.tuned.responses)
    from valuestrata.reports.open.page import write_open_report

    how = {"bootstrap": 50, "permutations": 10, "example": ("Q1", "sex_Male", "sex_Female")}
    return write_open_report(
        study.dataset, [study.tuned, study.base, long], folder / "open.html", sources=study.sources, stances=[study.stances], **how
    )


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 420])
def test_nothing_runs_and_nothing_sticks_out(page, tmp_path, width):
    with browser(tmp_path) as tab:
        tab.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        tab.open(page.as_uri())
        tab.wait("document.readyState === 'complete' && document.querySelector('#method')")
        assert tab.js("document.title").startswith("Open answers")
        assert "document.title = 'broken'" in tab.text("#examples"), "what a model wrote is read as it stands"
        assert tab.js("document.querySelectorAll('main img, main script').length") == 0
        tab.js("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert tab.js("document.documentElement.scrollWidth") <= width
        # A table that is wider than the page is scrolled within its own frame; texts never make one so.
        assert width < 1000 or tab.js("(one => one.scrollWidth <= one.clientWidth + 1)(document.querySelector('#examples .scroll'))")
        assert not tab.errors
