"""What a model or baseline was trained on: a record for `run.json`, and its comparison with the pairs of a data set.

Training and test data are compared by survey file, country, item and subgroup, not by the fingerprint of one build: the same file
built with other settings has the same respondents.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import polars as pl
from pydantic import BaseModel, ConfigDict

from valuestrata.dataset.subgroups import EVERYONE
from valuestrata.dataset.tables import CROSSFIT, Dataset, base_of, half_of, uses_halves
from valuestrata.errors import InputDataError, Option, UsageError, ValuestrataError, did_you_mean
from valuestrata.files import canonical_hash, read_json, read_utf8
from valuestrata.yaml_files import checked, parse_yaml

# Keys of a record that list pairs or halves. They are long, so pages leave them out.
LONG_KEYS = ("pair_ids", "half_a")
# Files with a record: of an adapter, of an export, of a run.
_RECORDS = ("training.json", "export.json")
# `here`: the respondents of the data set. `elsewhere`: others. `none`: no survey data. `unknown`: not recorded.
Relation = Literal["here", "elsewhere", "none", "unknown"]
# Why training and test respondents overlap although they were to be disjoint.
Halves = Literal["all", "same half", "other halves"]


class TrainedPairs(BaseModel):
    """Training pairs: every item with every subgroup, except the items listed with a subgroup."""

    model_config = ConfigDict(frozen=True, extra="allow")

    items: tuple[str, ...]
    subgroups: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, pairs: pl.DataFrame) -> TrainedPairs:
        """Return the record of a frame with `item` and `subgroup`."""
        items = sorted(pairs["item"].unique())
        trained = pairs.group_by("subgroup").agg("item").sort("subgroup")
        return cls(items=tuple(items), subgroups={name: tuple(sorted({*items}.difference(own))) for name, own in trained.iter_rows()})

    def frame(self) -> pl.DataFrame:
        """Return the pairs as `item` and `subgroup`."""
        left_out = {name: {*without} for name, without in self.subgroups.items()}
        rows = [(item, name) for name, without in left_out.items() for item in self.items if item not in without]
        return pl.DataFrame(rows, schema={"item": pl.String, "subgroup": pl.String}, orient="row")


class TrainingSource(BaseModel):
    """The survey data that an adapter was trained on, or a baseline or calibration was fitted to.

    Records of earlier versions have `split`, `fold` and, of an adapter, `dataset` only.

    Attributes:
        survey, place: name of the survey, where its respondents live. file: SHA-256 of the survey file.
        countries: their codes; empty if the file has no countries. dataset: fingerprint of the data set.
        split, fold: where the pairs are from; `fold` is None for the only fold, and where each fold has a model of its own.
        halves: of the respondents: `all`, or `A` or `B`; both where each fold of `+crossfit` has a model of its own; empty for a model
            that was not trained on survey data.
        half_a: item -> checksum of the nation's answers in half A, which identifies the division into halves; None for `all`.
        pairs: number of training pairs, a list with one number for each fold. pairs_sha256: hash of their ids.
        pair_ids: the pairs; None for a baseline, whose pairs follow from the data set, and where each fold has a model.
        method: what was done with the pairs, such as `tune:modal`, `baseline:additive` or `context:gold:8`. control: of an adapter.
        unmatched: items and levels that the data set of a baseline lacks, by kind.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    survey: str | None = None
    place: str | None = None
    file: str | None = None
    countries: tuple[str, ...] | None = None
    dataset: str | None = None
    split: str | None = None
    fold: int | None = None
    halves: tuple[str, ...] | None = None
    half_a: dict[str, str] | None = None
    pairs: int | list[int] | None = None
    pairs_sha256: str | None = None
    pair_ids: TrainedPairs | None = None
    method: str | None = None
    control: str | None = None
    unmatched: dict[str, list[str]] = {}

    @property
    def document(self) -> dict[str, Any]:
        """The record as `run.json` has it."""
        return self.model_dump(mode="json", exclude_unset=True)

    @property
    def used_halves(self) -> tuple[str, ...]:
        """The halves of the respondents; by the name of the split where the record does not say."""
        if self.halves is not None:
            return self.halves
        return ("A", "B") if self.cross_fitted else (half_of(self.split or "", "train", self.fold),)

    @property
    def cross_fitted(self) -> bool:
        """Whether a model was trained on each half, and answers for the other."""
        return (self.split or "").endswith(CROSSFIT) and self.fold is None

    @property
    def in_prompts(self) -> bool:
        """Whether prompts showed the gold. The prompt of a pair never shows gold of the pair itself."""
        return (self.method or "").startswith("context:")

    @property
    def by_fold(self) -> bool:
        """Whether each fold has a model of its own, which answers the pairs that its fold holds out."""
        return isinstance(self.pairs, list)


def source_of(
    dataset: Dataset, pairs: pl.DataFrame | Sequence[int], *, split: str | None, fold: int | None, halves: Sequence[str], method: str
) -> dict[str, Any]:
    """Return the record of a training on a data set.

    Args:
        dataset: the training data set. split, fold: the pairs' place. method: what was done with them.
        halves: of the respondents, `all`, `A` or `B`; one for each model.
        pairs: frame of the pairs with `item` and `subgroup`; or the number of pairs of each fold, where each has a model of its own.
    """
    counted: dict[str, Any]
    if isinstance(pairs, pl.DataFrame):
        listed = TrainedPairs.of(pairs)
        counted = {"pairs": pairs.height, "pairs_sha256": _hash_of(pairs), "pair_ids": listed.model_dump(mode="json")}
    else:
        counted = {"pairs": list(pairs)}
    about: Mapping[str, Any] = dataset.meta
    survey = about.get("survey")
    return {
        "survey": survey.get("name") if isinstance(survey, dict) else survey,
        "place": about.get("place"),
        "file": _file_of(dataset),
        "countries": sorted(_countries_of(dataset)),
        "dataset": dataset.fingerprint,
        "split": split,
        "fold": fold,
        "halves": sorted(set(halves)),
        **({} if set(halves) == {"all"} else {"half_a": _half_a(dataset)}),
        **counted,
        "method": method,
    }


def source_of_split(dataset: Dataset, split: str, fold: int | None, *, method: str) -> dict[str, Any] | None:
    """Return the record of what used the training pairs of a split; None if it has none. Arguments as for `source_of`.

    Without `fold`, under a split with several, each fold is a training of its own.
    """
    trained = dataset.part(split, "train", fold)
    folds = trained.group_by("fold").len().sort("fold")["len"].to_list()
    if not folds:
        return None
    pairs = trained if fold is not None or len(folds) == 1 else folds
    halves = [half_of(split, "train", one) for one in trained["fold"].unique()]
    return source_of(dataset, pairs, split=split, fold=fold, halves=halves, method=method)


def pooled_source(sources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one record for the models of several folds, each of which answers the pairs that its fold holds out."""
    counted = [int(source["pairs"]) for source in sources if isinstance(source.get("pairs"), int)]
    first = {key: value for key, value in sources[0].items() if key not in ("pair_ids", "pairs_sha256")}
    halves = sorted({half for source in sources for half in source.get("halves") or ()})
    return first | {"fold": None, "pairs": counted} | ({"halves": halves} if halves else {})


def untrained(method: str = "none") -> dict[str, Any]:
    """Return the record of a model that was not trained on survey data."""
    return {"halves": [], "pairs": 0, "method": method}


def stated_source(stated: str | Path | Mapping[str, Any], dataset: Dataset) -> dict[str, Any]:
    """Return the record of what a user states that a model was trained on.

    Args:
        dataset: the data set of the run.
        stated: `none` (no survey data); a split of the data set, `SPLIT` or `SPLIT:FOLD`, whose training pairs were used (without a
            fold, under a split with several, each fold had a model of its own); or a record (see `TrainingSource`): a mapping, a JSON or
            YAML file, or the folder of an adapter or export. In a record `pair_ids` may be a list of pair ids of the data set.

    Raises:
        UsageError: an unknown split or fold. InputDataError: a record that cannot be read, or does not say which survey was used.
    """
    if isinstance(stated, Mapping):
        return _stated_record(stated, "trained_on", dataset)
    found = Path(stated)
    if folder := next((found / name for name in _RECORDS if (found / name).is_file()), None):
        found = folder
    if found.suffix in (".json", ".yaml", ".yml"):
        document = read_json(found) if found.suffix == ".json" else parse_yaml(read_utf8(found), str(found)).document
        inside = document.get("trained_on", document.get("taught_on", document)) if isinstance(document, dict) else document
        if not isinstance(inside, dict):
            raise InputDataError(f"{found}: expected a mapping that says what the model was trained on, found {type(inside).__name__}.")
        return _stated_record(inside, str(found), dataset)
    if stated == "none":
        return untrained("stated")
    split, _, number = str(stated).partition(":")
    if number and not number.isdecimal():
        raise UsageError(Option("trained_on", str(stated)), f": {number!r} is not the number of a fold; write {split}:0.")
    fold = int(number) if number else None
    source = source_of_split(dataset, split, fold, method="stated")
    if source is None:
        raise UsageError(Option("trained_on", str(stated)), ": this split has no training pairs; describe the other survey in a file.")
    return source


def _stated_record(document: Mapping[str, Any], where: str, dataset: Dataset) -> dict[str, Any]:
    for key in document:
        if key not in TrainingSource.model_fields and key != "data_set":
            known = ", ".join(TrainingSource.model_fields)
            raise InputDataError(
                f"{where}: the key {key!r} is not known; expected {known}.{did_you_mean(key, TrainingSource.model_fields)}"
            )
    record = dict(document)
    if isinstance(ids := record.get("pair_ids"), list):
        pairs = dataset.gold.filter(pl.col("half") == "all").select("pair_id", "item", "subgroup")
        if unknown := sorted({str(one) for one in cast("list[Any]", ids)}.difference(pairs["pair_id"])):
            raise InputDataError(f"{where}: pair_ids: the data set has no pair {unknown[0]!r} (and {len(unknown) - 1} more).")
        listed = pairs.filter(pl.col("pair_id").is_in(ids))
        record |= {"pair_ids": TrainedPairs.of(listed).model_dump(mode="json"), "pairs": listed.height, "pairs_sha256": _hash_of(listed)}
    source = checked(TrainingSource, record, where)
    if source.halves != () and (source.survey, source.file, source.dataset) == (None, None, None):
        raise InputDataError(
            f"{where}: it does not say which survey the model was trained on; give `survey` (its name), `file` (SHA-256 of the survey "
            "file) or `dataset` (fingerprint of the data set), or `halves: []` for a model that was not trained on survey data."
        )
    return source.document


@dataclass(frozen=True)
class Overlap:
    """What the training of a run has in common with the pairs that it is scored on.

    Attributes:
        relation: whether training used respondents of the data set (see `Relation`).
        tested: share of the scored pairs that were training pairs.
        halves: why the respondents are not disjoint under `+disjoint` or `+crossfit` (see `Halves`); None if they are, and under other
            splits.
        same_survey: trained on another file of the same survey and place, which may hold the same respondents.
        pairs: number of scored pairs.
        beside: share of the scored pairs whose answers were fitted to other pairs that the same fold of the split tests.
    """

    relation: Relation
    tested: float = 0.0
    halves: Halves | None = None
    same_survey: bool = False
    pairs: int = 0
    beside: float = 0.0

    @property
    def voids(self) -> bool:
        """Whether the scores do not test the model: it was trained on tested pairs, or on respondents who were to be new."""
        return self.tested > 0 or self.beside > 0 or self.halves is not None


def overlap_of(source: TrainingSource, dataset: Dataset, scored: pl.DataFrame, split: str, described: str | None = None) -> Overlap:
    """Compare what a run was trained on with what it is scored on.

    Args:
        source: the record. dataset: the ground truth. split: the scored split.
        scored: the scored pairs: `pair_id`, `item`, `subgroup` and `half`.
        described: title and place of the training survey, for records of earlier versions.
    """
    relation, same_survey = _relation(source, dataset, described)
    if relation != "here" or scored.is_empty():
        return Overlap(relation, same_survey=same_survey, pairs=scored["pair_id"].n_unique())
    trained = _trained_pairs(source, dataset, split)
    tested = 0.0 if trained is None else scored.join(trained, on=["item", "subgroup"], how="semi").height / scored.height
    halves = _overlapping(source, dataset, set(scored["half"].unique()), split) if uses_halves(split) else None
    return Overlap("here", tested, halves, pairs=scored["pair_id"].n_unique())


def tested_beside(source: TrainingSource, dataset: Dataset, scored: pl.DataFrame, split: str, part: str, fold: int | None) -> float:
    """Return the share of scored pairs whose answers were fitted to pairs that the same fold of the scored split tests.

    A calibrated run answers only pairs that its own split holds out. Under another split the training pairs of these answers may be
    tested together with them: those of `paper` include the items that `unseen-item` tests.

    Args:
        source: the record of a calibration on the data set, which answers the pairs that its folds hold out.
        dataset: the ground truth. scored: the scored pairs that were answered: `pair_id`. split, part, fold: what is scored.
    """
    try:
        fitted = dataset.part(source.split or "", "all", source.fold).select("pair_id", "part", trained=pl.col("fold"))
    except ValuestrataError:
        return 0.0  # The data set was built without this split.
    tested = dataset.part(split, part, fold).select("pair_id", "fold").unique()
    train = fitted.filter(pl.col("part") == "train")
    both = tested.join(train, on="pair_id").select("fold", "trained").unique()
    # A pair is answered by the folds that test it, or else by those that validate on it.
    testing, validating = (fitted.filter(pl.col("part") == name) for name in ("test", "validation"))
    answering = pl.concat([testing, validating.join(testing, on="pair_id", how="anti")])
    answered = tested.join(scored, on="pair_id", how="semi").join(answering, on="pair_id")
    beside = answered.join(both, on=("fold", "trained"), how="semi")
    return beside["pair_id"].n_unique() / max(scored["pair_id"].n_unique(), 1)


def _relation(source: TrainingSource, dataset: Dataset, described: str | None) -> tuple[Relation, bool]:
    """Return where training took place, and whether it used another file of the same survey."""
    if source.halves == ():
        return "none", False
    if source.dataset == dataset.fingerprint:
        return "here", False
    place, countries = dataset.meta.get("place"), _countries_of(dataset)
    apart = bool(countries and source.countries and not countries.intersection(source.countries))
    if source.file is not None and (file := _file_of(dataset)) is not None:
        same_survey = source.survey == dataset.meta["survey"]["name"] and not apart
        return ("here", False) if source.file == file and not apart else ("elsewhere", source.file != file and same_survey)
    if source.survey is not None:
        same_place = None in (source.place, place) or source.place == place
        same = source.survey == dataset.meta["survey"]["name"] and not apart and (same_place or bool(source.countries))
        return ("here" if same else "elsewhere"), False
    if described is not None:
        return ("here" if described == dataset.survey_and_place else "elsewhere"), False
    return ("elsewhere" if source.dataset else "unknown"), False


def _trained_pairs(source: TrainingSource, dataset: Dataset, split: str) -> pl.DataFrame | None:
    """Return the training pairs as `item` and `subgroup`; None where each fold has its own model, or the pairs are not known.

    Prompts that show the gold of each fold show pairs that another split tests; those of all folds are returned then.
    """
    elsewhere = source.in_prompts and base_of(source.split or "") != base_of(split)
    if source.by_fold and not elsewhere:
        return None
    if source.pair_ids is not None:
        return source.pair_ids.frame()
    try:
        train = dataset.part(source.split or "", "train", source.fold)
    except ValuestrataError:
        return None  # The data set was built without this split.
    # An adapter of earlier versions without a fold, under a split with several, stands for one adapter for each fold.
    return None if source.fold is None and train["fold"].n_unique() > 1 and not elsewhere else train.select("item", "subgroup").unique()


def _overlapping(source: TrainingSource, dataset: Dataset, scored: set[str], split: str) -> Halves | None:
    """Return why training respondents are among those of the scored halves; None if they are not."""
    used = set(source.used_halves)
    if "all" in used | scored:
        return "all"
    if not same_halves(source, dataset):
        return "other halves"
    if source.cross_fitted and split.endswith(CROSSFIT):
        return None  # Each response is scored against the half that its model was not trained on.
    return "same half" if used & scored else None


def same_halves(source: TrainingSource, dataset: Dataset) -> bool:
    """Whether respondents were divided in the same way: most items have the same answers in half A of the nation.

    Not every item, because items may be recoded between builds.
    """
    if source.dataset == dataset.fingerprint:
        return True
    here = _half_a(dataset)
    common = [item for item in source.half_a or {} if item in here]
    return bool(common) and 2 * sum((source.half_a or {})[item] == here[item] for item in common) > len(common)


def _half_a(dataset: Dataset) -> dict[str, str]:
    """Return item -> checksum of the nation's answers by code in half A."""
    rows = dataset.gold.filter((pl.col("half") == "A") & (pl.col("subgroup") == EVERYONE)).sort("item")
    return {item: f"{zlib.crc32(repr(list(counts)).encode()):08x}" for item, counts in rows.select("item", "counts_raw").iter_rows()}


def _file_of(dataset: Dataset) -> str | None:
    return (dataset.meta.get("source") or {}).get("sha256") or None


def _countries_of(dataset: Dataset) -> set[str]:
    return {str(country.get("alpha") or country["code"]) for country in dataset.meta.get("countries") or ()}


def _hash_of(pairs: pl.DataFrame) -> str:
    return canonical_hash(sorted(pairs.select("item", "subgroup").iter_rows()))
