"""The page over all splits of a tuning study: what each split shows first, and what is folded."""

from __future__ import annotations

import re

import pytest

from tests.report.test_status import HASH, declared
from tests.report.test_worth import MODEL, claims
from valuestrata.claims.select import select
from valuestrata.claims.templates import word
from valuestrata.reports.closed.generalisation import SplitPart, write_generalisation
from valuestrata.tuning.evaluate.generalisation import GAINS, GENERALISATION


@pytest.mark.usefixtures("no_charts")
def test_each_split_opens_with_the_claims_about_each_model(world, tmp_path):
    found = claims(MODEL, 7)
    part = SplitPart(
        "paper", world.runs, world.scores, GENERALISATION.frame([]), GAINS.frame([]), found, tmp_path / "r.html", False, declared()
    )
    text = write_generalisation(world.dataset, [part], tmp_path / "g.html", title="T", metric="accuracy_expected").read_text()
    section = text.split('<section id="split-0"')[1].split("</section>")[0]
    (selection,) = select(found)
    assert re.findall(r'<article class="verdict">\s*<h3>(.*?)</h3>', section) == [MODEL]
    # The first claim is the model's sentence; the others follow, and those beyond five are folded.
    sentences = [word(claim).sentence for claim in selection.shown]
    assert [sentence in section for sentence in sentences] == [True] * 5
    assert section.index(sentences[0]) < section.index("Further claims about") < section.index(sentences[1])
    assert "2 more" in section
    header = re.search(r"<header>.*?</header>", text, re.DOTALL)[0]
    assert f"Declared in the plan {HASH[:12]}" in header
    headings = re.findall(r"<h2 .*?>([^<>]+)</a></h2>", text)
    assert len(headings) == 2
    assert all(heading.endswith("?") for heading in headings)
