"""One YAML -> one resolved Study: build, ask every model, score, report. What is done is skipped, what stopped resumes.

A study's folder holds everything: `data/` (the data set), `runs/NAME/` (one run a model), `plan.json` (what was declared
before anything was answered), `scores.parquet`, `relative.parquet`, `comparisons.parquet`, `structure.parquet`,
`verdicts.parquet`, `tables/`, `report.html` and `study.yaml`, the study as it was resolved; `audit/` where an audit
is asked for, `open/` where open questions are.
"""

from valuestrata.study.ask import Asked
from valuestrata.study.data import read_for
from valuestrata.study.pipeline import StudyResult, demo_study, run_study

__all__ = ["Asked", "StudyResult", "demo_study", "read_for", "run_study"]
