"""The command `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from valuestrata.cli.inputs import load_data_and_runs
from valuestrata.cli.options import AsJson, DatasetFolder, Fold, Split, TemplateName
from valuestrata.cli.output import print_json, say, show


def export_(
    dataset: DatasetFolder,
    to: Annotated[
        str, typer.Option("--to", help="The other tool: hf (Hugging Face), lm-eval (lm-evaluation-harness) or inspect (Inspect AI).")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="New folder.")],
    split: Split = "paper",
    fold: Fold = None,
    template: TemplateName = "default",
    runs: Annotated[
        list[Path] | None,
        typer.Option("--runs", metavar="RUN...", help="Also export the answers of these runs (hf)."),
    ] = None,
    raw_texts: Annotated[bool, typer.Option("--raw-texts", help="With --runs: also the texts that the models wrote.")] = False,
    license: Annotated[str | None, typer.Option("--license", help="Licence of the exported data, such as cc-by-4.0 (hf).")] = None,
    allow_subtraction: Annotated[
        bool,
        typer.Option("--allow-subtraction", help="Export although groups of few answers can be worked out by subtracting subgroups (hf)."),
    ] = False,
    language: Annotated[str | None, typer.Option("--language", help="Language of the questions, as a code; default en (hf).")] = None,
    part: Annotated[
        str | None, typer.Option("--part", help="Pairs that a harness asks: train, validation, test (default) or all (lm-eval, inspect).")
    ] = None,
    elicitation: Annotated[
        str | None,
        typer.Option(
            "--elicitation",
            help="How a harness obtains an answer: logprob (default) or text (lm-eval); text (default), stated-distribution or reasoned "
            "(inspect).",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a data set in the format of another tool. See docs/sharing.md."""
    from valuestrata.export.export import export_dataset

    data, loaded = load_data_and_runs(dataset, runs or [])
    made = export_dataset(
        data,
        output,
        to=to,
        split=split,
        fold=fold,
        template=template,
        runs=loaded,
        raw_texts=raw_texts,
        license=license,
        allow_subtraction=allow_subtraction,
        language=language,
        part=part,
        elicitation=elicitation,
    )
    if as_json:
        print_json({"export": str(made.folder), **made.document, "remarks": [remark.render("cli") for remark in made.remarks]})
        return
    show(f"{made.folder}: {made.summary}")
    for remark in made.remarks:
        say(remark)
