"""Plan and check every model of a study before the first call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.errors import InputDataError, MissingExtraError, UsageError
from valuestrata.files import canonical_hash
from valuestrata.prompts import render_prompts
from valuestrata.respondents.base import Respondent, SupportsBudget
from valuestrata.respondents.controls.assignment import assign_personas
from valuestrata.respondents.controls.spec import parse_control
from valuestrata.responses.ask.plan import Asking, asked_meta, plan_asking
from valuestrata.responses.batch.folder import refuse_what_batches_hold
from valuestrata.responses.run.folder import TABLE, new_meta, read_meta
from valuestrata.responses.run.session import check_folder
from valuestrata.study.config import ModelSection
from valuestrata.study.context import StudyContext
from valuestrata.study.model_spec import check_local_files, is_baseline, is_hosted, local_files
from valuestrata.study.resume import AskedRecord, changed_files, file_states, read_record, request_hash


@dataclass(frozen=True)
class PreparedModel:
    """A model of a study, planned and checked.

    Attributes:
        model: its section. asking: the plan of its prompts.
        run: folder of its run.
        record: what it is asked with.
        complete: whether its run is complete, so it is not asked again.
        max_cost: limit in US dollars; None for none and for free models.
        respondent: a hosted model, ready to be called; other models are loaded when they are asked.
    """

    model: ModelSection
    asking: Asking
    run: Path
    record: AskedRecord
    complete: bool
    max_cost: float | None = None
    respondent: Respondent | None = None

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.model.run_name


def prepare_models(context: StudyContext, *, only: pl.DataFrame | None = None, asking: Asking | None = None) -> list[PreparedModel]:
    """Plan and check the models of a study. Nothing is called, loaded or written.

    Args:
        context: the study.
        only: pairs to ask, if not all of the split's part.
        asking: plan for every model; by default that of the section `ask` and of the model.

    Raises:
        UsageError: an unknown template, order, paraphrase or pair; an elicitation that a hosted model does not support; a missing
            key or address; a cost limit for a free model or one of unknown price; prompts that are in batch files.
        InputDataError: a template that does not fit; a missing model file; an existing run of another identity.
        MissingExtraError: the library of a hosted model is not installed.
    """
    return [_prepare(context, model, only, asking) for model in context.study.models]


def _prepare(context: StudyContext, model: ModelSection, only: pl.DataFrame | None, asking: Asking | None) -> PreparedModel:
    asking = _plan(context, model) if asking is None else asking
    if only is not None:
        asking = asking.of_pairs(asking.pairs.join(only.select("pair_id"), on="pair_id", how="semi", maintain_order="left"))
    name, spec = model.run_name, model.model
    run = context.folder / "runs" / name
    hosted = is_hosted(spec)
    if model.max_cost is not None and not hosted:
        raise UsageError(f"{name}: MODEL {spec!r} is free; its max_cost does not apply. The max_cost of `ask` applies to paid models.")
    before = read_record(context.folder, name)
    trained_on = context.train_on.fingerprint if context.train_on and is_baseline(spec) else None
    record = AskedRecord(
        request_hash(context.dataset, asking, model, context.known_as(spec), context.study.seeds, trained_on),
        _identity_hash(context, model) if hosted else None,
        file_states(local_files(spec), before.files if before else {}, context.root),
    )
    if before is not None and before.completes(record) and (run / TABLE).is_file():
        return PreparedModel(model, asking, run, before, complete=True)
    if before is not None and read_meta(run) is not None:
        _check_files_unchanged(context, run, before, record)
    refuse_what_batches_hold(run)
    if not hosted:
        check_local_files(spec)
        _check_run(context, run, asking, context.known_as(spec))
        return PreparedModel(model, asking, run, record, complete=False)
    respondent = context.respondent(model)
    _check_run(context, run, asking, respondent)
    max_cost = model.max_cost or context.study.ask.max_cost
    if max_cost is not None:
        check_price(name, spec, respondent, max_cost)
    return PreparedModel(model, asking, run, record, complete=False, max_cost=max_cost, respondent=respondent)


def _plan(context: StudyContext, model: ModelSection) -> Asking:
    section = context.study.ask
    asking = plan_asking(
        context.dataset,
        items=section.items,
        strata=section.strata,
        template=model.template or section.template,
        elicitation=model.elicitation or section.elicitation,
        paraphrases=model.paraphrases or section.paraphrases,
        orders=model.orders or section.orders,
        samples=model.samples or section.samples,
        # Baselines read no prompts.
        context=None if is_baseline(model.model) else model.context or section.context,
        **context.asked,
    )
    control = parse_control(model.model) if model.model.startswith("control:") else None
    # One pair suffices to check the template against the data set, the elicitation and the control's personas.
    render_prompts(
        context.dataset,
        asking.pairs.head(1),
        template=asking.template,
        elicitation=asking.elicitation,
        orders=asking.orders,
        paraphrases=asking.paraphrases,
        personas=assign_personas(control, context.dataset, context.study.seeds.persona).personas if control else None,
    )
    return asking


def _identity_hash(context: StudyContext, model: ModelSection) -> str | None:
    try:
        return canonical_hash(dict(context.respondent(model, calls=False).identity()))
    except MissingExtraError:
        return None  # a complete run can be scored without the model's library


def _check_files_unchanged(context: StudyContext, run: Path, before: AskedRecord, now: AskedRecord) -> None:
    """Refuse to continue a run whose model files changed; its identity does not show other weights of the same size."""
    changed, unclear = changed_files(before.files, now.files)
    if changed:
        raise InputDataError(
            f"{run}: {changed[0]} has changed since this run was asked. Delete the run's folder to ask it again, or give the model "
            "another `name`."
        )
    if unclear:
        context.say(f"{run.name}: {unclear[0]} is new or was written since this run was asked; if its weights differ, delete {run}")


def _check_run(context: StudyContext, run: Path, asking: Asking, respondent: Respondent | str) -> None:
    """Refuse an existing run of another identity; for a model that is not loaded, only the specification is compared."""
    if isinstance(respondent, str):
        identity = {**((read_meta(run) or {}).get("respondent") or {}), "name": respondent}
        template: dict[str, Any] = {"template": asking.template.name, "template_version": asking.template.version_of(asking.elicitation)}
        meta = new_meta(context.dataset, run.name, "asked", respondent=identity, elicitation=asking.elicitation, **template)
    else:
        meta = asked_meta(context.dataset, respondent, run.name, asking)
    try:
        check_folder(run, meta)
    except InputDataError as error:
        raise InputDataError(
            error.message, " In a study, give the model another `name`, or delete the run's folder to ask it again."
        ) from error


def check_price(name: str, spec: str, respondent: Respondent, max_cost: float) -> None:
    """Refuse a cost limit for a model of unknown price.

    Args:
        name: of the run or judge, for the message. spec: the model. respondent: the model, ready to be called. max_cost: US dollars.

    Raises:
        UsageError: the price is unknown.
    """
    try:
        if isinstance(respondent, SupportsBudget):
            respondent.spend_at_most(max_cost)
    except UsageError as error:
        raise UsageError(
            f"{name}: the price of {spec} is not known, so max_cost cannot be enforced. Give `prices: [2.0, 8.0]` to "
            "the model (US dollars per million input and output tokens), or remove max_cost."
        ) from error
