"""The page of the simulation study: tables from the rows that `planted` makes."""

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
# A rate is called outside where a true one would be there with probability .001, half of it on either side.
LEVEL = 0.999
# A baseline's gain is claimed in these.
CLAIMS = ("accuracy_expected", "w1")
PAPER, DISJOINT = SCHEMES
LIBRARIES = ("valuestrata", "numpy", "scipy", "scikit-learn", "polars")
PLACE = ("condition", "scheme", "run", "against", "metric")


def covered(rows: pl.DataFrame, target: Sequence[str]) -> pl.DataFrame:
    """Return rows with the mean value over data sets of the same `target` columns, and whether the interval holds it.

    Rows without an interval or without a finite value are left out.
    """
    known = pl.col("value").is_finite() & pl.col("low").is_not_null() & pl.col("high").is_not_null()
    aim = pl.col("value").mean().over(target)
    return rows.filter(known).with_columns(aim.alias("aim"), ((pl.col("low") <= aim) & (aim <= pl.col("high"))).alias("covers"))


def summed(rows: pl.DataFrame, by: Sequence[str] = PLACE) -> pl.DataFrame:
    """Return for each cell of a table the data sets, the share that covers, its limits, the aim and the relative width.

    `width` is the mean width of the interval over 3.92 standard deviations of the values about their aim.
    """
    spread = (pl.col("value") - pl.col("aim")).pow(2).mean().sqrt()
    found = rows.group_by(*by, maintain_order=True).agg(
        pl.len().alias("number"),
        pl.col("covers").mean(),
        pl.col("aim").mean(),
        ((pl.col("high") - pl.col("low")).mean() / (2 * 1.96 * spread)).alias("width"),
    )
    ends = [limits(number, CLAIMED) for number in found["number"]]
    return found.with_columns(pl.Series("least", [low for low, _ in ends]), pl.Series("most", [high for _, high in ends]))


def better() -> pl.Expr:
    """Return whether the interval of a difference lies wholly on the better side."""
    return pl.when(pl.col("metric").is_in(DISTANCES)).then(pl.col("high") < 0).otherwise(pl.col("low") > 0)


def limits(number: int, share: float, level: float = LEVEL) -> tuple[float, float]:
    """Return between which shares of `number` trials a share `share` stays with probability `level`."""
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
    """Return coverage in percent and the relative width; bold where coverage is outside its limits."""
    text = percent(covers) if least <= covers <= most else f"**{percent(covers)}**"
    return f"{text} ({width:.2f})"


def coverage_table(cells: pl.DataFrame, metrics: Sequence[str]) -> str:
    """Return a row a condition, split and model, a column a metric."""
    lines: list[list[str]] = []
    for (condition, scheme, run, against), part in cells.group_by(*PLACE[:-1], maintain_order=True):
        by_metric = {name: cell(*figures) for name, *figures in part.select("metric", "covers", "width", "least", "most").iter_rows()}
        what = str(run) if against is None else f"{run} - {against}"
        lines.append([str(condition), str(scheme), what, *(by_metric.get(metric, "-") for metric in metrics)])
    return table(["planted", "split", "score of", *metrics], lines)


def outside_list(cells: pl.DataFrame, what: str) -> str:
    """Return a sentence: how many cells lie outside their limits, and which."""
    marked = cells.filter((pl.col("covers") < pl.col("least")) | (pl.col("covers") > pl.col("most")))
    low = cells.filter(pl.col("covers") < pl.col("least"))
    mean, lowest = (percent(float(value)) for value in (cells["covers"].mean(), cells["covers"].min()))
    text = (
        f"{what}: {len(cells)} rates of coverage, mean {mean} %, lowest {lowest} %; {len(low)} lower and {len(marked) - len(low)} higher\n"
        "  than a true 95 % allows"
    )
    named = [
        f"{row['metric']} of {row['run'] if row['against'] is None else row['run'] + ' - ' + row['against']} ({row['condition']}, "
        f"{row['scheme']}): {percent(row['covers'])} %"
        for row in low.iter_rows(named=True)
    ]
    return text + (f". Too low: {'; '.join(named)}." if named else ".")


def alarms_table(rows: pl.DataFrame) -> str:
    """Return how often two models that are equally good are told apart, one side and the other."""
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
    """Return each fixed model's score against the planted modes and shares, and against the gold of both splits."""
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
    return table(["planted", "model", "accuracy", "nmae", "w1"], lines)


def known_accuracy(rows: pl.DataFrame) -> tuple[float, float, float]:
    """Return the accuracy of the model of the subgroups against the planted modes: closed form, mean found, its standard error.

    It is right unless it errs, and then by chance: 1 - error + error * mean of 1 / options over the sizes items are drawn from.
    """
    options = planted.SETTINGS.options
    exact = 1 - planted.ERROR + planted.ERROR * sum(1 / k for k in options) / len(options)
    mine = rows.filter(pl.col("what") == "planted", pl.col("run") == SUBGROUP, pl.col("metric") == "accuracy", pl.col("condition") == NONE)
    values = mine["value"]
    return exact, float(values.mean()), float(values.std()) / len(values) ** 0.5


def spread_table(rows: pl.DataFrame) -> str:
    """Return the spread ratios of a model that gives the planted mode of every subgroup, and what would be said of them."""
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
    head = ["planted", "split", "raw, median", "corrected, median", 'called "exaggerated", %', 'called "flattened", %']
    return table(head, lines)


def gains_table(rows: pl.DataFrame) -> str:
    """Return how often each baseline's interval lies on the better side of item mode, and the mean gain in points."""
    lines: list[list[str]] = []
    for (condition, scheme, run), part in rows.group_by("condition", "scheme", "run", maintain_order=True):
        cells = []
        for metric in METRICS:
            one = part.filter(pl.col("metric") == metric)
            gain = float(one["value"].mean()) * (-1 if metric in DISTANCES else 1)
            cells.append(f"{percent(float(one.select(better().mean()).item()))} ({100 * gain:+.2f})")
        lines.append([str(condition), str(scheme), str(run), *cells])
    return table(["planted", "split", "baseline", *METRICS], lines)


def gains_found(rows: pl.DataFrame, strongest: str, most: float) -> str:
    """Return the claim in figures: how often the strongest baseline is found better, with effects and without."""
    mine = rows.filter(pl.col("run") == strongest, pl.col("metric").is_in(CLAIMS))
    rates = mine.group_by("condition", "scheme", "metric").agg(better().mean().alias("rate"))
    rate = {tuple(key): value for *key, value in rates.iter_rows()}

    def told(condition: str, scheme: str) -> str:
        return " and ".join(f"{percent(rate[condition, scheme, metric])} % in {metric}" for metric in CLAIMS)

    worst = max(rate[NONE, DISJOINT, metric] for metric in CLAIMS)
    verdict = "No more often than chance allows" if worst <= most else "More often than chance allows"
    return "\n".join(
        [
            f"- Where effects were planted (`{EFFECTS}`, `{DISJOINT}`), `{strongest}` is found better than `{ITEM_MODE}`",
            f"  in {told(EFFECTS, DISJOINT)}.",
            f"- Where none were planted (`{NONE}`, `{DISJOINT}`), it is found better in {told(NONE, DISJOINT)}.",
            f"  {verdict} (at most {percent(most)} %).",
            f"- Under `{PAPER}` it is found better in {told(EFFECTS, PAPER)} with effects, and in",
            f"  {told(NONE, PAPER)} without them: there it has seen the test cells' own respondents,",
            "  whose noise the labels hold. A gain under that split is no evidence that subgroups differ.",
        ]
    )


def recovery_table(rows: pl.DataFrame, names: Sequence[str]) -> str:
    """Return the distance to the planted shares of test pairs, in points."""
    found = rows.group_by("condition", "scheme", "run", maintain_order=True).agg(pl.col("value").mean())
    lines = []
    for (condition, scheme), part in found.group_by("condition", "scheme", maintain_order=True):
        value = dict(part.select("run", "value").iter_rows())
        lines.append([str(condition), str(scheme), *(f"{100 * value[name]:.2f}" if name in value else "-" for name in names)])
    return table(["planted", "split", *names], lines)


def bounds_table(rows: pl.DataFrame) -> str:
    """Return what a model that knows the truth scores, beside the ceiling or floor printed for it."""
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
    return table(["planted", "split", *(f"{metric} / {bound}" for metric, bound in BOUNDS.items())], lines)


def share_table(rows: pl.DataFrame) -> str:
    """Return coverage of gold +- 1.96 share_se by expected answers of the rarer side."""
    found = rows.with_columns(pl.col("metric").cast(pl.Int64).alias("from"), (pl.col("value") * pl.col("number")).alias("hits"))
    sums = found.group_by("condition", "from").agg(pl.col("hits").sum(), pl.col("number").sum()).sort("from")
    lines = []
    for condition in CONDITIONS:
        part = sums.filter(pl.col("condition") == condition)
        lines.append([condition, *(f"{percent(h / n)} of {n:,}" for h, n in part.select("hits", "number").iter_rows())])
    edges = list(planted.SHARE_BINS)
    heads = [f"{low} to {high}" for low, high in itertools.pairwise(edges)] + [f"{edges[-1]} and more"]
    return table(["planted", *heads], lines)


def sizes() -> str:
    """Return what is planted under each condition, in words."""
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
        populations: under each condition. held: populations of the design that keeps the items; first_held: seed of its
            first sample.
        strongest: the baseline whose gain is the claim. ladder: all baselines run. bootstrap: replicates.
    """
    order = {name: place for place, name in enumerate(CONDITIONS)}
    rows = rows.sort(pl.col("condition").replace_strict(order), "population", "sample", maintain_order=True)
    redrawn, kept = (rows.filter(pl.col("design") == design) for design in ("redrawn", "held"))
    models = pl.col("run").is_in([NATIONAL, SUBGROUP])
    plain = models & pl.col("metric").is_in(METRICS) & pl.col("what").is_in(["score", "difference"])
    scores = summed(covered(redrawn.filter(plain), PLACE))
    # Without effects planted the subgroups differ by noise only: neither a spread nor a structure is there to be measured.
    other = (
        models
        & (pl.col("condition") != NONE)
        & ((pl.col("what") == "structure") | ((pl.col("what") == "score") & pl.col("metric").is_in(SPREADS)))
    )
    others = summed(covered(redrawn.filter(other), PLACE))
    # Too wide on purpose: no limit is set.
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
