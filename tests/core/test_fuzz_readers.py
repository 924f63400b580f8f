"""Every JSON and YAML file the program reads, mutated: it is used as it was meant, or refused with one message."""

import copy
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
import yaml

from tests.core.people import random_survey
from tests.openended import judged
from tests.responses.asked import Writes
from tests.scale.test_collecting import ask_shard
from valuestrata.building import BuildSettings, build
from valuestrata.dataset.subgroups import merge_levels
from valuestrata.dataset.tables import load_dataset, refuse_other_survey, write_dataset
from valuestrata.errors import ValuestrataError
from valuestrata.files import write_json
from valuestrata.openended.annotation.files import append_codings, coder_file
from valuestrata.openended.annotation.sample import Instruction, pairwise_units, write_sample
from valuestrata.openended.files import load_judgements, load_stances
from valuestrata.openended.pairwise.prompts import load_criteria
from valuestrata.openended.sources import load_sources
from valuestrata.openended.validity.judge_validity import load_codings
from valuestrata.prompts.persona import personas_of
from valuestrata.prompts.template import load_template
from valuestrata.reports.closed.narrative import method
from valuestrata.reports.core.names import attribute_titles, minimum_cell
from valuestrata.respondents.hosted.batch.answers import respondent_from_identity
from valuestrata.respondents.local.adapter import CONFIG, adapter_identity, check_base, read_adapter
from valuestrata.respondents.models import ModelSettings, make_respondent
from valuestrata.responses.ask.loop import ask
from valuestrata.responses.batch.folder import BatchFile, BatchFolder, BatchState
from valuestrata.responses.distributed.collect import collect
from valuestrata.responses.run.folder import check_same_dataset, load_run, new_meta, read_meta
from valuestrata.responses.run.identity import run_identity
from valuestrata.responses.run.session import check_folder, opened_run
from valuestrata.scores.plan import Plan, declare, describe
from valuestrata.splits.leakage import leakage_report
from valuestrata.study.config import load_study
from valuestrata.study.data import build_record
from valuestrata.study.resume import ASKED, AskedRecord, FileState, read_record, write_record
from valuestrata.survey.codebook import load_codebook
from valuestrata.survey.label_overrides import read_label_overrides
from valuestrata.survey.wording import apply_wording
from valuestrata.tuning.adapters import PLAN, TRAINING, claim, finished, unfinished
from valuestrata.tuning.export.files import export_training, load_export
from valuestrata.tuning.export.jobs import TuningJob, load_job
from valuestrata.tuning.model_card import write_card
from valuestrata.tuning.recipe import Recipe, load_recipe
from valuestrata.tuning.train.checkpoints import COMPLETE, last_checkpoint

VALUES = [None, [], {}, "", "x", "a/../b", 0, -3, 2.5, True, float("nan"), 10**30, "2020-13-45", [None], {"x": None}, [[{}]], "\0"]
RAW = [
    b"",
    b"\xff\xfe{}",
    b"\x00",
    b"null",
    b"[]",
    b"3",
    b"{",
    b"[" * 9000,
    b'{"a":' * 9000,
    b"9" * 5000,
    b'"\\ud800"',
    b"NaN",
    b"a: [",
    b"\xef\xbb\xbf{}",
]
FAST = 8


@dataclass(frozen=True)
class Reader:
    """A file and what reads it.

    Attributes:
        make: writes a folder with the file and returns its path.
        read: reads the file in its place, and uses what it read.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], object]


def paths_of(document, path=()):
    yield path
    inner = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for key, value in inner:
        yield from paths_of(value, (*path, key))


def at(document, path):
    for key in path:
        document = document[key]
    return document


def mutants(text, is_json, number, seed):
    """Yield changed contents of a file: a value replaced, a key dropped, renamed or given twice, or other bytes."""
    rng = random.Random(seed)
    document = json.loads(text) if is_json else yaml.safe_load(text)
    paths = [path for path in paths_of(document) if path]
    written = json.dumps if is_json else lambda one: yaml.safe_dump(one, allow_unicode=True)
    yield from RAW
    # Every key once, then values at random.
    for path in paths[:number] if number < len(paths) else paths:
        changed = copy.deepcopy(document)
        del at(changed, path[:-1])[path[-1]]
        yield written(changed).encode()
    for _ in range(number * 2):
        changed, path = copy.deepcopy(document), rng.choice(paths)
        at(changed, path[:-1])[path[-1]] = copy.deepcopy(rng.choice(VALUES))
        yield written(changed).encode()
    for _ in range(number // 4):
        changed, path = copy.deepcopy(document), rng.choice(paths)
        place = at(changed, path[:-1])
        if isinstance(place, dict):
            place["unknown"] = place.pop(path[-1])
        else:
            place += place
        yield written(changed).encode()
        place = rng.randrange(len(text))
        yield (text[:place] + rng.choice(["\0", "{", "]", ":", "\n", '"', "é", "- "]) + text[place + 1 :]).encode()


def small_dataset():
    return build(random_survey(200, 4, attributes=2), BuildSettings(min_respondents=10, min_valid=5, draws=10))


def dataset_file(folder):
    write_dataset(small_dataset(), folder)
    document = json.loads((folder / "dataset.json").read_text())
    # Without hashes, as an older version wrote it: every change reaches the reader.
    document.pop("sha256")
    (folder / "dataset.json").write_text(json.dumps(document))
    return folder / "dataset.json"


def use_dataset(file):
    refuse_other_survey(file.parent, "made")
    dataset = load_dataset(file.parent)
    return (
        personas_of(dataset),
        dataset.remarks,
        leakage_report(dataset),
        method(dataset, [], [], None),
        minimum_cell(dataset),
        attribute_titles(dataset),
    )


def handmade():
    from tests.conftest import build_handmade

    return build_handmade()


def run_file(folder):
    ask(handmade(), Writes(), folder, elicitation="text")
    return folder / "run.json"


def use_run(file):
    run = load_run(file.parent)
    check_same_dataset(run, handmade())
    document = {**run.meta, "plan": {"split": "other"}, "versions": {"polars": "0"}}
    with opened_run(file.parent, document):
        pass
    return run_identity(run), read_meta(file.parent), check_folder(file.parent, run.meta)


def contests():
    dataset = judged.made_up(4)
    return dataset, judged.contests(dataset)


def judged_file(kind):
    def make(folder):
        dataset, planted = contests()
        runs = [judged.open_run(folder / "tuned", dataset, planted)]
        base = judged.open_run(folder / "base", dataset, planted)
        if kind == "verdicts":
            return judged.judged_folder(folder / "judged", dataset, judged.verdicts(planted), runs, base) / "run.json"
        return judged.read_folder(folder / "judged", dataset, judged.stances(dataset, planted)[1], runs) / "run.json"

    return make


def use_judged(file):
    dataset, _ = contests()
    load = load_stances if (file.parent / "stances.parquet").is_file() else load_judgements
    return load(file.parent), load_sources(dataset, [file.parent])


def sample_file(name):
    def make(folder):
        dataset, planted = contests()
        units = pairwise_units(judged.verdicts(planted))
        answers = pl.DataFrame(
            [
                {"run": run, "pair_id": row["pair_id"], "sample": row["sample"], "text": "words"}
                for row in planted.rows
                for run in ("tuned", "base")
            ],
            schema_overrides={"sample": pl.Int32},
        )
        sample = write_sample(
            dataset, units, answers, folder / "sample", n=5, seed=0, instructions={"overall": Instruction("Which is better?", True)}
        )
        append_codings(coder_file(sample.path, "ann"), [(sample.tasks[0].id, "1", "")])
        return sample.path / name

    return make


def use_sample(file):
    return load_codings(file.parent, judged.made_up(4))


REQUEST = {
    "dataset": "f" * 64,
    "model": "hf:org/base",
    "split": "paper",
    "fold": None,
    "control": None,
    "recipe": load_recipe("modal").document,
}


def adapter_folder(folder):
    from tests.tuning import test_card

    write_json(folder / CONFIG, {"peft_type": "LORA", "base_model_name_or_path": "org/base", "r": 8, "revision": None})
    (folder / "adapter_model.safetensors").write_bytes(b"x")
    write_json(folder / TRAINING, {**test_card.TRAINING, "request": REQUEST, "curve": []})
    return folder


def use_adapter(file):
    config = read_adapter(file.parent)
    check_base(file.parent, config, "org/base", [])
    return adapter_identity(file.parent), finished(file.parent, REQUEST), write_card(file.parent)


def export_file(folder):
    recipe = load_recipe("distribution", early_stopping=None, **{"validation.samples": 0})
    export_training(handmade(), folder, recipe=recipe)
    return folder / "export.json"


def use_export(file):
    export = load_export(file.parent)
    return export.rows, export.remarks, export.document["request"]["for"], Recipe.model_validate(export.document["recipe"])


def job_file(folder):
    document = {
        "format": "valuestrata-job-1",
        "provider": "together",
        "model": "org/base",
        "base_url": "http://127.0.0.1:1",
        "export": "0" * 64,
    }
    document |= {
        "tag": "vs-1",
        "stage": "ended",
        "files": {"train": "f-1"},
        "id": "ft-1",
        "status": "completed",
        "result": "a/b",
        "said": None,
    }
    write_json(folder / "job.json", document)
    return folder / "job.json"


def use_job(file):
    job: TuningJob = load_job(file.parent)
    return job.id, job.tuned_model, job.document["stage"], job.document.get("status")


def plan_file(folder):
    declare(folder, Plan(), False)
    declare(folder, Plan(metric="nmae"), True)
    return folder / "plan.json"


def training_plan_file(folder):
    claim(folder / "out", REQUEST, {"model": "org/base", "revision": "a"})
    return unfinished(folder / "out") / PLAN


def use_training_plan(file):
    out = file.parent.with_name("out")
    return finished(out, REQUEST), claim(out, REQUEST, {"model": "org/base", "revision": "a"})


def checkpoint_file(folder):
    write_json(folder / "checkpoint-5" / COMPLETE, {"step": 5, "group_weights": [0.5, 0.5]})
    write_json(folder / "checkpoint-9" / COMPLETE, {"step": 9, "group_weights": None})
    return folder / "checkpoint-5" / COMPLETE


def batch_file(folder):
    file = BatchFile("requests-000.jsonl", "0" * 64, 3, "tag", "running", "up", None, "batch", "in_progress", (), ("a",), None)
    BatchFolder(folder).save(BatchState({file.name: file}, {"input": 1.0, "output": 2.0, "cached": None}, ("0" * 64,)))
    return folder / "batch" / "batches.json"


def use_batch(file):
    folder = BatchFolder(file.parent.parent)
    state = folder.state()
    folder.save(state)
    return state


def asked_file(folder):
    write_record(folder, "run", AskedRecord("a", None, {"m": FileState(1, 2, None)}, True))
    return folder / ASKED


def use_asked(file):
    found = read_record(file.parent, "run")
    write_record(file.parent, "other", AskedRecord("a", None, {}))
    return found.completes(AskedRecord("a", None, {})) if found else None


def shard_file(folder):
    for index in (1, 2):
        ask_shard(handmade(), folder, index, 2)
    return folder / "shards" / "0001-of-0002" / "run.json"


def hosted_file(folder):
    made = make_respondent("openai/gpt-4o-mini", handmade(), settings=ModelSettings(base_url="http://127.0.0.1:9/v1"))
    document = new_meta(handmade(), "run", "asked", respondent={"name": made.name, **made.identity()})
    write_json(folder / "run.json", document)
    return folder / "run.json"


def build_record_file(folder):
    write_json(folder / "build.json", {"request": "a"})
    return folder / "build.json"


def text_file(name, text):
    def make(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        return folder / name

    return make


STUDY = """\
name: mine
output: out
survey: {file: embedded, codebook: gss2018}
build: {order: 1, min_valid: 30}
ask: {elicitation: text, samples: 2, max_cost: 3.5}
models:
  - baseline:item-mode
  - {model: embedded, name: small, temperature: 0.5, prices: [1, 2], extra: {top_p: 0.9}}
plan: {metric: nmae, comparisons: [{run: small, against: embedded}], thresholds: {coverage: 0.9}}
seeds: {split: 3}
score: {baselines: cheap}
audit: {metrics: [accuracy]}
report: {title: Mine}
"""
OPEN_STUDY = (
    "name: a\nsurvey: {file: embedded}\nmodels: [embedded]\nopen: {items: [a], reference: embedded, judges: [embedded], truncate: 20}\n"
)
TUNE_STUDY = "name: a\nsurvey: {file: embedded}\nmodels: [embedded]\ntune: {recipes: [modal, {recipe: kl, name: b}], splits: [paper]}\n"
RECIPE = (
    "base: modal\nname: mine\nlearning_rate: 0.001\nlora: {r: 4, target_modules: [q_proj]}\nearly_stopping: {patience: 2}\norders: scale\n"
)
TEMPLATE = """\
name: mine
version: 2
who: You are {persona_in_place}.
who_all: You live {in_place}.
user: "{who}\\n{question}\\n{options}\\n{reply}"
reply: Answer.
open: "{who} {question}"
attributes: {sex: Sex}
levels: {sex: {Male: man, Female: woman}}
places: {Singapore: Singapore}
"""
CRITERIA = "version: 3\nintro: Compare.\ncriteria:\n  kind: {title: Kindness, wording: Which is kinder, persona: false}\n"
LEVELS = "sex: {Anyone: [sex 0, sex 1]}\nage: {Young: {levels: [age_group 0], phrase: young, role: adjective}}\n"
LABELS = 'A1: {"No way": 1, "Pass": dont_know}\nsex: {"M": sex 0}\n"*": {"??": no_answer}\n'
WORDING = "source: other\nitems:\n  A1: {question: Why, labels: {1: Yes, 2: No}}\n"


def codebook_text():
    from tests.core.test_yaml_files import CODEBOOK

    return CODEBOOK.replace(".inf", "null")


READERS = {
    "dataset.json": Reader(dataset_file, use_dataset),
    "run.json": Reader(run_file, use_run),
    "verdicts": Reader(judged_file("verdicts"), use_judged),
    "stances": Reader(judged_file("stances"), use_judged),
    "sample.json": Reader(sample_file("sample.json"), use_sample),
    "key.json": Reader(sample_file("key.json"), use_sample),
    "adapter_config.json": Reader(lambda folder: adapter_folder(folder) / CONFIG, use_adapter),
    "training.json": Reader(lambda folder: adapter_folder(folder) / TRAINING, use_adapter),
    "export.json": Reader(export_file, use_export),
    "job.json": Reader(job_file, use_job),
    "plan.json": Reader(plan_file, lambda file: describe(declare(file.parent, Plan(), True))),
    "training plan": Reader(training_plan_file, use_training_plan),
    "checkpoint": Reader(checkpoint_file, lambda file: last_checkpoint(file.parent.parent)),
    "batches.json": Reader(batch_file, use_batch),
    "asked.json": Reader(asked_file, use_asked),
    "shard": Reader(shard_file, lambda file: collect(file.parents[2])),
    "batch run": Reader(hosted_file, lambda file: respondent_from_identity(read_meta(file.parent).get("respondent"), None)),
    "build.json": Reader(build_record_file, lambda file: build_record(file)),
    "codebook": Reader(lambda folder: text_file("a.yaml", codebook_text())(folder), load_codebook),
    "study": Reader(text_file("a.yaml", STUDY), lambda file: load_study(file).settings),
    "open study": Reader(text_file("a.yaml", OPEN_STUDY), lambda file: load_study(file).settings),
    "tune study": Reader(text_file("a.yaml", TUNE_STUDY), lambda file: load_study(file).settings),
    "recipe": Reader(text_file("a.yaml", RECIPE), lambda file: load_recipe(file).to_yaml()),
    "template": Reader(text_file("a.yaml", TEMPLATE), lambda file: load_template(file).version),
    "criteria": Reader(text_file("a.yaml", CRITERIA), lambda file: load_criteria(file=file)),
    "levels": Reader(text_file("a.yaml", LEVELS), lambda file: merge_levels(random_survey(60, 1), file)),
    "labels": Reader(text_file("a.yaml", LABELS), lambda file: read_label_overrides(file, random_survey(9, 1).codebook)),
    "wording": Reader(text_file("a.yaml", WORDING), lambda file: apply_wording(random_survey(9, 1).codebook, file)),
}


def failures_of(name, tmp_path, number, seed):
    """Return the unexpected errors of a reader, each with the content of the file."""
    reader = READERS[name]
    original = reader.make(tmp_path / "original")
    text = original.read_text()
    inside = original.relative_to(tmp_path / "original")
    kept = {file: file.read_bytes() for file in (tmp_path / "original").rglob("*") if file.is_file()}
    assert reader.read(original) is not None or name == "asked.json", "the file as it was written"
    found = []
    for content in mutants(text, original.suffix == ".json", number, seed):
        for file in (tmp_path / "original").rglob("*"):
            if file.is_file() and file not in kept:
                file.unlink()
        for file, data in kept.items():
            if not file.is_file() or file.read_bytes() != data:
                file.write_bytes(data)
        original.write_bytes(content)
        try:
            reader.read(tmp_path / "original" / inside)
        except ValuestrataError as error:
            if len(str(error)) > 2000 or "\0" in str(error):
                found.append((content[:300], f"a message of {len(str(error))} characters"))
        except Exception as error:
            found.append((content[:300], f"{type(error).__name__}: {str(error)[:100]}"))
    return found


@pytest.mark.parametrize("name", READERS)
@pytest.mark.filterwarnings("ignore")
def test_a_mutated_file_is_used_or_refused_with_one_message(tmp_path, name, monkeypatch):
    if name == "batch run":
        pytest.importorskip("openai", reason="needs the extra api")
    monkeypatch.setenv("OPENAI_API_KEY", "k" * 40)
    found = failures_of(name, tmp_path, FAST, 0)
    assert not found, f"{len(found)}: {found[0]}"


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
@pytest.mark.filterwarnings("ignore")
def test_many_mutated_files_are_used_or_refused(tmp_path, name, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k" * 40)
    for seed in range(1, 4):
        found = failures_of(name, tmp_path / str(seed), 60, seed)
        assert not found, f"{len(found)}: {found[0]}"
