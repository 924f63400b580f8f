"""Model cards of adapters: README.md in the format of the Hub.

Text from data, recipes and file names is escaped: a label may contain a pipe, a bracket or a tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from valuestrata.errors import InputDataError
from valuestrata.files import read_json, write_text
from valuestrata.formatting import number, title
from valuestrata.scores.schema import SCORES
from valuestrata.tuning.adapters import TRAINING
from valuestrata.tuning.evaluate.forgetting import FORGETTING, read_forgetting

CARD = "README.md"
# Metrics in the tables of scores.
_METRICS = ("accuracy_expected", "accuracy", "nmae", "w1", "refusal_rate", "invalid_rate")
_BY = ("all", "attribute", "level")
_ABOUT_VALIDATION = ("loss", "loss_answer", "accuracy_expected", "accuracy", "distance", "option_mass")
# Maximum number of listed names; training.json has all of them.
_LISTED = 40
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# Markdown markup. An underscore inside a word is not markup, and ids often contain it.
_MARKUP = re.compile(r"[\\`*\[\]#|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
# What would become a tag, an entity or, in some renderers, a link.
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "://": "&#58;//", "www.": "www&#46;"}
_TAGS = ("valuestrata", "lora", "survey", "personas", "subgroup-values")


def write_card(
    adapter: str | Path,
    *,
    training: Mapping[str, Any] | None = None,
    scores: pl.DataFrame | None = None,
    forgetting: pl.DataFrame | None = None,
) -> Path:
    """Write the card of an adapter into its folder and return its path.

    Args:
        adapter: the adapter's folder. training: its training record; by default `training.json` in the folder.
        scores: as for `card_text`. forgetting: as for `card_text`; by default `forgetting.csv` in the folder.

    Raises:
        InputDataError: the folder is not an adapter of `tune`, or a table has another format.
    """
    folder = Path(adapter)
    if not (folder / "adapter_config.json").is_file():
        raise InputDataError(f"{folder} is not an adapter (adapter_config.json is missing).")
    record = read_json(folder / TRAINING) if training is None else training
    text = card_text(record, scores=scores, forgetting=read_forgetting(folder) if forgetting is None else forgetting)
    write_text(folder / CARD, text)
    return folder / CARD


def card_text(training: Mapping[str, Any], *, scores: pl.DataFrame | None = None, forgetting: pl.DataFrame | None = None) -> str:
    """Return the card of an adapter as Markdown with a YAML header.

    Args:
        training: the document of `training.json`.
        scores: rows of SCORES of the tuned model and other runs; overall scores and those by attribute and level are shown.
        forgetting: rows of FORGETTING.

    Raises:
        InputDataError: a record or table is incomplete.
    """
    missing = [key for key in ("request", "base", "data", "held_out", "examples", "validation") if key not in training]
    if missing:
        raise InputDataError(f"{TRAINING}: {', '.join(missing)} missing; this is not a training record of `tune`.")
    parts = [
        _head(training),
        _opening(training),
        _use(training),
        _training(training),
        _held_out(training),
        _recipe(training),
        _validation(training),
        _scores(scores),
        _forgetting(forgetting),
        _LIMITS,
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _head(training: Mapping[str, Any]) -> str:
    hub = _hub_name(training)
    recipe = re.sub(r"[^a-z0-9]+", "-", str(_recipe_of(training)["name"]).lower()).strip("-") or "own"
    head: dict[str, Any] = {
        **({"base_model": hub, "base_model_relation": "adapter"} if hub else {}),
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": [*_TAGS, f"recipe-{recipe}"],
    }
    return "---\n" + yaml.safe_dump(head, sort_keys=False, allow_unicode=True) + "---"


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


def _opening(training: Mapping[str, Any]) -> str:
    base, data = training["base"], training["data"]
    survey: Mapping[str, Any] = data.get("survey") or {}
    name = survey.get("title") or survey.get("name")
    parts = [
        f"# {_text(name or 'Survey')}: {_text(base.get('model'))}, recipe {_text(_recipe_of(training)['name'])}",
        "A LoRA adapter that answers closed survey questions as members of a described subgroup. It was trained with valuestrata on "
        "the subgroup shares of a survey, after [arXiv 2604.12851](https://arxiv.org/abs/2604.12851).",
    ]
    if control := training.get("control"):
        parts.append(
            f"**This is a control** ({_text(control['control'])}): it was trained on the same answers with other personas, to measure "
            "the gain that needs no persona. Do not use it for other purposes."
        )
    rows = {
        "base model": base.get("model"),
        "revision": base.get("revision"),
        "loaded as": _specification(training),
        "number type": base.get("dtype"),
        "survey": f"{name}, version {survey.get('version')}",
        "place": data.get("place"),
        "fingerprint of the data set": data.get("fingerprint"),
    }
    return "\n\n".join([*parts, _rows(rows)])


def _use(training: Mapping[str, Any]) -> str:
    code = _fenced(
        f"valuestrata ask DATASET --model {_specification(training)}+ADAPTER --split {training['request']['split']}\n\n"
        "# or, in Python\n"
        "from peft import PeftModel\n"
        "model = PeftModel.from_pretrained(base, ADAPTER)",
        "text",
    )
    return "## Use\n\n" + code


def _training(training: Mapping[str, Any]) -> str:
    request, examples, updates = training["request"], training["examples"], training.get("updates")
    rows = {
        "split": request["split"],
        "fold": request.get("fold"),
        "training examples": f"{examples['train']:,}",
        "validation examples": f"{examples['validation']:,}",
        "updates (made, kept)": None if updates is None else f"{updates['made']:,}, {updates['kept']:,}",
        "citation of the survey": (training["data"].get("survey") or {}).get("citation") or None,
    }
    return "## Training data\n\n" + _rows(rows)


def _held_out(training: Mapping[str, Any]) -> str:
    held: Mapping[str, Any] = training["held_out"]
    lines = ["## Held-out data", "", f"{held.get('test_pairs', 0):,} pairs of item and subgroup were not used in training."]
    if held.get("fold_label"):
        lines[-1] += f" Held out in this fold: {_text(held['fold_label'])}."
    for name in ("subgroups", "items"):
        found: Sequence[str] = held.get(name) or ()
        lines += ["", f"**{name.capitalize()}** without a training or validation pair ({len(found):,}): {_listed(found)}"]
    return "\n".join(lines)


def _recipe(training: Mapping[str, Any]) -> str:
    recipe = dict(_recipe_of(training))
    # Only the name of a template file: its path is private.
    recipe["template"] = Path(str(recipe.get("template"))).name
    about = f"Purpose: {_text(recipe['description'])}\n\n" if recipe.get("description") else ""
    return f"## Recipe\n\n{about}" + _fenced(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=100).rstrip(), "yaml")


def _validation(training: Mapping[str, Any]) -> str:
    seen: Mapping[str, Any] = training["validation"]
    before, after = seen.get("before"), seen.get("after")
    if not before or not after:
        return ""
    rows = [
        (_text(title(name)), _number(before.get(name)), _number(after.get(name)))
        for name in _ABOUT_VALIDATION
        if before.get(name) is not None and after.get(name) is not None
    ]
    note = "Validation pairs come from the same part of the split as training pairs; these figures say nothing about held-out data."
    return f"## Validation\n\n{note}\n\n" + _table(("validation pairs", "before", "after"), rows)


def _scores(scores: pl.DataFrame | None) -> str:
    if scores is None or scores.is_empty():
        return "## Scores\n\nNot scored yet. The quality of this adapter is unknown until it is scored on held-out data."
    table = SCORES.check(scores, "scores of the card").filter(pl.col("against").is_null() & pl.col("by").is_in(_BY))
    parts = ["## Scores", "With 95 % confidence intervals. Lower is better for distances (NMAE, W1) and rates, higher for accuracies."]
    for key, rows in table.group_by(["run", "scheme", "fold", "part", "elicitation"], maintain_order=True):
        run, scheme, fold, part, elicitation = key
        metrics = [metric for metric in _METRICS if rows.filter((pl.col("metric") == metric) & pl.col("value").is_not_null()).height]
        if not metrics:
            continue
        where = (
            f"split {_text(scheme)}" + ("" if fold is None else f", fold {fold}") + f", part {_text(part)}, readout {_text(elicitation)}"
        )
        parts += [f"**{_text(run)}**: {where}", _table(("", *[title(metric) for metric in metrics], "pairs"), _score_rows(rows, metrics))]
    return "\n\n".join(parts)


def _score_rows(rows: pl.DataFrame, metrics: Sequence[str]) -> list[tuple[str, ...]]:
    laid: list[tuple[str, ...]] = []
    for by in _BY:
        for key in rows.filter(pl.col("by") == by)["key"].unique(maintain_order=True):
            of = {row["metric"]: row for row in rows.filter((pl.col("by") == by) & (pl.col("key") == key)).iter_rows(named=True)}
            name = "all" if by == "all" else f"{by}: {_text(key)}"
            counts = [row["pairs"] for row in of.values() if row["pairs"] is not None]
            laid.append((name, *[_with_interval(of.get(metric)) for metric in metrics], f"{max(counts):,}" if counts else "–"))
    return laid


def _with_interval(row: Mapping[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return "–"
    low, high = row["ci_low"], row["ci_high"]
    return number(row["value"]) + ("" if low is None or high is None else f" ({number(low)} to {number(high)})")


def _forgetting(forgetting: pl.DataFrame | None) -> str:
    if forgetting is None or forgetting.is_empty():
        return ""
    table = FORGETTING.check(forgetting, "forgetting of the card")
    rows = [
        (_text(row["measure"].replace("_", " ")), _number(row["before"]), _number(row["after"]), _number(row["difference"]), row["better"])
        for row in table.iter_rows(named=True)
    ]
    note = "A fixed text and twenty closed questions that are unrelated to values; too few to show that nothing was lost."
    return f"## Forgetting\n\n{note}\n\n" + _table(("", "before", "after", "difference", "better"), rows)


_LIMITS = """
## Intended use

Research on how language models represent the values of groups, measured against survey data: comparing recipes, auditing for which
subgroups a model is worse, studying generalisation to new groups and questions. Report its scores together with baselines, noise
ceilings and controls (persona-free, shuffled personas).

## Not intended

- Replacing surveys of people, or supporting a decision about a person or a group.
- Inferring what an individual thinks from sex, age, ethnicity or religion.
- Persuasion, targeting, synthetic survey data presented as collected, or speaking in the name of a group.

## Limits

- It was trained on one survey, one place and one time, in the wording of that survey's closed questions.
- Shares of a subgroup describe those who answered; people differ within a subgroup, mostly more than subgroups differ.
- Gold of small subgroups is noisy. Differences below the noise floor mean nothing.
- A gain on unseen combinations can come from each question's usual answer alone; compare with the item-mode baseline.
- Errors of the base model about people may remain, and open-ended answers were not trained.
"""


def _recipe_of(training: Mapping[str, Any]) -> Mapping[str, Any]:
    return training["request"]["recipe"]


def _text(value: Any) -> str:
    """Return a value as escaped Markdown on one line."""
    line = _MARKUP.sub(lambda mark: "\\" + mark[0], " ".join(str(value).split()))
    for mark, entity in _ENTITIES.items():
        line = line.replace(mark, entity)
    return line


def _number(value: float | None) -> str:
    return "–" if value is None else number(value)


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "none."
    rest = len(names) - _LISTED
    return ", ".join(_text(name) for name in names[:_LISTED]) + (f", and {rest:,} more (training.json)." if rest > 0 else ".")


def _rows(values: Mapping[str, Any]) -> str:
    """Return a table of names and values without the values that are None."""
    return _table(("", ""), [(name, _text(value)) for name, value in values.items() if value is not None])


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, ["---"] * len(heads), *rows))


def _fenced(text: str, language: str) -> str:
    """Return a code block with a fence longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
