"""The store: crashes, damaged lines, locks, successes and failures."""

import errno
import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from valuestrata.errors import RunFailedError, UsageError
from valuestrata.responses.run import store
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.responses.run.store import FILE, Store, read_store


def key(name):
    return hashlib.sha256(str(name).encode()).hexdigest()


def row(name, status="answered", **more):
    filled = dict.fromkeys(RESPONSES.columns)
    return filled | {"pair_id": str(name), "item": "Q1", "subgroup": "s", "sample": 0, "status": status, "shown": [1, 2]} | more


def filled(folder, names):
    with Store(folder) as store:
        for name in names:
            store.append(key(name), row(name))


def pair_ids(folder):
    return sorted(read_store(folder)["pair_id"])


def test_rows_come_back_as_they_went_in(tmp_path):
    written = row("a", text='"Réponse"\n{}\u2028\x00 பெண்', option_probs=[0.25, 0.75], answer=2, latency=0.1, attempts=2, prompt_tokens=3)
    with Store(tmp_path) as store:
        assert store.append(key("a"), written)
        (back,) = store.table().iter_rows(named=True)
    assert back == written
    assert read_store(tmp_path).schema == RESPONSES.empty().schema


def test_a_success_is_kept_once_and_a_failure_gives_way(tmp_path):
    with Store(tmp_path) as store:
        assert store.append(key("a"), row("a", "failed", error="first"))
        assert not store.has(key("a"))
        assert store.append(key("a"), row("a", "failed", error="second"))
        assert store.table()["error"].to_list() == ["second"]
        assert store.append(key("a"), row("a", "refused", text="no"))
        assert store.has(key("a"))
        assert not store.append(key("a"), row("a", "answered", answer=1))
        assert not store.append(key("a"), row("a", "failed"))
        assert store.successes == 1
    with Store(tmp_path) as store:
        assert store.has(key("a"))
        assert len(store) == 1
        assert store.table()["status"].to_list() == ["refused"]
    # The failures stay on record.
    assert (tmp_path / FILE).read_text().count("failed") == 2


def test_a_text_that_looks_like_a_failure_is_none(tmp_path):
    with Store(tmp_path) as store:
        store.append(key("a"), row("a", text='","status":"failed"'))
    with Store(tmp_path) as store:
        assert store.has(key("a"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_cut_at_any_byte_only_the_torn_line_is_lost_and_writing_goes_on(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("store")
    filled(folder, "abc")
    whole = (folder / FILE).read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    (folder / FILE).write_bytes(whole[:cut])
    survived = "abc"[: whole[:cut].count(b"\n")]
    assert pair_ids(folder) == list(survived)
    filled(folder, "cd")
    assert pair_ids(folder) == sorted({*survived, "c", "d"})
    assert all(line.startswith(b"{") and line.endswith(b"}\n") for line in (folder / FILE).read_bytes().splitlines(keepends=True))


@pytest.mark.parametrize(
    "junk", [b"\x00" * 4096, b"\x00" * 100 + b"\n", b"{}\n", b'{"key":"' + b"a" * 64 + b'","status":"answered"}\n', b"\xff\n"]
)
def test_what_is_not_a_whole_line_is_not_read(tmp_path, junk):
    filled(tmp_path, "ab")
    with (tmp_path / FILE).open("ab") as file:
        file.write(junk)
    filled(tmp_path, "c")
    assert pair_ids(tmp_path) == ["a", "b", "c"]


def test_a_flipped_byte_costs_its_line_only(tmp_path):
    filled(tmp_path, "abc")
    whole = bytearray((tmp_path / FILE).read_bytes())
    middle = whole.index(b'"pair_id":"b"')
    whole[middle + 11] ^= 1
    (tmp_path / FILE).write_bytes(whole)
    with Store(tmp_path) as store:
        assert store.index.damaged == 1
        assert not store.has(key("b"))
        assert sorted(store.table()["pair_id"]) == ["a", "c"]


def test_a_second_process_is_refused_and_told_who_holds_the_run(tmp_path):
    code = f"from pathlib import Path; from valuestrata.responses.run.store import Store; Store(Path({str(tmp_path)!r}))"
    with Store(tmp_path):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "UsageError" in done.stderr
        assert f"id {os.getpid()}" in done.stderr
        with pytest.raises(UsageError, match="another process"):
            Store(tmp_path)
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_a_full_disk_loses_nothing_that_was_written(tmp_path):
    # A limit on file size stands in for the disk: the write is cut short, then refused.
    code = f"""
import resource
from pathlib import Path
from tests.responses.test_store import key, row
from valuestrata.errors import RunFailedError
from valuestrata.responses.run.store import Store
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
with Store(Path({str(tmp_path)!r})) as store:
    try:
        for number in range(1000):
            store.append(key(number), row(number))
    except RunFailedError as error:
        print(number, error)
"""
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": root})
    kept = int(done.stdout.split()[0])
    assert "File too large" in done.stdout
    assert 1 < kept < 1000
    assert (tmp_path / FILE).read_bytes().endswith(b"\n")
    filled(tmp_path, [kept])
    assert sorted(map(int, pair_ids(tmp_path))) == list(range(kept + 1))


def raising(number):
    def fails(*_):
        raise OSError(number, os.strerror(number))

    return fails


def test_a_line_that_was_written_stays_where_the_disk_then_refuses_to_be_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SECONDS_BETWEEN_SYNCS", 0.0)
    with Store(tmp_path) as opened:
        with monkeypatch.context() as broken:
            broken.setattr(os, "fsync", raising(errno.ENOSPC))
            with pytest.raises(RunFailedError, match="No space left on device"):
                opened.append(key("a"), row("a"))
        assert opened.has(key("a"))
        opened.append(key("b"), row("b"))
    assert sorted(pair_ids(tmp_path)) == ["a", "b"]


def test_half_a_line_that_cannot_be_cut_off_is_told_as_the_full_disk_it_is(tmp_path, monkeypatch):
    with Store(tmp_path) as opened, monkeypatch.context() as broken:
        broken.setattr(os, "write", raising(errno.ENOSPC))
        broken.setattr(os, "ftruncate", raising(errno.EIO))
        with pytest.raises(RunFailedError, match="No space left on device"):
            opened.append(key("a"), row("a"))


def test_a_disk_without_a_byte_free_does_not_end_in_a_defect(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "pwrite", raising(errno.ENOSPC))
    Store(tmp_path).close()


def test_a_file_system_without_locks_is_not_taken_for_another_process(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", raising(errno.ENOLCK))
    with pytest.raises(UsageError, match="does not support file locks"):
        Store(tmp_path)


def test_an_empty_store_is_an_empty_table(tmp_path):
    with Store(tmp_path) as store:
        assert store.table().equals(RESPONSES.empty())
    assert read_store(tmp_path / "none").equals(RESPONSES.empty())


def test_the_table_does_not_depend_on_the_sequence_of_answers(tmp_path):
    samples = [row("a", sample=number, template="t", order="scale", paraphrase=0) for number in range(6)]
    for name, numbers in (("one", range(6)), ("two", (5, 1, 3, 0, 2, 4))):
        with Store(tmp_path / name) as store:
            for number in numbers:
                store.append(key(number), samples[number])
    assert read_store(tmp_path / "one").equals(read_store(tmp_path / "two"))
