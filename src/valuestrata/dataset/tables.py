"""The data set on disk: schemas, reading and writing. It holds aggregates only, never respondents' rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.document import FORMAT as FORMAT
from valuestrata.dataset.document import NAME, check_files, check_fingerprint, published_text, read_dataset_document, with_hashes
from valuestrata.errors import InputDataError, Option, UsageError, did_you_mean
from valuestrata.files import folder_written_beside, read_parquet, write_json, write_parquet
from valuestrata.frames import Column, Schema
from valuestrata.overview import HasOverview, Overview
from valuestrata.survey.codebook import Missing

MISSING_CLASSES = tuple(kind.key for kind in Missing)
# Suffixes of a scheme. Both use those pairs of the scheme that have the minimum of answers in each half of the respondents.
# +disjoint: training gold from half A, test gold from half B. +crossfit: also the other way round, as folds of their own.
DISJOINT = "+disjoint"
CROSSFIT = "+crossfit"
NO_SUBGROUPS = "Build it from counts of subgroups, or from a survey file with respondents."
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
        "wording_source": Column(pl.String, "source of the wording: valuestrata, drafted or overlay"),
    },
)

# Followed by one column per attribute: the level's label, null if the stratum does not use the attribute.
SUBGROUPS = Schema(
    "subgroups.parquet",
    {
        "subgroup": Column(pl.String, "id: {stratum}_{Level}[_{Level}]"),
        "stratum": Column(pl.String, "set of attributes; `all` for the nation"),
        "n": Column(pl.Int64, "respondents"),
        "n_eff": Column(pl.Float64, "effective respondents: Kish, divided by the design effect of clusters"),
    },
)

GOLD = Schema(
    "gold.parquet",
    {
        "pair_id": Column(pl.String, "{item}_{subgroup}"),
        "item": Column(pl.String, "item id"),
        "subgroup": Column(pl.String, "subgroup id"),
        "half": Column(pl.String, "all, A or B: a random division of the respondents"),
        "n": Column(pl.Int64, "valid answers"),
        "n_eff": Column(pl.Float64, "effective valid answers: Kish, divided by the design effect of clusters"),
        "counts_raw": Column(pl.List(pl.Int64), "answers by code, scale order"),
        "counts_weighted": Column(pl.List(pl.Float64), "weighted answers by code"),
        "shares": Column(pl.List(pl.Float64), "weighted shares by code, sum 1"),
        "mode": Column(pl.Int32, "lowest code among `modes`"),
        "modes": Column(pl.List(pl.Int32), "codes that share the largest weighted count"),
        "mode_share": Column(pl.Float64, "share of the mode"),
        "p_mode": Column(pl.List(pl.Float64), "share of joint redraws in which each code is the mode, ties shared"),
        "margin": Column(pl.Float64, "largest share minus second largest"),
        "entropy": Column(pl.Float64, "entropy of shares, bits"),
        "ceiling_oracle": Column(pl.Float64, "expected accuracy of the population's mode: sum of p_true x p_mode"),
        "ceiling_human": Column(pl.Float64, "expected accuracy of the mode of a fresh sample of the same size"),
        "floor_nmae": Column(pl.Float64, "expected NMAE of the best answer of someone who knows the population; null for nominal items"),
        "floor_w1": Column(pl.Float64, "expected W1 of the population's shares to these shares; null for nominal items"),
        "floor_rps": Column(pl.Float64, "expected RPS of the population's shares to these shares; null for nominal items"),
        "flag": Column(pl.String, "`small` for 30 to 59 valid answers, else null"),
        "missing": Column(
            pl.Struct(dict.fromkeys(MISSING_CLASSES, pl.Int64)),
            "respondents without a valid answer, by class",
        ),
    },
)

SMALL_AREA = Schema(
    "small_area.parquet",
    {
        "pair_id": Column(pl.String, "{item}_{subgroup}"),
        "half": Column(pl.String, "all, A or B"),
        "shares_shrunken": Column(pl.List(pl.Float64), "small-area estimate of the population's share of each code, sum 1"),
        "mse": Column(pl.List(pl.Float64), "mean squared error of each of these shares"),
        "p_true": Column(pl.List(pl.Float64), "probability of each code to be the population's mode"),
    },
)

MODE_DRAWS = Schema(
    "mode_draws.parquet",
    {
        "pair_id": Column(pl.String, "{item}_{subgroup}"),
        "half": Column(pl.String, "all, A or B; a half without valid answers has no row"),
        "draws": Column(pl.List(pl.Int8), "option index of the mode in each joint redraw of all respondents"),
        "share_se": Column(pl.List(pl.Float64), "standard deviation over redraws of each share"),
        "share_draws": Column(
            pl.List(pl.Int8),
            "shares in the first redraws, as steps of share_se / 32 from the gold share (`gold.unpack_share_draws`)",
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
        "trained_parents": Column(pl.List(pl.String), "training subgroups that contain the test subgroup"),
        "shared_respondents": Column(pl.Float64, "share of its respondents who also contribute to training gold of the same item"),
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
        **{
            f"{measure}_{name}": Column(dtype, meaning, optional=True)
            for measure in ("mds", "wasserstein")
            for name, dtype, meaning in (
                ("se", pl.Float64, "standard deviation over redraws of the respondents"),
                ("null", pl.Float64, "mean with respondents permuted among the subgroups of the stratum"),
                ("null_low", pl.Float64, "2.5 % quantile of the permutations"),
                ("null_high", pl.Float64, "97.5 % quantile of the permutations"),
                ("p", pl.Float64, "share of permutations (with the data themselves) that are at least as large"),
                ("null_draws", pl.List(pl.Float32), "value in each permutation of the respondents, the same for all items and strata"),
            )
        },
    },
)

TABLES: Mapping[str, Schema] = {
    "items": ITEMS,
    "subgroups": SUBGROUPS,
    "gold": GOLD,
    "small_area": SMALL_AREA,
    "mode_draws": MODE_DRAWS,
    "splits": SPLITS,
    "leakage": LEAKAGE,
    "landscape": LANDSCAPE,
}
# Tables that data sets of older versions do not have.
LATER_TABLES = ("small_area",)


def survey_and_place(survey: Any, place: Any) -> str:
    """Return a survey's title and place in words; arguments as in `dataset.json`."""
    named = survey if isinstance(survey, dict) else {"name": survey}
    title = str(named.get("title") or named.get("name") or "an unnamed survey")
    return f"{title}, {place}" if place else title


@dataclass(frozen=True, repr=False)
class Dataset(HasOverview):
    """Subgroup ground truth of one survey.

    Attributes:
        meta: the document of `dataset.json`: survey, codebook, source, settings, seeds, counts, place, attributes
            (each with name, short, title, role and levels: label, phrase, role), shareable, versions.
        items: one row per item: its topic, codes, labels and question (ITEMS).
        subgroups: one row per subgroup: its levels and its number of respondents (SUBGROUPS).
        gold: one row per pair and half: counts, shares, mode and ceilings (GOLD).
        mode_draws: modes under joint redraws of the respondents (MODE_DRAWS).
        splits: the part of each pair in each scheme and fold (SPLITS).
        leakage: what each test pair shares with training, by scheme and fold (LEAKAGE).
        landscape: how much subgroups differ, by item and stratum (LANDSCAPE).
        joint: one row per combination of all attributes: a column per attribute, `n`, `weight` (no answers).
        small_area: SMALL_AREA schema, rows as in `gold`; empty in data sets of older versions. A pair's estimate uses the answers to
            other pairs, so it is no training data for them.
        path: the folder it was read from; None if it has not been written.
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
    small_area: pl.DataFrame = field(default_factory=SMALL_AREA.empty)
    path: Path | None = None

    def overview(self) -> Overview:
        """Return survey, sizes, strata and splits."""
        from valuestrata.dataset.summary import overview_of

        return overview_of(self)

    @property
    def attributes(self) -> list[str]:
        """Names of the attributes, in their fixed order."""
        return [attribute["name"] for attribute in self.meta["attributes"]]

    @property
    def fingerprint(self) -> str:
        """Hash of the data set. Runs store it, which prevents scoring them against another data set."""
        return str(self.meta["fingerprint"])

    @property
    def survey_and_place(self) -> str:
        """Title of the survey and where its respondents live, for example `World Values Survey wave 7, Japan`."""
        return survey_and_place(self.meta.get("survey"), self.meta.get("place"))

    @cached_property
    def codes_of(self) -> dict[str, tuple[int, ...]]:
        """Item id -> its scale codes, in scale order."""
        return {item: tuple(codes) for item, codes in self.items.select("item", "codes").iter_rows()}

    @cached_property
    def block_names(self) -> dict[str, str]:
        """Item id -> a name for its block; an item without a block has a name of its own."""
        return {
            item: f"item {item}" if block is None else f"block {block}" for item, block in self.items.select("item", "block").iter_rows()
        }

    def blocks_of(self, items: Sequence[str] | NDArray[Any]) -> NDArray[np.str_]:
        """Return the name of the block of each item, shape (n,)."""
        return np.array([self.block_names[str(item)] for item in items], dtype=np.str_)

    @cached_property
    def strata(self) -> list[str]:
        """The strata of the targets in order of construction: without `all`, unless there are no subgroups."""
        found = self.subgroups["stratum"].unique(maintain_order=True).to_list()
        return found if self.has_only_everyone else [s for s in found if s != "all"]

    @property
    def has_only_everyone(self) -> bool:
        """Whether the whole population is the target, because counts were published without subgroups."""
        return self.subgroups["subgroup"].to_list() == ["all"]

    @property
    def target_gold(self) -> pl.DataFrame:
        """Gold of the targets from all respondents (GOLD schema): without the subgroup `all`, unless there is no other."""
        is_target = pl.lit(value=True) if self.has_only_everyone else pl.col("subgroup") != "all"
        return self.gold.filter((pl.col("half") == "all") & is_target)

    def part(self, scheme: str, part: str, fold: int | None = None) -> pl.DataFrame:
        """Return the pairs of one part of a split scheme (`all` for every part): pair_id, item, subgroup, fold, part.

        `SCHEME+disjoint` has the rows of its base scheme whose pairs are `in_both_halves`; `half_of` gives the half whose gold
        applies. `SCHEME+crossfit` has the same rows twice: fold f of the scheme as fold 2f (trained on A, tested on B) and as
        fold 2f + 1 (the other way round). A pair may occur in several folds, and may be a test pair in more than one.

        Raises:
            UsageError: a part, a scheme or a fold that does not exist.
            InputDataError: a scheme that cannot be built from this survey, with the reason; no pair with the minimum in both halves.
        """
        if part not in (*PARTS, "all"):
            raise UsageError(f"There is no part {part!r} of a split.{did_you_mean(part, (*PARTS, 'all'))}")
        rows = self.splits.filter(pl.col("scheme") == base_of(scheme))
        if rows.is_empty():
            raise self._no_scheme(scheme)
        if uses_halves(scheme):
            rows = self._with_both_halves(rows, scheme)
        if fold is not None and fold not in (folds := rows["fold"].unique().sort().to_list()):
            raise UsageError(f"Split {scheme!r} has no fold {fold}. Available folds: {', '.join(map(str, folds))}.")
        if part != "all":
            rows = rows.filter(pl.col("part") == part)
        if fold is not None:
            rows = rows.filter(pl.col("fold") == fold)
        return rows.select("pair_id", "item", "subgroup", "fold", "part")

    def scored_pairs(self, scheme: str, part: str, fold: int | None = None) -> pl.DataFrame:
        """Return the rows of `part`, each pair once, with the `half` whose gold it is scored against.

        A pair that occurs in several folds counts as a test pair if it is one in any fold. Under `+crossfit` without `fold`, each
        pair has two rows, one for each half.

        Raises:
            UsageError, InputDataError: as for `part`.
        """
        # Alphabetically, `test` is the first part.
        pairs = self.part(scheme, part, fold).sort("part", maintain_order=True)
        found: list[pl.DataFrame] = []
        for direction in (0, 1) if scheme.endswith(CROSSFIT) else (0,):
            rows = pairs.filter(pl.col("fold") % 2 == direction) if scheme.endswith(CROSSFIT) else pairs
            halves = {name: half_of(scheme, name, direction) for name in PARTS}
            once = rows.unique("pair_id", keep="first", maintain_order=True)
            found.append(once.with_columns(pl.col("part").replace_strict(halves, return_dtype=pl.String).alias("half")))
        return pl.concat(found)

    def scored_gold(self, scheme: str, part: str, fold: int | None = None) -> pl.DataFrame:
        """Return the gold that a part is scored against (GOLD schema), of the half of the respondents that the split uses.

        Raises:
            UsageError, InputDataError: as for `part`.
        """
        return self.gold.join(self.scored_pairs(scheme, part, fold), on=("pair_id", "half"), how="semi", maintain_order="left")

    @cached_property
    def in_both_halves(self) -> pl.DataFrame:
        """The pairs with the minimum of effective answers (`min_valid` of the build) in half A and in half B: pair_id."""
        least = float((self.meta.get("settings") or {}).get("min_valid") or 0.0)
        enough = self.gold.filter(pl.col("half").is_in(["A", "B"]) & (pl.col("n_eff") >= least))
        return enough.group_by("pair_id", maintain_order=True).len().filter(pl.col("len") == 2).select("pair_id")

    def _with_both_halves(self, rows: pl.DataFrame, scheme: str) -> pl.DataFrame:
        """Return the rows of a scheme that its form with halves uses, without folds that lose all training or all test pairs."""
        kept = rows.join(self.in_both_halves, on="pair_id", how="semi", maintain_order="left")
        needed, held = (frame.filter(pl.col("part") != "validation").select("fold", "part").unique() for frame in (rows, kept))
        lost = needed.join(held, on=["fold", "part"], how="anti")["fold"].unique()
        kept = kept.filter(~pl.col("fold").is_in(lost.implode()))
        if kept.is_empty() and self.meta.get("published"):
            raise InputDataError(
                f"{self.path or 'the data set'}: the split {scheme!r} needs halves of the respondents, and published counts have none. Use "
                f"{base_of(scheme)!r}, or build from a survey file with respondents."
            )
        if kept.is_empty():
            least = (self.meta.get("settings") or {}).get("min_valid") or 0
            raise InputDataError(
                f"{self.path or 'the data set'}: the split {scheme!r} needs pairs with at least {least:g} valid answers in each half of "
                f"the respondents, and no fold has training and test pairs with that many. Use {base_of(scheme)!r}, or build again with a "
                "lower ",
                Option("min_valid"),
                ".",
            )
        if not scheme.endswith(CROSSFIT):
            return kept
        doubled = [kept.with_columns((pl.col("fold") * 2 + direction).cast(pl.Int32)) for direction in (0, 1)]
        return pl.concat(doubled).sort("fold", maintain_order=True)

    def fold_labels(self, scheme: str) -> list[str]:
        """Return what each fold of a scheme holds out, in the order of the folds: `religion = Muslim`, topics, ...

        Raises:
            UsageError: a scheme that does not exist.
            InputDataError: a scheme that cannot be built from this survey, with the reason.
        """
        found: Mapping[str, Any] = self.meta.get("splits", {}).get(base_of(scheme), {})
        if "folds" not in found:
            raise self._no_scheme(scheme)
        labels = [str(label) for label in found["folds"]]
        if not scheme.endswith(CROSSFIT):
            return labels
        return [f"{label}; trained on half {half}" for label in labels for half in "AB"]

    @property
    def remarks(self) -> list[str]:
        """Notes on what could not be built, with reasons (strata, splits), and on splits that need care."""
        noted: dict[str, list[str]] = {}
        for row in self.meta.get("strata", ()):
            if row["note"]:
                noted.setdefault(row["note"], []).append(row["stratum"])
        published = [published_text(self.meta["published"])] if self.meta.get("published") else []
        strata = [f"{'Strata' if len(names) > 1 else 'Stratum'} {', '.join(names)}: {note}." for note, names in noted.items()]
        about: Mapping[str, Mapping[str, Any]] = self.meta.get("splits", {})
        refused = [f"Split {name} is not available: {its['refused']}" for name, its in about.items() if "refused" in its]
        return published + strata + refused + [f"Split {name}: {its['note']}" for name, its in about.items() if "note" in its]

    def _no_scheme(self, scheme: str) -> UsageError | InputDataError:
        """Return a UsageError for an unknown scheme, an InputDataError for one that this data set lacks."""
        where = self.path or "the data set"
        built = self.splits["scheme"].unique(maintain_order=True).to_list()
        held = f"{', '.join(built)}, each also with {DISJOINT} or {CROSSFIT}" if built else "none"
        base = base_of(scheme)
        if base not in SCHEMES:
            names = [name + suffix for suffix in ("", DISJOINT, CROSSFIT) for name in SCHEMES]
            return UsageError(f"There is no split {scheme!r}.{did_you_mean(scheme, names)} Splits of {where}: {held}.")
        reason = self.meta.get("splits", {}).get(base, {}).get("refused")
        about = f"{where}: the split {scheme!r} is not available. {f'{reason} ' if reason else ''}Available splits: {held}."
        # `transfer` also needs the data set to train on.
        usable = [name for name in built if name != "transfer"]
        return InputDataError(about, *((" Choose one with ", Option("split", usable[0]), ".") if usable else ()))


def fewest_answers(gold: pl.DataFrame) -> str:
    """Write the smallest effective number of answers of gold rows, rounded down: 29.96 answers are fewer than 30."""
    return f"{math.floor(10 * float(gold['n_eff'].to_numpy().min())) / 10:g}"


def base_of(split: str) -> str:
    """Return the scheme of a split: its name without `+disjoint` or `+crossfit`."""
    return split.removesuffix(DISJOINT).removesuffix(CROSSFIT)


def uses_halves(split: str) -> bool:
    """Whether training and test gold of a split come from different respondents: `+disjoint` or `+crossfit`."""
    return base_of(split) != split


def half_of(split: str, part: str, fold: int | None = None) -> Literal["all", "A", "B"]:
    """Return the half of the respondents whose gold a part of a split uses.

    Args:
        split: name of a scheme. part: train, validation or test; not `all`.
        fold: the fold, needed under `+crossfit`.

    Returns:
        `all` without a suffix. With one, `B` for test and `A` for train and validation; in the odd folds of `+crossfit` the
        other way round.

    Raises:
        UsageError: another part, or no fold under `+crossfit`.
    """
    if part not in PARTS:
        raise UsageError(f"part={part!r} of split {split!r}: expected one of {', '.join(PARTS)}.")
    if not uses_halves(split):
        return "all"
    if split.endswith(CROSSFIT) and fold is None:
        raise UsageError(f"Split {split!r} trains on either half of the respondents; give the fold (even: half A, odd: half B).")
    mirrored = split.endswith(CROSSFIT) and fold is not None and fold % 2 == 1
    return "B" if (part == "test") != mirrored else "A"


def write_dataset(dataset: Dataset, path: Path) -> None:
    """Write a data set folder atomically. It replaces an existing data set; any other non-empty folder is refused.

    Args:
        dataset: the data set.
        path: the folder.
    """
    if path.exists() and not (path / NAME).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise InputDataError(f"{path}: exists and is not a valuestrata data set; choose another folder with -o.")
    with folder_written_beside(path) as folder:
        for name, schema in TABLES.items():
            write_parquet(folder / f"{name}.parquet", schema.check(getattr(dataset, name), name))
        write_parquet(folder / "joint.parquet", dataset.joint)
        write_json(folder / NAME, with_hashes(dataset.meta, folder))


def load_dataset(path: str | Path) -> Dataset:
    """Read a data set folder.

    Args:
        path: the folder.

    Raises:
        InputDataError: no data set, another format, a missing or damaged table, or a file that was changed after the build.
    """
    folder = Path(path)
    if not (folder / NAME).is_file():
        raise InputDataError(f"{folder}: not a data set (dataset.json is missing). Create one with: valuestrata build FILE -o {folder}")
    meta = read_dataset_document(folder)
    check_files(folder, meta)
    tables: dict[str, pl.DataFrame] = {}
    for name, schema in TABLES.items():
        file = folder / f"{name}.parquet"
        if name in LATER_TABLES and file.name not in (meta.get("sha256") or {}) and not file.is_file():
            continue
        tables[name] = schema.check(read_parquet(file), str(file))
    check_fingerprint(folder, meta, tables["items"], tables["subgroups"], tables["gold"], tables["splits"])
    return Dataset(meta=meta, joint=read_parquet(folder / "joint.parquet"), path=folder, **tables)


def refuse_other_survey(path: Path, survey: str) -> None:
    """Raise InputDataError if `path` already holds a data set of another survey."""
    if not (path / NAME).is_file():
        return
    found = read_dataset_document(path)["survey"]["name"]
    if found != survey:
        raise InputDataError(f"{path}: contains a data set of the survey {found!r}, not {survey!r}; choose another folder with -o.")
