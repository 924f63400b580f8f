"""The page of the simulation study: tables of the results of `planted`."""

from __future__ import annotations

import itertools
import platform
from collections.abc import Sequence
from importlib.metadata import version

import planted
import polars as pl
from planted import BOUNDS, CONDITIONS, DISTANCES, EFFECTS, ITEM_MODE, METRICS, NATIONAL, NONE, ORACLE, SCHEMES, SPREADS, SUBGROUP
from scipy.stats import binom
from simulation_text import PAGE

from valuestrata.scores.structure import MEASURES

CLAIMED = 0.95
# Limits of an observed rate contain it with this probability if the nominal rate is true.
LEVEL = 0.999
# Metrics of the hypothesis about a baseline.
CLAIMS = ("accuracy_expected", "w1")
PAPER, DISJOINT = SCHEMES
LIBRARIES = ("valuestrata", "numpy", "scipy", "scikit-learn", "polars")
PLACE = ("condition", "scheme", "run", "against", "metric")


def covered(rows: pl.DataFrame, target: Sequence[str]) -> pl.DataFrame:
    """Return rows with the mean value over data sets of the same `target` columns, and whether the interval contains it.

    Rows without an interval or without a finite value are left out.
    """
    known = pl.col("value").is_finite() & pl.col("low").is_not_null() & pl.col("high").is_not_null()
    mean = pl.col("value").mean().over(target)
    return rows.filter(known).with_columns(mean.alias("target"), ((pl.col("low") <= mean) & (mean <= pl.col("high"))).alias("covers"))


def summed(rows: pl.DataFrame, by: Sequence[str] = PLACE) -> pl.DataFrame:
    """Return number of data sets, coverage, its limits, target and relative width for each cell of a table.

    `width` is the mean width of the interval divided by 3.92 standard deviations of the values about their target.
    """
    spread = (pl.col("value") - pl.col("target")).pow(2).mean().sqrt()
    found = rows.group_by(*by, maintain_order=True).agg(
        pl.len().alias("number"),
        pl.col("covers").mean(),
        pl.col("target").mean(),
        ((pl.col("high") - pl.col("low")).mean() / (2 * 1.96 * spread)).alias("width"),
    )
    ends = [limits(number, CLAIMED) for number in found["number"]]
    return found.with_columns(pl.Series("least", [low for low, _ in ends]), pl.Series("most", [high for _, high in ends]))


def better() -> pl.Expr:
    """Return whether the interval of a difference shows an improvement."""
    return pl.when(pl.col("metric").is_in(DISTANCES)).then(pl.col("high") < 0).otherwise(pl.col("low") > 0)


def limits(number: int, share: float, level: float = LEVEL) -> tuple[float, float]:
    """Return the limits of the observed share in `number` trials of probability `share`, at level `level`."""
    low, high = binom.interval(level, number, share)
    return float(low) / number, float(high) / number


def percent(value: float) -> str:
    """Return 95.2 for .952."""
    return f"{100 * value:.1f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(covers: float, width: float, least: float, most: float) -> str:
    """Return coverage in percent and relative width; bold if coverage is outside its limits."""
    text = percent(covers) if least <= covers <= most else f"**{percent(covers)}**"
    return f"{text} ({width:.2f})"


def coverage_table(cells: pl.DataFrame, metrics: Sequence[str]) -> str:
    """Return a table with a row per condition, split and model, and a column per metric."""
    lines: list[list[str]] = []
    for (condition, scheme, run, against), part in cells.group_by(*PLACE[:-1], maintain_order=True):
        by_metric = {name: cell(*figures) for name, *figures in part.select("metric", "covers", "width", "least", "most").iter_rows()}
        label = str(run) if against is None else f"{run} - {against}"
        lines.append([str(condition), str(scheme), label, *(by_metric.get(metric, "-") for metric in metrics)])
    return table(["condition", "split", "score of", *metrics], lines)


def outside_list(cells: pl.DataFrame, what: str) -> str:
    """Return a sentence with the number of cells outside their limits and a list of those below."""
    marked = cells.filter((pl.col("covers") < pl.col("least")) | (pl.col("covers") > pl.col("most")))
    low = cells.filter(pl.col("covers") < pl.col("least"))
    mean, lowest = (percent(float(value)) for value in (cells["covers"].mean(), cells["covers"].min()))
    text = (
        f"{what}: {len(cells)} coverage rates, mean {mean} %, lowest {lowest} %; "
        f"{len(low)} below and {len(marked) - len(low)} above the limits\n  for a true coverage of 95 %"
    )
    named = [
        f"{row['metric']} of {row['run'] if row['against'] is None else row['run'] + ' - ' + row['against']} ({row['condition']}, "
        f"{row['scheme']}): {percent(row['covers'])} %"
        for row in low.iter_rows(named=True)
    ]
    return text + (f". Below: {'; '.join(named)}." if named else ".")


def alarms_table(rows: pl.DataFrame) -> str:
    """Return how often the interval of the difference of two equal models excludes 0, by side."""
    found = rows.filter(pl.col("condition") == NONE, pl.col("run") == SUBGROUP, pl.col("against") == NATIONAL)
    lines: list[list[str]] = []
    for (scheme,), part in found.group_by("scheme", maintain_order=True):
        cells: list[str] = []
        for metric in METRICS:
            one = part.filter(pl.col("metric") == metric)
            sides = [float(one.select(side.mean()).item()) for side in (pl.col("high") < 0, pl.col("low") > 0)]
            cells.append(f"{percent(sum(sides))} ({percent(sides[0])} + {percent(sides[1])})")
        lines.append([str(scheme), *cells])
    return table(["split", *METRICS], lines)


def noise_table(rows: pl.DataFrame) -> str:
    """Return the score of each fixed model against the true modes and shares, and against the gold of both splits."""
    values = rows.filter(pl.col("what").is_in(["planted", "score"]), pl.col("run").is_in([NATIONAL, SUBGROUP]))
    means = values.group_by("condition", "run", "what", "scheme", "metric").agg(pl.col("value").mean())
    mean = {tuple(key): value for *key, value in means.iter_rows()}
    lines: list[list[str]] = []
    for condition, run in itertools.product(CONDITIONS, (NATIONAL, SUBGROUP)):
        cells = [
            " / ".join(
                f"{mean[condition, run, what, scheme, metric]:.3f}"
                for what, scheme in (("planted", None), *(("score", s) for s in SCHEMES))
            )
            for metric in ("accuracy", "nmae", "w1")
        ]
        lines.append([condition, run, *cells])
    return table(["condition", "model", "accuracy", "nmae", "w1"], lines)


def known_accuracy(rows: pl.DataFrame) -> tuple[float, float, float]:
    """Return the accuracy of the subgroup model against the true modes: closed form, observed mean and its standard error.

    The closed form is 1 - error + error * mean of 1 / options over the possible numbers of options.
    """
    options = planted.SETTINGS.options
    exact = 1 - planted.ERROR + planted.ERROR * sum(1 / k for k in options) / len(options)
    own = rows.filter(pl.col("what") == "planted", pl.col("run") == SUBGROUP, pl.col("metric") == "accuracy", pl.col("condition") == NONE)
    values = own["value"]
    return exact, float(values.mean()), float(values.std()) / len(values) ** 0.5


def spread_table(rows: pl.DataFrame) -> str:
    """Return the spread ratios of a model that gives the true mode of every subgroup, and the rates of wrong conclusions."""
    found = rows.filter(pl.col("run") == ORACLE, pl.col("metric").is_in(SPREADS))
    lines: list[list[str]] = []
    for (condition, scheme), part in found.group_by("condition", "scheme", maintain_order=True):
        raw, corrected = (part.filter(pl.col("metric") == metric) for metric in SPREADS)
        mean = [f"{one.filter(pl.col('value').is_finite())['value'].median():.2f}" for one in (raw, corrected)]
        above, below = (
            raw.select((pl.col("low") > 1).fill_null(False).mean()).item(),
            corrected.select((pl.col("high") < 1).fill_null(False).mean()).item(),
        )
        lines.append([str(condition), str(scheme), *mean, percent(above), percent(below)])
    head = ["condition", "split", "raw, median", "corrected, median", 'called "exaggerated", %', 'called "flattened", %']
    return table(head, lines)


def gains_table(rows: pl.DataFrame) -> str:
    """Return how often each baseline is found better than item mode, and the mean gain in points."""
    lines: list[list[str]] = []
    for (condition, scheme, run), part in rows.group_by("condition", "scheme", "run", maintain_order=True):
        cells = []
        for metric in METRICS:
            one = part.filter(pl.col("metric") == metric)
            gain = float(one["value"].mean()) * (-1 if metric in DISTANCES else 1)
            cells.append(f"{percent(float(one.select(better().mean()).item()))} ({100 * gain:+.2f})")
        lines.append([str(condition), str(scheme), str(run), *cells])
    return table(["condition", "split", "baseline", *METRICS], lines)


def gains_found(rows: pl.DataFrame, strongest: str, most: float) -> str:
    """Return how often the strongest baseline is found better, with and without effects."""
    own = rows.filter(pl.col("run") == strongest, pl.col("metric").is_in(CLAIMS))
    rates = own.group_by("condition", "scheme", "metric").agg(better().mean().alias("rate"))
    rate = {tuple(key): value for *key, value in rates.iter_rows()}

    def listed(condition: str, scheme: str) -> str:
        return " and ".join(f"{percent(rate[condition, scheme, metric])} % ({metric})" for metric in CLAIMS)

    worst = max(rate[NONE, DISJOINT, metric] for metric in CLAIMS)
    verdict = "This is within chance" if worst <= most else "This is more than chance allows"
    return "\n".join(
        [
            f"- With effects (`{EFFECTS}`, `{DISJOINT}`), `{strongest}` is better than `{ITEM_MODE}` in",
            f"  {listed(EFFECTS, DISJOINT)} of populations.",
            f"- Without effects (`{NONE}`, `{DISJOINT}`), it is better in {listed(NONE, DISJOINT)}.",
            f"  {verdict} (at most {percent(most)} %).",
            f"- Under `{PAPER}` it is better in {listed(EFFECTS, PAPER)} with effects, and in",
            f"  {listed(NONE, PAPER)} without effects, because training cells include the",
            "  respondents of the test cells. A gain under this split is no evidence that subgroups differ.",
        ]
    )


def recovery_table(rows: pl.DataFrame, names: Sequence[str]) -> str:
    """Return the distance of predicted to true shares of test pairs, in points."""
    found = rows.group_by("condition", "scheme", "run", maintain_order=True).agg(pl.col("value").mean())
    lines = []
    for (condition, scheme), part in found.group_by("condition", "scheme", maintain_order=True):
        value = dict(part.select("run", "value").iter_rows())
        lines.append([str(condition), str(scheme), *(f"{100 * value[name]:.2f}" if name in value else "-" for name in names)])
    return table(["condition", "split", *names], lines)


def bounds_table(rows: pl.DataFrame) -> str:
    """Return the scores of the true model, with the ceilings and floors."""
    means = rows.group_by("condition", "scheme", "what", "metric").agg(pl.col("value").mean())
    mean = {tuple(key): value for *key, value in means.iter_rows()}
    lines: list[list[str]] = []
    for condition, scheme in itertools.product(CONDITIONS, SCHEMES):
        cells: list[str] = []
        for metric, bound in BOUNDS.items():
            score, limit = (mean[condition, scheme, "score" if name == metric else "bound", name] for name in (metric, bound))
            gain = mean[condition, scheme, "difference", metric]
            cells.append(f"{score:.3f} / {limit:.3f} ({gain / (limit - score + gain):.2f})")
        lines.append([condition, scheme, *cells])
    return table(["condition", "split", *(f"{metric} / {bound}" for metric, bound in BOUNDS.items())], lines)


def share_table(rows: pl.DataFrame) -> str:
    """Return coverage of gold +- 1.96 share_se by the expected number of answers of the option, or of all others if smaller."""
    found = rows.with_columns(pl.col("metric").cast(pl.Int64).alias("from"), (pl.col("value") * pl.col("number")).alias("hits"))
    sums = found.group_by("condition", "from").agg(pl.col("hits").sum(), pl.col("number").sum()).sort("from")
    lines = []
    for condition in CONDITIONS:
        part = sums.filter(pl.col("condition") == condition)
        lines.append([condition, *(f"{percent(h / n)} of {n:,}" for h, n in part.select("hits", "number").iter_rows())])
    edges = list(planted.SHARE_BINS)
    heads = [f"{low} to {high}" for low, high in itertools.pairwise(edges)] + [f"{edges[-1]} and more"]
    return table(["condition", *heads], lines)


def sizes() -> str:
    """Return the effect sizes of each condition as text."""
    return "; ".join(
        f"`{name}`: {given['main_effects']:g} and {given['interactions']:g}" + (", some cells oversampled" if "weighted" in given else "")
        for name, given in CONDITIONS.items()
    )


def document(
    rows: pl.DataFrame, populations: int, held: int, first_held: int, strongest: str, ladder: Sequence[str], bootstrap: int
) -> str:
    """Return the page.

    Args:
        rows: planted.COLUMNS, of both designs.
        populations: number under each condition. held: populations of the design with fixed items. first_held: seed of its
            first sample.
        strongest: the baseline of the hypothesis. ladder: all baselines run. bootstrap: replicates.
    """
    order = {name: place for place, name in enumerate(CONDITIONS)}
    rows = rows.sort(pl.col("condition").replace_strict(order), "population", "sample", maintain_order=True)
    redrawn, kept = (rows.filter(pl.col("design") == design) for design in ("redrawn", "held"))
    models = pl.col("run").is_in([NATIONAL, SUBGROUP])
    plain = models & pl.col("metric").is_in(METRICS) & pl.col("what").is_in(["score", "difference"])
    scores = summed(covered(redrawn.filter(plain), PLACE))
    # Without effects, subgroups differ only by sampling error, so spread and structure are not defined.
    other = (
        models
        & (pl.col("condition") != NONE)
        & ((pl.col("what") == "structure") | ((pl.col("what") == "score") & pl.col("metric").is_in(SPREADS)))
    )
    others = summed(covered(redrawn.filter(other), PLACE))
    # These intervals are too wide by design, so no limits apply.
    kept_cells = summed(covered(kept.filter(plain), [*PLACE, "population"])).with_columns(least=pl.lit(0.0), most=pl.lit(1.0))
    gains = redrawn.filter(pl.col("what") == "difference", pl.col("against") == ITEM_MODE, pl.col("run").is_in(ladder))
    low, high = limits(populations, CLAIMED)
    most = limits(populations, (1 - CLAIMED) / 2)[1]
    exact, found, error = known_accuracy(redrawn)
    settings = planted.SETTINGS
    return PAGE.format(
        populations=populations,
        last=populations - 1,
        first_held=f"{first_held:,}",
        last_held=f"{first_held + populations // 2 - 1:,}",
        datasets=rows.select("condition", "design", "population", "sample").n_unique(),
        respondents=settings.respondents,
        items=settings.items,
        levels=", ".join(map(str, settings.levels)),
        common=settings.common,
        missing=settings.missing,
        draws=planted.DRAWS,
        bootstrap=bootstrap,
        sizes=sizes(),
        none=NONE,
        national=NATIONAL,
        subgroup=SUBGROUP,
        oracle=ORACLE,
        error=planted.ERROR,
        low=percent(low),
        high=percent(high),
        held=held,
        samples=populations // 2 // held,
        item_mode=ITEM_MODE,
        strongest=strongest,
        most=percent(most),
        alarm_low=percent(limits(populations, 1 - CLAIMED)[0]),
        alarm_high=percent(limits(populations, 1 - CLAIMED)[1]),
        found_scores=outside_list(scores, "Scores and differences"),
        found_others=outside_list(others, "Spread ratios and structure"),
        found_gains=gains_found(gains, strongest, most),
        exact=f"{exact:.4f}",
        found=f"{found:.4f}",
        found_error=f"{error:.4f}",
        coverage=coverage_table(scores, METRICS),
        others=coverage_table(others, [*SPREADS, *MEASURES]),
        coverage_held=coverage_table(kept_cells, METRICS),
        alarms=alarms_table(redrawn.filter(pl.col("what") == "difference")),
        noise=noise_table(redrawn),
        spread=spread_table(redrawn.filter(pl.col("what") == "score")),
        share=share_table(redrawn.filter(pl.col("what") == "share interval")),
        gains=gains_table(gains),
        recovery=recovery_table(redrawn.filter(pl.col("what") == "recovery"), ["observed", *ladder]),
        bounds=bounds_table(redrawn.filter((pl.col("what") == "bound") | (pl.col("run") == ORACLE))),
        versions=", ".join(f"{name} {version(name)}" for name in LIBRARIES),
        python=platform.python_version(),
    )
