"""Commands that audit fairness and plan an audit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from valuestrata.cli.inputs import load_with_baselines, split_list
from valuestrata.cli.options import (
    Against,
    AllClaims,
    AsJson,
    AuditFolder,
    BaselineClaims,
    Baselines,
    Bootstrap,
    DatasetFolder,
    Fold,
    Metrics,
    Part,
    Permutations,
    Published,
    Split,
    TrainOn,
)
from valuestrata.cli.output import print_json, printer, say
from valuestrata.errors import MOST_SEED, UsageError


def audit_(
    dataset: DatasetFolder,
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folders made by `ask`, `import` or `open stance`."),
    ],
    against: Against = None,
    split: Split = "paper",
    part: Part = "test",
    fold: Fold = None,
    metrics: Metrics = "accuracy,nmae",
    permutations: Permutations = 2000,
    bootstrap: Bootstrap = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED, help="Seed of permutations and bootstrap.")] = 0,
    baselines: Baselines = "cheap",
    train_on: TrainOn = None,
    published: Published = None,
    mixed: Annotated[
        str, typer.Option("--mixed", help="Estimate of gaps at equal difficulty: penalised, or bayes (minutes per metric; needs an extra).")
    ] = "penalised",
    output: AuditFolder = None,
    all_claims: AllClaims = False,
    baseline_claims: BaselineClaims = False,
    as_json: AsJson = False,
) -> None:
    """Test whether subgroups are served worse, beyond noise and difficulty.

    Stances of open answers are audited like closed answers; an answer without a stance counts as missing, as a refusal does.
    With --against RUN, every other run is also compared with that one. --json prints the claims (`verdicts`) and every table;
    docs/auditing.md describes them.
    """
    from valuestrata.claims.fairness.rules import metrics_worth_auditing
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.fairness import Adjusting, AuditedPart, Resampling, audit, check_mixed
    from valuestrata.fairness.elsewhere import with_elsewhere
    from valuestrata.reports import audit_frames, write_audit

    check_mixed(mixed)
    data, judged = load_with_baselines(dataset, runs, split, part, fold, baselines, train_on, stances=True)
    wanted = metrics_worth_auditing(judged, split_list(metrics))
    found = audit(
        data,
        judged,
        split=split,
        part=part,
        fold=fold,
        against=against,
        metrics=wanted,
        permutations=permutations,
        bootstrap=bootstrap,
        seed=seed,
        published=_published(published or []),
        mixed=mixed,
    )
    of = AuditedPart(split, part, fold)
    resampling = Resampling(bootstrap, permutations, seed)
    trained = load_dataset(train_on) if train_on else None
    found = with_elsewhere(
        data, judged, found, of, resampling, adjusting=Adjusting(mixed), metrics=wanted, against=against, train_on=trained
    )
    frames = audit_frames(data, judged, found)
    for note in found.notes if as_json else ():
        say(note)
    if output is not None:
        say(f"Audit: {write_audit(data, judged, found, output, verdicts=frames['verdicts'])}")
    if as_json:
        from valuestrata.scores.train_test_overlap import warnings_about

        warnings = {"warnings": warnings_about(data, judged, found.groups)}
        print_json(warnings | {name: frame.to_dicts() for name, frame in frames.items()})
    else:
        from valuestrata.reports import print_audit

        print_audit(data, judged, found, frames["verdicts"], printer(), all_claims=all_claims, baseline_claims=baseline_claims)


def power_(
    dataset: DatasetFolder,
    items: Annotated[int | None, typer.Option("--items", min=1, help="Number of items to be asked; default: all of the part.")] = None,
    effect: Annotated[float, typer.Option("--effect", help="Gap to detect, in units of the metric.")] = 0.05,
    split: Split = "paper",
    part: Part = "test",
    fold: Fold = None,
    metric: Annotated[str, typer.Option("--metric", help="accuracy or nmae.")] = "accuracy",
    expected: Annotated[float | None, typer.Option("--expected", help="Expected score of the model; default: near the worst case.")] = None,
    block_sd: Annotated[
        float,
        typer.Option("--block-sd", help="Assumed standard deviation of a subgroup's score between blocks of items, if the survey has any."),
    ] = 0.05,
    alpha: Annotated[float, typer.Option("--alpha", help="Significance level of the claims.")] = 0.05,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED, help="Seed of the simulation.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Compute which gaps an audit could detect, from the survey alone, before any model is asked."""
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.fairness.power.power import power

    data = load_dataset(dataset)
    found = power(
        data,
        items=items,
        effect=effect,
        split=split,
        part=part,
        fold=fold,
        alpha=alpha,
        metric=metric,
        expected=expected,
        block_sd=block_sd,
        seed=seed,
    )
    if as_json:
        print_json({"power": found.to_dicts()})
        return
    from valuestrata.reports import print_power

    print_power(found, printer())


def _published(entries: list[str]) -> dict[str, str]:
    """Read RUN=MODEL of --published."""
    found: dict[str, str] = {}
    for entry in entries:
        run, equals, model = entry.partition("=")
        if not equals or not run or not model:
            raise UsageError(f"--published {entry!r}: expected RUN=MODEL, such as tuned='Qwen2.5-7B tuned'.")
        found[run] = model
    return found
