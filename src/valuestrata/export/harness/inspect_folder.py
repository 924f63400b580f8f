"""A folder with a task file of Inspect AI."""

from __future__ import annotations

from pathlib import Path

from valuestrata.dataset.tables import Dataset
from valuestrata.export.export import ExportedFolder, ExportOptions
from valuestrata.export.harness.documents import DOCUMENTS, as_lines, documents_of
from valuestrata.files import folder_written_beside, write_text
from valuestrata.prompts.prompt import Elicitation

INSPECT: tuple[Elicitation, ...] = ("text", "stated-distribution", "reasoned")
TASK_FILE = "survey.py"
_TASK = '''\
"""Survey questions asked in persona, scored against the answers of the subgroup.

    inspect eval survey.py --model PROVIDER/MODEL
"""

from pathlib import Path

from inspect_ai import Task, task
from valuestrata.export.harness.inspect_task import survey as survey_of


@task
def survey() -> Task:
    """Ask the pairs of this folder."""
    return survey_of(str(Path(__file__).parent))
'''


def write_inspect(dataset: Dataset, place: Path, options: ExportOptions) -> ExportedFolder:
    """Write a data set as a folder for Inspect; arguments and errors as for `export_dataset`."""
    documents = documents_of(
        dataset,
        INSPECT,
        split=options.split,
        part=options.part,
        fold=options.fold,
        template=options.template,
        elicitation=options.elicitation,
    )
    with folder_written_beside(place) as folder:
        write_text(folder / DOCUMENTS, as_lines(documents))
        write_text(folder / TASK_FILE, _TASK)
    return ExportedFolder(
        place,
        f"{len(documents):,} pairs. Run in this folder: inspect eval {TASK_FILE} --model PROVIDER/MODEL",
        document={"task": str(place / TASK_FILE), "pairs": len(documents)},
    )
