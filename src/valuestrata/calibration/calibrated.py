"""Calibrated runs: a run whose answers were corrected by what the training pairs of a split show about the model.

Each fold is fitted to its training gold, and answers the pairs that it tests or validates on. Test gold is never used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.calibration.controls import CALIBRATION_CONTROLS, ShuffledAnswers, controlled_answers
from valuestrata.calibration.hidden_states import pair_states
from valuestrata.calibration.methods import METHODS, PROBE
from valuestrata.calibration.methods.probe import StateComponents, fit_probe, probe_remarks
from valuestrata.calibration.model_answers import ModelAnswers, model_answers
from valuestrata.calibration.sources import check_source, missing_from_training, training_remarks
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, OptionText, UsageError, one_of
from valuestrata.files import canonical_hash, folder_written_beside, write_json
from valuestrata.formatting import NONE, count
from valuestrata.overview import HasOverview, Overview
from valuestrata.progress import progress
from valuestrata.respondents.baselines.by_fold import FittedByFold, answer_table, fit_by_fold
from valuestrata.respondents.baselines.gold import GoldByFold, TrainingGold
from valuestrata.respondents.baselines.predictor import Predictor
from valuestrata.responses.run.folder import (
    RUN,
    Run,
    check_same_dataset,
    counts_by_status,
    load_run,
    new_meta,
    now,
    read_meta,
    with_hash,
    write_table,
)
from valuestrata.responses.run.identity import CALIBRATED, run_identity
from valuestrata.responses.run.schema import RESPONSES

KIND = "calibrated"
# Pairs in the overview of a result.
_SHOWN = 5


@dataclass(frozen=True, repr=False)
class CalibrateResult(HasOverview):
    """Result of a calibration.

    Attributes:
        run: the calibrated run.
        before: the averaged answers to the same pairs, as a run that is not on disk.
        method: name of the method.
        settings: what was fitted, one entry per fold.
        folds: numbers of the folds.
        pairs: pairs answered.
        absent: pairs of the folds that the model did not answer.
        remarks: messages about pairs that were missing in training, and about fallbacks.
        kept: whether the run was there already, made by the same call.
    """

    run: Run
    before: Run
    method: str
    settings: tuple[Mapping[str, Any], ...]
    folds: tuple[int, ...]
    pairs: int
    absent: int
    remarks: tuple[OptionText, ...]
    kept: bool = False

    def overview(self) -> Overview:
        """Return what was calibrated, how many pairs, and the first answers before and after."""
        answered = f"{count(self.pairs, 'pair')} answered in {count(len(self.folds), 'fold')}"
        absent = f"; the model did not answer {count(self.absent, 'pair')}" if self.absent else ""
        both = self.before.responses.select("pair_id", "item", "subgroup", before="answer")
        both = both.join(self.run.responses.select("pair_id", after="answer"), on="pair_id", maintain_order="left").head(_SHOWN)
        return Overview(
            f"Calibrated run {self.run.name}: method {self.method}",
            (f"{answered}{absent}.", *(str(remark) for remark in self.remarks)),
            ("Item", "Subgroup", "Answer before", "Answer after"),
            [tuple(NONE if value is None else str(value) for value in row) for row in both.drop("pair_id").iter_rows()],
            f"The first {count(both.height, 'pair')}. Folder {self.run.path}.",
        )


def calibrate(
    dataset: Dataset,
    run: Run,
    out: str | Path,
    *,
    split: str = "unseen-item",
    fold: int | None = None,
    method: str = "shares",
    control: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
    device: str | None = None,
    template: str | Path | None = None,
) -> CalibrateResult:
    """Write a calibrated run.

    The answers of the run are averaged over option orders, wordings and samples first. A pair that the model did not answer has no
    calibrated answer. If the folder has the result of the same call, it is returned as it is.

    Args:
        dataset: the data set of the run.
        run: a run that answered training and test pairs (`ask` with `part="all"`).
        out: folder of the calibrated run.
        split: scheme of the split whose training pairs are used and whose other pairs are answered.
        fold: its fold; None for each fold in turn.
        method: one of `calibration.methods.METHODS`, or `probe`, which reads the hidden states of the run's local model and keeps
            them in the run's folder (see `hidden_states.pair_states`).
        control: one of `controls.CALIBRATION_CONTROLS`, whose answers replace the model's; None for none.
        seed: seed of the control.
        overwrite: replace another calibrated run in the folder.
        device: for `probe`: where the model runs.
        template: for `probe`: file of the run's template, if it is not a built-in one.

    Raises:
        InputDataError: a run of another data set, of a baseline, of a calibration, or of one model per fold; a run that answered no
            training pair or no other pair of a fold; a folder that holds something else.
        UsageError: an unknown method, control, split or fold; the folder holds another calibrated run, and `overwrite` is False;
            `probe` and a run that is not of a local model.
    """
    name = one_of(method, (*METHODS, PROBE), "There is no calibration method")
    kind = None if control is None else one_of(control, CALIBRATION_CONTROLS, "There is no control of calibration")
    folder = Path(out)
    check_same_dataset(run, dataset)
    check_source(run)
    answers = model_answers(dataset, run.responses)
    key = _key(dataset, run, answers, [split, fold, name, *([] if kind is None else [kind, seed])])
    every = dataset.part(split, "all", fold)
    missing = missing_from_training(dataset, run, every, answers, split)
    asked = every.filter(pl.col("part") != "train").select("pair_id", "item", "subgroup").unique(maintain_order=True)
    there = [pair in answers.shares for pair in asked.select("item", "subgroup").iter_rows()]
    pairs = asked.filter(pl.Series(there, dtype=pl.Boolean))
    before = _averaged(dataset, run, pairs, answers)
    if (kept := _kept(folder, key, before, overwrite=overwrite)) is not None:
        return kept
    folds = tuple(every["fold"].unique().sort().to_list())
    states = StateComponents.of(pair_states(dataset, run, device=device, template=template)) if name == PROBE else None
    shuffled: list[ShuffledAnswers] = []
    with progress(f"calibrating by {name}", len(folds)) as advance:

        def fit(gold: TrainingGold) -> Predictor:
            control = None if kind is None else controlled_answers(kind, gold, answers, seed)
            used = answers if control is None else control.answers
            shuffled.extend([] if control is None else [control])
            if states is None:
                found = METHODS[name](gold, used)
            else:
                found = fit_probe(gold, used, states if control is None else states.of_items(control.source))
            advance(1)
            return found

        fitted = fit_by_fold(fit, dataset, split, fold, GoldByFold(dataset, split))
    settings = tuple(dict(one.predictor.settings) for one in fitted.fits)
    remarks = (*missing, *training_remarks(dataset, run, every), *_fallbacks(settings), *_unmoved(shuffled))
    remarks = (*remarks, *(probe_remarks(settings) if name == PROBE else ()))
    responses = _responses(dataset, run, pairs, fitted.table(list(pairs.select("item", "subgroup").iter_rows())))
    document = {
        **new_meta(dataset, folder.resolve().name, KIND),
        "respondent": _respondent(run, name, fitted, settings) | ({} if kind is None else {"control": kind, "seed": seed}),
        "template": run.meta.get("template"),
        "template_version": run.meta.get("template_version"),
        "elicitation": run.meta.get("elicitation"),
        "plan": {"split": split, "part": "test", "fold": fold},
        "calibration": {
            "key": key,
            "run": run.name,
            "method": name,
            "control": kind,
            "split": split,
            "folds": list(folds),
            "pairs": len(pairs),
            "absent": len(asked) - len(pairs),
            "settings": list(settings),
            "remarks": [str(remark) for remark in remarks],
        },
        "finished": now(),
        "counts": counts_by_status(responses),
    }
    with folder_written_beside(folder) as temporary:
        write_table(temporary, responses, None)
        write_json(temporary / RUN, with_hash(temporary, document))
    return CalibrateResult(load_run(folder), before, name, settings, folds, len(pairs), len(asked) - len(pairs), remarks)


def _key(dataset: Dataset, run: Run, answers: ModelAnswers, asked: list[Any]) -> str:
    """Return a hash of everything that the result depends on."""
    given = [[*pair, answers.n[pair], *shares.tolist()] for pair, shares in sorted(answers.shares.items())]
    versions = new_meta(dataset, run.name, KIND)["versions"]
    return canonical_hash([dataset.fingerprint, run.meta.get("respondent"), given, *asked, versions["valuestrata"]])


def _kept(folder: Path, key: str, before: Run, *, overwrite: bool) -> CalibrateResult | None:
    """Return the result of the same call that is in the folder; None if the folder may be written."""
    if not folder.exists():
        return None
    there = read_meta(folder) if folder.is_dir() else None
    if there is None:
        if not folder.is_dir() or any(folder.iterdir()):
            raise InputDataError(f"{folder}: exists and is not a run; choose another place for it with -o.")
        return None
    if there.get("kind") != KIND:
        raise InputDataError(f"{folder}: holds the run {there['name']!r}, which is not a calibrated run; choose another place with -o.")
    found: Mapping[str, Any] = there.get("calibration") or {}
    if found.get("key") != key and overwrite:
        return None
    if found.get("key") != key:
        raise UsageError(
            f"{folder}: holds a calibrated run of {found.get('run')!r} (method {found.get('method')!r}, split {found.get('split')!r}) made "
            "by another call; choose another place with -o, or replace it with ",
            Option("overwrite"),
            ".",
        )
    remarks = tuple(OptionText(remark) for remark in found["remarks"])
    settings, folds = tuple(found["settings"]), tuple(found["folds"])
    return CalibrateResult(load_run(folder), before, found["method"], settings, folds, found["pairs"], found["absent"], remarks, kept=True)


def _respondent(run: Run, method: str, fitted: FittedByFold, settings: tuple[Mapping[str, Any], ...]) -> dict[str, Any]:
    of = run_identity(run).respondent
    return {
        "name": f"calibrated:{method}@{of.name or run.name}",
        "provider": CALIBRATED,
        "method": method,
        "settings": settings[0] if len(settings) == 1 else list(settings),
        "of": of.model_dump(mode="json", exclude_unset=True),
        "trained_on": fitted.source(f"calibrate:{method}"),
    }


def _averaged(dataset: Dataset, run: Run, pairs: pl.DataFrame, answers: ModelAnswers) -> Run:
    """Return the averaged answers to pairs as a run."""
    listed = list(pairs.select("item", "subgroup").iter_rows())
    table = answer_table(listed, dataset.codes_of, lambda item, subgroup: (answers.shares[item, subgroup],))
    # The name is that of no calibrated run, because a folder's name has no slash.
    return Run(f"{run.name}/averaged", run.path, {}, _responses(dataset, run, pairs, table))


def _responses(dataset: Dataset, run: Run, pairs: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """Return answers to pairs (`answer_table`), with elicitation and template of the run's first response to each."""
    read = run.responses.select("pair_id", "elicitation", "template", "template_version").unique("pair_id", keep="first")
    codes = pl.DataFrame({"item": list(dataset.codes_of), "shown": [list(codes) for codes in dataset.codes_of.values()]})
    described = pairs.join(read, on="pair_id", how="left", maintain_order="left").join(codes, on="item", maintain_order="left")
    rows = described[table["pair"]].hstack(table.select("sample", "answer", "option_probs"))
    constants = {"paraphrase": 0, "order": "scale", "status": "answered", "attempts": 0}
    missing = [name for name in RESPONSES.columns if name not in (*rows.columns, *constants)]
    rows = rows.with_columns(
        *(pl.lit(value).alias(name) for name, value in constants.items()), *(pl.lit(None).alias(name) for name in missing)
    )
    return RESPONSES.check(rows, KIND).select(list(RESPONSES.columns))


def _fallbacks(settings: tuple[Mapping[str, Any], ...]) -> list[OptionText]:
    """Return a message for each number of options with too few training items in some fold."""
    fewest: dict[int, tuple[int, int]] = {}
    for one in settings:
        for scale in one.get("scales", ()):
            if found := scale.get("fallback"):
                options = int(scale["options"])
                items = min(int(found["items"]), fewest.get(options, (int(found["items"]), 0))[0])
                fewest[options] = (items, int(found["needed"]))
    return [
        OptionText(
            f"Items with {options} options: {items} training items, {needed} are needed for a slope and offsets of their own. They use the "
            "slope of all scales and offsets by relative position on the scale."
        )
        for options, (items, needed) in sorted(fewest.items())
    ]


def _unmoved(shuffled: Sequence[ShuffledAnswers]) -> list[OptionText]:
    """Return a message about the items that kept their answers in some fold under `shuffled-answers`."""
    fixed = sorted({item for one in shuffled for item in one.fixed})
    if not fixed:
        return []
    items = {item for one in shuffled for item in one.source}
    return [
        OptionText(
            f"{len(fixed):,} of {count(len(items), 'item')} keep their own answers, because no other item on the same side of the split "
            f"has as many options and the same scale type: {', '.join(fixed)}."
        )
    ]
