"""Bayesian estimate of the gaps of `held_attributes`, with bambi.

    y_gi = item_i + x_gi' b + u_g + sum_a v_i,level_a(g) + e_gi,    item, u, v and e normal, each with its own standard deviation

Columns and covariates are those of the penalised fit, centred within items; item effects are therefore independent of them whatever their
prior, as with fixed items. They enter as an orthogonal basis, which samples well, with normal priors as wide as the metric. `v`, an
effect of each level on each item, replaces the jackknife over items: subgroups of one level err alike on an item. Where items form
blocks, the model also has an effect of each subgroup and of each level on each block.

The likelihood of one set of labels does not contain what redrawn people move in all items jointly; it is added to the draws as the
penalised fit adds it to its standard errors. p is the normal tail of mean / standard deviation of the draws: tests among many need a tail
that thousands of draws do not reach.

**Compiler.** PyMC's NUTS with functions compiled by numba, which bambi installs. It needs no C++ compiler and no BLAS, and was faster
(240 items x 60 subgroups, 2 x 1,000 draws: 48 s against 73 s).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from valuestrata.errors import MissingExtraError
from valuestrata.fairness.adjust.crossed_effects import FLAT, CrossedEffectsFit, fit
from valuestrata.fairness.adjust.difficulty import Difficulty
from valuestrata.fairness.adjust.held_attributes import AdjustedGap, Adjustment, Design, Sampling, adjust_gaps, design_of, notes_of
from valuestrata.stats.arrays import Floats, Indices, Singles

# Largest acceptable r-hat, and fewest acceptable effective draws.
RHAT, LEAST_DRAWS = 1.02, 200.0
# Prior scale of subgroup and level effects, as a share of the metric's standard deviation.
SMALL = 0.25
# Share of divergent steps above which a note is added.
DIVERGENT = 0.01
# The model term of the basis: `columns_of_pair` returns its rows.
BASIS = "columns_of_pair(pair)"


@dataclass(frozen=True)
class Drawn:
    """Posterior draws: M chains of D draws.

    Attributes:
        coefficients: of columns and covariates, shape (M, D, P + C'); only identified contrasts have a meaning.
        subgroup_sd, residual_sd: shape (M, D). divergent: share of divergent steps.
    """

    coefficients: Floats
    subgroup_sd: Floats
    residual_sd: Floats
    divergent: float


def fit_bayes(
    values: Floats,
    difficulty: Difficulty,
    levels: Mapping[str, Sequence[str | None]],
    strata: Sequence[str],
    *,
    redrawn: Singles | None = None,
    blocks: Indices | None = None,
    confidence: float = 0.95,
    sampling: Sampling | None = None,
) -> Adjustment:
    """Compare every two levels of every attribute at equal difficulty with a Bayesian fit of all pairs.

    Gaps with the other attributes held are those of the penalised fit.

    Args:
        values, difficulty, levels, strata, redrawn, blocks, confidence: as for `adjust_gaps`.
        sampling: draws, chains and seed; defaults if None.

    Returns:
        As `adjust_gaps`: posterior means with equal-tailed intervals, `df` infinite. `notes` report poor convergence.

    Raises:
        MissingExtraError: bambi is not installed.
        UsageError: fewer than two items with two subgroups.
    """
    sampling = sampling or Sampling()
    penalised = adjust_gaps(values, difficulty, levels, strata, redrawn=redrawn, blocks=blocks, confidence=confidence)
    design = design_of(values, difficulty, levels, strata)
    full = fit(values, design.columns, design.covariates, redrawn, blocks)
    drawn = draw(design, sampling, blocks)
    rng = np.random.default_rng(sampling.seed)
    gaps: list[AdjustedGap] = []
    identified: list[Floats] = []
    for gap, (*_, contrast) in zip(penalised.gaps, design.contrasts(), strict=True):
        posterior = drawn.coefficients @ contrast
        identified += [posterior] if full.identified(contrast) else []
        gaps.append(_read(gap, posterior, full, contrast, rng, confidence))
    slopes = drawn.coefficients[..., len(design.columns) :].reshape(-1, len(design.entered))
    return replace(
        penalised,
        gaps=gaps,
        slopes=slopes.mean(axis=0),
        slope_se=slopes.std(axis=0, ddof=1),
        subgroup_sd=float(drawn.subgroup_sd.mean()),
        residual_sd=float(drawn.residual_sd.mean()),
        notes=[*notes_of(full, design.left_out, gaps), *_convergence_notes(identified, drawn, sampling)],
    )


def _read(
    gap: AdjustedGap, posterior: Floats, full: CrossedEffectsFit, contrast: Floats, rng: np.random.Generator, confidence: float
) -> AdjustedGap:
    """Return the gap with its posterior (M, D) in place of the penalised estimate; NaN if not identified."""
    if not full.identified(contrast):
        return gap
    people = max(0.0, float(contrast @ full.people @ contrast))
    widened = posterior + np.sqrt(people) * rng.standard_normal(posterior.shape)
    low, high = np.quantile(widened, ((1 - confidence) / 2, (1 + confidence) / 2))
    mean, se = float(posterior.mean()), float(np.sqrt(posterior.var(ddof=1) + people))
    return replace(gap, adjusted=mean, se=se, df=np.inf, p=_tail(mean, se), low=float(low), high=float(high))


def draw(design: Design, sampling: Sampling, blocks: Indices | None = None) -> Drawn:
    """Sample the posterior of the model of the module docstring; `blocks`, shape (I,), is the block of each item.

    Raises:
        MissingExtraError: bambi is not installed.
    """
    bambi = _bambi()
    import pandas as pd

    # Items with a single pair hold no difference within an item.
    kept = (~np.isnan(design.values)).sum(axis=0) >= 2
    mask = ~np.isnan(design.values) & kept
    group, item = np.nonzero(mask)
    block = None if blocks is None or len(np.unique(blocks)) == len(blocks) else blocks
    basis, back = _basis(design, mask)
    y = design.values[mask]
    frame = pd.DataFrame({"y": y, "pair": np.arange(len(y), dtype=np.float64), "item": item.astype(str), "subgroup": group.astype(str)})
    terms = [BASIS, "(1 | item)", "(1 | subgroup)"]
    for place, labels in enumerate(design.levels.values()):
        known = list(dict.fromkeys(labels))
        number = np.array([known.index(label) for label in labels])
        frame[f"level_{place}"] = (number[group] * mask.shape[1] + item).astype(str)
        terms.append(f"(1 | level_{place})")
        if block is not None:
            frame[f"level_{place}_block"] = (number[group] * mask.shape[1] + block[item]).astype(str)
            terms.append(f"(1 | level_{place}_block)")
    if block is not None:
        frame["subgroup_block"] = (group * mask.shape[1] + block[item]).astype(str)
        terms.append("(1 | subgroup_block)")
    spread = float(y.std()) or 1.0

    def effects(size: float) -> Any:
        return bambi.Prior("Normal", mu=0, sigma=bambi.Prior("HalfNormal", sigma=size))

    priors = {
        "Intercept": bambi.Prior("Normal", mu=float(y.mean()), sigma=spread),
        BASIS: bambi.Prior("Normal", mu=0, sigma=spread),
        "sigma": bambi.Prior("HalfNormal", sigma=2 * spread),
        "1|item": effects(spread),
        **{term[1:-1].replace(" ", ""): effects(SMALL * spread) for term in terms[2:]},
    }

    def columns_of_pair(pair: Any) -> Floats:
        return basis[np.asarray(pair, dtype=np.intp)]

    with _quiet():
        model = bambi.Model(f"y ~ {' + '.join(terms)}", frame, priors=priors, extra_namespace={"columns_of_pair": columns_of_pair})
        found: Any = model.fit(
            draws=sampling.draws,
            tune=sampling.tune,
            chains=sampling.chains,
            cores=1,
            random_seed=sampling.seed,
            target_accept=sampling.target_accept,
            progressbar=False,
            compile_kwargs={"mode": "NUMBA"},
        )
    posterior: Any = found.posterior
    return Drawn(
        coefficients=np.asarray(posterior[BASIS].values @ back.T, dtype=np.float64),
        subgroup_sd=np.asarray(posterior["1|subgroup_sigma"].values, dtype=np.float64),
        residual_sd=np.asarray(posterior["sigma"].values, dtype=np.float64),
        divergent=float(np.mean(found.sample_stats["diverging"].values)),
    )


def _basis(design: Design, mask: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return centred columns and covariates as an orthogonal basis (N, R), and the matrix back to coefficients (P + C', R)."""
    number = np.maximum(mask.sum(axis=0), 1)

    def within(grid: Floats) -> Floats:
        return np.where(mask, grid - np.where(mask, grid, 0.0).sum(axis=0) / number, 0.0)[mask]

    grids = [np.broadcast_to(row[:, None], mask.shape) for row in design.columns]
    whole = np.stack([within(grid) for grid in (*grids, *design.covariates)], axis=1)
    left, sizes, right = np.linalg.svd(whole, full_matrices=False)
    told = sizes > np.sqrt(FLAT) * max(float(sizes.max(initial=0.0)), FLAT)
    scale = np.sqrt(len(whole))
    return left[:, told] * scale, right[told].T / sizes[told] * scale


def _convergence_notes(identified: Sequence[Floats], drawn: Drawn, sampling: Sampling) -> list[str]:
    """Return notes on the sampling: settings, poor convergence, few effective draws, divergences."""
    import arviz  # pyright: ignore[reportMissingImports]

    notes = [f"Bayesian estimate at equal difficulty: {sampling.chains} chains of {sampling.draws:,} draws, seed {sampling.seed}."]
    if identified:
        rhat = max(float(arviz.rhat(one)) for one in identified)
        independent = min(float(arviz.ess(one)) for one in identified)
        if rhat > RHAT or independent < LEAST_DRAWS:
            notes.append(
                f"The chains are too short: r-hat is up to {rhat:.3f} (should be at most {RHAT}) and there are as few as "
                f"{independent:,.0f} effective draws (should be at least {LEAST_DRAWS:,.0f}). Increase draws and tune."
            )
    if drawn.divergent > DIVERGENT:
        notes.append(f"{drawn.divergent:.1%} of the sampler's steps diverged. Increase target_accept.")
    return notes


def _tail(mean: float, deviation: float) -> float:
    """Return the two-sided normal p-value; NaN without variance."""
    from scipy.special import ndtr

    return float(2 * ndtr(-abs(mean) / deviation)) if deviation > 0 else np.nan


def _bambi() -> Any:
    """Import bambi without its libraries' import messages."""
    with _quiet():
        try:
            import bambi  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise MissingExtraError("A Bayesian estimate of gaps (mixed='bayes')", "bayes", "bambi") from error
    return bambi


@contextmanager
def _quiet() -> Generator[None]:
    """Silence log messages and warnings of the sampler and its libraries; `_convergence_notes` reports what matters."""
    loggers = [logging.getLogger(name) for name in ("pymc", "bambi", "pytensor")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
