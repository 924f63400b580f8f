"""One YAML -> one resolved Study: build, ask every model, score, report. What is done is skipped, what stopped resumes.

A study's folder holds everything: `data/` (the data set), `runs/NAME/` (one run a model), `plan.json` (what was declared
before anything was answered), `scores.parquet`, `relative.parquet`, `comparisons.parquet`, `structure.parquet`,
`verdicts.parquet`, `tables/`, `report.html` and `study.yaml`, the study as it was resolved; `audit/` where an audit is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from valuestrata.auditing import Audit, audit, metrics_worth_auditing
from valuestrata.building import build
from valuestrata.dataset import Dataset, load_dataset, write_dataset
from valuestrata.errors import UsageError, did_you_mean
from valuestrata.files import canonical_hash, read_json, sha256_of, write_json, write_parquet, write_text
from valuestrata.report import write_audit, write_report
from valuestrata.respondents.controls import AskedAsOthers
from valuestrata.respondents.models import check_word, make_respondent
from valuestrata.responses.ask import ask
from valuestrata.responses.beside import baseline_name, baselines_beside, kinds_of
from valuestrata.responses.planning import select_pairs
from valuestrata.responses.run import Run, load_run
from valuestrata.scores.assess import Assessment, assess
from valuestrata.scores.layout import keys_of
from valuestrata.scores.plan import Declared, declare, describe
from valuestrata.scores.variation import variation
from valuestrata.studyfile import ModelSection, ReportSection, Study, SurveySection
from valuestrata.subgroups import merge_levels
from valuestrata.survey.read import read_survey

if TYPE_CHECKING:
    import polars as pl

    from valuestrata.survey.survey import Survey


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


def run_study(study: Study, *, say: Callable[[str], None] = lambda _line: None) -> StudyResult:
    """Do the whole study and return what it left; `say` is told of every stage in a line.

    Raises:
        ValuestrataError: what any stage raises; what was done stays and is not done again.
    """
    folder = study.folder
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "study.yaml", yaml.safe_dump(study.model_dump(exclude_none=True), sort_keys=False, allow_unicode=True))
    for model in study.models:
        check_word(model.model)
    dataset = _built(study, say)
    train_on = load_dataset(study.split.train_on) if study.split.train_on else None
    plan = _declared(study, dataset)
    say(describe(plan))
    results = [_asked(study, model, dataset, train_on, say) for model in study.models]
    runs = [load_run(folder / "runs" / model.run_name) for model in study.models]
    where: dict[str, Any] = {"split": study.split.scheme, "part": study.split.part, "fold": study.split.fold}
    runs += baselines_beside(dataset, runs, kinds=kinds_of(study.score.baselines), train_on=train_on, **where)
    say("scoring")
    section, seed = study.score, study.seeds.bootstrap
    found = assess(dataset, runs, against=section.against, plan=plan, bootstrap=section.bootstrap, seed=seed, **where)
    for name in ("scores", "relative", "comparisons", "structure", "verdicts"):
        write_parquet(folder / f"{name}.parquet", getattr(found, name), metadata={"valuestrata_plan": plan.hash})
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
        variance=variation(dataset, runs[: len(study.models)], bootstrap=section.bootstrap, seed=seed),
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


def _declared(study: Study, dataset: Dataset) -> Declared:
    """Declare the study's plan, before anything is asked.

    A split, a run or a key that will not be there is refused now: mended later, it would be another plan.
    """
    pairs = select_pairs(dataset, study.split.scheme, study.split.part, study.split.fold, items=study.ask.items, strata=study.ask.strata)
    keys = {by: set(names) for by, names in keys_of(dataset, pairs).items()}
    for planned in study.plan.comparisons:
        if planned.by != "all" and planned.key not in keys[planned.by]:
            guess = did_you_mean(planned.key, sorted(keys[planned.by]))
            raise UsageError(f"plan.comparisons names the {planned.by} {planned.key!r}, of which no pair is asked.{guess}")
    names = [model.run_name for model in study.models] + [baseline_name(kind) for kind in kinds_of(study.score.baselines)]
    for planned in study.plan.comparisons:
        for name in (planned.run, planned.against):
            if name not in names:
                raise UsageError(f"plan.comparisons names the run {name!r}, which this study does not make.{did_you_mean(name, names)}")
    before = study.audit.against if study.audit else None
    if before is not None and before not in names:
        raise UsageError(f"audit.against names the run {before!r}, which this study does not make.{did_you_mean(before, names)}")
    answered = any(path.stat().st_size for path in (study.folder / "runs").glob("*/store/responses.jsonl"))
    return declare(study.folder, study.plan.resolved(study.split.scheme, study.split.part, study.split.fold), answered)


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
        settings=model.settings(study.seeds),
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
        paraphrases=model.paraphrases or ask_.paraphrases,
        orders=model.orders or ask_.orders,
        samples=model.samples or ask_.samples,
        max_calls=model.max_calls or ask_.max_calls,
        max_cost=model.max_cost or ask_.max_cost,
    )
    if result.stopped:
        say(f"{model.run_name}: stopped, {result.left:,} prompts left ({result.stopped})")
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
