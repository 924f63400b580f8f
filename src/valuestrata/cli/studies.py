"""Commands that do everything at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from valuestrata.cli.options import AsJson
from valuestrata.cli.output import headline, print_json, say, tells_what_is_kept, verdict_lines
from valuestrata.errors import RunFailedError


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the demonstration.")] = Path("runs/demo"),
    as_json: AsJson = False,
) -> None:
    """Embedded survey and embedded model to a report, with nothing from a model hub."""
    from valuestrata.study import demo_study

    _study(demo_study(output), as_json)


def run(study_file: Annotated[Path, typer.Argument(metavar="STUDY", help="Study YAML.")], as_json: AsJson = False) -> None:
    """Do a whole study: build, ask, score, report; resumed where it stopped."""
    from valuestrata.studyfile import load_study

    _study(load_study(study_file), as_json)


def _study(study: Any, as_json: bool) -> None:
    from valuestrata.study import run_study

    with tells_what_is_kept(study.folder):
        result = run_study(study, say=say)
    if as_json:
        tables = {"scores": result.scores.to_dicts(), "verdicts": result.assessment.verdicts.to_dicts()}
        print_json({"report": str(result.report), "runs": [one.document for one in result.asked], **tables})
    else:
        headline(result.dataset, result.runs, result.scores)
        verdict_lines(list(result.model_runs), result.assessment)
        print(f"\nReport: {result.report}")
    if result.problems:
        raise RunFailedError(f"{'; '.join(result.problems)}. The same command asks only what is left.")
