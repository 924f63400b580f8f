"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SurveyFile = Annotated[str, typer.Argument(metavar="FILE", help="Survey file (CSV, Excel, SPSS, Stata, R, Parquet, zip), or `embedded`.")]
SurveyName = Annotated[
    str | None, typer.Option("--survey", help="Codebook: wvs7, gss2018, gss2012 or a YAML file; recognised if left out.")
]
Countries = Annotated[list[str] | None, typer.Option("--country", help="Country by code, alpha-3 or name; repeat or separate by commas.")]
Items = Annotated[str | None, typer.Option("--items", help="Only these items, separated by commas.")]
Attributes = Annotated[str | None, typer.Option("--attributes", help="Use these attributes, separated by commas.")]
Strata = Annotated[str | None, typer.Option("--strata", help="Only these strata, separated by commas.")]
Labels = Annotated[Path | None, typer.Option("--labels", help="YAML that says what unmatched labels mean.")]
Wording = Annotated[Path | None, typer.Option("--wording", help="YAML that words questions and options anew.")]
Levels = Annotated[Path | None, typer.Option("--levels", help="YAML that merges levels of attributes.")]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse a file some of whose labels match nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
DatasetFolder = Annotated[Path, typer.Argument(metavar="DATASET", help="Data set folder made by `build`.")]
RunFolders = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders made by `ask` or `import`.")]
Split = Annotated[
    str, typer.Option("--split", help="paper, unseen-level, unseen-item, unseen-both or transfer, each also with +disjoint behind it.")
]
Part = Annotated[str, typer.Option("--part", help="train, validation, test or all.")]
Fold = Annotated[int | None, typer.Option("--fold", min=0, help="Only this fold of the split; all if left out.")]
TrainOn = Annotated[Path | None, typer.Option("--train-on", metavar="DATASET", help="What baselines train on under --split transfer.")]
Baselines = Annotated[
    str,
    typer.Option("--baselines", help="Answered beside the runs: all, cheap, none or kinds, kept in DATASET/ladder."),
]
Against = Annotated[str | None, typer.Option("--against", metavar="RUN", help="Compare every run with this one, too (by its name).")]
MODEL_HELP = (
    "baseline:KIND (uniform, midpoint, item-average, item-mode, nearest-parent, additive, additive-multinomial, multilevel, low-rank, "
    "ensemble, item-text), "
    "embedded[+ADAPTER], hf:ORG/NAME[+ADAPTER], gguf:FILE, vllm:ORG/NAME[+ADAPTER], PROVIDER/MODEL (openai/..., anthropic/..., "
    "google/..., ollama/..., openai-compatible/... and more), or control:KIND@MODEL around any but a baseline "
    "(no-persona, country-only, shuffled-persona, wrong-country or wrong-country=JPN)."
)
Bootstrap = Annotated[int, typer.Option("--bootstrap", min=0, help="Resamples behind each interval.")]
Metrics = Annotated[str, typer.Option("--metrics", help="What to audit, separated by commas; rates of missing answers join by themselves.")]
Permutations = Annotated[
    int, typer.Option("--permutations", min=0, help="Permutations behind what noise alone gives, and behind worst groups.")
]
Published = Annotated[
    list[str] | None,
    typer.Option("--published", metavar="RUN=MODEL", help="Put published figures beside a run: tuned='Qwen2.5-7B tuned'; repeat for more."),
]
AuditFolder = Annotated[
    Path | None, typer.Option("-o", "--output", help="Also write tables (CSV, Parquet, LaTeX) and audit.html into this folder.")
]
