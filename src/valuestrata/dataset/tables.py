"""The data set on disk: aggregates only, never a respondent's row. Written by `build`, read by everything after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import polars as pl

from valuestrata.errors import InputDataError, UsageError, did_you_mean
from valuestrata.files import folder_written_beside, read_json, read_parquet, write_json, write_parquet
from valuestrata.frames import Column, Schema
from valuestrata.survey.codebook import Missing

FORMAT = "valuestrata-dataset-2"
MISSING_CLASSES = tuple(kind.key for kind in Missing)
# Behind the name of a scheme: training gold of half A, test gold of half B. It has no rows of its own on disk.
DISJOINT = "+disjoint"
PARTS = ("train", "validation", "test")
SCHEMES = ("paper", "unseen-level", "unseen-item", "unseen-both", "transfer")

ITEMS = Schema(
    "items.parquet",
    {
        "item": Column(pl.String, "item id"),
        "topic": Column(pl.String, "heading"),
        "block": Column(pl.String, "battery, or null"),
        "level": Column(pl.String, "ordinal, nominal or binary"),
        "codes": Column(pl.List(pl.Int32), "scale codes in scale order"),
        "labels": Column(pl.List(pl.String), "labels, same order"),
        "question": Column(pl.String, "closed question"),
        "open_question": Column(pl.String, "open question, or null"),
        "wording_source": Column(pl.String, "who worded it: valuestrata, drafted or overlay"),
    },
)

# After these come one column an attribute: the level's label, null where the stratum does not use the attribute.
SUBGROUPS = Schema(
    "subgroups.parquet",
    {
        "subgroup": Column(pl.String, "id: {stratum}_{Level}[_{Level}]"),
        "stratum": Column(pl.String, "set of attributes, `all` for everyone"),
        "n": Column(pl.Int64, "respondents"),
        "n_eff": Column(pl.Float64, "Kish effective respondents"),
    },
)

GOLD = Schema(
    "gold.parquet",
    {
        "pair_id": Column(pl.String, "{item}_{subgroup}"),
        "item": Column(pl.String, "item id"),
        "subgroup": Column(pl.String, "subgroup id"),
        "half": Column(pl.String, "all, A or B: respondents halved once by seed"),
        "n": Column(pl.Int64, "valid answers"),
        "n_eff": Column(pl.Float64, "Kish effective valid answers"),
        "counts_raw": Column(pl.List(pl.Int64), "answers by code, scale order"),
        "counts_weighted": Column(pl.List(pl.Float64), "weighted answers by code"),
        "shares": Column(pl.List(pl.Float64), "weighted shares by code, sum 1"),
        "mode": Column(pl.Int32, "lowest code among `modes`"),
        "modes": Column(pl.List(pl.Int32), "codes that share the largest weighted count"),
        "mode_share": Column(pl.Float64, "share of the mode"),
        "p_mode": Column(pl.List(pl.Float64), "chance of each code to be the mode in a redraw, ties shared"),
        "margin": Column(pl.Float64, "largest share minus second largest"),
        "entropy": Column(pl.Float64, "entropy of shares, bits"),
        "ceiling_oracle": Column(pl.Float64, "max p_mode"),
        "ceiling_human": Column(pl.Float64, "sum of squared p_mode"),
        "floor_nmae": Column(pl.Float64, "expected NMAE of the mode against a redrawn mode; null for nominal items"),
        "floor_w1": Column(pl.Float64, "mean W1 of redrawn shares to shares; null for nominal items"),
        "floor_rps": Column(pl.Float64, "mean RPS of redrawn shares to shares; null for nominal items"),
        "flag": Column(pl.String, "`small` for 30 to 59 valid answers, else null"),
        "missing": Column(
            pl.Struct(dict.fromkeys(MISSING_CLASSES, pl.Int64)),
            "respondents without an answer, by class",
        ),
    },
)

MODE_DRAWS = Schema(
    "mode_draws.parquet",
    {
        "pair_id": Column(pl.String, "{item}_{subgroup}"),
        "half": Column(pl.String, "all, A or B; a half without answers has no row, as in gold"),
        "draws": Column(pl.List(pl.Int8), "option index of the mode in each joint redraw of all respondents"),
        "share_se": Column(pl.List(pl.Float64), "standard deviation over redraws of each share"),
        "share_draws": Column(
            pl.List(pl.Int8),
            "shares of the first redraws, draw by draw, in 1/32 of share_se from the gold share (`gold.unpack_share_draws`)",
        ),
    },
)

SPLITS = Schema(
    "splits.parquet",
    {
        "pair_id": Column(pl.String, "{item}_{subgroup}"),
        "item": Column(pl.String, "item id"),
        "subgroup": Column(pl.String, "subgroup id"),
        "scheme": Column(pl.String, "paper, unseen-level, unseen-item, ..."),
        "fold": Column(pl.Int32, "0, 1, ..."),
        "seed": Column(pl.Int64, "seed of the split"),
        "part": Column(pl.String, "train, validation or test"),
    },
)

LEAKAGE = Schema(
    "leakage.parquet",
    {
        "pair_id": Column(pl.String, "test pair"),
        "scheme": Column(pl.String, "scheme"),
        "fold": Column(pl.Int32, "fold"),
        "trained_parents": Column(pl.List(pl.String), "trained subgroups that contain the test subgroup; none where nothing trains"),
        "shared_respondents": Column(pl.Float64, "share of its respondents who stand behind trained gold of the same item"),
    },
)

LANDSCAPE = Schema(
    "landscape.parquet",
    {
        "item": Column(pl.String, "item id"),
        "stratum": Column(pl.String, "stratum"),
        "subgroups": Column(pl.Int64, "subgroups with gold"),
        "mds": Column(pl.Float64, "Modal Diversity Score, 0 to 1; null where undefined"),
        "wasserstein": Column(pl.Float64, "mean pairwise W1 over positions / (K-1); null for nominal items"),
    },
)

TABLES: Mapping[str, Schema] = {
    "items": ITEMS,
    "subgroups": SUBGROUPS,
    "gold": GOLD,
    "mode_draws": MODE_DRAWS,
    "splits": SPLITS,
    "leakage": LEAKAGE,
    "landscape": LANDSCAPE,
}


@dataclass(frozen=True)
class Dataset:
    """One survey's subgroup ground truth.

    Attributes:
        meta: the document of `dataset.json`: survey, codebook, source, settings, seeds, counts, place, attributes
            (each with name, short, title, role and levels: label, phrase, role), shareable, versions.
        items, subgroups, gold, mode_draws, splits, leakage, landscape: frames of the schemas above.
        joint: one row a full attribute cell: a column an attribute, `n`, `weight` (no answers).
        path: the folder it was read from, or None when it was just built.
    """

    meta: Mapping[str, Any]
    items: pl.DataFrame
    subgroups: pl.DataFrame
    joint: pl.DataFrame
    gold: pl.DataFrame
    mode_draws: pl.DataFrame
    splits: pl.DataFrame
    leakage: pl.DataFrame
    landscape: pl.DataFrame
    path: Path | None = None

    @property
    def attributes(self) -> list[str]:
        """Names of the attributes, in their fixed order."""
        return [attribute["name"] for attribute in self.meta["attributes"]]

    @property
    def fingerprint(self) -> str:
        """Hash that a run carries, so that it cannot be scored against another data set."""
        return str(self.meta["fingerprint"])

    @cached_property
    def codes_of(self) -> dict[str, tuple[int, ...]]:
        """Item id -> its scale codes, in scale order."""
        return {item: tuple(codes) for item, codes in self.items.select("item", "codes").iter_rows()}

    @cached_property
    def strata(self) -> list[str]:
        """The strata in order of construction, without `all`."""
        return [s for s in self.subgroups["stratum"].unique(maintain_order=True).to_list() if s != "all"]

    def part(self, scheme: str, part: str, fold: int | None = None) -> pl.DataFrame:
        """Return the pairs of one part of a split scheme (`all` for every part): pair_id, item, subgroup, fold, part.

        `SCHEME+disjoint` has the rows of its base scheme; whose gold they stand for is said by `half_of`. A pair may
        stand in several folds, and be a test pair in more than one of them.

        Raises:
            UsageError: a part, a scheme or a fold that does not exist.
            InputDataError: a scheme that the survey does not admit, with the reason.
        """
        if part not in (*PARTS, "all"):
            raise UsageError(f"There is no part {part!r} of a split.{did_you_mean(part, (*PARTS, 'all'))}")
        rows = self.splits.filter(pl.col("scheme") == scheme.removesuffix(DISJOINT))
        if rows.is_empty():
            raise self._no_scheme(scheme)
        if fold is not None and fold not in (folds := rows["fold"].unique().sort().to_list()):
            raise UsageError(f"Split {scheme!r} has no fold {fold}; its folds: {', '.join(map(str, folds))}.")
        if part != "all":
            rows = rows.filter(pl.col("part") == part)
        if fold is not None:
            rows = rows.filter(pl.col("fold") == fold)
        return rows.select("pair_id", "item", "subgroup", "fold", "part")

    def scored_pairs(self, scheme: str, part: str, fold: int | None = None) -> pl.DataFrame:
        """Return the rows of `part`, each pair once, and the `half` whose gold it is scored against.

        A pair of several folds is the test pair it once was, where it was one.

        Raises:
            UsageError, InputDataError: as for `part`.
        """
        # `test` sorts first of the parts.
        pairs = self.part(scheme, part, fold).sort("part", maintain_order=True).unique("pair_id", keep="first", maintain_order=True)
        halves = {name: half_of(scheme, name) for name in PARTS}
        return pairs.with_columns(pl.col("part").replace_strict(halves, return_dtype=pl.String).alias("half"))

    def fold_labels(self, scheme: str) -> list[str]:
        """Return what each fold of a scheme holds out, in the order of the folds: `religion = Muslim`, topics, ...

        Raises:
            UsageError: a scheme that does not exist.
            InputDataError: a scheme that the survey does not admit, with the reason.
        """
        found: Mapping[str, Any] = self.meta.get("splits", {}).get(scheme.removesuffix(DISJOINT), {})
        if "folds" not in found:
            raise self._no_scheme(scheme)
        return [str(label) for label in found["folds"]]

    @property
    def remarks(self) -> list[str]:
        """What the survey did not admit, and why: strata without pairs, attributes of one level, splits; what to know of splits."""
        noted: dict[str, list[str]] = {}
        for row in self.meta.get("strata", ()):
            if row["note"]:
                noted.setdefault(row["note"], []).append(row["stratum"])
        strata = [f"{'Strata' if len(names) > 1 else 'Stratum'} {', '.join(names)}: {note}." for note, names in noted.items()]
        about: Mapping[str, Mapping[str, Any]] = self.meta.get("splits", {})
        refused = [f"No split {name}: {its['refused']}" for name, its in about.items() if "refused" in its]
        return strata + refused + [f"Split {name}: {its['note']}" for name, its in about.items() if "note" in its]

    def _no_scheme(self, scheme: str) -> UsageError | InputDataError:
        """Return the error of a scheme without pairs: the caller's, where no data set has one of that name, else the survey's."""
        where = self.path or "the data set"
        built = self.splits["scheme"].unique(maintain_order=True).to_list()
        held = f"{', '.join(built)}, each also with {DISJOINT}" if built else "none"
        base = scheme.removesuffix(DISJOINT)
        if base not in SCHEMES:
            names = [*SCHEMES, *(name + DISJOINT for name in SCHEMES)]
            return UsageError(f"There is no split {scheme!r}.{did_you_mean(scheme, names)} Splits of {where}: {held}.")
        reason = self.meta.get("splits", {}).get(base, {}).get("refused")
        return InputDataError(f"{where}: it has no split {scheme!r}. {reason or f'Splits built: {held}.'}")


def half_of(split: str, part: str) -> Literal["all", "A", "B"]:
    """Return whose gold a part of a split stands for: everybody's, or under `SCHEME+disjoint` that of one half.

    Args:
        split: name of a scheme. part: train, validation or test (that of a pair, never `all`).

    Returns:
        `all` without the suffix; with it `B` for test and `A` for train and validation.

    Raises:
        UsageError: another part; of several parts together the gold would come from both halves.
    """
    if part not in PARTS:
        raise UsageError(f"Gold of part {part!r} of split {split!r}: expected one of {', '.join(PARTS)}.")
    if not split.endswith(DISJOINT):
        return "all"
    return "B" if part == "test" else "A"


def write_dataset(dataset: Dataset, path: Path) -> None:
    """Write a data set folder, whole or not at all. An existing data set there is replaced; any other folder is refused."""
    if path.exists() and not (path / "dataset.json").is_file() and (not path.is_dir() or any(path.iterdir())):
        raise InputDataError(f"{path}: exists and is not a valuestrata data set; choose another place for it with -o.")
    with folder_written_beside(path) as folder:
        for name, schema in TABLES.items():
            write_parquet(folder / f"{name}.parquet", schema.check(getattr(dataset, name), name))
        write_parquet(folder / "joint.parquet", dataset.joint)
        write_json(folder / "dataset.json", dict(dataset.meta))


def load_dataset(path: str | Path) -> Dataset:
    """Read a data set folder.

    Raises:
        InputDataError: no data set there, one of another format, or a table that is absent or broken.
    """
    folder = Path(path)
    if not (folder / "dataset.json").is_file():
        raise InputDataError(f"{folder}: no data set here (dataset.json is missing). Make one with: valuestrata build FILE -o {folder}")
    meta = read_json(folder / "dataset.json")
    if meta.get("format") != FORMAT:
        raise InputDataError(f"{folder / 'dataset.json'}: format {meta.get('format')!r}, expected {FORMAT!r}; build the data set again.")
    tables: dict[str, pl.DataFrame] = {}
    for name, schema in TABLES.items():
        file = folder / f"{name}.parquet"
        tables[name] = schema.check(read_parquet(file), str(file))
    return Dataset(meta=meta, joint=read_parquet(folder / "joint.parquet"), path=folder, **tables)


def refuse_other_survey(path: Path, survey: str) -> None:
    """Raise InputDataError when a data set already stands at `path` and belongs to another survey."""
    if not (path / "dataset.json").is_file():
        return
    found = read_json(path / "dataset.json").get("survey", {}).get("name")
    if found != survey:
        raise InputDataError(f"{path}: holds a data set of {found!r}, not of {survey!r}; choose another folder with -o.")
