"""Commands that do everything at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valuestrata.cli.options import AsJson
from valuestrata.cli.output import claim_documents, claims, headline, lessons, print_json, say, tells_what_is_kept
from valuestrata.errors import RunFailedError

if TYPE_CHECKING:
    from valuestrata.study.config import Study


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the demonstration.")] = Path("runs/demo"),
    as_json: AsJson = False,
) -> None:
    """Embedded survey and embedded model to a report, with nothing from a model hub."""
    from valuestrata.study import demo_study

    _study(demo_study(output), as_json)


def run(study_file: Annotated[Path, typer.Argument(metavar="STUDY", help="Study YAML.")], as_json: AsJson = False) -> None:
    """Do a whole study: build, teach where it says so, ask, score, report; resumed where it stopped."""
    from valuestrata.study.config import load_study

    _study(load_study(study_file), as_json)


def _study(study: Study, as_json: bool) -> None:
    from valuestrata.study import run_study

    if study.tune is not None:
        _generalisation(study, as_json)
        return
    with tells_what_is_kept(study.folder):
        result = run_study(study, say=say)
    if as_json:
        tables = {"scores": result.scores.to_dicts(), "verdicts": result.assessment.verdicts.to_dicts()}
        tables["claims"] = claim_documents(claim for claim in result.assessment.claims if claim.run_kind != "baseline")
        print_json({"report": str(result.report), "runs": [one.document for one in result.asked], **tables})
    else:
        headline(result.dataset, result.runs, result.scores)
        claims(result.model_runs, result.assessment)
        print(f"\nReport: {result.report}")
    _tell(result.problems)


def _generalisation(study: Study, as_json: bool) -> None:
    from valuestrata.study.tuning_study import run_generalisation

    with tells_what_is_kept(study.folder):
        result = run_generalisation(study, say=say)
    if as_json:
        tables = {"generalisation": result.table.to_dicts(), "gains": result.gains.to_dicts(), "lessons": dict(result.lessons)}
        print_json({"report": str(result.report), "adapters": [str(adapter) for adapter in result.adapters], **tables})
    else:
        lessons(result.lessons, result.table, study.plan.metric)
        print(f"\nReport: {result.report}")
    _tell(result.problems)


def _tell(problems: Sequence[str]) -> None:
    """End with exit code 4 where something went wrong."""
    if problems:
        raise RunFailedError(f"{'; '.join(problems)}. The same command does only what is left.")
