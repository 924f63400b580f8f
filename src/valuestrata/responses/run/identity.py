"""Typed identity of a run: what answered, on which data set, asked how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from valuestrata.dataset.training_source import TrainingSource
from valuestrata.respondents.baselines.kinds import TRAINS_ON_NOTHING
from valuestrata.yaml_files import checked

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["model", "control", "baseline"]
KINDS: tuple[Kind, ...] = ("model", "control", "baseline")
# Provider of a calibrated run.
CALIBRATED = "calibrated"
# A run.json without `respondent` may describe the model with these keys of its own.
_OWN_KEYS = ("provider", "base_url", "model", "revision", "adapter_hash", "decoding")


@runtime_checkable
class Identified(Protocol):
    """A run with its name and the document of its `run.json`."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def meta(self) -> Mapping[str, Any]: ...  # noqa: D102


class Answered(Identified, Protocol):
    """A run with its responses (RESPONSES schema)."""

    @property
    def responses(self) -> pl.DataFrame: ...  # noqa: D102


class _Record(BaseModel):
    """A part of `run.json`. Keys that are not named here are kept, and count in comparisons."""

    model_config = ConfigDict(frozen=True, extra="allow")

    @property
    def document(self) -> dict[str, Any]:
        """The part as `run.json` has it."""
        return self.model_dump(exclude_unset=True)


class RespondentIdentity(_Record):
    """A language model, a control around one, or a baseline. Two are equal if everything recorded of them is.

    What was fitted around a model, such as a calibration of its answers, has the model under `of` and its own `trained_on`.

    Attributes:
        name: the model as the user specified it, such as `embedded` or `baseline:item-mode`.
        provider: of a hosted model; `transformers`, `vllm`, `control`, `baseline`, `calibrated` or `imported` otherwise.
        base_url: address of a hosted model. model, revision: which model. adapter_hash: of a LoRA adapter.
        decoding: settings of generation.
        control, of: of a control, its name and the model inside; of a calibrated run, its control and what was calibrated.
        method: of a calibrated run, the method of calibration.
        trained_on: survey data that a baseline, or anything else around a model, was fitted to, or that its prompts show.
        context: the training gold that its prompts show: number of answers, and embedding of the questions.
        taught_on: survey data that a model was trained on: an adapter's own record, or what the user states of an imported run.
    """

    name: str | None = None
    provider: str | None = None
    base_url: str | None = None
    model: str | None = None
    revision: str | None = None
    adapter_hash: str | None = None
    decoding: dict[str, Any] | None = None
    control: str | None = None
    of: RespondentIdentity | None = None
    method: str | None = None
    trained_on: TrainingSource | None = None
    context: dict[str, Any] | None = None
    taught_on: TrainingSource | None = None


class DatasetReference(_Record):
    """The data set of a run: its fingerprint and the survey's name."""

    fingerprint: str | None = None
    survey: str | None = None


class _RunDocument(_Record):
    """The parts of `run.json` that identify a run."""

    name: str | None = None
    model: str | None = None
    respondent: RespondentIdentity | str | None = None
    identity: RespondentIdentity | None = None
    dataset: DatasetReference | None = None
    elicitation: str | None = None
    template: str | None = None
    template_version: str | None = None
    plan: dict[str, Any] | None = None
    judged: dict[str, Any] | None = None


@dataclass(frozen=True)
class RunIdentity:
    """What identifies a run.

    Attributes:
        name: name of the run.
        kind: `model`, `control` or `baseline`.
        rule: the kind of a baseline (`item-mode`), the specification of a control (`no-persona@embedded`), empty for a model.
        respondent: what answered: of a control the control itself.
        model: the model that answered: of a control or a calibrated run the model inside it. A control that does not describe the
            model inside has only its name.
        control: name of the control (`wrong-country`), else None. Of a calibrated run the control of its calibration
            (`shuffled-answers`, `no-model`), else that of the run that was calibrated.
        method: method of calibration (`hybrid`) of a calibrated run, else None.
        dataset: the data set. None in a field means that the run does not record it.
        elicitation, template, template_version: how it was asked.
        plan: what was asked, as `run.json` has it.
        judged: whether the run holds a judge's readings of other runs' answers.
    """

    name: str
    kind: Kind
    rule: str
    respondent: RespondentIdentity
    model: RespondentIdentity
    control: str | None = None
    method: str | None = None
    dataset: DatasetReference = field(default_factory=DatasetReference)
    elicitation: str | None = None
    template: str | None = None
    template_version: str | None = None
    plan: Mapping[str, Any] = field(default_factory=dict[str, Any])
    judged: bool = False

    @classmethod
    def from_document(cls, document: Mapping[str, Any], name: str, where: str = "run.json") -> RunIdentity:
        """Read the identity of a run from the document of its `run.json`.

        Args:
            document: the document. name: name of the run. where: named in errors.

        Raises:
            InputDataError: a value of a wrong type; names the key and what was found.
        """
        read = checked(_RunDocument, document, where)
        respondent = _respondent(read, where)
        method: str | None = None
        inner, inner_name = respondent, name
        if respondent.provider == CALIBRATED:
            method = respondent.method or respondent.model or ""
            inner = respondent.of or RespondentIdentity()
            read = read.model_copy(update={"respondent": inner, "model": None})
            inner_name = inner.name or ""
        kind, rule = _kind_and_rule(read, inner, inner_name)
        control, model = None, inner
        if kind == "control":
            specification, _, inside = rule.partition("@")
            control = inner.control or specification.partition("=")[0]
            model = inner.of or RespondentIdentity(name=inside)
        if method is not None:
            control = respondent.control or control
            # A calibrated run is no baseline, whatever was calibrated, and its name says what it is.
            kind, rule = "model" if control is None else "control", ""
        return cls(
            name=name,
            kind=kind,
            rule=rule,
            respondent=respondent,
            model=model,
            control=control,
            method=method,
            dataset=read.dataset or DatasetReference(),
            elicitation=read.elicitation,
            template=read.template,
            template_version=read.template_version,
            plan=read.plan or {},
            judged="judged" in document,
        )

    @property
    def is_baseline(self) -> bool:
        """Whether a baseline answered."""
        return self.kind == "baseline"

    @property
    def sources(self) -> tuple[TrainingSource, ...]:
        """The survey data behind the answers: of the respondent, and of the models inside it. Empty if none is recorded."""
        found: list[TrainingSource] = []
        inside: RespondentIdentity | None = self.respondent
        while inside is not None:
            found += [source for source in (inside.trained_on, inside.taught_on) if source is not None]
            inside = inside.of
        return tuple(found)

    def same_model(self, other: RunIdentity) -> bool:
        """Whether the same model answered in both runs, alone or inside a control, calibrated by the same method or by none.

        Everything recorded must be equal (provider, revision, adapter, decoding, ...). A control that only names the model
        inside is compared by that name. Runs that record nothing are never the same.
        """
        return self.method == other.method and self._same_model_inside(other)

    def is_calibrated_from(self, other: RunIdentity) -> bool:
        """Whether this run is a calibration, without a control of calibration, of the other run."""
        uncalibrated = self.method is not None and other.method is None
        return uncalibrated and self.control == other.control and self._same_model_inside(other)

    def _same_model_inside(self, other: RunIdentity) -> bool:
        first, second = _of_weights(self.model), _of_weights(other.model)
        if not first or not second:
            return False
        if first.keys() == {"name"} or second.keys() == {"name"}:
            return bool(first.get("name")) and first.get("name") == second.get("name")
        return first == second

    def same_weights(self, other: RunIdentity) -> bool:
        """Whether the same model answered in both runs, whatever its name and decoding settings."""
        first, second = (
            {key: value for key, value in _of_weights(run.model).items() if key not in ("decoding", "name")} for run in (self, other)
        )
        return (self.method == other.method and first == second) if first and second else self.same_model(other)

    def same_readout(self, other: RunIdentity) -> bool:
        """Whether elicitation and template are equal wherever both runs record them."""
        pairs = ((self.elicitation, other.elicitation), (self.template, other.template), (self.template_version, other.template_version))
        return all(mine == theirs for mine, theirs in pairs if mine is not None and theirs is not None)


def run_identity(run: Identified) -> RunIdentity:
    """Return the identity of a run.

    Raises:
        InputDataError: its `run.json` has a value of a wrong type.
    """
    return RunIdentity.from_document(run.meta, run.name, f"run.json of the run {run.name!r}")


def trained_here(identity: RunIdentity) -> bool:
    """Whether a run was trained on the data set that it was asked from; `training_overlap` also compares other builds of the survey."""
    sources = [source for source in identity.sources if source.halves != ()]
    if identity.is_baseline:
        return identity.rule not in TRAINS_ON_NOTHING and all("data_set" not in source.document for source in sources)
    return any(source.dataset is not None and source.dataset == identity.dataset.fingerprint for source in sources)


def _of_weights(model: RespondentIdentity) -> dict[str, Any]:
    """Return a model's document without the training data of an adapter: its hash identifies it, and older runs record less."""
    return {key: value for key, value in model.document.items() if key != "taught_on" or model.adapter_hash is None}


def _respondent(read: _RunDocument, where: str) -> RespondentIdentity:
    described = read.respondent if isinstance(read.respondent, RespondentIdentity) and read.respondent.document else read.identity
    if described is not None:
        return described
    own = read.document
    return checked(RespondentIdentity, {key: own[key] for key in _OWN_KEYS if key in own}, where)


def _kind_and_rule(read: _RunDocument, respondent: RespondentIdentity, name: str) -> tuple[Kind, str]:
    extra = respondent.document.get("kind")
    names = [read.respondent, read.model, respondent.name, respondent.model, extra, name]
    texts = [text for text in names if isinstance(text, str)]
    for kind in ("baseline", "control"):
        rules = [text.removeprefix(f"{kind}:") for text in texts if text.startswith(f"{kind}:")]
        if rules or respondent.provider == kind:
            return kind, rules[0] if rules else texts[0].removeprefix(f"{kind}-")
    return "model", ""
