"""The data of the explorer: what is packed unpacks to the same values, and they are those of the scores."""

from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bench.explore_20k import world as small_world
from tests.report.conftest import make_dataset, make_run
from valuestrata.errors import UsageError, printable
from valuestrata.prompts import load_template, render_prompts
from valuestrata.prompts.prompt import Message
from valuestrata.reports import write_report
from valuestrata.reports.core.links import explore_link, links_in, without_links
from valuestrata.reports.core.page import Page
from valuestrata.reports.core.render import render
from valuestrata.reports.core.section import Section
from valuestrata.reports.core.theme import to_svg
from valuestrata.reports.core.view import views_of
from valuestrata.reports.explore.bundle import EXPORTS, as_script, datatables
from valuestrata.reports.explore.columns import NO_SHARE, STEPS, Block, pack, shares, unpack, whole
from valuestrata.reports.explore.data import LONGEST_TEXT, MOST_RESPONSES, Explored, ExploredRun, explorer_blocks
from valuestrata.reports.explore.prompts import prompts_again, prompts_block
from valuestrata.reports.explore.section import TITLE, add_explorer, explored_view, fitting
from valuestrata.scores import score

TEXTS = st.text(max_size=30)
COLUMNS = st.dictionaries(
    st.from_regex(r"[a-z]+[0-9]?", fullmatch=True),
    st.sampled_from([np.uint8, np.uint16, np.uint32, np.float32]).flatmap(lambda dtype: arrays.arrays(dtype, st.integers(0, 40))),
    max_size=5,
)


@given(document=st.dictionaries(TEXTS, st.lists(TEXTS) | st.integers(-(2**40), 2**40) | TEXTS | st.none()), columns=COLUMNS)
@settings(max_examples=25)
def test_what_is_packed_unpacks_to_the_same_values(document, columns):
    found = unpack(pack(Block(document, columns)))
    written = {key: [printable(one) for one in value] if isinstance(value, list) else value for key, value in document.items()}
    assert found.document == {key: printable(value) if isinstance(value, str) else value for key, value in written.items()}
    assert list(found.columns) == list(columns)
    for name, values in columns.items():
        assert found.columns[name].dtype == values.dtype
        np.testing.assert_array_equal(found.columns[name], values)


@given(st.lists(st.floats(0, 1) | st.none(), max_size=50))
@settings(max_examples=25)
def test_shares_keep_their_values_and_their_nulls(values):
    kept = shares(values)
    back = [None if one == NO_SHARE else one / STEPS for one in kept.tolist()]
    assert [one is None for one in back] == [one is None for one in values]
    assert [one for one in back if one is not None] == pytest.approx([one for one in values if one is not None], abs=0.5 / STEPS)


@given(st.lists(st.integers(-1, 70_000), max_size=50))
@settings(max_examples=25)
def test_whole_numbers_keep_their_values_and_their_nulls(values):
    kept = whole(np.array(values))
    null = np.iinfo(kept.dtype).max
    assert [-1 if one == null else one for one in kept.tolist()] == values


@pytest.fixture(scope="module")
def explored():
    dataset = make_dataset(items=6, subgroups=40)
    model, other = make_run(dataset, "org/model", 0.5, "text", 3), make_run(dataset, "org/logprob", 0.4, "logprob", 4)
    template = load_template("default")
    hashes = {one.pair_id: one.hash for one in render_prompts(dataset, model.responses, template=template, elicitation="text")}
    asked = model.responses.with_columns(
        template=pl.lit("default"),
        prompt_hash=pl.col("pair_id").replace_strict(hashes),
        prompt_tokens=pl.int_range(pl.len(), dtype=pl.Int64),
        cost=pl.lit(0.25),
    )
    baseline = make_run(dataset, "baseline:nearest-parent", 0.8, "stated-distribution", 5)
    # Not all pairs were asked.
    baseline.responses = baseline.responses.head(50)
    runs = [replace(model, responses=asked), other, baseline]
    shown = [ExploredRun(run, run.name, kind) for run, kind in zip(runs, ("model", "model", "baseline"), strict=True)]
    what = Explored(dataset, shown, "paper", "test", None, baseline.name)
    return what, {name: unpack(pack(block)) for name, block in explorer_blocks(what).items()}


def test_mean_scores_are_those_of_score(explored):
    what, blocks = explored
    columns = blocks["pairs"].columns
    runs = [one.run for one in what.runs]
    expected = score(what.dataset, runs, by=("all",), bootstrap=0)
    for number, run in enumerate(runs):
        asked = columns[f"asked{number}"] > 0
        assert asked.sum() == run.responses.height
        for metric, name in (("accuracy", "accuracy"), ("accuracy_expected", "expected")):
            (value,) = expected.filter((pl.col("run") == run.name) & (pl.col("metric") == metric))["value"]
            assert columns[f"{name}{number}"][asked].mean() / STEPS == pytest.approx(value, abs=1e-6)
        assert (columns[f"accuracy{number}"][~asked] == NO_SHARE).all()
    (ceiling,) = expected.filter((pl.col("run") == runs[0].name) & (pl.col("metric") == "ceiling_oracle"))["value"]
    assert columns["ceiling"].mean() / STEPS == pytest.approx(ceiling, abs=1e-5)


def test_every_pair_holds_its_gold_and_its_answers(explored):
    what, blocks = explored
    block = blocks["pairs"]
    items, groups, columns = block.document["items"], block.document["subgroups"], block.columns
    gold = {row["pair_id"]: row for row in what.dataset.gold.iter_rows(named=True)}
    starts = np.concatenate([[0], np.cumsum([len(items[place]["codes"]) for place in columns["item"]])])
    for number, one in enumerate(what.runs):
        answers = {row["pair_id"]: row for row in one.run.responses.iter_rows(named=True)}
        stated = blocks[f"probabilities{number}"].columns["shares"] if f"probabilities{number}" in blocks else None
        assert (stated is None) == (one.run.responses["option_probs"].null_count() == one.run.responses.height)
        for pair in range(len(columns["item"])):
            item = items[columns["item"][pair]]
            key = f"{item['key']}_{groups[columns['subgroup'][pair]]['key']}"
            cells = slice(starts[pair], starts[pair + 1])
            assert columns["shares"][cells] / STEPS == pytest.approx(gold[key]["shares"], abs=0.5 / STEPS)
            assert item["codes"][columns["mode"][pair]] == gold[key]["mode"]
            assert columns["n"][pair] == gold[key]["n"]
            answer = answers.get(key)
            place = int(columns[f"answer{number}"][pair])
            null = np.iinfo(columns[f"answer{number}"].dtype).max
            assert (None if place == null else item["codes"][place]) == (None if answer is None else answer["answer"])
            if answer is not None:
                assert block.document["statuses"][columns[f"status{number}"][pair]] == answer["status"]
            if stated is not None and answer is not None and answer["option_probs"] is not None:
                assert stated[cells] / STEPS == pytest.approx(answer["option_probs"], abs=0.5 / STEPS)


def test_responses_follow_the_order_of_the_pairs(explored):
    what, blocks = explored
    columns, document = blocks["pairs"].columns, blocks["pairs"].document
    keys = [
        f"{document['items'][item]['key']}_{document['subgroups'][group]['key']}"
        for item, group in zip(columns["item"], columns["subgroup"], strict=True)
    ]
    rows = {row["pair_id"]: row for row in what.runs[0].run.responses.iter_rows(named=True)}
    records, texts, prompts = blocks["responses0"], blocks["texts0"], blocks["prompts"]
    template = load_template("default")
    messages = {
        one.pair_id: one.messages for one in render_prompts(what.dataset, what.runs[0].run.responses, template=template, elicitation="text")
    }
    for at, key in enumerate(key for key, kept in zip(keys, columns["kept0"], strict=True) for _ in range(kept)):
        assert texts.document["text"][texts.columns["text"][at]] == rows[key]["text"]
        assert records.columns["prompt_tokens"][at] == rows[key]["prompt_tokens"]
        assert records.columns["cost"][at] == 0.25
        assert prompt_of(prompts, int(prompts.columns["run0"][at])) == [(one.role, one.content) for one in messages[key]]
    assert len(prompts.columns["run0"]) == len(rows)
    # The other run recorded no prompt that can be rendered.
    assert (prompts.columns["run1"] == np.iinfo(prompts.columns["run1"].dtype).max).all()


def prompt_of(block: Block, number: int) -> list[tuple[str, str]]:
    """Return the messages of a prompt as the page reads them."""
    of_prompts, of_messages = (np.cumsum([0, *block.columns[name].tolist()]).tolist() for name in ("messages", "parts"))
    found: list[tuple[str, str]] = []
    for message in block.columns["message"][of_prompts[number] : of_prompts[number + 1]].tolist():
        parts = block.columns["part"][of_messages[message] : of_messages[message + 1]].tolist()
        role = block.document["roles"][block.columns["role"][message]]
        found.append((role, "\n\n".join(block.document["paragraphs"][part] for part in parts)))
    return found


MESSAGES = st.lists(st.tuples(st.sampled_from(["system", "user"]), st.text("ab \n", max_size=12)), min_size=1, max_size=3)


@given(st.lists(MESSAGES, max_size=8))
@settings(max_examples=25)
def test_prompts_are_put_together_again(prompts):
    made = {f"hash{at}": tuple(Message(role, text) for role, text in one) for at, one in enumerate(prompts)}
    block = unpack(pack(prompts_block(made, [pl.Series(list(made), dtype=pl.String)])))
    assert [prompt_of(block, int(number)) for number in block.columns["run0"]] == prompts


def test_long_texts_are_cut_and_many_responses_are_counted():
    dataset = make_dataset(items=2, subgroups=40)
    run = make_run(dataset, "org/model", 0.5)
    repeated = pl.concat([run.responses.with_columns(sample=pl.lit(number, dtype=pl.Int32)) for number in range(MOST_RESPONSES + 3)])
    run.responses = repeated.with_columns(text=pl.lit("word " * 200))
    blocks = explorer_blocks(Explored(dataset, [ExploredRun(run, run.name, "model")], "paper", "test"))
    pairs, texts = blocks["pairs"].columns, blocks["texts0"]
    assert set(pairs["asked0"]) == {MOST_RESPONSES + 3}
    assert set(pairs["kept0"]) == {MOST_RESPONSES}
    assert len(texts.columns["text"]) == MOST_RESPONSES * len(pairs["item"])
    (text,) = texts.document["text"]
    assert len(text) <= LONGEST_TEXT
    # Answers to several samples are a distribution.
    assert blocks["probabilities0"].columns["shares"].max() == STEPS


def test_a_prompt_that_has_changed_is_left_out(explored):
    what, _ = explored
    changed = what.runs[0].run.responses.with_columns(prompt_hash=pl.lit("f" * 64))
    assert prompts_again(what.dataset, changed, {}) == {}
    gone = what.runs[0].run.responses.with_columns(template=pl.lit("no-such-template"))
    assert prompts_again(what.dataset, gone, {}) == {}


def test_prompts_then_texts_then_probabilities_are_left_out():
    packed = {"pairs": "x" * 10, "responses0": "x", "texts0": "x" * 5, "probabilities0": "x" * 7, "prompts": "x" * 20}
    lines = {name: len(f"{name}: {text}") for name, text in packed.items()}
    everything = sum(lines.values())
    assert fitting(packed, everything) == (packed, [])
    assert fitting(packed, everything - 1)[1] == ["prompts"]
    assert fitting(packed, everything - lines["prompts"] - 1)[1] == ["prompts", "texts of models"]
    kept, left_out = fitting(packed, lines["pairs"] + lines["responses0"])
    assert list(kept) == ["pairs", "responses0"]
    assert len(left_out) == 3
    assert fitting(packed, lines["pairs"])[0] == {}


def test_a_page_says_what_it_left_out(explored):
    what, _ = explored
    whole_page = Page("Report", [Section("results", "Results")])
    add_explorer(whole_page, what)
    text = render(whole_page)
    assert "Left out to keep" not in text
    smaller = Page("Report", [Section("results", "Results")])
    add_explorer(smaller, what, most_bytes=len(text) - 100)
    assert "Left out to keep this page below" in render(smaller)
    assert len(render(smaller)) < len(text) - 100
    none = Page("Report", [Section("results", "Results")])
    add_explorer(none, what, most_bytes=100_000)
    assert [section.id for section in none.sections] == ["results"]
    assert none.absent[0][0] == TITLE
    assert "do not fit" in none.absent[0][1]


@pytest.mark.usefixtures("no_charts")
def test_a_report_can_be_made_without_it(world, tmp_path):
    text = write_report(world.dataset, world.runs, world.scores, tmp_path / "r.html", explore=False).read_text(encoding="utf-8")
    assert 'id="explore"' not in text
    assert "<script" not in text
    assert "#explore" not in text


def test_the_page_holds_no_address_and_hostile_data_stays_data(world):
    (view, *_) = views_of(world.dataset, world.runs, world.scores)
    what = explored_view(view, world.runs)
    assert what.best == "baseline-nearest-parent"
    assert [one.kind for one in what.runs] == ["model", *["baseline"] * 4]
    page = Page("Report", [])
    add_explorer(page, what)
    text = render(page)
    assert "http://" not in text
    assert "https://" not in text
    assert "alert(1)" not in text, "answers are compressed"
    (data,) = (one for one in page.data if one.id == "explore-data")
    blocks = {line.partition(":")[0]: unpack(base64.b64decode(line.partition(":")[2])) for line in data.text.splitlines()}
    assert any("<script>alert(1)" in text for text in blocks["texts0"].document["text"])


def test_datatables_becomes_a_script():
    script, style = datatables()
    assert f"globalThis.{EXPORTS} = {{" in script
    assert "default:" in script
    assert "export{" not in script.replace(" ", "")
    assert "dataTable" in style
    assert "</style" not in style


def test_a_module_becomes_a_script_or_is_refused():
    made = as_script("const a = 1; function b() {}\nexport { a as default, b };\n// end", "found")
    assert "globalThis.found = {default: a, b: b};" in made
    for module in ("const a = 1;", "import x from 'y'; export { x };", "export const a = 1; export { a };", "export{a}; export{b};"):
        with pytest.raises(UsageError, match="itables"):
            as_script(module, "found")


def test_links_of_charts_lead_to_the_explorer():
    import altair as alt

    address = explore_link(run="org/a 1.2345", subgroup="sex=<x>", codes=(1, 2), gold=1, answer=0)
    assert address == "#explore?run=org%2Fa+1.2345&subgroup=sex%3D%3Cx%3E&codes=1.2&gold=1&answer=0"
    values = [{"x": 0.25, "said": "a <b>", "go": address}, {"x": 0.5, "said": "not linked", "go": None}]
    dots = alt.Chart(alt.Data(values=values)).mark_point(aria=True).encode(x="x:Q", href="go:N", description="said:N")
    svg = to_svg(dots, "chart", "Two dots")
    assert links_in(svg) == [address]
    assert "http" not in svg
    assert 'role="group"' in svg
    assert svg.count("<a ") == 1
    assert 'aria-label="a &lt;b&gt;"' in svg
    bare = without_links(svg)
    assert "<a " not in bare
    assert 'role="img"' in bare
    assert bare.count("<title>") == svg.count("<title>")


@pytest.mark.slow
def test_cross_fitting_shows_each_pair_against_both_halves():
    made = small_world(respondents=900, items=12)
    runs = made.runs[:2]
    shown = [ExploredRun(run, run.name, "model") for run in runs]
    block = explorer_blocks(Explored(made.dataset, shown, "paper+crossfit", "test"))["pairs"]
    expected = score(made.dataset, runs, split="paper+crossfit", by=("all",), bootstrap=0)
    assert block.document["view"]["halves"]
    pairs = pl.DataFrame({name: block.columns[name] for name in ("item", "subgroup", "half")})
    assert pairs.is_unique().all()
    assert set(pairs.group_by("item", "subgroup").len()["len"]) == {2}
    for number, run in enumerate(runs):
        (value,) = expected.filter((pl.col("run") == run.name) & (pl.col("metric") == "accuracy_expected"))["value"]
        assert block.columns[f"expected{number}"].mean() / STEPS == pytest.approx(value, abs=1e-5)
