"""The commands `run` and `demo`, which run whole studies."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valuestrata.cli.options import AsJson
from valuestrata.cli.output import claim_documents, print_json, printer, reports_interrupt, say, show
from valuestrata.errors import RunFailedError

if TYPE_CHECKING:
    from valuestrata.study.config import Study


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the demonstration.")] = Path("runs/demo"),
    as_json: AsJson = False,
) -> None:
    """Run a small study of the embedded survey and the embedded model. Nothing is downloaded."""
    from valuestrata.study import demo_study

    _run(demo_study(output), as_json)


def init_(
    study_file: Annotated[Path, typer.Argument(metavar="[FILE]", help="Study YAML to write.")] = Path("study.yaml"),
    survey: Annotated[
        str, typer.Option("--survey", metavar="FILE", help="Survey file (CSV, Excel, SPSS, Stata, R, Parquet, zip), or `embedded`.")
    ] = "embedded",
    models: Annotated[list[str] | None, typer.Option("--model", help="Model to ask, as for `valuestrata ask --model`; repeatable.")] = None,
    open_questions: Annotated[bool, typer.Option("--open", help="Add the section for open questions.")] = False,
    tune: Annotated[bool, typer.Option("--tune", help="Add the section for tuning.")] = False,
) -> None:
    """Write a study file that lists every key with its default and a comment. `valuestrata run` accepts it as it is."""
    from valuestrata.study.config.starting import write_starting_study

    write_starting_study(study_file, survey=survey, models=models or (), open_questions=open_questions, tune=tune)
    show(f"Study: {study_file}. Run it with: valuestrata run {study_file}")


def run(
    study_file: Annotated[Path, typer.Argument(metavar="STUDY", help="Study YAML.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder of the results, instead of the one in STUDY.")] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="STAGE",
            help="Stop after build, plan, tune, ask, calibrate, open, score, audit or report; run again to go on.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a whole study: build, tune if requested, ask, score and report. An interrupted study continues. See docs/study.md."""
    from valuestrata.study.config import load_study

    study = load_study(study_file, output)
    if until is None:
        _run(study, as_json)
    else:
        _run_until(study, until, ["valuestrata", "run", str(study_file), *([] if output is None else ["-o", str(output)])], as_json)


def _run(study: Study, as_json: bool) -> None:
    with reports_interrupt(study.folder):
        problems = _run_plain(study, as_json) if study.tune is None else _run_tuning(study, as_json)
    if problems:
        raise RunFailedError(f"{'; '.join(problems)}. Run the same command again to do only what is left.")


def _run_until(study: Study, stage: str, command: list[str], as_json: bool) -> None:
    """Run a study until a stage, and say what remains; `command` continues it."""
    from valuestrata.study import run_study_until

    with reports_interrupt(study.folder):
        if study.tune is None:
            found = run_study_until(study, stage, say=say)
        else:
            from valuestrata.study.tuning_study import run_generalisation_until

            found = run_generalisation_until(study, stage, say=say)
    if as_json:
        print_json(asdict(found))
    else:
        show(f"Done: {', '.join(found.done)}." + (f" {found.left:,} prompts have no answer yet." if found.left else ""))
        show(f"Remaining: {', '.join(found.remaining)}. Continue with: {shlex.join(command)}" if found.remaining else "Nothing remains.")
    if found.problems:
        raise RunFailedError(f"{'; '.join(found.problems)}. Run the same command again to do only what is left.")


def _run_plain(study: Study, as_json: bool) -> list[str]:
    from valuestrata.reports import print_claims, print_headline
    from valuestrata.study import run_study

    result = run_study(study, say=say)
    if as_json:
        tables = {"scores": result.scores.to_dicts(), "verdicts": result.assessment.verdicts.to_dicts()}
        claims = claim_documents(claim for claim in result.assessment.claims if claim.run_kind != "baseline")
        print_json({"report": str(result.report), "runs": [one.document for one in result.asked], **tables, "claims": claims})
    else:
        print_headline(result.dataset, result.runs, result.scores, printer())
        print_claims(result.assessment.claims, printer(), runs=result.model_runs)
        show(f"\nReport: {result.report}")
    return result.problems


def _run_tuning(study: Study, as_json: bool) -> list[str]:
    from valuestrata.reports.closed.generalisation import print_generalisation
    from valuestrata.study.tuning_study import run_generalisation

    result = run_generalisation(study, say=say)
    pages = {name: found.report for name, found in result.open.items() if found.report is not None}
    if as_json:
        opened = {"open": {name: str(page) for name, page in pages.items()}} if study.open is not None else {}
        tables = {"generalisation": result.table.to_dicts(), "gains": result.gains.to_dicts(), "lessons": dict(result.sentences)}
        print_json({"report": str(result.report), "adapters": [str(adapter) for adapter in result.adapters], **opened, **tables})
    else:
        print_generalisation(result.sentences, result.table, study.plan.metric, printer())
        show(f"\nReport: {result.report}")
        for name, page in pages.items():
            show(f"Open answers, {name}: {page}")
    return list(result.problems)
