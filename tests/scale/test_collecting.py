"""Joining shards: the joined run is the run that one machine would have made, and every gap is named."""

import shutil

import polars as pl
import pytest

from tests.responses.asked import Writes
from valuestrata.errors import InputDataError, RunFailedError, UsageError
from valuestrata.files import read_json, write_json
from valuestrata.respondents.base import Answer
from valuestrata.responses.ask.loop import ask, ask_planned
from valuestrata.responses.ask.plan import plan_asking
from valuestrata.responses.distributed.collect import collect
from valuestrata.responses.distributed.shards import Shard, prepare_shard, shard_folder, sharded
from valuestrata.responses.run.folder import load_run, read_meta
from valuestrata.responses.run.store import Store


def ask_shard(dataset, out, index, of, model=None, max_calls=None, **options):
    asking = plan_asking(dataset, **{"elicitation": "text", **options})
    shard = Shard(index, of)
    return ask_planned(dataset, model or Writes(), prepare_shard(out, shard), sharded(dataset, asking, shard), max_calls=max_calls)


def ask_all(dataset, out, of, **options):
    for index in range(1, of + 1):
        ask_shard(dataset, out, index, of, **options)


def breaks_on(*items):
    return Writes(lambda prompt: Answer(prompt, error="server error: 500") if prompt.item in items else "Answer: 2")


def test_joined_shards_are_the_run_that_one_machine_makes(handmade, tmp_path):
    options = {"elicitation": "text", "part": "all", "orders": "scale,reversed", "samples": 2}
    ask(handmade, Writes(), tmp_path / "whole" / "run", **options)
    ask_all(handmade, tmp_path / "run", 4, **options)
    joined = collect(tmp_path / "run")
    assert (joined.shards, joined.pairs, joined.failed) == (4, 18, 0)
    assert joined.counts["answered"] == 72
    one, many = load_run(tmp_path / "whole" / "run"), load_run(tmp_path / "run")
    assert many.responses.equals(one.responses)
    passing = ("started", "finished", "shards")
    assert {k: v for k, v in many.meta.items() if k not in passing} == {k: v for k, v in one.meta.items() if k not in passing}
    assert many.meta["shards"] == 4
    starts = [read_meta(shard_folder(tmp_path / "run", index, 4))["started"] for index in range(1, 5)]
    assert many.meta["started"] == min(starts)


def test_a_joined_run_goes_on_as_any_other(handmade, tmp_path):
    ask_all(handmade, tmp_path / "run", 3)
    collect(tmp_path / "run")
    more = Writes()
    result = ask(handmade, more, tmp_path / "run", elicitation="text", part="all")
    assert (result.kept, result.asked) == (9, 9)
    assert not {prompt.pair_id for prompt in more.asked} & set(handmade.part("paper", "test")["pair_id"])


def test_what_failures_cost_that_were_asked_again_is_in_the_joined_total(handmade, tmp_path):
    paid = {"cost": 0.25, "prompt_tokens": 100}
    fails = Writes(lambda prompt: Answer(prompt, error="timeout: nothing came", **paid))
    with pytest.raises(RunFailedError):
        ask_shard(handmade, tmp_path / "run", 1, 2, fails)
    failed = len(fails.asked)
    for index in (1, 2):
        ask_shard(handmade, tmp_path / "run", index, 2, Writes(lambda prompt: Answer(prompt, text="Answer: 2", **paid)))
    for _ in range(2):
        joined = collect(tmp_path / "run")
        assert joined.usage["cost"] == read_meta(tmp_path / "run")["usage"]["cost"] == 0.25 * (9 + failed)


def test_collecting_again_changes_nothing(handmade, tmp_path):
    ask_shard(handmade, tmp_path / "run", 1, 2, breaks_on("Q1"))
    ask_shard(handmade, tmp_path / "run", 2, 2)
    first = collect(tmp_path / "run")
    table, size = load_run(tmp_path / "run").responses, (tmp_path / "run" / "store" / "responses.jsonl").stat().st_size
    assert collect(tmp_path / "run") == first
    assert load_run(tmp_path / "run").responses.equals(table)
    assert (tmp_path / "run" / "store" / "responses.jsonl").stat().st_size == size


def test_failures_are_counted_and_a_shard_asked_again_is_collected_again(handmade, tmp_path):
    ask_shard(handmade, tmp_path / "run", 1, 2, breaks_on("Q1"))
    ask_shard(handmade, tmp_path / "run", 2, 2)
    joined = collect(tmp_path / "run")
    failed = load_run(shard_folder(tmp_path / "run", 1, 2)).responses.filter(pl.col("status") == "failed").height
    assert (joined.failed, joined.failures, joined.failed_shards) == (failed, {"server error": failed}, (Shard(1, 2),))
    assert failed > 0
    again = Writes()
    ask_shard(handmade, tmp_path / "run", 1, 2, again)
    assert len(again.asked) == failed
    mended = collect(tmp_path / "run")
    assert (mended.failed, mended.failures, mended.failed_shards, mended.counts["answered"]) == (0, {}, (), 9)


def test_missing_shards_are_named(handmade, tmp_path):
    with pytest.raises(InputDataError, match="no shards here"):
        collect(tmp_path / "run")
    for index in (1, 5, 9):
        ask_shard(handmade, tmp_path / "run", index, 9)
    (tmp_path / "run" / "shards" / "0007-of-0009").mkdir()  # made by a job that died before it wrote anything
    with pytest.raises(InputDataError, match=r"6 of 9 shards are missing: 2-4, 6-8\. .*--shard 2/9"):
        collect(tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


def test_unfinished_shards_are_named_with_what_they_lack(handmade, tmp_path):
    ask_shard(handmade, tmp_path / "run", 1, 2)
    ask_shard(handmade, tmp_path / "run", 2, 2, max_calls=2)
    with pytest.raises(InputDataError, match=r"1 of 2 shards are not finished \(2/2 lacks 3\).*--shard 2/2"):
        collect(tmp_path / "run")
    ask_shard(handmade, tmp_path / "run", 2, 2)
    assert collect(tmp_path / "run").counts["answered"] == 9


def test_a_shard_killed_before_its_table_was_written_is_read_from_its_store(handmade, tmp_path):
    ask_all(handmade, tmp_path / "run", 2)
    (shard_folder(tmp_path / "run", 1, 2) / "responses.parquet").unlink()
    assert collect(tmp_path / "run").counts["answered"] == 9
    (shard_folder(tmp_path / "run", 2, 2) / "store" / "responses.jsonl").unlink()
    with pytest.raises(InputDataError, match=r"store is missing.*shard 2/2"):
        collect(tmp_path / "run")


def test_shards_of_two_cuts_cannot_be_joined(handmade, tmp_path):
    ask_all(handmade, tmp_path / "run", 2)
    ask_shard(handmade, tmp_path / "other", 2, 3)
    shutil.copytree(shard_folder(tmp_path / "other", 2, 3), shard_folder(tmp_path / "run", 2, 3))
    with pytest.raises(InputDataError, match=r"different numbers.*of 2: 1-2; of 3: 2"):
        collect(tmp_path / "run")


def test_shards_asked_of_other_models_or_in_other_ways_cannot_be_joined(handmade, make_handmade, tmp_path):
    ask_shard(handmade, tmp_path / "model", 1, 2)
    ask_shard(handmade, tmp_path / "model", 2, 2, Writes(revision="later"))
    with pytest.raises(InputDataError, match=r"shards 1/2 and 2/2 were asked differently.*respondent\.revision 'later'"):
        collect(tmp_path / "model")
    ask_shard(handmade, tmp_path / "data", 1, 2)
    ask_shard(make_handmade(fingerprint="e" * 64), tmp_path / "data", 2, 2)
    with pytest.raises(InputDataError, match=r"asked differently.*dataset\.fingerprint"):
        collect(tmp_path / "data")
    ask_shard(handmade, tmp_path / "plan", 1, 2)
    ask_shard(handmade, tmp_path / "plan", 2, 2, samples=2)
    with pytest.raises(InputDataError, match=r"0002-of-0002.*samples 2, that of shard 1/2 1"):
        collect(tmp_path / "plan")
    ask_shard(handmade, tmp_path / "pairs", 1, 2)
    ask_shard(handmade, tmp_path / "pairs", 2, 2, part="all")
    with pytest.raises(InputDataError, match="part 'all'"):
        collect(tmp_path / "pairs")


def test_a_pair_in_two_shards_is_refused(handmade, tmp_path):
    ask_all(handmade, tmp_path / "run", 2)
    one, two = (shard_folder(tmp_path / "run", index, 2) for index in (1, 2))
    # A shard that was asked with other options first: its store has pairs of its neighbour.
    lines = (one / "store" / "responses.jsonl").read_bytes().splitlines(keepends=True)
    with (two / "store" / "responses.jsonl").open("ab") as store:
        store.write(lines[-1])
    with pytest.raises(InputDataError, match="in shards 1-2"):
        collect(tmp_path / "run")


def test_a_folder_that_was_renamed_is_refused(handmade, tmp_path):
    ask_shard(handmade, tmp_path / "run", 1, 2)
    shutil.copytree(shard_folder(tmp_path / "run", 1, 2), shard_folder(tmp_path / "run", 2, 2))
    with pytest.raises(InputDataError, match="shard 1/2, its folder of 2/2"):
        collect(tmp_path / "run")


def test_every_set_of_versions_that_answered_is_kept(handmade, tmp_path):
    ask_all(handmade, tmp_path / "run", 2)
    file = shard_folder(tmp_path / "run", 2, 2) / "run.json"
    document = read_json(file)
    write_json(file, {**document, "versions": {**document["versions"], "polars": "0.1"}})
    collect(tmp_path / "run")
    meta = read_meta(tmp_path / "run")
    assert [meta["versions"]["polars"] != "0.1", [one["polars"] for one in meta["earlier_versions"]]] == [True, ["0.1"]]


def test_a_joined_run_of_another_identity_is_not_written_over(handmade, tmp_path):
    ask_all(handmade, tmp_path / "run", 2)
    collect(tmp_path / "run")
    for index in (1, 2):
        shutil.rmtree(shard_folder(tmp_path / "run", index, 2))
        ask_shard(handmade, tmp_path / "run", index, 2, Writes(revision="later"))
    with pytest.raises(InputDataError, match=r"respondent\.revision None, and now it would be 'later'"):
        collect(tmp_path / "run")


def test_two_processes_do_not_ask_one_shard(handmade, tmp_path):
    folder = prepare_shard(tmp_path / "run", Shard(1, 2))
    with Store(folder / "store"), pytest.raises(UsageError, match="another process"):
        ask_shard(handmade, tmp_path / "run", 1, 2)
    ask_all(handmade, tmp_path / "run", 2)
    with Store(tmp_path / "run" / "store"), pytest.raises(UsageError, match="another process"):
        collect(tmp_path / "run")
