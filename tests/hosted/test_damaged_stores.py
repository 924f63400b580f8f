"""A paid run whose store was damaged or converted: nothing is paid twice without the user's word."""

import json

import pytest

from tests.hosted.prompts import hosted
from tests.hosted.server import Server, answers
from tests.responses.asked import Writes
from valuestrata.errors import InputDataError
from valuestrata.responses.ask.estimate import estimate_run
from valuestrata.responses.ask.loop import ask, ask_planned
from valuestrata.responses.ask.plan import plan_asking
from valuestrata.responses.batch.requests import collect_batch, write_batch
from valuestrata.responses.distributed.shards import parse_shard, prepare_shard, sharded
from valuestrata.responses.run.damage import MOST_ASKED_AGAIN
from valuestrata.responses.run.folder import STORE, TABLE, load_run
from valuestrata.responses.run.store import DAMAGED, FILE, Store
from valuestrata.responses.run.worker_stores import STORES

MANY = MOST_ASKED_AGAIN + 1


@pytest.fixture
def server():
    with Server(answers) as running:
        yield running


def asked(dataset, url, run, **more):
    return ask(dataset, hosted(url), run, elicitation="text", **more)


def damage(file, lines):
    """Change a letter of the text of some lines, numbered from 1."""
    whole = file.read_bytes().splitlines(keepends=True)
    for number in lines:
        whole[number - 1] = whole[number - 1].replace(b"Answer", b"answer", 1)
    file.write_bytes(b"".join(whole))


def without_table(run):
    (run / TABLE).unlink()
    return run / STORE / FILE


@pytest.mark.parametrize(
    "convert", [lambda text: text.replace(b"\n", b"\r\n"), lambda text: b"\xef\xbb\xbf" + text.replace(b"\n", b" \r\n")]
)
def test_a_store_with_other_line_ends_is_read_as_before(handmade, server, tmp_path, convert):
    asked(handmade, server.url, tmp_path / "run")
    calls, before = len(server.log), load_run(tmp_path / "run").responses
    file = without_table(tmp_path / "run")
    file.write_bytes(convert(file.read_bytes()))
    assert load_run(tmp_path / "run").responses.equals(before)
    again = asked(handmade, server.url, tmp_path / "run")
    assert (len(server.log), again.asked, again.remarks) == (calls, 0, ())
    assert load_run(tmp_path / "run").responses.equals(before)


def test_a_store_with_carriage_returns_only_is_refused_and_kept(handmade, server, tmp_path):
    asked(handmade, server.url, tmp_path / "run")
    calls, file = len(server.log), without_table(tmp_path / "run")
    converted = file.read_bytes().replace(b"\n", b"\r")
    file.write_bytes(converted)
    with pytest.raises(InputDataError, match="its lines end in carriage returns"):
        asked(handmade, server.url, tmp_path / "run")
    assert (len(server.log), file.read_bytes()) == (calls, converted)


def test_damaged_answers_come_back_from_the_table(handmade, server, tmp_path):
    asked(handmade, server.url, tmp_path / "run")
    calls, before, file = len(server.log), load_run(tmp_path / "run").responses, tmp_path / "run" / STORE / FILE
    damage(file, range(2, 2 + MANY))
    again = asked(handmade, server.url, tmp_path / "run")
    assert (len(server.log), again.asked) == (calls, 0)
    assert again.remarks[0].startswith(f"{file}: {MANY} damaged lines (2-{1 + MANY}); {MANY} answers were restored from {TABLE}.")
    assert load_run(tmp_path / "run").responses.equals(before)
    assert len((file.parent / DAMAGED).read_bytes().splitlines()) == MANY
    assert asked(handmade, server.url, tmp_path / "run").remarks == ()


def test_a_few_damaged_answers_are_reported_and_asked_again(handmade, server, tmp_path):
    asked(handmade, server.url, tmp_path / "run")
    calls, file = len(server.log), without_table(tmp_path / "run")
    damage(file, [1, 3])
    assert "2 damaged lines (1, 3); their answers are missing" in load_run(tmp_path / "run").remark
    dry = estimate_run(handmade, hosted(server.url), tmp_path / "run", plan_asking(handmade, elicitation="text"))
    assert (dry.estimate.calls, dry.remark) == (2, load_run(tmp_path / "run").remark)
    again = asked(handmade, server.url, tmp_path / "run")
    assert (len(server.log) - calls, again.asked) == (2, 2)
    assert "2 damaged lines (1, 3); 2 answers are lost and are asked again" in again.remarks[0]
    assert load_run(tmp_path / "run").remark is None


def test_many_damaged_answers_stop_the_run_before_it_pays_again(handmade, server, tmp_path):
    asked(handmade, server.url, tmp_path / "run")
    calls, file = len(server.log), without_table(tmp_path / "run")
    damage(file, range(1, 1 + MANY))
    found = file.read_bytes()
    for _ in range(2):
        with pytest.raises(InputDataError, match=rf"{FILE}: {MANY} damaged lines \(1-{MANY}\)\. {MANY} paid answers .*ask_again"):
            asked(handmade, server.url, tmp_path / "run")
    assert (len(server.log), file.read_bytes()) == (calls, found)
    again = asked(handmade, server.url, tmp_path / "run", ask_again=True)
    assert (len(server.log) - calls, again.left) == (MANY, 0)
    assert f"{MANY} damaged lines" in again.remarks[0]


def test_lines_without_a_readable_key_count_as_answers(handmade, server, tmp_path):
    asked(handmade, server.url, tmp_path / "run")
    calls, file = len(server.log), without_table(tmp_path / "run")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*[b"\x00" * len(line) + b"\n" for line in lines[:MANY]], *lines[MANY:]]))
    with pytest.raises(InputDataError, match=f"{MANY} paid answers"):
        asked(handmade, server.url, tmp_path / "run")
    assert len(server.log) == calls


def test_a_free_model_is_asked_again_without_a_question(handmade, tmp_path):
    ask(handmade, Writes(), tmp_path / "run", elicitation="text")
    damage(without_table(tmp_path / "run"), range(1, 1 + MANY))
    again = ask(handmade, Writes(), tmp_path / "run", elicitation="text")
    assert (again.asked, again.left, len(again.remarks)) == (MANY, 0, 1)


def test_a_batch_is_not_written_for_many_damaged_answers(handmade, server, tmp_path):
    asked(handmade, server.url, tmp_path / "run")
    damage(without_table(tmp_path / "run"), range(1, 1 + MANY))
    respondent, asking = hosted(server.url), plan_asking(handmade, elicitation="text")
    with pytest.raises(InputDataError, match=f"{MANY} paid answers"):
        write_batch(handmade, respondent, tmp_path / "run", asking)
    assert not (tmp_path / "run" / "batch").exists()


def test_collecting_a_batch_reports_damage_and_leaves_it(handmade, server, tmp_path):
    asked(handmade, server.url, tmp_path / "run", max_calls=8)
    respondent, asking = hosted(server.url), plan_asking(handmade, elicitation="text")
    write_batch(handmade, respondent, tmp_path / "run", asking)
    file = without_table(tmp_path / "run")
    damage(file, range(1, 1 + MANY))
    request = json.loads((tmp_path / "run" / "batch" / "requests-000.jsonl").read_text().splitlines()[0])
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Answer: 1"}, "finish_reason": "stop"}]}
    output = {"custom_id": request["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}
    (tmp_path / "output.jsonl").write_text(json.dumps(output) + "\n")
    collected = collect_batch(handmade, tmp_path / "run", [tmp_path / "output.jsonl"])
    assert f"{MANY} damaged lines (1-{MANY}); {MANY} answers are lost." in collected.remarks[0]
    (tmp_path / "run" / TABLE).unlink()
    with pytest.raises(InputDataError, match=f"{MANY} paid answers"):
        write_batch(handmade, respondent, tmp_path / "run", asking)


def test_a_damaged_shard_stops_and_names_its_lines(handmade, server, tmp_path):
    shard = parse_shard("1/2")
    folder, asking = (
        prepare_shard(tmp_path / "run", shard),
        sharded(handmade, plan_asking(handmade, elicitation="text", orders="scale,reversed"), shard),
    )
    ask_planned(handmade, hosted(server.url), folder, asking)
    calls = len(server.log)
    damage(without_table(folder), range(1, 1 + MANY))
    with pytest.raises(InputDataError, match=f"{MANY} paid answers"):
        ask_planned(handmade, hosted(server.url), folder, asking)
    assert len(server.log) == calls


@pytest.mark.slow
def test_damage_in_the_stores_of_workers_counts(handmade, server, tmp_path):
    asked(handmade, server.url, tmp_path / "run")
    calls, file = len(server.log), without_table(tmp_path / "run")
    worker = tmp_path / "run" / STORES / "abc"
    worker.mkdir(parents=True)
    file.rename(worker / FILE)
    damage(worker / FILE, range(1, 1 + MANY))
    with pytest.raises(InputDataError, match=rf"abc/{FILE}: {MANY} damaged lines"):
        asked(handmade, server.url, tmp_path / "run")
    assert len(server.log) == calls
    asked(handmade, server.url, tmp_path / "run", ask_again=True)
    assert len(server.log) - calls == MANY


def test_removing_damage_keeps_every_whole_line(tmp_path, handmade):
    ask(handmade, Writes(), tmp_path, elicitation="text")
    file = tmp_path / STORE / FILE
    whole = file.read_bytes().splitlines(keepends=True)
    damage(file, [2])
    with Store(file.parent) as store:
        store.set_damage_aside()
        assert len(store) == len(whole) - 1
        assert store.size == file.stat().st_size
    assert file.read_bytes().splitlines(keepends=True) == whole[:1] + whole[2:]
