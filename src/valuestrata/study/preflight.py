"""Everything that can be refused is refused here, for every model of a study, before the first call of any of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, MissingExtraError, UsageError
from valuestrata.files import canonical_hash
from valuestrata.prompts import render_prompts
from valuestrata.respondents.base import Respondent, SupportsBudget
from valuestrata.respondents.controls.assignment import assign_personas
from valuestrata.respondents.controls.spec import parse_control
from valuestrata.respondents.models import make_respondent
from valuestrata.responses.ask.plan import Asking, asked_meta, plan_asking
from valuestrata.responses.batch.folder import refuse_what_batches_hold
from valuestrata.responses.run.folder import TABLE, new_meta, read_meta
from valuestrata.responses.run.session import check_folder
from valuestrata.study.config import ModelSection, Study
from valuestrata.study.model_spec import check_files, files_of, is_fitted, is_hosted
from valuestrata.study.resume import Mark, changed, marks_of, read_mark, request_of


@dataclass(frozen=True)
class Prepared:
    """A model of a study, found fit to be asked.

    Attributes:
        model: its section. asking: what it is asked.
        run: folder of its run.
        mark: what it is asked with.
        kept: whether its run is complete, so that it is not asked again.
        max_cost: limit in US dollars; None without one, or where nobody is paid.
        respondent: a hosted model, ready to be called; others are loaded when it is their turn.
    """

    model: ModelSection
    asking: Asking
    run: Path
    mark: Mark
    kept: bool
    max_cost: float | None = None
    respondent: Respondent | None = None

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.model.run_name


def prepare(
    study: Study,
    dataset: Dataset,
    train_on: Dataset | None,
    say: Callable[[str], None],
    *,
    only: pl.DataFrame | None = None,
    asking: Asking | None = None,
) -> list[Prepared]:
    """Return the models of a study, each planned and checked; nothing is called, loaded or written.

    Args:
        study, dataset, train_on: what is asked of whom. say: told of what looks odd.
        only: the pairs to ask, where they are not all of the split's part.
        asking: what every model is asked, where the study's section `ask` does not say it.

    Raises:
        UsageError: a template, order, paraphrase or pair that does not exist; an elicitation that a hosted model does not give; no
            key or address; a cost limit for what is paid by nobody or whose price is not known; prompts that lie in batch files.
        InputDataError: a template that does not fit; a model file that is absent; a run of another identity in the way.
        MissingExtraError: the library through which a hosted model is asked is not installed.
    """
    return [_prepared(study, model, dataset, train_on, say, only, asking) for model in study.models]


def respondent_of(study: Study, model: ModelSection, dataset: Dataset, train_on: Dataset | None, *, calls: bool = True) -> Respondent:
    """Return the respondent of a model of the study; UsageError, InputDataError and MissingExtraError as `make_respondent` raises them."""
    return make_respondent(
        model.model,
        dataset,
        split=study.split.scheme,
        fold=study.split.fold,
        train_on=train_on if is_fitted(model.model) else None,
        settings=model.settings(study.seeds),
        calls=calls,
    )


def _prepared(
    study: Study,
    model: ModelSection,
    dataset: Dataset,
    train_on: Dataset | None,
    say: Callable[[str], None],
    only: pl.DataFrame | None,
    asking: Asking | None,
) -> Prepared:
    asking = _asking(study, model, dataset) if asking is None else asking
    if only is not None:
        asking = asking.of_pairs(asking.pairs.join(only.select("pair_id"), on="pair_id", how="semi", maintain_order="left"))
    run = study.folder / "runs" / model.run_name
    hosted = is_hosted(model.model)
    if model.max_cost is not None and not hosted:
        raise UsageError(
            f"{model.run_name}: MODEL {model.model!r} is free; its max_cost does not apply. The max_cost of `ask` applies to paid models."
        )
    before = read_mark(study.folder, model.run_name)
    mark = Mark(
        request_of(dataset, asking, model, study.seeds, train_on.fingerprint if train_on and is_fitted(model.model) else None),
        _identity(study, model, dataset) if hosted else None,
        marks_of(files_of(model.model), before.files if before else {}),
    )
    if before is not None and before.is_of(mark) and (run / TABLE).is_file():
        return Prepared(model, asking, run, before, kept=True)
    if before is not None and read_meta(run) is not None:
        _check_unchanged(run, before, mark, say)
    refuse_what_batches_hold(run)
    if not hosted:
        check_files(model.model)
        _check_run(run, asking, dataset, model.model)
        return Prepared(model, asking, run, mark, kept=False)
    respondent = respondent_of(study, model, dataset, None)
    _check_run(run, asking, dataset, respondent)
    limit = model.max_cost or study.ask.max_cost
    if limit is not None:
        _check_limit(model, respondent, limit)
    return Prepared(model, asking, run, mark, kept=False, max_cost=limit, respondent=respondent)


def _asking(study: Study, model: ModelSection, dataset: Dataset) -> Asking:
    shared = study.ask
    asking = plan_asking(
        dataset,
        split=study.split.scheme,
        part=study.split.part,
        fold=study.split.fold,
        items=shared.items,
        strata=shared.strata,
        template=model.template or shared.template,
        elicitation=model.elicitation or shared.elicitation,
        paraphrases=model.paraphrases or shared.paraphrases,
        orders=model.orders or shared.orders,
        samples=model.samples or shared.samples,
    )
    control = parse_control(model.model) if model.model.startswith("control:") else None
    # One pair is enough to find out whether the template fits the data set, the elicitation and whoever is asked instead.
    render_prompts(
        dataset,
        asking.pairs.head(1),
        template=asking.template,
        elicitation=asking.elicitation,
        orders=asking.orders,
        paraphrases=asking.paraphrases,
        personas=assign_personas(control, dataset, study.seeds.persona).personas if control else None,
    )
    return asking


def _identity(study: Study, model: ModelSection, dataset: Dataset) -> str | None:
    try:
        respondent = respondent_of(study, model, dataset, None, calls=False)
    except MissingExtraError:
        return None  # a run that is complete may be scored where nothing can be called
    return canonical_hash(dict(respondent.identity()))


def _check_unchanged(run: Path, before: Mark, now: Mark, say: Callable[[str], None]) -> None:
    """Refuse to go on with a run whose model files were changed in place: its identity would not tell weights of the same size apart."""
    surely, perhaps = changed(before.files, now.files)
    if surely:
        raise InputDataError(
            f"{run}: {surely[0]} is not what it was when this run was asked. Remove the run's folder to ask it all over again, or give the "
            "model another `name`."
        )
    if perhaps:
        say(f"{run.name}: {perhaps[0]} is new or was written since this run was asked; if its weights are others, remove {run}")


def _check_run(run: Path, asking: Asking, dataset: Dataset, respondent: Respondent | str) -> None:
    """Refuse a run of another identity; of a model that is not loaded yet only its word is compared."""
    if isinstance(respondent, str):
        there = {**((read_meta(run) or {}).get("respondent") or {}), "name": respondent}
        template: dict[str, Any] = {"template": asking.template.name, "template_version": asking.template.version_of(asking.elicitation)}
        meta = new_meta(dataset, run.name, "asked", respondent=there, elicitation=asking.elicitation, **template)
    else:
        meta = asked_meta(dataset, respondent, run.name, asking)
    try:
        check_folder(run, meta)
    except InputDataError as error:
        raise InputDataError(
            error.message, " In a study: give the model another `name`, or remove the run's folder to ask it all over again."
        ) from error


def _check_limit(model: ModelSection, respondent: Respondent, limit: float) -> None:
    """Refuse a cost limit that cannot be kept."""
    try:
        if isinstance(respondent, SupportsBudget):
            respondent.spend_at_most(limit)
    except UsageError as error:
        raise UsageError(
            f"{model.run_name}: what {model.model} costs is not known, so that max_cost cannot be kept. Give `prices: [2.0, 8.0]` to the "
            "model (dollars a million tokens read, and written), or leave max_cost out."
        ) from error
