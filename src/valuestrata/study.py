"""One YAML -> one resolved Study: build, ask every model, score, report. What is done is skipped, what stopped resumes.

A study's folder holds everything: `data/` (the data set), `runs/NAME/` (one run a model), `plan.json` (what was declared
before anything was answered), `scores.parquet`, `relative.parquet`, `comparisons.parquet`, `structure.parquet`,
`verdicts.parquet`, `tables/`, `report.html` and `study.yaml`, the study as it was resolved; `audit/` where an audit is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import yaml
from pydantic import Field, field_validator

from valuestrata.audit import Audit, audit, metrics_worth_auditing
from valuestrata.building import BuildSettings, build, paper_preset
from valuestrata.dataset import Dataset, load_dataset, write_dataset
from valuestrata.errors import UsageError, did_you_mean
from valuestrata.files import canonical_hash, read_json, sha256_of, write_json, write_parquet, write_text
from valuestrata.report import write_audit, write_report
from valuestrata.respondents.base import Elicitation
from valuestrata.respondents.controls import AskedAsOthers
from valuestrata.respondents.models import make_respondent
from valuestrata.responses.ask import ask
from valuestrata.responses.beside import baseline_name, baselines_beside, kinds_of
from valuestrata.responses.run import Run, load_run
from valuestrata.scores.assess import Assessment, assess
from valuestrata.scores.phrases import DIRECTED
from valuestrata.scores.plan import Declared, Plan, declare, describe
from valuestrata.subgroups import merge_levels
from valuestrata.survey.read import read_survey
from valuestrata.yamlfile import StrictModel, checked, read_yaml

if TYPE_CHECKING:
    import polars as pl

    from valuestrata.survey.survey import Survey


class SurveySection(StrictModel):
    """Which file, read how."""

    file: str
    codebook: str | None = None
    countries: list[str] = Field(default_factory=list[str])
    items: list[str] = Field(default_factory=list[str])
    attributes: list[str] = Field(default_factory=list[str])
    labels: str | None = None
    levels: str | None = None
    wording: str | None = None
    strict: bool = False

    @field_validator("countries", mode="before")
    @classmethod
    def _codes_are_words(cls, value: Any) -> Any:
        # A numeric country code (702) is as good as SGP.
        return [str(entry) for entry in cast("list[Any]", value)] if isinstance(value, list) else value


class BuildSection(StrictModel):
    """Which subgroups, with which minima."""

    preset: Literal["paper"] | None = None
    strata: list[str] = Field(default_factory=list[str])
    order: int = Field(default=2, ge=1, le=3)
    min_respondents: int = Field(default=30, ge=1)
    min_valid: float = Field(default=30, ge=1)
    weighted: bool = True
    draws: int = Field(default=1000, ge=10)


class SplitSection(StrictModel):
    """Which pairs are asked and scored."""

    scheme: str = "paper"
    part: Literal["train", "validation", "test", "all"] = "test"
    fold: int | None = Field(default=None, ge=0)
    train_on: str | None = None


class AskSection(StrictModel):
    """How answers are drawn out; a model may override each key."""

    elicitation: Elicitation = "logprob"
    template: str = "default"
    orders: str = "scale"
    samples: int = Field(default=1, ge=1)
    items: list[str] = Field(default_factory=list[str])
    strata: list[str] = Field(default_factory=list[str])
    max_calls: int | None = Field(default=None, ge=1)


class ModelSection(StrictModel):
    """One model of the study; null keys take the study's `ask` section."""

    model: str
    name: str | None = None
    device: str | None = None
    elicitation: Elicitation | None = None
    template: str | None = None
    orders: str | None = None
    samples: int | None = Field(default=None, ge=1)
    max_calls: int | None = Field(default=None, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    max_new_tokens: int = Field(default=32, ge=1)

    @property
    def run_name(self) -> str:
        """Folder name of the run: `name`, else the model's word with what a path cannot hold replaced."""
        return self.name or re.sub(r"[^A-Za-z0-9._+@=-]+", "-", self.model)


class SeedsSection(StrictModel):
    """Every seed, apart."""

    half: int = 0
    redraw: int = 0
    split: int = 42
    sampling: int = 0
    persona: int = 0
    bootstrap: int = 0


class ScoreSection(StrictModel):
    """How scores get their intervals, and which baselines stand beside the study's own models (`all`, `cheap`, `none` or kinds)."""

    bootstrap: int = Field(default=1000, ge=0)
    baselines: str = "all"
    against: str | None = None

    @field_validator("baselines")
    @classmethod
    def _baselines_are_known(cls, value: str) -> str:
        try:
            kinds_of(value)
        except UsageError as error:
            # The reader of the YAML adds file and key.
            raise ValueError(str(error)) from error
        return value


class AuditSection(StrictModel):
    """Who is served worse: what is audited, and the run that the others are compared with as before and after."""

    against: str | None = None
    metrics: list[str] = Field(default_factory=lambda: ["accuracy", "nmae"])
    permutations: int = Field(default=2000, ge=0)

    @field_validator("metrics")
    @classmethod
    def _metrics_are_known(cls, value: list[str]) -> list[str]:
        for metric in value:
            if metric not in DIRECTED:
                raise ValueError(f"{metric!r} cannot be audited: it must say who is served worse.{did_you_mean(metric, DIRECTED)}")
        return value


class ReportSection(StrictModel):
    """What the report says beside the numbers."""

    title: str | None = None
    published: bool = True


class Study(StrictModel):
    """A whole study, as its YAML says."""

    name: str
    output: str | None = None
    survey: SurveySection
    build: BuildSection = Field(default_factory=BuildSection)
    split: SplitSection = Field(default_factory=SplitSection)
    ask: AskSection = Field(default_factory=AskSection)
    models: list[ModelSection] = Field(min_length=1)
    plan: Plan = Field(default_factory=Plan)
    seeds: SeedsSection = Field(default_factory=SeedsSection)
    score: ScoreSection = Field(default_factory=ScoreSection)
    audit: AuditSection | None = None
    report: ReportSection = Field(default_factory=ReportSection)

    @field_validator("audit", mode="before")
    @classmethod
    def _a_bare_yes_is_an_audit(cls, value: Any) -> Any:
        return {} if value is True else None if value is False else value

    @field_validator("models", mode="before")
    @classmethod
    def _bare_words_are_models(cls, value: Any) -> Any:
        entries = cast("list[Any]", value) if isinstance(value, list) else None
        return value if entries is None else [{"model": entry} if isinstance(entry, str) else entry for entry in entries]

    @property
    def folder(self) -> Path:
        """Where the study's results lie: `output`, else runs/NAME."""
        return Path(self.output or f"runs/{self.name}")

    @property
    def settings(self) -> BuildSettings:
        """The build settings, preset applied."""
        section = self.build
        settings = BuildSettings(
            strata=tuple(section.strata),
            order=section.order,
            min_respondents=section.min_respondents,
            min_valid=section.min_valid,
            weighted=section.weighted,
            draws=section.draws,
            half_seed=self.seeds.half,
            redraw_seed=self.seeds.redraw,
            split_seed=self.seeds.split,
        )
        return paper_preset(settings) if section.preset == "paper" else settings


@dataclass(frozen=True)
class StudyResult:
    """What a study left behind.

    Attributes:
        dataset: the ground truth. runs: those of the study's models, then the baselines beside them.
        assessment: scores, comparisons, verdicts and the plan they stand under.
        report: the page. failed: responses that ended failed, over all runs.
        audit: who is served worse, None where the study does not ask.
    """

    dataset: Dataset
    runs: tuple[Run, ...]
    assessment: Assessment
    report: Path
    failed: int
    audit: Audit | None = None

    @property
    def scores(self) -> pl.DataFrame:
        """The plain scores."""
        return self.assessment.scores


def load_study(file: str | Path) -> Study:
    """Read a study file; paths in it are relative to its folder.

    Raises:
        InputDataError: not YAML, a key that is not known (the right one is suggested), or a value of the wrong kind.
        UsageError: two models would write the same run.
    """
    path = Path(file)
    study = checked(Study, read_yaml(path), str(path))
    return _check_names(_relative_to(study, path.parent), str(path))


def _check_names(study: Study, where: str) -> Study:
    names = [model.run_name for model in study.models]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{where}: two models would both write the run {twice[0]!r}; give one of them a `name`.")
    return study


def _relative_to(study: Study, folder: Path) -> Study:
    def place(value: str | None) -> str | None:
        return None if value is None else str(folder / value)

    survey = study.survey
    # A codebook and a template may be a built-in's name instead of a path.
    codebook = place(survey.codebook) if survey.codebook and (folder / survey.codebook).is_file() else survey.codebook
    file = survey.file if survey.file == "embedded" else str(folder / survey.file)
    moved = survey.model_copy(
        update={
            "file": file,
            "codebook": codebook,
            "labels": place(survey.labels),
            "levels": place(survey.levels),
            "wording": place(survey.wording),
        }
    )

    def template(value: str | None) -> str | None:
        return place(value) if value and (folder / value).is_file() else value

    return study.model_copy(
        update={
            "survey": moved,
            "output": str(folder / study.folder),
            "split": study.split.model_copy(update={"train_on": place(study.split.train_on)}),
            "ask": study.ask.model_copy(update={"template": template(study.ask.template)}),
            "models": [model.model_copy(update={"template": template(model.template)}) for model in study.models],
        }
    )


def run_study(study: Study, *, say: Callable[[str], None] = lambda _line: None) -> StudyResult:
    """Do the whole study and return what it left; `say` is told of every stage in a line.

    Raises:
        ValuestrataError: what any stage raises; what was done stays and is not done again.
    """
    folder = study.folder
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "study.yaml", yaml.safe_dump(study.model_dump(exclude_none=True), sort_keys=False, allow_unicode=True))
    dataset = _built(study, say)
    train_on = load_dataset(study.split.train_on) if study.split.train_on else None
    plan = _declared(study)
    say(describe(plan))
    results = [_asked(study, model, dataset, train_on, say) for model in study.models]
    runs = [load_run(folder / "runs" / model.run_name) for model in study.models]
    where: dict[str, Any] = {"split": study.split.scheme, "part": study.split.part, "fold": study.split.fold}
    runs += baselines_beside(dataset, runs, kinds=kinds_of(study.score.baselines), train_on=train_on, **where)
    say("scoring")
    section, seed = study.score, study.seeds.bootstrap
    found = assess(dataset, runs, against=section.against, plan=plan, bootstrap=section.bootstrap, seed=seed, **where)
    for name in ("scores", "relative", "comparisons", "structure", "verdicts"):
        write_parquet(folder / f"{name}.parquet", getattr(found, name))
    audited = _audited(study, dataset, runs, say)
    say("writing the report")
    report = write_report(
        dataset,
        runs,
        found.scores,
        folder / "report.html",
        title=study.report.title or study.name,
        published=study.report.published,
        assessment=found,
        audit=audited,
    )
    return StudyResult(dataset, tuple(runs), found, report, sum(results), audited)


def _audited(study: Study, dataset: Dataset, runs: list[Run], say: Callable[[str], None]) -> Audit | None:
    """Audit the runs and write the audit's own folder; None where the study does not ask for it."""
    if study.audit is None:
        return None
    say("auditing")
    found = audit(
        dataset,
        runs,
        split=study.split.scheme,
        part=study.split.part,
        fold=study.split.fold,
        against=study.audit.against,
        metrics=metrics_worth_auditing(runs, study.audit.metrics),
        permutations=study.audit.permutations,
        bootstrap=study.score.bootstrap,
        seed=study.seeds.bootstrap,
    )
    write_audit(dataset, runs, found, study.folder / "audit")
    return found


def _declared(study: Study) -> Declared:
    """Declare the study's plan, before anything is asked; a run that it names and that will not be there is refused now."""
    names = [model.run_name for model in study.models] + [baseline_name(kind) for kind in kinds_of(study.score.baselines)]
    for planned in study.plan.comparisons:
        for name in (planned.run, planned.against):
            if name not in names:
                raise UsageError(f"plan.comparisons names the run {name!r}, which this study does not make.{did_you_mean(name, names)}")
    before = study.audit.against if study.audit else None
    if before is not None and before not in names:
        raise UsageError(f"audit.against names the run {before!r}, which this study does not make.{did_you_mean(before, names)}")
    answered = any(path.stat().st_size for path in (study.folder / "runs").glob("*/store/responses.jsonl"))
    return declare(study.folder, study.plan.resolved(study.split.scheme, study.split.part), answered)


def read_for(section: SurveySection, *, weighted: bool = True) -> Survey:
    """Read the survey of a study section, levels merged; without its weight if that is not wanted."""
    survey = read_survey(
        section.file,
        section.codebook,
        countries=section.countries,
        items=section.items,
        attributes=section.attributes,
        labels=section.labels,
        wording=section.wording,
        strict=section.strict,
        weighted=weighted,
    )
    return merge_levels(survey, Path(section.levels)) if section.levels else survey


def _built(study: Study, say: Callable[[str], None]) -> Dataset:
    """Build the data set, or load it when the same request on the same files has built it before."""
    place = study.folder / "data"
    mark = study.folder / "build.json"
    seeds = study.seeds.model_dump(include={"half", "redraw", "split"})
    request = canonical_hash([study.survey.model_dump(), study.build.model_dump(), seeds, _hashes(study.survey)])
    if mark.is_file() and read_json(mark).get("request") == request and (place / "dataset.json").is_file():
        say("data set: built before, kept")
        return load_dataset(place)
    say("reading the survey")
    survey = read_for(study.survey, weighted=study.settings.weighted)
    for note in survey.findings.notes:
        say(note)
    say(f"building the data set of {survey.respondents:,} respondents and {len(survey.items)} items")
    dataset = build(survey, study.settings)
    write_dataset(dataset, place)
    write_json(mark, {"request": request})
    return load_dataset(place)


def _hashes(survey: SurveySection) -> list[str]:
    files = [survey.file, survey.codebook, survey.labels, survey.levels, survey.wording]
    return [sha256_of(Path(file)) for file in files if file and file != "embedded" and Path(file).is_file()]


def _asked(study: Study, model: ModelSection, dataset: Dataset, train_on: Dataset | None, say: Callable[[str], None]) -> int:
    """Ask one model and return how many of its responses failed.

    A run that this very request completed is not opened again: loading a model only to find nothing to ask takes long.
    """
    ask_ = study.ask
    mark = study.folder / "asked.json"
    done: dict[str, str] = read_json(mark) if mark.is_file() else {}
    fitted = model.model.startswith("baseline:")
    seeds = [study.seeds.sampling, study.seeds.persona]
    foreign = train_on.fingerprint if train_on and fitted else None
    request = canonical_hash([dataset.fingerprint, study.split.model_dump(), ask_.model_dump(), model.model_dump(), seeds, foreign])
    if done.get(model.run_name) == request and (study.folder / "runs" / model.run_name / "responses.parquet").is_file():
        say(f"{model.run_name}: asked before, kept")
        return 0
    say(f"asking {model.run_name}")
    respondent = make_respondent(
        model.model,
        dataset,
        split=study.split.scheme,
        fold=study.split.fold,
        train_on=train_on if fitted else None,
        device=model.device,
        seed=study.seeds.sampling,
        persona_seed=study.seeds.persona,
        temperature=model.temperature,
        max_new_tokens=model.max_new_tokens,
    )
    if isinstance(respondent, AskedAsOthers) and respondent.note:
        say(f"{model.run_name}: {respondent.note}")
    result = ask(
        dataset,
        respondent,
        study.folder / "runs" / model.run_name,
        split=study.split.scheme,
        part=study.split.part,
        fold=study.split.fold,
        items=ask_.items,
        strata=ask_.strata,
        template=model.template or ask_.template,
        elicitation=model.elicitation or ask_.elicitation,
        orders=model.orders or ask_.orders,
        samples=model.samples or ask_.samples,
        max_calls=model.max_calls or ask_.max_calls,
    )
    if not result.failed and not result.left:
        write_json(mark, {**done, model.run_name: request})
    return result.failed


def demo_study(folder: Path, *, models: Sequence[str] = ()) -> Study:
    """Return the study behind `valuestrata demo`: the embedded survey, the embedded model, with and without a persona."""
    # The shuffled persona would ask as many prompts again; without a persona one prompt an item is enough.
    words = models or ("embedded", "control:no-persona@embedded")
    return Study(
        name="demo",
        output=str(folder),
        survey=SurveySection(file="embedded", codebook="gss2018"),
        models=[ModelSection(model=word) for word in words],
        report=ReportSection(title="Demonstration: General Social Survey 2018", published=True),
    )
