"""The command line: a thin face over the Python functions of the same names.

Every command prints to stdout what it is asked for (one JSON document under `--json`) and tells its progress on stderr.
Exit codes: 0; 2 wrong call; 3 bad input data; 4 if any response ended `failed`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from valuestrata.errors import RunFailedError, UsageError, ValuestrataError

if TYPE_CHECKING:
    import polars as pl

    from valuestrata.building import BuildSettings
    from valuestrata.dataset import Dataset
    from valuestrata.responses.run import Run
    from valuestrata.scores.assess import Assessment
    from valuestrata.survey.survey import Survey

app = typer.Typer(
    name="valuestrata",
    help="When a language model is told who it is, does it answer as such people do?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
codebook_app = typer.Typer(help="Codebooks of surveys.", no_args_is_help=True)
app.add_typer(codebook_app, name="codebook")

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
_MODEL_HELP = (
    "baseline:KIND (uniform, midpoint, item-average, item-mode, nearest-parent, additive, additive-multinomial, multilevel, low-rank, "
    "ensemble, item-text), "
    "embedded[+ADAPTER], hf:ORG/NAME[+ADAPTER], gguf:FILE, or control:KIND@MODEL around one of the last three "
    "(no-persona, country-only, shuffled-persona, wrong-country or wrong-country=JPN)."
)
Bootstrap = Annotated[int, typer.Option("--bootstrap", min=0, help="Resamples behind each interval.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"valuestrata {version('valuestrata')}")
        raise typer.Exit


@app.callback()
def _face(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """When a language model is told who it is, does it answer as such people do?"""


@app.command(short_help="Embedded survey and model to a report.")
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the demonstration.")] = Path("runs/demo"),
    as_json: AsJson = False,
) -> None:
    """Embedded survey and embedded model to a report, with nothing from a model hub."""
    from valuestrata.study import demo_study

    _study(demo_study(output), as_json)


@app.command(short_help="Do a whole study; resume where it stopped.")
def run(study_file: Annotated[Path, typer.Argument(metavar="STUDY", help="Study YAML.")], as_json: AsJson = False) -> None:
    """Do a whole study: build, ask, score, report; resumed where it stopped."""
    from valuestrata.study import load_study

    _study(load_study(study_file), as_json)


def _study(study: Any, as_json: bool) -> None:
    from valuestrata.study import run_study

    result = run_study(study, say=_say)
    if as_json:
        _print_json({"report": str(result.report), "scores": result.scores.to_dicts(), "verdicts": result.assessment.verdicts.to_dicts()})
    else:
        _headline(result.dataset, result.runs, result.scores)
        _verdicts(list(result.runs[: len(study.models)]), result.assessment)
        print(f"\nReport: {result.report}")
    _exit_if_failed(result.failed)


@app.command(short_help="What was recognised in a file.")
def describe(
    file: SurveyFile,
    survey: SurveyName = None,
    country: Countries = None,
    items: Items = None,
    attributes: Attributes = None,
    labels: Labels = None,
    as_json: AsJson = False,
) -> None:
    """What was recognised in a file: items, attributes, missing classes, weight, and what was not."""
    from valuestrata.survey.describe import describe as describe_text
    from valuestrata.survey.describe import describe_dict

    found = _read(file, survey, country, items, attributes, labels)
    if as_json:
        _print_json(describe_dict(found))
    else:
        print(describe_text(found))


@app.command(short_help="Turn a survey into subgroup ground truth.")
def build(
    file: SurveyFile,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder of the data set.")] = None,
    survey: SurveyName = None,
    country: Countries = None,
    preset: Annotated[str | None, typer.Option("--preset", help="`paper`: unweighted, 30 respondents, 1 valid answer.")] = None,
    items: Items = None,
    attributes: Attributes = None,
    strata: Strata = None,
    order: Annotated[int, typer.Option("--order", min=1, max=3, help="Attributes crossed at most; 3 adds triples.")] = 2,
    levels: Levels = None,
    min_respondents: Annotated[int, typer.Option("--min-respondents", min=1, help="Fewest respondents of a subgroup.")] = 30,
    min_valid: Annotated[float, typer.Option("--min-valid", min=1, help="Fewest valid answers of a pair (effective when weighted).")] = 30,
    unweighted: Annotated[bool, typer.Option("--unweighted", help="Leave the survey's weight aside.")] = False,
    draws: Annotated[int, typer.Option("--draws", min=10, help="Joint redraws of the respondents.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Seed of halves and redraws.")] = 0,
    split_seed: Annotated[int, typer.Option("--split-seed", help="Seed of the validation draw.")] = 42,
    wording: Wording = None,
    labels: Labels = None,
    strict: Strict = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the cells kept and dropped by stratum; write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn a survey file into subgroup ground truth."""
    from valuestrata.building import BuildSettings, paper_preset
    from valuestrata.building import build as build_dataset
    from valuestrata.dataset import refuse_other_survey, write_dataset
    from valuestrata.subgroups import merge_levels

    if preset not in (None, "paper"):
        raise UsageError(f"There is no preset {preset!r}; the one there is: 'paper'.")
    if output is None and not dry_run:
        raise UsageError("Say where the data set goes with -o FOLDER, or use --dry-run.")
    weighted = not unweighted and preset != "paper"
    found = _read(file, survey, country, items, attributes, labels, wording=wording, strict=strict, weighted=weighted)
    for note in found.findings.notes:
        _say(note)
    if levels:
        found = merge_levels(found, levels)
    settings = BuildSettings(
        strata=tuple(_words(strata)),
        order=order,
        min_respondents=min_respondents,
        min_valid=min_valid,
        weighted=weighted,
        draws=draws,
        half_seed=seed,
        redraw_seed=seed,
        split_seed=split_seed,
    )
    settings = paper_preset(settings) if preset == "paper" else settings
    if dry_run or output is None:
        _preview(found, settings, as_json)
        return
    refuse_other_survey(output, found.codebook.survey)
    dataset = build_dataset(found, settings)
    write_dataset(dataset, output)
    if as_json:
        _print_json(dict(dataset.meta))
        return
    counts = dataset.meta["counts"]
    parts = ", ".join(f"{number:,} {part}" for part, number in counts["parts"].items())
    print(f"{output}: {counts['items']} items x {counts['subgroups']} subgroups, {counts['pairs']:,} pairs ({parts}).")
    print(f"Left out: {counts['subgroups_dropped']} subgroups and {counts['pairs_dropped']:,} pairs below the minimum.")
    for remark in dataset.remarks:
        print(remark)
    if preset == "paper":
        from valuestrata.report.published import beside_published_counts

        _print_table(beside_published_counts(dataset))


def _preview(survey: Survey, settings: BuildSettings, as_json: bool) -> None:
    from valuestrata.building import preview

    frame = preview(survey, settings)
    if as_json:
        _print_json({"strata": frame.to_dicts()})
        return
    _print_table(frame)
    weighted = "effective (weighted)" if survey.weight is not None and settings.weighted else "unweighted"
    print(f"Kept: at least {settings.min_respondents} respondents a subgroup and {settings.min_valid:g} {weighted} valid answers a pair.")
    if settings.preset == "paper":
        from valuestrata.report.published import beside_published_preview

        _print_table(beside_published_preview(frame, survey))


@app.command(short_help="How far subgroups differ, by topic.")
def landscape(dataset: DatasetFolder, as_json: AsJson = False) -> None:
    """How far subgroups differ, by topic: Modal Diversity Score and mean pairwise Wasserstein distance."""
    from valuestrata.dataset import load_dataset
    from valuestrata.landscape import by_topic

    data = load_dataset(dataset)
    topics = by_topic(data.landscape, data.items)
    if as_json:
        _print_json({"topics": topics.to_dicts(), "items": data.landscape.to_dicts()})
    else:
        _print_table(topics)


@app.command(short_help="Ask a model in persona; resumable.")
def ask(
    dataset: DatasetFolder,
    model: Annotated[str, typer.Option("--model", help=_MODEL_HELP)],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run.")],
    split: Split = "paper",
    part: Part = "test",
    fold: Fold = None,
    train_on: TrainOn = None,
    items: Items = None,
    strata: Strata = None,
    template: Annotated[str, typer.Option("--template", help="default, second-person, third-person or a YAML file.")] = "default",
    elicitation: Annotated[str, typer.Option("--elicitation", help="text, logprob or first-token.")] = "logprob",
    orders: Annotated[str, typer.Option("--orders", help="scale, reversed or shuffled:N, separated by commas.")] = "scale",
    samples: Annotated[int, typer.Option("--samples", min=1, help="Answers to each prompt.")] = 1,
    max_calls: Annotated[int | None, typer.Option("--max-calls", min=1, help="Stop after so many prompts.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda or mps; chosen if left out.")] = None,
    temperature: Annotated[float, typer.Option("--temperature", min=0, help="Of written text; 0 takes the likeliest token.")] = 0.0,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="Tokens written at most.")] = 32,
    seed: Annotated[int, typer.Option("--seed", help="Seed of sampling.")] = 0,
    persona_seed: Annotated[int, typer.Option("--persona-seed", help="Seed of shuffled personas and of the wrong country.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Ask a model every pair of a split in persona; a run that stopped goes on where it was."""
    from valuestrata.dataset import load_dataset
    from valuestrata.respondents.base import elicitation_of
    from valuestrata.respondents.controls import AskedAsOthers
    from valuestrata.respondents.models import make_respondent
    from valuestrata.responses.ask import ask as ask_model
    from valuestrata.responses.ask import select_pairs

    readout = elicitation_of(elicitation)
    data = load_dataset(dataset)
    # A misspelt word is refused before a model is loaded, which may take a minute.
    select_pairs(data, split, part, fold, items=_words(items), strata=_words(strata))
    respondent = make_respondent(
        model,
        data,
        split=split,
        fold=fold,
        train_on=load_dataset(train_on) if train_on else None,
        device=device,
        seed=seed,
        persona_seed=persona_seed,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
    )
    if isinstance(respondent, AskedAsOthers) and respondent.note:
        _say(f"{respondent.name}: {respondent.note}")
    result = ask_model(
        data,
        respondent,
        output,
        split=split,
        part=part,
        fold=fold,
        items=_words(items),
        strata=_words(strata),
        template=template,
        elicitation=readout,
        orders=orders,
        samples=samples,
        max_calls=max_calls,
    )
    if as_json:
        _print_json({"run": str(output), "asked": result.asked, "answered": result.answered, "left": result.left, **dict(result.counts)})
    else:
        print(f"{output}: " + ", ".join(f"{number:,} {status}" for status, number in result.counts.items()) + f"; {result.left:,} left.")
    _exit_if_failed(result.failed)


@app.command("import", short_help="Take published outputs as a run.")
def import_(
    dataset: DatasetFolder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Outputs with custom_id and response (CSV, JSONL, JSON, Parquet).")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run.")],
    numbers: Annotated[str, typer.Option("--numbers", help="What a number in a response is: code or position.")] = "code",
    name: Annotated[str | None, typer.Option("--name", help="Name of the run; the folder's if left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take published or foreign outputs as a run."""
    from valuestrata.dataset import load_dataset
    from valuestrata.responses.importing import import_run

    if numbers not in ("code", "position"):
        raise UsageError(f"--numbers is 'code' or 'position', not {numbers!r}.")
    result = import_run(load_dataset(dataset), file, output, numbers=numbers, name=name)
    if as_json:
        _print_json({"run": str(output), "counts": dict(result.counts), "unknown_ids": result.unknown})
    else:
        print(f"{output}: " + ", ".join(f"{number:,} {status}" for status, number in result.counts.items()) + ".")
        if result.unknown:
            print(f"{result.unknown:,} rows have a custom_id that this data set does not know.")


@app.command("score", short_help="Score runs, with intervals, baselines and verdicts.")
def score_(
    dataset: DatasetFolder,
    runs: RunFolders,
    split: Split = "paper",
    part: Part = "test",
    fold: Fold = None,
    baselines: Baselines = "all",
    train_on: TrainOn = None,
    against: Against = None,
    bootstrap: Bootstrap = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the bootstrap.")] = 0,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Also write the long table here (.csv or .parquet).")] = None,
    as_json: AsJson = False,
) -> None:
    """Score runs beside baselines: every metric by split part, stratum, attribute, level, subgroup, topic and item.

    Verdict lines say what the scores are worth; docs/verdicts.md has their rules. Under --json `scores` holds the rows of RUN...,
    `baselines` those of the baselines beside them.
    """
    data, judged, found = _assessed(dataset, runs, split, part, fold, baselines, train_on, against, bootstrap, seed)
    if output is not None:
        from valuestrata.files import write_parquet, write_text

        if output.suffix == ".parquet":
            write_parquet(output, found.scores)
        else:
            write_text(output, found.scores.write_csv())
    if as_json:
        given = [run.name for run in judged[: len(runs)]]
        rows = found.scores.to_dicts()
        scores = {"scores": [row for row in rows if row["run"] in given], "baselines": [row for row in rows if row["run"] not in given]}
        _print_json(scores | {name: getattr(found, name).to_dicts() for name in ("relative", "comparisons", "structure", "verdicts")})
    else:
        _headline(data, judged, found.scores)
        _verdicts(judged[: len(runs)], found)


@app.command(short_help="Write report.html and its tables.")
def report(
    dataset: DatasetFolder,
    runs: RunFolders,
    output: Annotated[Path, typer.Option("-o", "--output", help="The report; tables go beside it.")] = Path("report.html"),
    split: Split = "paper",
    part: Part = "test",
    fold: Fold = None,
    baselines: Baselines = "all",
    train_on: TrainOn = None,
    against: Against = None,
    bootstrap: Bootstrap = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the bootstrap.")] = 0,
    title: Annotated[str | None, typer.Option("--title", help="Title of the report.")] = None,
) -> None:
    """Write report.html, one file that opens without a network, and its tables as CSV."""
    from valuestrata.report import write_report

    data, judged, found = _assessed(dataset, runs, split, part, fold, baselines, train_on, against, bootstrap, seed)
    print(f"Report: {write_report(data, judged, found.scores, output, title=title, assessment=found)}")


@app.command(short_help="What train and test share, by split.")
def leakage(dataset: DatasetFolder, as_json: AsJson = False) -> None:
    """Print for each split how many pairs train and test, and how many of a test pair's respondents stand behind trained gold."""
    from valuestrata.dataset import load_dataset
    from valuestrata.splits import leakage_report

    found = leakage_report(load_dataset(dataset))
    if as_json:
        _print_json({"leakage": found.to_dicts()})
    else:
        _print_table(found)


@app.command(short_help="Write a survey with planted effects.")
def simulate(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.sav", help="The survey; its truth goes beside it.")],
    respondents: Annotated[int, typer.Option("--respondents", help="Sample size.")] = 1200,
    items: Annotated[int | None, typer.Option("--items", help="Items of the wvs7 codebook, drawn by seed; all if left out.")] = None,
    main_effects: Annotated[float, typer.Option("--main-effects", metavar="SD", help="Shift of an item by an attribute's level.")] = 0.3,
    interactions: Annotated[float, typer.Option("--interactions", metavar="SD", help="Shift by a pair of levels.")] = 0.15,
    country: Annotated[str, typer.Option("--country", help="Country by code, alpha-3 or name.")] = "SGP",
    seed: Annotated[int, typer.Option("--seed", help="Seed of what is planted.")] = 0,
    sample_seed: Annotated[int, typer.Option("--sample-seed", help="Seed of respondents and answers.")] = 0,
    missing: Annotated[float, typer.Option("--missing", help="Share of answers that are missing.")] = 0.05,
    weighted: Annotated[bool, typer.Option("--weighted", help="Oversample some cells; a weight undoes it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a WVS-like SPSS file of a population with planted subgroup effects, and its truth beside it.

    Effects are standard deviations on a latent scale of standard deviation 1.
    """
    from dataclasses import asdict

    from valuestrata.survey.simulate import WVS, SimulationSettings, plant
    from valuestrata.survey.simulated_file import write_simulated

    settings = SimulationSettings(
        survey=WVS,
        country=country,
        respondents=respondents,
        items=items,
        main_effects=main_effects,
        interactions=interactions,
        missing=missing,
        weighted=weighted,
        structure_seed=seed,
        seed=seed,
    )
    population = plant(settings)
    made = write_simulated(population, sample_seed, output)
    if as_json:
        files = {"file": str(made.sav), "truth": str(made.truth), "planted": str(made.planted)}
        _print_json({**files, "sample_seed": sample_seed, "settings": asdict(settings), "cells": len(population.cells)})
        return
    names = ", ".join(attribute.name for attribute in population.attributes)
    print(f"{made.sav}: {respondents:,} simulated respondents (no people), {len(population.items)} items, {population.countries[0].name}.")
    print(
        f"Planted over {len(population.cells)} joint cells of {names}: main effects of SD {main_effects:g}, interactions {interactions:g}."
    )
    print(f"Missing: {missing:.1%} of answers. Weight: {'undoes an oversampling of cells' if weighted else '1 throughout'}.")
    print(f"True shares and modes: {made.truth}; everything planted: {made.planted}.")


@codebook_app.command("draft", short_help="Draft one from a labelled file.")
def codebook_draft(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A labelled .sav or .dta file.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where the YAML goes; stdout if left out.")] = None,
) -> None:
    """Draft a codebook from the variable and value labels of a .sav or .dta file."""
    from valuestrata.files import write_text
    from valuestrata.survey.draft import draft_codebook

    text = draft_codebook(file)
    if output is None:
        print(text, end="")
    else:
        write_text(output, text)
        print(f"{output}: read it through before use; what was guessed is marked.")


def _read(
    file: str,
    survey: str | None,
    country: list[str] | None,
    items: str | None,
    attributes: str | None,
    labels: Path | None,
    *,
    wording: Path | None = None,
    strict: bool = False,
    weighted: bool = True,
) -> Survey:
    from valuestrata.survey.read import problem_text, read_survey

    countries = [word for entry in country or [] for word in _words(entry)]
    found = read_survey(
        file,
        survey,
        countries=countries,
        items=_words(items),
        attributes=_words(attributes),
        labels=labels,
        wording=wording,
        strict=strict,
        weighted=weighted,
    )
    for problem in found.findings.label_problems:
        _say(f"left out, for labels that match nothing in the codebook: {problem_text(problem)}; settle them with --labels FILE.")
    return found


def _assessed(
    dataset: Path,
    runs: list[Path],
    split: str,
    part: str,
    fold: int | None,
    baselines: str,
    train_on: Path | None,
    against: str | None,
    bootstrap: int,
    seed: int,
) -> tuple[Dataset, list[Run], Assessment]:
    """Load runs, put the baselines beside them and assess all; the runs come first, in the order given."""
    from valuestrata.dataset import load_dataset
    from valuestrata.responses.beside import baselines_beside, kinds_of
    from valuestrata.responses.run import check_same_dataset, load_run
    from valuestrata.scores.assess import assess

    kinds = kinds_of(baselines)
    data = load_dataset(dataset)
    loaded = [load_run(run) for run in runs]
    for one in loaded:
        check_same_dataset(one, data)
    other = load_dataset(train_on) if train_on else None
    loaded += baselines_beside(data, loaded, kinds=kinds, split=split, part=part, fold=fold, train_on=other)
    found = assess(data, loaded, split=split, part=part, fold=fold, against=against, bootstrap=bootstrap, seed=seed)
    return data, loaded, found


def _verdicts(runs: list[Run], found: Assessment) -> None:
    from rich.console import Console

    from valuestrata.report import print_verdicts

    print_verdicts(runs, found.verdicts, Console())


def _headline(dataset: Dataset, runs: Any, scores: pl.DataFrame) -> None:
    from rich.console import Console

    from valuestrata.report import print_headline

    print_headline(dataset, runs, scores, Console())


def _print_table(frame: pl.DataFrame) -> None:
    from rich.console import Console

    from valuestrata.report.terminal import print_frame

    print_frame(frame, Console())


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _print_json(document: Any) -> None:
    print(json.dumps(document, ensure_ascii=False, default=str))


def _exit_if_failed(failed: int) -> None:
    if failed:
        raise RunFailedError(f"{failed:,} responses ended failed; the same command asks only those again.")


def main() -> None:
    """Run the command line; every error the user can mend is one message on stderr and an exit code."""
    try:
        app()
    except ValuestrataError as error:
        _say(f"valuestrata: {error}")
        raise SystemExit(error.exit_code) from error
