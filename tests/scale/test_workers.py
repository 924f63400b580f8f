"""Ray workers and their stores, tested without Ray."""

import json
from dataclasses import replace

import polars as pl
import pytest

from tests.responses.asked import Writes
from tests.scale.serving import make_failing
from valuestrata.errors import InputDataError, MissingExtraError, RunFailedError, UsageError
from valuestrata.prompts.frame import prompts_to_frame
from valuestrata.respondents.base import Answer
from valuestrata.respondents.controls.control import make_control
from valuestrata.respondents.models import ModelSettings
from valuestrata.responses.ask.plan import labels_of, plan_asking
from valuestrata.responses.distributed import ray_cluster, ray_run
from valuestrata.responses.distributed import ray_worker as rayworker
from valuestrata.responses.distributed.ray_run import ask_on_ray
from valuestrata.responses.distributed.ray_worker import DescribedControl, Worker, WorkerSetup, describe
from valuestrata.responses.run import worker_stores
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.responses.run.store import FILE, Store, read_store
from valuestrata.responses.run.store_index import StoreIndex
from valuestrata.responses.run.worker_stores import files_of_workers, gather, merge, new_store, recover


def work_for(dataset, out, model, said=None):
    return WorkerSetup(
        dataset, "hf:x", ModelSettings(), out, labels_of(dataset), said or {"name": model.name, **as_json(model)}, lambda *_: model
    )


def as_json(model):
    return json.loads(json.dumps(model.identity()))


def batch_of(dataset, model, **plan):
    prompts = list(plan_asking(dataset, elicitation="text", **plan).prompts(dataset, model))
    return prompts, prompts_to_frame(prompts).to_arrow(compat_level=pl.CompatLevel.oldest())


def keys_of(model):
    return [prompt.key for prompt in model.asked]


def test_a_worker_returns_a_row_for_each_prompt_and_has_it_in_its_store(handmade, tmp_path):
    model = Writes()
    prompts, batch = batch_of(handmade, model)
    rows = pl.from_arrow(Worker(work_for(handmade, tmp_path, model))(batch))
    assert rows["key"].to_list() == [prompt.key for prompt in prompts]
    assert rows.drop("key").schema == RESPONSES.empty().schema
    stored = read_store(files_of_workers(tmp_path)[0].parent)
    assert stored.equals(rows.drop("key").sort("item", "subgroup"))


def test_what_another_worker_has_answered_is_not_asked_again(handmade, tmp_path):
    first, second = Writes("Answer: 1"), Writes("Answer: 2")
    prompts, batch = batch_of(handmade, first)
    one, two = (Worker(work_for(handmade, tmp_path, model)) for model in (first, second))
    one(batch.slice(0, 4))
    # The second worker has read the stores once; what the first writes afterwards is known to it all the same.
    two(batch.slice(8, 1))
    one(batch.slice(4, 2))
    rows = pl.from_arrow(two(batch))
    assert keys_of(second) == [prompt.key for prompt in (prompts[8], prompts[6], prompts[7])]
    assert rows["text"].to_list() == ["Answer: 1"] * 6 + ["Answer: 2"] * 3


def test_what_the_run_has_is_not_asked_again(handmade, tmp_path):
    model = Writes()
    prompts, batch = batch_of(handmade, model)
    Worker(work_for(handmade, tmp_path, model))(batch.slice(0, 3))
    with Store(tmp_path / "store") as store:
        assert gather(tmp_path, store) == 3
        worker_stores.forget(tmp_path, store)
    assert files_of_workers(tmp_path) == []
    later = Writes()
    Worker(work_for(handmade, tmp_path, later))(batch)
    assert keys_of(later) == [prompt.key for prompt in prompts[3:]]


def test_a_failure_is_stored_and_not_returned_and_asked_again(handmade, tmp_path):
    broken = Writes(lambda prompt: Answer(prompt, error="server error: 500") if prompt.item == "Q1" else "Answer: 2")
    _, batch = batch_of(handmade, broken)
    worker = Worker(work_for(handmade, tmp_path, broken))
    assert pl.from_arrow(worker(batch))["item"].unique().sort().to_list() == ["Q182", "spend"]
    assert read_store(files_of_workers(tmp_path)[0].parent)["status"].value_counts().sort("count").rows() == [
        ("failed", 3),
        ("answered", 6),
    ]
    mended = Writes()
    assert pl.from_arrow(Worker(work_for(handmade, tmp_path, mended))(batch)).height == 9
    assert {prompt.item for prompt in mended.asked} == {"Q1"}
    with Store(tmp_path / "store") as store:
        gather(tmp_path, store)
        assert store.table()["status"].to_list() == ["answered"] * 9


def test_silence_and_strange_answers(handmade, tmp_path):
    class Silent(Writes):
        def answer(self, prompts):
            return iter(list(super().answer(prompts))[1:])

    silent = Silent()
    _, batch = batch_of(handmade, silent)
    assert pl.from_arrow(Worker(work_for(handmade, tmp_path / "silent", silent))(batch)).height == 8
    table = read_store(files_of_workers(tmp_path / "silent")[0].parent)
    assert table.filter(pl.col("status") == "failed")["error"].to_list() == ["no answer came back"]
    strange = Writes(lambda prompt: Answer(replace(prompt, pair_id="Q1_nobody"), text="Answer: 1"))
    with pytest.raises(ValueError, match="Q1_nobody"):
        Worker(work_for(handmade, tmp_path / "strange", strange))(batch)


def test_a_worker_gives_up_where_nothing_succeeds_anywhere(handmade, tmp_path, monkeypatch):
    monkeypatch.setattr(rayworker, "FAILURES_BEFORE_STOPPING", 5)
    broken = Writes(lambda prompt: Answer(prompt, error="connection: refused"))
    _, batch = batch_of(handmade, broken)
    with pytest.raises(RunFailedError, match=r"5 failed, the last: connection: refused"):
        Worker(work_for(handmade, tmp_path / "none", broken))(batch)
    assert len(broken.asked) == 5
    # One success of another worker, and the server is there: these prompts fail for reasons of their own.
    well, broken = Writes(), Writes(lambda prompt: Answer(prompt, error="connection: refused"))
    Worker(work_for(handmade, tmp_path / "one", well))(batch.slice(0, 1))
    Worker(work_for(handmade, tmp_path / "one", broken))(batch)
    assert len(broken.asked) == 8


def test_a_worker_is_told_what_the_whole_run_has_answered(handmade, tmp_path):
    class Resuming(Writes):
        known = None

        def answered_before(self, number):
            self.known = number

    fresh, later = Resuming(), Resuming()
    _, batch = batch_of(handmade, fresh)
    Worker(work_for(handmade, tmp_path, fresh))(batch.slice(0, 2))
    Worker(work_for(handmade, tmp_path, later))(batch.slice(2, 2))
    assert (fresh.known, later.known) == (None, 2)


def test_what_failed_before_lies_in_the_last_file(handmade, tmp_path):
    model = Writes()
    prompts, _ = batch_of(handmade, model)
    with Store(tmp_path / "store") as store:
        row = RESPONSES.frame([{"pair_id": "p", "item": "i", "subgroup": "s"}]).to_dicts()[0]
        for prompt in prompts[:2]:
            store.append(prompt.key, {**row, "status": "failed", "error": "refused request: filtered"})
        store.append(prompts[2].key, {**row, "status": "answered"})
        (tmp_path / "files").mkdir()
        assert ray_run._written(tmp_path / "files", store, iter(prompts), 3, 7) == 1
    files = [pl.read_parquet(file)["key"].to_list() for file in sorted((tmp_path / "files").iterdir())]
    assert [key for keys in files for key in keys] == [prompt.key for prompt in (*prompts[3:], prompts[0])]


def test_a_worker_of_another_identity_refuses_to_answer(handmade, tmp_path):
    model = Writes(versions={"torch": "2.6"})
    _, batch = batch_of(handmade, model)
    said = {"name": model.name, **as_json(Writes(versions={"torch": "2.5"}))}
    with pytest.raises(InputDataError, match=r"respondent\.versions\.torch '2\.5', and now it would be '2\.6'"):
        Worker(work_for(handmade, tmp_path, model, said))(batch)
    assert model.asked == []


@pytest.mark.parametrize("kind", ["no-persona", "country-only", "shuffled-persona", "wrong-country=JPN"])
def test_a_control_is_described_with_the_personas_it_is_asked_as(kind, handmade, tmp_path):
    control = make_control(f"control:{kind}@hf:x", handmade, lambda _: Writes())
    # Built on a worker, from what a worker is told of the data set.
    work = replace(
        work_for(ray_run._without_gold(handmade), tmp_path, control),
        make=lambda _, told, how: make_control(control.name, told, lambda _: Writes()),
    )
    described = describe(work)
    assert isinstance(described, DescribedControl)
    assert (described.name, described.identity(), described.note) == (control.name, control.identity(), control.note)
    assert described.personas_for(handmade) == control.personas_for(handmade)
    asking = plan_asking(handmade, elicitation="text")
    assert list(asking.prompts(handmade, described)) == list(asking.prompts(handmade, control))
    with pytest.raises(NotImplementedError):
        described.answer([])


def test_a_control_that_reuses_answers_is_told_those_of_the_run(handmade, tmp_path):
    inner = Writes()
    control = make_control("control:no-persona@hf:x", handmade, lambda _: inner)
    _, batch = batch_of(handmade, control)
    Worker(work_for(handmade, tmp_path, control))(batch.slice(0, 3))
    with Store(tmp_path / "store") as store:
        gather(tmp_path, store)
    later = Writes("Answer: 1")
    anew = make_control("control:no-persona@hf:x", handmade, lambda _: later)
    rows = pl.from_arrow(Worker(work_for(handmade, tmp_path, anew))(batch))
    # Three items, asked once each before; every other subgroup has copies of those.
    assert later.asked == []
    assert rows["text"].to_list() == ["Answer: 2"] * 9


def test_known_reads_on_where_it_stopped_and_leaves_half_a_line(tmp_path):
    row = RESPONSES.frame([{"pair_id": "p", "item": "i", "subgroup": "s", "status": "answered"}]).to_dicts()[0]
    keys = [character * 64 for character in "abcd"]
    with Store(tmp_path / "a") as a, Store(tmp_path / "b") as b:
        known = StoreIndex(lambda: [a.file, b.file, tmp_path / "none" / FILE])
        known.refresh()
        assert len(known) == 0
        a.append(keys[0], {**row, "status": "failed", "error": "timeout"})
        b.append(keys[1], row)
        known.refresh()
        assert (len(known), known.successes, known.has(keys[0]), known.has(keys[1])) == (2, 1, False, True)
        assert known.row(keys[0])["error"] == "timeout"
        b.append(keys[0], row)
        a.append(keys[0], {**row, "status": "failed", "error": "later"})
        known.refresh()
        assert (known.successes, known.row(keys[0])["status"], known.row(keys[3])) == (2, "answered", None)
        a.append(keys[2], row)
        whole = a.file.read_bytes()
        a.file.write_bytes(whole[:-9])
        known.refresh()
        assert not known.has(keys[2])
        a.file.write_bytes(whole)
        known.refresh()
        assert known.has(keys[2])


def test_what_failures_cost_comes_along_though_they_were_asked_again(tmp_path):
    row = RESPONSES.frame([{"pair_id": "p", "item": "i", "subgroup": "s", "status": "answered", "cost": 1.0}]).to_dicts()[0]
    failed = {**row, "status": "failed", "error": "timeout"}
    with new_store(tmp_path) as worker, Store(tmp_path / "store") as store:
        for key in ("a" * 64, "b" * 64):
            worker.append(key, {**failed, "cost": 0.25})
            worker.append(key, {**failed, "cost": None})
        worker.append("a" * 64, row)
        assert [gather(tmp_path, store), gather(tmp_path, store)] == [4, 0]
        assert store.cost_of_replaced() == 0.5
        worker.append("b" * 64, {**failed, "cost": 0.125})
        worker.append("b" * 64, row)
        assert [gather(tmp_path, store), gather(tmp_path, store)] == [2, 0]
        assert store.cost_of_replaced() == 0.625
        assert store.table()["cost"].sum() == 2.0


def test_gathering_again_brings_nothing_twice(tmp_path):
    row = RESPONSES.frame([{"pair_id": "p", "item": "i", "subgroup": "s", "status": "answered"}]).to_dicts()[0]
    with new_store(tmp_path) as worker, Store(tmp_path / "store") as store:
        worker.append("a" * 64, row)
        worker.append("b" * 64, {**row, "status": "failed", "error": "timeout"})
        assert [gather(tmp_path, store), gather(tmp_path, store)] == [2, 0]
        worker.append("b" * 64, {**row, "status": "failed", "error": "server error"})
        assert gather(tmp_path, store) == 1
        worker.append("b" * 64, row)
        assert [gather(tmp_path, store), gather(tmp_path, store)] == [1, 0]
        assert merge(store, tmp_path / "nobody" / FILE) == 0
        assert store.table()["status"].to_list() == ["answered", "answered"]


def test_workers_that_still_answer_are_waited_for_and_then_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(worker_stores, "SECONDS_TO_WAIT", 0.1)
    with Store(tmp_path / "store") as store:
        with new_store(tmp_path), pytest.raises(UsageError, match="1 Ray workers of another call"):
            recover(tmp_path, store)
        assert recover(tmp_path, store) == 0


def test_calls_that_make_no_sense_are_refused_before_ray_starts(handmade, tmp_path, monkeypatch):
    plan = plan_asking(handmade)
    for model, options, message in (
        ("baseline:item-mode", {}, "leave out `address="),
        ("hf:x", {"workers": 0}, "workers=0`: it must be 1"),
        ("hf:x", {"max_calls": -1}, "max_calls=-1`: it must be 0"),
        ("hf:x", {"address": "spark"}, "ray://HOST:PORT"),
        ("hf:x", {"address": "ray://head"}, "ray://HOST:PORT"),
    ):
        with pytest.raises(UsageError, match=message):
            ask_on_ray(handmade, model, tmp_path / "run", plan, **options)
    monkeypatch.setattr(ray_cluster.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"valuestrata\[ray\]"):
        ask_on_ray(handmade, "hf:x", tmp_path / "run", plan)
    assert not (tmp_path / "run").exists()


def test_an_error_with_arguments_of_its_own_survives_the_way(handmade, tmp_path):
    settings = ModelSettings(extra={"missing": "nolib"})
    work = WorkerSetup(handmade, "hf:x", settings, tmp_path, {}, None, make_failing)
    with pytest.raises(UsageError, match="nolib") as told:
        describe(work)
    assert type(told.value) is UsageError
