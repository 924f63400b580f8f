"""Survey design: redraws of the respondents that follow it, and its effect on the effective number of answers.

Redraws: with sampling units (PSUs), the rescaled bootstrap of Rao and Wu (1988, JASA 83:231-241) in the form of Rao, Wu and
Yue (1992, Survey Methodology 18:209-217). In a stratum of n units each draw takes n - 1 units with replacement; the weights
of a unit drawn t times are multiplied by t n / (n - 1). Estimates of totals then have the usual variance between units, and
multipliers are never negative. Finite-population corrections are not used.

Effect: Kish's design effect with clusters (Gabler, Haeder and Lahiri 1999, Survey Methodology 25:105-106),
deff = [n sum w^2 / (sum w)^2] [1 + (b - 1) rho], b = sum over units of (sum of weights in the unit)^2 / sum w^2. rho is the
intraclass correlation of the item over all respondents, so the effect of a small cell is not estimated from its few answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from valuestrata.survey.survey import ReplicateWeights, SampleDesign, Survey

Floats = NDArray[np.float64]
# Respondents x items processed at once by `cluster_sizes`, of 8 bytes each.
_CELLS = 5_000_000
# With fewer units beyond the strata, a standard error is itself uncertain by more than 13 %: 1 / sqrt(2 x 30).
FEW_UNITS = 30
# Pairs with fewer effective answers are left out of the design effect of replicate weights.
_FEWEST_ANSWERS = 10.0


def resample(people: int, chunks: Sequence[int], rng: np.random.Generator, design: SampleDesign | None = None) -> Iterator[NDArray[Any]]:
    """Yield multipliers of the respondents' weights, chunk by chunk; the division into chunks does not change the draws.

    Args:
        people: number of respondents.
        chunks: numbers of draws.
        rng: random number generator.
        design: the design; None for independent respondents, who are drawn with replacement.

    Yields:
        Shape (people, draws of the chunk), with mean 1. Replicate weights of a jackknife may give negative multipliers.
    """
    if design is None:
        equal = np.full(people, 1.0 / people)
        for size in chunks:
            yield rng.multinomial(people, equal, size=size).T
    elif design.replicates is not None:
        yield from _replicate_multipliers(design.replicates, chunks, rng)
    else:
        strata = _units_of_strata(design.stratum)
        # A generator of its own for each stratum keeps the draws the same however they are divided into chunks.
        generators = rng.spawn(len(strata))
        for size in chunks:
            units = np.ones((len(design.stratum), size))
            for inside, own in zip(strata, generators, strict=True):
                if (n := len(inside)) > 1:
                    units[inside] = own.multinomial(n - 1, np.full(n, 1.0 / n), size=size).T * (n / (n - 1.0))
            yield units[design.unit]


def _units_of_strata(stratum: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    order = np.argsort(stratum, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(stratum[order])) + 1)


def _replicate_multipliers(replicates: ReplicateWeights, chunks: Sequence[int], rng: np.random.Generator) -> Iterator[Floats]:
    """Yield multipliers whose variance is that of the replicate weights.

    BRR and bootstrap: each draw is one replicate, in random order, each equally often; deviations from the weights are
    stretched by sqrt(R scale), which undoes Fay's factor. Jackknife: a replicate differs too little from the weights to be a
    draw, so a draw is 1 + sum_r +-sqrt(scale_r) (ratio_r - 1) with random signs.
    """
    number = replicates.ratios.shape[1]
    deviations = (replicates.ratios - 1.0) * np.sqrt(replicates.scale)
    if replicates.kind == "jackknife":
        for size in chunks:
            yield 1.0 + deviations @ np.where(rng.random((size, number)) < 0.5, -1.0, 1.0).T
        return
    draws = sum(chunks)
    order = np.concatenate([rng.permutation(number) for _ in range(-(-draws // number))])
    start = 0
    for size in chunks:
        yield 1.0 + deviations[:, order[start : start + size]] * np.sqrt(number)
        start += size


def design_effects(survey: Survey, n_eff: Floats, respondents_of: Sequence[NDArray[np.intp]]) -> Floats:
    """Return the design effect of every pair beyond that of the weights, shape (items, subgroups), at least 1.

    Args:
        survey: the microdata, with or without a design.
        n_eff: Kish's effective answers, shape (items, subgroups).
        respondents_of: for each subgroup the indices of its respondents.
    """
    options = np.array([len(item.codes) for item in survey.items], dtype=np.intp)
    design, answers, weight = survey.design, survey.answers, survey.weight
    if design is None:
        return np.ones_like(n_eff)
    if design.replicates is not None:
        of_subgroup = replicate_effects(answers, options, n_eff, design.replicates, respondents_of, weight)
        return np.broadcast_to(of_subgroup, n_eff.shape)
    if not design.clustered:
        return np.ones_like(n_eff)
    rho = intraclass_correlation(answers, options, design)
    return 1.0 + (cluster_sizes(answers >= 0, design, respondents_of, weight) - 1.0) * rho[:, None]


def kish_answers(weight: Floats, valid: NDArray[np.bool_]) -> Floats:
    """Return Kish's effective number of valid answers to each item, shape (I,); weight (people,), valid (people, I)."""
    total, squares = weight @ valid, weight**2 @ valid
    return np.divide(total**2, squares, out=np.zeros_like(squares), where=squares > 0)


def national_effect(survey: Survey) -> dict[str, float] | None:
    """Return `nation`: the median over items of n / n_eff of the whole survey; None without items or respondents."""
    if not survey.items or survey.respondents == 0:
        return None
    valid = survey.answers >= 0
    weight = np.ones(survey.respondents) if survey.weight is None else survey.weight
    kish = kish_answers(weight, valid)
    n_eff = kish / design_effects(survey, kish[:, None], [np.arange(survey.respondents)])[:, 0]
    return {"nation": float(np.median(valid.sum(axis=0)[n_eff > 0] / n_eff[n_eff > 0]))} if (n_eff > 0).any() else None


def respondent_effects(survey: Survey, n_eff: Floats, respondents_of: Sequence[NDArray[np.intp]]) -> Floats:
    """Return the design effect of each subgroup beyond that of the weights, at the mean correlation of all items, at least 1.

    Args:
        survey: the microdata. n_eff: Kish's effective respondents, shape (subgroups,).
        respondents_of: for each subgroup the indices of its respondents.
    """
    options = np.array([len(item.codes) for item in survey.items], dtype=np.intp)
    design, answers, weight = survey.design, survey.answers, survey.weight
    if design is None or (design.replicates is None and not design.clustered):
        return np.ones(len(respondents_of))
    if design.replicates is not None:
        answered = np.stack([(answers[inside] >= 0).mean(axis=0) for inside in respondents_of], axis=1)
        return replicate_effects(answers, options, answered * n_eff, design.replicates, respondents_of, weight)
    everyone = np.ones((survey.respondents, 1), dtype=np.bool_)
    rho = intraclass_correlation(answers, options, design).mean()
    return 1.0 + (cluster_sizes(everyone, design, respondents_of, weight)[0] - 1.0) * rho


def intraclass_correlation(answers: NDArray[np.int8], options: NDArray[np.intp], design: SampleDesign) -> Floats:
    """Return the intraclass correlation of each item within sampling units, from one-way analysis of variance.

    The sums of squares of the indicators of all options are added. Units are compared within their stratum.

    Args:
        answers: int8, shape (respondents, items): option index, negative for missing. options: number of options of each item.
        design: the sampling units and strata.

    Returns:
        Shape (items,), in 0..1: negative estimates are 0, as are those of items for which no unit has two answers.
    """
    found = np.zeros(answers.shape[1])
    units, strata = len(design.stratum), int(design.stratum.max()) + 1
    for item, k in enumerate(options):
        valid = answers[:, item] >= 0
        index = design.unit[valid] * int(k) + answers[valid, item]
        counts = np.bincount(index, minlength=units * int(k)).reshape(units, int(k)).astype(np.float64)
        size = counts.sum(axis=1)
        held, counts, size, stratum = size > 0, counts[size > 0], size[size > 0], design.stratum[size > 0]
        of_stratum = np.zeros((strata, int(k)))
        np.add.at(of_stratum, stratum, counts)
        size_of_stratum = of_stratum.sum(axis=1)
        used = size_of_stratum > 0
        between_df, within_df = int(held.sum()) - int(used.sum()), size.sum() - held.sum()
        if between_df < 1 or within_df < 1:
            continue
        squares = (counts**2).sum(axis=1) / size
        within = (size.sum() - squares.sum()) / within_df
        between = (squares.sum() - ((of_stratum[used] ** 2).sum(axis=1) / size_of_stratum[used]).sum()) / between_df
        typical = (size.sum() - (size**2 / size_of_stratum[stratum]).sum()) / between_df
        total = between + (typical - 1.0) * within
        found[item] = np.clip((between - within) / total, 0.0, 1.0) if total > 0 else 0.0
    return found


def cluster_sizes(
    valid: NDArray[np.bool_], design: SampleDesign, respondents_of: Sequence[NDArray[np.intp]], weight: Floats | None = None
) -> Floats:
    """Return the effective number b of answers per sampling unit of each item in each subgroup.

    b = sum over units of (sum of weights)^2 / sum of squared weights; without weights, the mean size of the unit of an answer.

    Args:
        valid: shape (respondents, items), True for valid answers. design: the sampling units.
        respondents_of: for each subgroup the indices of its respondents. weight: shape (respondents,), or None.

    Returns:
        Shape (items, subgroups), at least 1; 1 without answers.
    """
    found = np.ones((valid.shape[1], len(respondents_of)))
    for s, inside in enumerate(respondents_of):
        if not len(inside):
            continue
        inside = inside[np.argsort(design.unit[inside], kind="stable")]
        starts = np.flatnonzero(np.diff(design.unit[inside], prepend=-1))
        step = max(1, _CELLS // len(inside))
        for first in range(0, valid.shape[1], step):
            items = slice(first, first + step)
            weights = valid[inside, items] * (1.0 if weight is None else weight[inside, None])
            sums, squares = np.add.reduceat(weights, starts, axis=0), (weights**2).sum(axis=0)
            np.divide((sums**2).sum(axis=0), squares, out=found[items, s], where=squares > 0)
    # Rounding may put a unit of one answer just below 1.
    return np.maximum(found, 1.0)


def replicate_effects(
    answers: NDArray[np.int8],
    options: NDArray[np.intp],
    n_eff: Floats,
    replicates: ReplicateWeights,
    respondents_of: Sequence[NDArray[np.intp]],
    weight: Floats | None = None,
) -> Floats:
    """Return the design effect of each subgroup from replicate weights, relative to Kish's effective number of answers.

    It is the sum of the replicate variances of all shares divided by the sum of their p (1 - p) / n_eff. One ratio for all
    items is used because the variance of a single pair, from few replicates, is too noisy.

    Args:
        answers: int8, shape (respondents, items): option index, negative for missing. options: number of options of each item.
        n_eff: Kish's effective answers, shape (items, subgroups).
        replicates: the replicate weights. respondents_of: for each subgroup the indices of its respondents.
        weight: shape (respondents,), or None.

    Returns:
        Shape (subgroups,), at least 1.
    """
    found = np.ones(len(respondents_of))
    one_hot = np.hstack([answers[:, [i]] == np.arange(k) for i, k in enumerate(options)])
    starts = np.concatenate([[0], np.cumsum(options)[:-1]])
    for s, inside in enumerate(respondents_of):
        base = np.ones(len(inside)) if weight is None else weight[inside]
        counts = one_hot[inside].T @ np.column_stack([base, replicates.ratios[inside] * base[:, None]])
        total = np.repeat(np.add.reduceat(counts, starts, axis=0), options, axis=0)
        shares = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
        used = np.repeat(n_eff[:, s] >= _FEWEST_ANSWERS, options)
        variance = ((shares[used, 1:] - shares[used, :1]) ** 2 @ replicates.scale).sum()
        simple = (shares[used, 0] * (1.0 - shares[used, 0]) / np.repeat(n_eff[:, s], options)[used]).sum()
        found[s] = max(1.0, float(variance / simple)) if simple > 0 else 1.0
    return found


def design_document(design: SampleDesign | None) -> dict[str, Any] | None:
    """Return the design as `dataset.json` states it: kind, columns, and numbers of units and strata; None without a design."""
    if design is None:
        return None
    columns = {name: list(found) for name, found in design.columns.items()}
    if design.replicates is not None:
        return {"kind": design.replicates.kind, "columns": columns, "replicates": len(design.replicates.scale)}
    kind = "units" if "psu" in columns else "respondents"
    return {"kind": kind, "columns": columns, "units": len(design.stratum), "strata": int(design.stratum.max()) + 1}


def design_text(design: Mapping[str, Any] | None, effect: Mapping[str, float] | None = None) -> str:
    """Return a sentence on the design of a survey.

    Args:
        design: as returned by `design_document`. effect: design effects by name: `nation` and `pairs`, medians over items and
            pairs of n / n_eff.
    """
    if not design:
        return "No sampling units, strata or replicate weights are named: redraws and intervals treat respondents as independent."
    columns = {name: ", ".join(found) for name, found in design["columns"].items()}
    if "replicates" in design:
        first, last = design["columns"]["replicate_weights"]
        text = f"Redraws follow {design['replicates']} replicate weights ({design['kind']}; {first} to {last})"
    else:
        within = f" in {design['strata']:,} strata ({columns['strata']})" if "strata" in columns else ""
        units = f"{design['units']:,} sampling units ({columns['psu']})" if "psu" in columns else "respondents"
        text = f"Redraws follow {units}{within}"
        if (free := design["units"] - design["strata"]) < FEW_UNITS:
            text += f" (only {free} more units than strata, so intervals are approximate)"
    if not effect:
        return f"{text}."
    pairs = f" and {effect['pairs']:.2f} for pairs" if "pairs" in effect else ""
    return f"{text}; design effect {effect['nation']:.2f} for the nation{pairs} (medians, weights included)."
