"""Estimate the answers of every subgroup from a sample of people and models, by five estimators side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl

from valuestrata.dataset.subgroups import EVERYONE
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, OptionText, UsageError, one_of
from valuestrata.estimation.inputs import EstimationInput
from valuestrata.estimation.interviews import INTERVIEWS, interviews
from valuestrata.estimation.model_values import values_of_pairs
from valuestrata.estimation.reading import ReadEstimation, estimation_input
from valuestrata.estimation.results.change import FIRST_WAVE, with_change
from valuestrata.estimation.results.change import first_wave as first_wave_of
from valuestrata.estimation.results.table import FEW_ANSWERS, answers_of, estimates_table
from valuestrata.estimation.results.together import AllEstimates, all_estimates, steps
from valuestrata.files import sha256_of
from valuestrata.overview import HasOverview, Overview
from valuestrata.progress import progress
from valuestrata.prompts.question import Numbers
from valuestrata.responses.run.folder import Run, check_same_dataset, new_meta
from valuestrata.stats.arrays import Bools
from valuestrata.stats.design_based.intervals import CONFIDENCE
from valuestrata.survey.formats.embedded import EMBEDDED

FORMAT = "valuestrata-estimate-1"


@dataclass(frozen=True, repr=False)
class EstimateResult(HasOverview):
    """Estimates for every subgroup and item. It holds no answer of a person.

    Attributes:
        dataset: the data set, whose subgroups and items are estimated.
        table: ESTIMATES, a row for each subgroup, item, estimator, run and option, and one for the mean.
        interviews: INTERVIEWS, what each model is worth, for each subgroup and item and for each subgroup over all items.
        benchmark: BENCHMARK, how far shares were moved to agree with the population's.
        remarks: about the people, the population and the runs.
        document: how it was made: files with their hashes, runs, options, seeds and versions, as in `estimate.json`.
    """

    dataset: Dataset
    table: pl.DataFrame
    interviews: pl.DataFrame
    benchmark: pl.DataFrame
    remarks: tuple[OptionText, ...]
    document: Mapping[str, Any]

    def overview(self) -> Overview:
        """Return which estimator to use, what the models save, and average half-widths of intervals."""
        from valuestrata.estimation.results.sentences import opening, width_table

        widths = width_table(self)
        rows = [tuple(str(value) for value in row) for row in widths.iter_rows()]
        heads = ("Subgroup", "Answers", *widths.columns[2:])
        note = "Half-widths of 95 % intervals in points, mean over items."
        return Overview(f"Estimates: {self.dataset.survey_and_place}", opening(self), heads, rows, note)

    @property
    def runs(self) -> list[str]:
        """Names of the runs, in order."""
        return list(self.document["runs"])

    @property
    def has_change(self) -> bool:
        """Whether there is a first wave."""
        return self.document["first_wave"] is not None


def estimate(
    dataset: Dataset,
    people: str | Path,
    runs: Sequence[Run] = (),
    *,
    population_size: int | None = None,
    sampling_fraction: float | None = None,
    first_wave: Dataset | None = None,
    items: Sequence[str] = (),
    strata: Sequence[str] = (),
    **files: Any,
) -> EstimateResult:
    """Estimate the shares and means of every subgroup and item, by five estimators.

    Args:
        dataset: subgroups, items and sizes of the population. Its gold is not used.
        people: the people who were interviewed: a survey file, or a table.
        runs: runs of models that answered pairs of this data set.
        population_size: number of people in the population, for the finite-population correction; None for no correction.
        sampling_fraction: share of the population that was interviewed, 0 to below 1; an alternative to `population_size`.
        first_wave: data set of an earlier wave, whose gold is used: the estimates get the change since.
        items: only these items are returned; the estimates use all. Empty for all.
        strata: only these strata are returned; the estimates use all. Empty for all.
        files: survey, ids, weight, psu, sampling_strata, levels, population, answers, simulated, numbers and missing: how people
            and population are read, and files of a model's answers as single people (see `request_of`).

    Raises:
        UsageError: see `request_of`; a run was taught on answers of these people.
        InputDataError: a file cannot be used; nobody is in a subgroup; a run belongs to another data set; the waves share no pair.
    """
    options = {"items": items, "strata": strata}
    sizes = {"population_size": population_size, "sampling_fraction": sampling_fraction}
    request = request_of(dataset, people, runs, first_wave=first_wave, **options, **sizes, **files)
    read = _read(dataset, people, runs, sizes, files)
    return estimate_from_input(dataset, read.data, request, remarks=read.remarks, first_wave=first_wave)


def estimate_from_input(
    dataset: Dataset,
    data: EstimationInput,
    request: Mapping[str, Any],
    *,
    remarks: Sequence[OptionText] = (),
    first_wave: Dataset | None = None,
) -> EstimateResult:
    """Estimate from people and models in memory; `estimate` reads them from files.

    Args:
        dataset: the data set. data: the people and the models. request: from `request_of`. remarks: about the input.
        first_wave: as for `estimate`.

    Raises:
        InputDataError: nobody answered any of the items; the waves share no pair.
    """
    options, names = request["options"], list(data.models)
    groups, kept = _kept(data, options["strata"], options["items"])
    wave = None if first_wave is None else first_wave_of(first_wave, dataset, data.items, data.population)
    earlier = [] if wave is None else [values_of_pairs(FIRST_WAVE, wave.shares, data)]
    data = replace(data, models={**data.models, **{one.name: one for one in earlier}})
    with progress("estimating", 1 + steps(len(names), wave is not None)) as advance:
        found = all_estimates(data, names, earlier=earlier, advance=advance)
        advance(0, "interviews saved")
        saved = _interviews(data, found)
        advance(1)
    table = estimates_table(data, found.listed, groups, kept)
    if wave is not None:
        table = with_change(table, wave, data.items, data.population)
    shown = {name: table[name].unique().implode() for name in ("subgroup", "item")}
    saved = saved.filter(pl.col("subgroup").is_in(shown["subgroup"]) & (pl.col("item").is_null() | pl.col("item").is_in(shown["item"])))
    said = (*remarks, *(() if wave is None else wave.remarks))
    return EstimateResult(dataset, table, saved, found.benchmark, said, _document(dataset, data, names, request))


def _read(
    dataset: Dataset, people: str | Path, runs: Sequence[Run], sizes: Mapping[str, float | None], files: Mapping[str, Any]
) -> ReadEstimation:
    """Read the input."""
    how: dict[str, Any] = {name: files.get(name) for name in ("survey", "ids", "weight", "psu", "levels", "population")}
    how |= {"answers": files.get("answers") or (), "simulated": files.get("simulated"), "strata": files.get("sampling_strata")}
    how |= {"numbers": files.get("numbers") or "code", "missing": files.get("missing") or ()}
    how |= {"fraction": sizes["sampling_fraction"] or 0.0, "population_size": sizes["population_size"]}
    return estimation_input(dataset, people, runs=runs, **how)


def _interviews(data: EstimationInput, found: AllEstimates) -> pl.DataFrame:
    """Return INTERVIEWS of each run: `rectified` beside the sample alone, `small-area` beside `small-area` without a model."""
    parts = [
        table
        for run in found.model
        for table in (
            interviews(data, found.human, found.rectified[run]),
            interviews(data, found.human, found.small_area[run], found.small_area[None]),
        )
    ]
    return pl.concat(parts) if parts else INTERVIEWS.empty()


def _kept(data: EstimationInput, strata: Sequence[str], items: Sequence[str]) -> tuple[Bools, Bools]:
    """Return which subgroups (G,) and items (I,) are returned: the population always is.

    Raises:
        InputDataError: nobody answered any of `items`.
    """
    groups = np.array([not strata or stratum in (EVERYONE, *strata) for stratum in data.population.strata])
    kept = np.array([not items or item in items for item in data.items.ids])
    if not kept.any():
        raise InputDataError(
            f"Nobody answered {', '.join(items)}, so there is nothing to estimate. Choose others with ", Option("items"), "."
        )
    return groups, kept


def _document(dataset: Dataset, data: EstimationInput, names: Sequence[str], request: Mapping[str, Any]) -> dict[str, Any]:
    """Return how estimates were made, for `estimate.json`."""
    n, _ = answers_of(data)
    sample = data.sample
    made = new_meta(dataset, "estimate", "estimate")
    return {
        **{key: value for key, value in made.items() if key not in ("name", "kind")},
        "format": FORMAT,
        "runs": list(names),
        "first_wave": request["first_wave"],
        # Cells with few answers show what single people answered.
        "shareable": not bool(((n > 0) & (n < FEW_ANSWERS)).any()),
        "people": {
            "interviewed": sample.people,
            "weighted": bool((sample.weight != sample.weight[0]).any()),
            "sampling_units": len(sample.stratum),
            "sampling_strata": int(sample.stratum.max()) + 1,
            "sampling_fraction": sample.fraction,
        },
        "estimated": {"subgroups": len(data.population.subgroups), "items": len(data.items.ids)},
        "confidence": CONFIDENCE,
        "request": dict(request),
    }


def request_of(
    dataset: Dataset,
    people: str | Path,
    runs: Sequence[Run] = (),
    *,
    survey: str | Path | None = None,
    ids: str | Sequence[str] = (),
    weight: str | None = None,
    psu: str | None = None,
    sampling_strata: str | None = None,
    levels: str | Path | None = None,
    population: str | Path | None = None,
    population_size: int | None = None,
    sampling_fraction: float | None = None,
    answers: Sequence[str | Path] = (),
    simulated: str | Path | None = None,
    numbers: Numbers = "code",
    missing: Sequence[str] = (),
    first_wave: Dataset | None = None,
    items: Sequence[str] = (),
    strata: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what a call of `estimate` asks for, with the hashes of its files. Two equal requests have equal results.

    Args:
        dataset, people, runs, population_size, sampling_fraction, first_wave, items, strata: as for `estimate`.
        survey: codebook that reads survey files. ids, weight, psu, sampling_strata: columns of the people's ids, weights, sampling units
            and sampling strata, if the codebook does not name them. levels: merged levels, as for `build`.
        population: table of the sizes of the combinations of attributes; None for the weights of the data set.
        answers: files of a model's answers as single people, as for `import_respondents`; simulated: attributes of these people, if
            they are not those of `people`.
        numbers, missing: meaning of a number in tables of answers, and answers that stand for a refusal, as for `import_respondents`.

    Raises:
        UsageError: duplicate names of runs, an unknown item or stratum, a size or a fraction out of range.
        InputDataError: a run of another data set, a file that cannot be read.
    """
    for run in runs:
        check_same_dataset(run, dataset)
    _check_names([run.name for run in runs])
    if population_size is not None and sampling_fraction is not None:
        raise UsageError("Give ", Option("population_size"), " or ", Option("sampling_fraction"), ", not both.")
    if population_size is not None and population_size < 1:
        raise UsageError(Option("population_size", population_size), ": a population has at least 1 person.")
    if sampling_fraction is not None and not 0 <= sampling_fraction < 1:
        raise UsageError(
            Option("sampling_fraction", sampling_fraction),
            ": the share of the population that was interviewed is from 0 to below 1. For a number of people use ",
            Option("population_size"),
            ".",
        )
    one_of(numbers, get_args(Numbers), "There is no meaning of numbers")
    where = str(dataset.path or "The data set")
    for item in items:
        one_of(item, list(dataset.codes_of), f"{where} has no item")
    for stratum in strata:
        one_of(stratum, dataset.strata, f"{where} has no stratum")
    files = {"people": people, "levels": levels, "population": population, "simulated": simulated}
    return {
        "dataset": dataset.fingerprint,
        "files": {name: _hashed(file) for name, file in files.items() if file is not None},
        "survey": _codebook(survey),
        "answers": [_hashed(file) for file in answers],
        "runs": [{"name": run.name, "respondent": run.meta.get("respondent"), "answers": _answers_hash(run)} for run in runs],
        "first_wave": None if first_wave is None else {"fingerprint": first_wave.fingerprint, "survey": first_wave.survey_and_place},
        "options": {
            "ids": [ids] if isinstance(ids, str) else list(ids),
            "weight": weight,
            "psu": psu,
            "sampling_strata": sampling_strata,
            "population_size": population_size,
            "sampling_fraction": sampling_fraction,
            "numbers": numbers,
            "missing": list(missing),
            "items": list(items),
            "strata": list(strata),
        },
    }


def _check_names(names: Sequence[str]) -> None:
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"Two runs have the name {twice!r}. A run is named after its folder; give one of them, or rename a folder.")
    if FIRST_WAVE in names:
        raise UsageError(f"{FIRST_WAVE!r} is the name of the first wave; rename the folder of this run.")


def _hashed(file: str | Path) -> dict[str, str]:
    """Return the name and the hash of a file; only the name of the embedded survey."""
    if str(file) == EMBEDDED:
        return {"file": EMBEDDED}
    return {"file": Path(file).name, "sha256": sha256_of(Path(file))}


def _codebook(survey: str | Path | None) -> Any:
    """Return the name of a built-in codebook, or the file's name and hash."""
    return _hashed(survey) if survey is not None and Path(survey).is_file() else survey


def _answers_hash(run: Run) -> str:
    rows = run.responses.select("pair_id", "answer", "option_probs", "status", "order", "sample")
    return sha256(rows.write_json().encode()).hexdigest()
