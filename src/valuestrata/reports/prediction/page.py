"""The page of a prediction: the backtest first, then each new question with its chart, table and marks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.claims.templates import Wording
from valuestrata.files import write_text
from valuestrata.formatting import NONE, capital, count, ends, level, metric_title, number, percent
from valuestrata.prediction.backtest import Backtest
from valuestrata.prediction.files import write_prediction_tables
from valuestrata.prediction.predict import Prediction
from valuestrata.prediction.questions import NewQuestion
from valuestrata.prediction.sentences import coverage_sentence, error_sentence, mode_sentence, range_sentence
from valuestrata.reports.core.cells import Grid, Td, Tr, pairs_of, scored
from valuestrata.reports.core.names import attribute_titles, plain, subgroup_titles
from valuestrata.reports.core.page import Page, StatusLine
from valuestrata.reports.core.render import render
from valuestrata.reports.core.section import KeyNumber, RunSummary, Section
from valuestrata.reports.core.status import in_order, plan_line
from valuestrata.reports.core.view import cell_of
from valuestrata.reports.prediction.figures import question_chart

_METHOD = (
    ("Prediction", "The model answers in persona; its answers are corrected by what the survey's own questions show about the model."),
    (
        "90 % interval",
        "Where a share found by a survey with as many answers of the subgroup lies, for 90 % of new questions. It holds sampling "
        "noise as well as errors of the method.",
    ),
    ("Probability", "How likely the option is to be the most common answer of that survey. It is not the share of the option."),
    ("Mean position", "0 is the first option and 1 the last; not defined for nominal questions."),
    (
        "Validated range",
        "A question is outside if its text is less similar to the survey's questions than 95 % of the held-out questions were, or if no "
        "question of the survey has as many options.",
    ),
    ("Backtest", "Pairs of a question and a subgroup count equally. Intervals of errors: 95 %, over blocks of questions."),
)


def write_prediction(prediction: Prediction, out: str | Path, *, title: str | None = None) -> Path:
    """Write report.html and the tables of a prediction into a folder (see `write_prediction_tables`); return the page.

    Args:
        prediction: from `predict`.
        out: the folder.
        title: title of the page.
    """
    folder = Path(out)
    survey = prediction.dataset.meta.get("survey") or {}
    heading = title or f"Predicted answers: {survey.get('title') or survey.get('name') or 'new questions'}"
    questions = [_question(prediction, one, place) for place, one in enumerate(prediction.questions)]
    sections = [_opening(prediction), *questions, _method(prediction)]
    write_prediction_tables(prediction, folder)
    page = folder / "report.html"
    write_text(page, render(Page(heading, sections, status=in_order([*range_lines(prediction), plan_line(None)]))))
    return page


def range_lines(prediction: Prediction) -> list[StatusLine]:
    """Return a warning for each question outside the range that the backtest validates, or one line that says that there is none."""
    lines = [
        StatusLine("warning", f"{question} is outside the validated range, so its intervals may not hold.", f"{capital(str(reason))}.")
        for question, reason in prediction.similarity.filter("outside").select("question", "reason").iter_rows()
    ]
    return lines or [StatusLine("ok", "Every question is within the range that the backtest validates.")]


def _opening(prediction: Prediction) -> Section:
    backtest = prediction.backtest
    section = Section("backtest", "How far can these predictions be trusted?", nav="Backtest")
    lead = Wording(sentence=error_sentence(backtest), details=(mode_sentence(backtest), coverage_sentence(backtest)))
    section.runs = [RunSummary(f"{prediction.model}, method {prediction.method}", lead, _key_numbers(backtest))]
    section.sentences = [range_sentence(prediction)]
    section.tables = [("Errors on held-out questions", _errors(prediction))]
    section.folded = [
        ("Coverage of the 90 % intervals", _coverage(prediction)),
        ("New questions beside the survey's own", _similarity(prediction)),
    ]
    return section


def _key_numbers(backtest: Backtest) -> tuple[KeyNumber, ...]:
    """Return the error and the share of most common answers found, each beside the best method without a model, and the coverage."""
    whole = backtest.coverage.filter(pl.col("size").is_null())
    found = percent(whole["coverage"][0]) if whole.height else NONE
    return (
        _number(f"{metric_title(backtest.metric)} on held-out questions", backtest, backtest.metric),
        _number("Most common answer predicted", backtest, "accuracy"),
        KeyNumber("Held-out shares in their 90\u00a0% interval", found, "should be 90\u00a0%"),
    )


def _number(label: str, backtest: Backtest, metric: str) -> KeyNumber:
    own, other = (backtest.error(name, metric) for name in (backtest.method, backtest.best))
    value = NONE if own["value"] is None else level(metric, own["value"])
    if own["ci_low"] is None or own["ci_high"] is None or other["value"] is None:
        return KeyNumber(label, value)
    return KeyNumber(
        label, value, f"95\u00a0% CI {ends(metric, own['ci_low'], own['ci_high'])}; {backtest.best}: {level(metric, other['value'])}"
    )


def _errors(prediction: Prediction) -> Grid:
    backtest = prediction.backtest
    metrics = [metric for metric in ("w1", "accuracy_expected", "accuracy") if metric in backtest.errors["metric"]]
    rows: list[Tr] = []
    for name in backtest.errors["predictor"].unique(maintain_order=True):
        found = [backtest.error(name, metric) for metric in metrics]
        title = f"{name} (best without a model)" if name == backtest.best else name
        cells = [scored(cell_of(row)) for row in found]
        gap = found[0]
        less = NONE if gap["difference"] is None else number(gap["difference"])
        ends = "" if gap["difference_low"] is None else f"{number(gap['difference_low'])} to {number(gap['difference_high'])}"
        rows.append(Tr((Td(title, css="text"), *cells, Td(less, ends), Td(count(found[0]["pairs"])))))
    first = metric_title(metrics[0])
    headers = ("Predictor", *(metric_title(metric) for metric in metrics), f"{prediction.method} minus this, {first}", "Pairs")
    note = f"Left out in turn: {backtest.held.unit}s. W1: distance of the distributions, 0 is best. In grey: 95 % intervals."
    choice = "The best method without a model is chosen by its error here, which favours it."
    return Grid(headers, tuple(rows), (), (note, choice))


def _coverage(prediction: Prediction) -> Grid:
    rows: list[Tr] = []
    for row in prediction.backtest.coverage.iter_rows(named=True):
        shares, positions = (Td(percent(row[name])) for name in ("coverage", "position_coverage"))
        rows.append(Tr((Td(capital(row["title"]), css="text"), Td(count(row["pairs"])), shares, positions)))
    note = "Each question is judged by intervals that were fitted without it and the questions left out with it."
    return Grid(("Subgroups by number of answers", "Pairs", "Shares covered", "Mean positions covered"), tuple(rows), (), (note,))


def _similarity(prediction: Prediction) -> Grid:
    text = dict(prediction.dataset.items.select("item", "question").iter_rows())
    rows = [
        Tr(
            (
                Td(row["question"], css="text"),
                Td(number(row["similarity"], 2)),
                Td(f"{row['nearest']}: {text[row['nearest']]}", css="long"),
                Td(count(row["same_options"])),
                Td(row["reason"] or "inside", css="long"),
            )
        )
        for row in prediction.similarity.iter_rows(named=True)
    ]
    least = number(prediction.similarity["least"][0], 2) if prediction.similarity.height else NONE
    note = f"Similarity: cosine of the texts. 95 % of the held-out questions had at least {least} with a question they were predicted from."
    return Grid(("Question", "Similarity", "Most similar question", "Questions with as many options", "Range"), tuple(rows), (), (note,))


def _question(prediction: Prediction, question: NewQuestion, place: int) -> Section:
    rows = prediction.table.filter(pl.col("question") == question.id)
    titles = _row_titles(prediction)
    drawn = rows.filter(pl.col("subgroup").is_in(list(titles)))
    section = Section(f"question-{place}", f"How would people answer {question.id}?", nav=question.id, intro=question.text)
    first = rows.row(0, named=True)
    if first["outside"]:
        section.warning = f"Outside the validated range: {first['reason']}. The intervals may not hold."
    whole = rows.filter(pl.col("subgroup") == "all")
    if whole.height:
        section.sentences = [_population_sentence(whole)]
    section.figures = [("", question_chart(question, drawn, titles, f"question-{place}"))]
    section.folded = [("Table of all subgroups", _table(prediction, question, rows))]
    return section


def _population_sentence(rows: pl.DataFrame) -> str:
    row = rows.row(0, named=True)
    shares = ", ".join(
        f"{option} {percent(share)} [{percent(low)} to {percent(high)}]"
        for option, share, low, high in rows.select("option", "share", "low", "high").iter_rows()
    )
    return f"Population: {shares}. Most likely the most common answer: {row['mode']} (probability {number(row['mode_probability'], 2)})."


def _row_titles(prediction: Prediction) -> Mapping[str, str]:
    """Return the subgroups to draw, with their labels: the population and single attributes; all if there are none."""
    dataset = prediction.dataset
    names, titles = subgroup_titles(dataset), attribute_titles(dataset)
    shown: dict[str, str] = {}
    predicted = set(prediction.table["subgroup"].unique())
    for row in dataset.subgroups.iter_rows(named=True):
        subgroup, used = row["subgroup"], [name for name in titles if row.get(name) is not None]
        if subgroup in predicted and len(used) < 2:
            shown[subgroup] = "Population" if not used else f"{titles[used[0]]}: {names[subgroup]}"
    return shown


def _table(prediction: Prediction, question: NewQuestion, rows: pl.DataFrame) -> Grid:
    names = {**subgroup_titles(prediction.dataset), "all": "Population"}
    found: list[Tr] = []
    ordered = question.scale != "nominal"
    for part in rows.partition_by("subgroup", maintain_order=True):
        first = part.row(0, named=True)
        shares = [Td(percent(row["share"]), f"{percent(row['low'])} to {percent(row['high'])}") for row in part.iter_rows(named=True)]
        position = [Td(number(first["position"], 2), f"{number(first['position_low'], 2)} to {number(first['position_high'], 2)}")]
        likely = Td(first["mode"], number(first["mode_probability"], 2), "text")
        cells = (Td(names[first["subgroup"]], css="text"), Td(count(first["n"])), *shares, *(position if ordered else []), likely)
        found.append(Tr(cells))
    headers = ("Subgroup", "Answers", *question.options, *(["Mean position"] if ordered else []), "Most likely answer")
    note = "In grey: 90 % intervals; after the most likely answer, the probability that it is the most common one."
    return Grid(headers, tuple(found), (), (note,))


def _method(prediction: Prediction) -> Section:
    section = Section("method", "How were the numbers made?", nav="Method")
    section.warning = "Predictions are not answers of people. Ask people before a decision that the backtest does not support."
    described: list[tuple[str, Any]] = [
        ("Data set", f"{prediction.dataset.survey_and_place}, fingerprint {prediction.dataset.fingerprint[:12]}"),
        *((f"Run {name}", plain(identity)) for name, identity in prediction.runs.items()),
        ("Method", prediction.method),
        ("What the method fitted", plain(prediction.settings)),
        ("Left out together", " | ".join(prediction.backtest.held.labels)),
    ]
    section.folded = [("Definitions", pairs_of(_METHOD)), ("Settings and runs", pairs_of(described))]
    return section
