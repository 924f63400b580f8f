"""Model cards of adapters: README.md in the format of the Hub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.errors import InputDataError
from valuestrata.files import write_text
from valuestrata.formatting import NONE, number, title
from valuestrata.markdown import Markdown, escaped_markdown, fenced_yaml, markdown_table, markdown_template, yaml_text
from valuestrata.scores.schema import SCORES
from valuestrata.tuning.evaluate.forgetting import FORGETTING, read_forgetting
from valuestrata.tuning.record import TRAINING, TrainingFile, read_training
from valuestrata.yaml_files import checked

CARD = "README.md"
# Metrics in the tables of scores.
_METRICS = ("accuracy_expected", "accuracy", "nmae", "w1", "refusal_rate", "invalid_rate")
_BY = ("all", "attribute", "level")
_ABOUT_VALIDATION = ("loss", "loss_answer", "accuracy_expected", "accuracy", "distance", "option_mass")
# Maximum number of listed names; training.json has all of them.
_LISTED = 40
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_TAGS = ("valuestrata", "lora", "survey", "personas", "subgroup-values")


def write_card(
    adapter: str | Path,
    *,
    training: Mapping[str, Any] | None = None,
    scores: pl.DataFrame | None = None,
    forgetting: pl.DataFrame | None = None,
    seeds: Sequence[int] = (),
) -> Path:
    """Write the card of an adapter into its folder and return its path.

    Args:
        adapter: the adapter's folder. training: its training record; by default `training.json` in the folder.
        scores, seeds: as for `card_text`. forgetting: as for `card_text`; by default `forgetting.csv` in the folder.

    Raises:
        InputDataError: the folder is not an adapter of `tune`, or a table has another format.
    """
    folder = Path(adapter)
    if not (folder / "adapter_config.json").is_file():
        raise InputDataError(f"{folder} is not an adapter (adapter_config.json is missing).")
    record = read_training(folder) if training is None else training
    text = card_text(record, scores=scores, forgetting=read_forgetting(folder) if forgetting is None else forgetting, seeds=seeds)
    write_text(folder / CARD, text)
    return folder / CARD


def card_text(
    training: Mapping[str, Any],
    *,
    scores: pl.DataFrame | None = None,
    forgetting: pl.DataFrame | None = None,
    seeds: Sequence[int] = (),
) -> str:
    """Return the card of an adapter as Markdown with a YAML header.

    Args:
        training: the document of `training.json`.
        scores: rows of SCORES of the tuned model and other runs; overall scores and those by attribute and level are shown.
        forgetting: rows of FORGETTING. seeds: all seeds that the study trained the recipe with; empty if it named none.

    Raises:
        InputDataError: a record or table is incomplete.
    """
    checked(TrainingFile, dict(training), TRAINING)
    recipe: Mapping[str, Any] = training["request"]["recipe"]
    survey: Mapping[str, Any] = training["data"].get("survey") or {}
    seen: Mapping[str, Any] = training["validation"]
    return markdown_template("valuestrata.tuning", "texts", "model_card.md.jinja").render(
        {"updates": None, "control": None, **training, "held_out": {"subgroups": None, "items": None, **training["held_out"]}},
        head=_head(training),
        survey=survey,
        survey_name=survey.get("title") or survey.get("name"),
        recipe=recipe,
        # Only the name of a template file: its path is private.
        recipe_yaml=fenced_yaml(yaml_text({**recipe, "template": Path(str(recipe.get("template"))).name}, width=100).rstrip()),
        specification=_specification(training),
        validation_table=_validation(seen.get("before") or {}, seen.get("after") or {}),
        score_tables=None if scores is None or scores.is_empty() else _score_tables(scores),
        forgetting_table=None if forgetting is None or forgetting.is_empty() else _forgetting(forgetting),
        seeds=", ".join(str(seed) for seed in seeds) or None,
        listed=_listed,
    )


def _head(training: Mapping[str, Any]) -> Markdown:
    hub = _hub_name(training)
    recipe = re.sub(r"[^a-z0-9]+", "-", str(training["request"]["recipe"]["name"]).lower()).strip("-") or "own"
    head: dict[str, Any] = {
        **({"base_model": hub, "base_model_relation": "adapter"} if hub else {}),
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": [*_TAGS, f"recipe-{recipe}"],
    }
    return Markdown(yaml_text(head))


def _hub_name(training: Mapping[str, Any]) -> str | None:
    """Return the base model's name on the Hub; None for a folder or file, which the Hub would reject as a name."""
    base: Mapping[str, Any] = training["base"]
    name = str(base.get("model"))
    return name if str(base.get("word", "")).startswith(f"hf:{name}") and _HUB_NAME.fullmatch(name) else None


def _specification(training: Mapping[str, Any]) -> str:
    """Return the specification of the base model, without private paths."""
    base = str(training["base"].get("word"))
    kind = base.partition(":")[0]
    return base if _hub_name(training) or base == "embedded" else f"{kind}:{'FILE' if kind == 'gguf' else 'FOLDER'}"


def _validation(before: Mapping[str, Any], after: Mapping[str, Any]) -> Markdown:
    known = [name for name in _ABOUT_VALIDATION if before.get(name) is not None and after.get(name) is not None]
    return markdown_table(
        ("validation pairs", "before", "after"), [(title(name), number(before[name]), number(after[name])) for name in known]
    )


def _score_tables(scores: pl.DataFrame) -> Iterator[tuple[tuple[Any, ...], Markdown]]:
    """Yield (run, scheme, fold, part, elicitation) and the table of its scores."""
    table = SCORES.check(scores, "scores of the card").filter(pl.col("against").is_null() & pl.col("by").is_in(_BY))
    for place, rows in table.group_by(["run", "scheme", "fold", "part", "elicitation"], maintain_order=True):
        metrics = [metric for metric in _METRICS if rows.filter((pl.col("metric") == metric) & pl.col("value").is_not_null()).height]
        if metrics:
            yield place, markdown_table(("", *[title(metric) for metric in metrics], "pairs"), _score_rows(rows, metrics))


def _score_rows(rows: pl.DataFrame, metrics: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for by in _BY:
        for (key,), of_key in rows.filter(pl.col("by") == by).group_by("key", maintain_order=True):
            of = {row["metric"]: row for row in of_key.iter_rows(named=True)}
            pairs = of_key["pairs"].drop_nulls()
            values = [_with_interval(of[metric]) if metric in of else NONE for metric in metrics]
            yield ("all" if by == "all" else f"{by}: {key}", *values, f"{pairs.max():,}" if len(pairs) else NONE)


def _with_interval(row: Mapping[str, Any]) -> str:
    low, high = row["ci_low"], row["ci_high"]
    return number(row["value"]) + ("" if None in (row["value"], low, high) else f" ({number(low)} to {number(high)})")


def _forgetting(forgetting: pl.DataFrame) -> Markdown:
    rows = FORGETTING.check(forgetting, "forgetting of the card").with_columns(pl.col("measure").str.replace_all("_", " "))
    columns = ("measure", "before", "after", "difference", "better")
    written = [[value if isinstance(value, str) else number(value) for value in row] for row in rows.select(columns).iter_rows()]
    return markdown_table(("", *columns[1:]), written)


def _listed(names: Sequence[str]) -> Markdown:
    rest = len(names) - _LISTED
    more = f", and {rest:,} more (training.json)" if rest > 0 else ""
    return Markdown((", ".join(escaped_markdown(name) for name in names[:_LISTED]) or "none") + more + ".")
