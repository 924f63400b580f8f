"""Arguments and options shared by several commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from valuestrata.errors import MOST_SEED

SurveyFile = Annotated[str, typer.Argument(metavar="FILE", help="Survey file (CSV, Excel, SPSS, Stata, R, Parquet, zip), or `embedded`.")]
OptionalSurveyFile = Annotated[
    str | None, typer.Argument(metavar="[FILE]", help="Survey file (CSV, Excel, SPSS, Stata, R, Parquet, zip), or `embedded`.")
]
SurveyName = Annotated[str | None, typer.Option("--survey", help="Codebook: wvs7, gss2018, gss2012 or a YAML file; detected by default.")]
Countries = Annotated[
    list[str] | None, typer.Option("--country", help="Country by code, alpha-3 or name; repeatable, or separated by commas.")
]
Pooling = Annotated[
    str | None,
    typer.Option(
        "--pooling",
        help="How several countries are combined: equal-per-country, equal-per-respondent or weight (the codebook's pooling weight).",
    ),
]
RunOutput = Annotated[Path, typer.Option("-o", "--output", help="Folder of the run.")]
OptionalRunOutput = Annotated[Path | None, typer.Option("-o", "--output", help="Folder of the run.")]
ShowPrompt = Annotated[
    int | None,
    typer.Option("--show-prompt", metavar="[N]", min=1, help="Only print the first N different prompts (default 1); no model or key."),
]
TemplateName = Annotated[
    str, typer.Option("--template", help="Persona template: default, second-person, third-person, item-first, dont-know or a YAML file.")
]
Samples = Annotated[int, typer.Option("--samples", min=1, help="Answers per prompt.")]
Items = Annotated[str | None, typer.Option("--items", help="Only these items, separated by commas.")]
Attributes = Annotated[str | None, typer.Option("--attributes", help="Use these attributes, separated by commas.")]
Strata = Annotated[
    str | None, typer.Option("--strata", help="Only these strata (combinations of attributes, such as sex_x_age), separated by commas.")
]
Labels = Annotated[Path | None, typer.Option("--labels", help="YAML file that assigns unmatched labels of items and attributes.")]
Wording = Annotated[Path | None, typer.Option("--wording", help="YAML file with other wordings of questions and options.")]
Levels = Annotated[Path | None, typer.Option("--levels", help="YAML file that merges attribute levels.")]
Sheet = Annotated[str | None, typer.Option("--sheet", help="Sheet of an Excel workbook; by default the visible one with most columns.")]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse a file with unmatched labels.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
TableFormatOption = Annotated[
    str,
    typer.Option("--table-format", metavar="FORMAT", help="Print tables as text, markdown, csv (without rounding) or latex (booktabs)."),
]
Wide = Annotated[bool, typer.Option("--wide", help="Print every column of a table, however wide.")]
DatasetFolder = Annotated[Path, typer.Argument(metavar="DATASET", help="Data set folder made by `build`.")]
RunFolders = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders made by `ask` or `import`.")]
Split = Annotated[
    str,
    typer.Option(
        "--split",
        help="paper, unseen-level, unseen-item, unseen-both or transfer; +disjoint keeps train and test respondents apart, +crossfit does "
        "so in both directions.",
    ),
]
Part = Annotated[str, typer.Option("--part", help="train, validation, test or all.")]
Fold = Annotated[int | None, typer.Option("--fold", min=0, help="Only this fold of the split; default all folds.")]
BootstrapSeed = Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED, help="Seed of the bootstrap.")]
OpenRuns = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders made by `open ask`.")]
Truncate = Annotated[
    int | None, typer.Option("--truncate", min=1, metavar="TOKENS", help="Cut every answer to about this many tokens (4 characters each).")
]
Context = Annotated[
    int | None, typer.Option("--context", min=1, metavar="TOKENS", help="Context length of the judge, if it does not report one.")
]
TrainOn = Annotated[Path | None, typer.Option("--train-on", metavar="DATASET", help="Training data of baselines with --split transfer.")]
Baselines = Annotated[
    str,
    typer.Option("--baselines", help="Baselines to add: all, cheap, none or their kinds, separated by commas."),
]
Against = Annotated[str | None, typer.Option("--against", metavar="RUN", help="Also compare every run with the run of this name.")]
# Help of --model.
MODEL_HELP = (
    "baseline:KIND (uniform, midpoint, item-average, item-mode, nearest-parent, additive, additive-multinomial, multilevel, low-rank, "
    "ensemble, item-text), "
    "embedded[+ADAPTER], hf:ORG/NAME[+ADAPTER], gguf:FILE, vllm:ORG/NAME[+ADAPTER], PROVIDER/MODEL (openai/..., anthropic/..., "
    "google/..., ollama/..., openai-compatible/... and more), or control:KIND@MODEL for any model but a baseline "
    "(no-persona, country-only, shuffled-persona, wrong-country or wrong-country=JPN)."
)
AllClaims = Annotated[bool, typer.Option("--all-claims", help="Show all claims with details, not only the five most important.")]
BaselineClaims = Annotated[bool, typer.Option("--baseline-claims", help="Also show claims about baselines.")]
Bootstrap = Annotated[int, typer.Option("--bootstrap", min=0, help="Bootstrap replicates per confidence interval.")]
Metrics = Annotated[str, typer.Option("--metrics", help="Metrics to audit, separated by commas; missing-answer rates are added.")]
Permutations = Annotated[int, typer.Option("--permutations", min=0, help="Permutations for the null distributions and the worst groups.")]
Published = Annotated[
    list[str] | None,
    typer.Option("--published", metavar="RUN=MODEL", help="Show published figures next to a run: tuned='Qwen2.5-7B tuned'; repeatable."),
]
AuditFolder = Annotated[
    Path | None, typer.Option("-o", "--output", help="Also write tables (CSV, Parquet, LaTeX) and audit.html into this folder.")
]
Track = Annotated[
    str | None, typer.Option("--track", metavar="TRACKER", help="Also log the results to mlflow or wandb (docs/tracking.md).")
]
TrackTo = Annotated[
    str | None, typer.Option("--track-to", metavar="NAME", help="Experiment (MLflow) or project (Weights & Biases); default valuestrata.")
]
