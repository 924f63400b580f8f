"""Reference baselines: runs of the standard baselines on the same pairs as the scored runs.

Fitting all baselines takes up to a minute, so their runs are kept in the folder `ladder/` of the data set and reused while
data set, split, part and library versions are the same. Rebuilding the data set removes them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset, base_of
from valuestrata.errors import InputDataError, Option, UsageError, did_you_mean
from valuestrata.files import canonical_hash, folder_written_beside, write_json
from valuestrata.progress import progress
from valuestrata.prompts import load_template, render_prompts
from valuestrata.prompts.template import Template
from valuestrata.respondents.baselines import CHEAP, LADDER, TRAINS_ON_NOTHING, GoldByFold, make_baseline
from valuestrata.responses.run.folder import RUN, TABLE, Run, counts_by_status, load_run, new_meta, with_hash, write_table
from valuestrata.responses.run.identity import Answered, Identified, run_identity
from valuestrata.responses.run.schema import RESPONSES

SETS = ("none", "cheap", "all")
KEPT_IN = "ladder"


def kinds_of(names: str) -> tuple[str, ...]:
    """Return the baselines named by `none`, `cheap`, `all` or kinds separated by commas, cheapest first.

    Raises:
        UsageError: an unknown kind.
    """
    named = [name.strip() for name in names.split(",") if name.strip()]
    for name in named:
        if name not in SETS and name not in LADDER:
            raise UsageError(f"There is no baseline {name!r}.{did_you_mean(name, [*SETS, *LADDER])}")
    wanted = {kind for name in named for kind in {"none": (), "cheap": CHEAP, "all": LADDER}.get(name, (name,))}
    return tuple(kind for kind in LADDER if kind in wanted)


def baseline_name(kind: str) -> str:
    """Return the run name of a reference baseline."""
    return f"baseline-{kind}"


def check_training(dataset: Dataset, runs: Iterable[Identified], split: str, fold: int | None) -> None:
    """Refuse baselines that were fitted on another split or fold than the scored one: they may have seen the test pairs.

    Raises:
        UsageError: there is such a baseline.
    """
    several = dataset.part(split, "test")["fold"].n_unique() > 1
    for run in runs:
        identity = run_identity(run)
        trained = identity.respondent.trained_on if identity.is_baseline and identity.rule not in TRAINS_ON_NOTHING else None
        if trained is None:
            continue
        where = f"the split {split!r}" + ("" if fold is None else f", fold {fold}")
        one_of_several = fold is None and trained.fold is not None and several
        if trained.split != split or one_of_several or (fold is not None and trained.fold not in (None, fold)):
            what = f"{trained.split!r}" + ("" if trained.fold is None else f", fold {trained.fold}")
            raise UsageError(
                f"The baseline {run.name!r} was fitted to the training pairs of {what} and would be scored on {where}, which it may have "
                "seen. Ask it again with ",
                Option("split", split),
                *(() if fold is None else (" and ", Option("fold", fold))),
                ", or leave it out: the baselines are added without being named.",
            )


def baselines_beside(
    dataset: Dataset,
    runs: Iterable[Answered],
    *,
    kinds: Sequence[str] = LADDER,
    split: str = "paper",
    part: str = "test",
    fold: int | None = None,
    train_on: Dataset | None = None,
) -> list[Run]:
    """Return runs of the reference baselines that are not among `runs`.

    Args:
        dataset: the data set.
        runs: the runs that the baselines are added to. A baseline among them that answered the whole part is not fitted again.
        kinds: the baselines.
        split: split scheme of the pairs and of the training gold, such as `paper`.
        part: `train`, `validation`, `test` or `all`.
        fold: only this fold of the split; None for all folds.
        train_on: training data set under `transfer`.

    Returns:
        Runs called `baseline-KIND`, in the order of `kinds`. Without training data, only the baselines that need none.
    """
    pairs = dataset.part(split, part, fold).select("pair_id").unique()
    known = [(run_identity(run), run) for run in runs]
    there = {identity.rule for identity, run in known if identity.is_baseline and _is_present(run, identity.rule, pairs)}
    wanted = [kind for kind in kinds if kind not in there]
    if base_of(split) == "transfer" and train_on is None:
        wanted = [kind for kind in wanted if kind in TRAINS_ON_NOTHING]
    asked = _Asked(dataset, split, part, fold, train_on)
    found: list[Run] = []
    with progress("answering with baselines", len(wanted)) as advance:
        for kind in wanted:
            advance(0, baseline_name(kind))
            found.append(asked.run(kind))
            advance(1)
    return found


# The name that the package uses.
reference_baselines = baselines_beside


def _is_present(run: Answered, rule: str, pairs: pl.DataFrame) -> bool:
    """Whether a baseline of this kind answered the whole part, or has the name of the reference baseline."""
    return run.name == baseline_name(rule) or pairs.join(run.responses.select("pair_id"), on="pair_id", how="anti").is_empty()


@dataclass(frozen=True)
class _Asked:
    """The pairs that all baselines answer, and their training gold: rendered and collected once."""

    dataset: Dataset
    split: str
    part: str
    fold: int | None
    train_on: Dataset | None

    def run(self, kind: str) -> Run:
        """Return the run of a baseline: the kept one, or a new one."""
        dataset, name = self.dataset, baseline_name(kind)
        other = None if self.train_on is None else self.train_on.fingerprint
        place = "_".join(
            [self.split, self.part, *([] if self.fold is None else [str(self.fold)]), *([] if other is None else [other[:12]])]
        )
        # Nothing is kept in a read-only folder.
        kept_in = dataset.path if dataset.path is not None and os.access(dataset.path, os.W_OK) else None
        folder = None if kept_in is None else kept_in / KEPT_IN / place / name
        meta = new_meta(dataset, name, "baseline", template="default", elicitation="logprob")
        named = [dataset.fingerprint, kind, self.split, self.part, self.fold, other]
        if self.train_on is not None:
            named.append(self.train_on.survey_and_place)
        key = canonical_hash([*named, meta["versions"]["valuestrata"], _fitted_by()])
        if folder is not None and (kept := _kept(folder, key)) is not None:
            return kept
        respondent = make_baseline(kind, dataset, split=self.split, fold=self.fold, train_on=self.train_on, gold=self._gold)
        table = respondent.table(list(self._prompts.select("item", "subgroup").iter_rows()))
        answered = table.select("sample", "answer", "option_probs", option_mass=pl.lit(1.0), status=pl.lit("answered"), attempts=pl.lit(1))
        prompts = self._prompts[table["pair"]]
        missing = [pl.lit(None).alias(column) for column in RESPONSES.columns if column not in (*prompts.columns, *answered.columns)]
        responses = RESPONSES.check(prompts.hstack(answered).with_columns(missing), name).select(list(RESPONSES.columns))
        document = {
            **meta,
            "respondent": {"name": respondent.name, **respondent.identity()},
            "template_version": self._template.version,
            "plan": {"split": self.split, "part": self.part, "fold": self.fold},
            "counts": counts_by_status(responses),
            "key": key,
            **({} if (source := respondent.training_data()) is None else {"training_data": dict(source)}),
        }
        if folder is not None:
            _keep(folder, document, responses)
        return Run(name, folder or Path(name), document, responses)

    @cached_property
    def _gold(self) -> GoldByFold:
        return GoldByFold(self.dataset, self.split, self.train_on)

    @cached_property
    def _template(self) -> Template:
        return load_template("default")

    @cached_property
    def _prompts(self) -> pl.DataFrame:
        """The columns of RESPONSES that describe the prompt, without `sample`, one row for each prompt."""
        pairs = self.dataset.part(self.split, self.part, self.fold)
        prompts = render_prompts(self.dataset, pairs, template=self._template, elicitation="logprob")
        fields = ("pair_id", "item", "subgroup", "elicitation", "template", "template_version", "paraphrase", "order", "shown")
        rows = [(*(getattr(prompt, field) for field in fields), prompt.hash) for prompt in prompts]
        return pl.DataFrame(rows, schema=[*fields, "prompt_hash"], orient="row")


def _fitted_by() -> dict[str, str]:
    """Return versions of the installed fitting libraries; a missing one changes the answers of `item-text`."""
    found: dict[str, str] = {}
    for name in ("scikit-learn", "scipy", "wordllama"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _kept(folder: Path, key: str) -> Run | None:
    """Return the kept run of a key; None if there is none or it is damaged."""
    if not ((folder / RUN).is_file() and (folder / TABLE).is_file()):
        return None
    try:
        run = load_run(folder)
    except InputDataError:
        return None
    whole = sum(run.meta.get("counts", {}).values()) == run.responses.height
    return run if run.meta.get("key") == key and whole else None


def _keep(folder: Path, document: dict[str, Any], responses: pl.DataFrame) -> None:
    # A data set of another user may be read-only.
    with suppress(PermissionError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder_written_beside(folder) as made:
            write_table(made, responses, None)
            write_json(made / RUN, with_hash(made, document))
