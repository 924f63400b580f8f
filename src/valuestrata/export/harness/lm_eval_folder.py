"""A task directory of lm-evaluation-harness: a group of tasks, one for each topic."""

from __future__ import annotations

import re
import unicodedata
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from valuestrata.dataset.tables import Dataset
from valuestrata.export.export import ExportedFolder, ExportOptions
from valuestrata.export.harness.documents import as_lines, documents_of
from valuestrata.files import folder_written_beside, write_text
from valuestrata.prompts.prompt import Elicitation
from valuestrata.respondents.local.respondent import NEW_TOKENS

# `logprob` scores the options; `text` reads an answer that the model writes.
LM_EVAL: tuple[Elicitation, ...] = ("logprob", "text")
METRICS = ("accuracy", "accuracy_expected")
TASK_FILE = "survey_task.py"


def write_lm_eval(dataset: Dataset, place: Path, options: ExportOptions) -> ExportedFolder:
    """Write a data set as a task directory; arguments and errors as for `export_dataset`."""
    documents = documents_of(
        dataset,
        LM_EVAL,
        split=options.split,
        part=options.part,
        fold=options.fold,
        template=options.template,
        elicitation=options.elicitation,
    )
    group = f"valuestrata_{_slug(str(dataset.meta['survey']['name']))}"
    names: dict[str, str] = {}
    for document in documents:
        if document.topic not in names:
            slug = f"{group}_{_slug(document.topic)}"
            names[document.topic] = slug if slug not in names.values() else f"{slug}_{len(names)}"
    source = resources.files("valuestrata.export.harness") / TASK_FILE
    with folder_written_beside(place) as folder:
        write_text(folder / TASK_FILE, source.read_text(encoding="utf-8"))
        for topic, name in names.items():
            write_text(folder / f"{name}.jsonl", as_lines([document for document in documents if document.topic == topic]))
            write_text(folder / f"{name}.yaml", _yaml(_task(name, topic, documents[0].elicitation)))
        write_text(folder / f"{group}.yaml", _yaml(_group(group, list(names.values()))))
    return ExportedFolder(
        place,
        f"{len(documents):,} pairs in {len(names)} tasks, one for each topic. Run: lm_eval run --tasks {group} --include_path {place} "
        "--model hf --model_args pretrained=MODEL --apply_chat_template --log_samples --output_path OUT",
        document={"task": group, "tasks": list(names.values()), "pairs": len(documents)},
    )


class _Function(str):
    """A reference to a function of the task file, written with the tag that lm-evaluation-harness reads."""


class _Dumper(yaml.SafeDumper):
    """Writes `_Function` values."""


_Dumper.add_representer(_Function, lambda dumper, value: dumper.represent_scalar("!function", str(value)))


def _yaml(document: dict[str, Any]) -> str:
    about = "# Written by valuestrata: survey questions asked in persona, scored against the answers of the subgroup.\n"
    return about + yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=130)


def _task(name: str, topic: str, elicitation: Elicitation) -> dict[str, Any]:
    module = Path(TASK_FILE).stem
    written = elicitation == "text"
    return {
        "task": name,
        "task_alias": topic,
        "class": _Function(f"{module}.SurveyTask"),
        "custom_dataset": _Function(f"{module}.load"),
        "dataset_kwargs": {"file": f"{name}.jsonl"},
        "test_split": "test",
        "output_type": "generate_until" if written else "multiple_choice",
        **({"generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": NEW_TOKENS["text"]}} if written else {}),
        "num_fewshot": 0,
        "doc_to_text": "pair_id",
        "doc_to_target": "mode",
        "process_results": _Function(f"{module}.score"),
        "metric_list": [{"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in METRICS],
        "metadata": {"version": 1.0},
    }


def _group(group: str, tasks: list[str]) -> dict[str, Any]:
    return {
        "group": group,
        "task": tasks,
        # Every pair has the same weight, as in `score`.
        "aggregate_metric_list": [{"metric": metric, "aggregation": "mean", "weight_by_size": True} for metric in METRICS],
        "metadata": {"version": 1.0},
    }


def _slug(text: str) -> str:
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", ascii_text).strip("_") or "topic"
