"""What cannot be written is named by the place the user gave, not by the temporary beside it."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from valuestrata import files
from valuestrata.errors import InputDataError
from valuestrata.files import (
    folder_written_beside,
    read_json,
    remove_leftovers,
    temporary_folder,
    write_parquet,
    write_text,
    written_beside,
)


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_text(tmp_path / "out", "text")
    assert (caught.value.errno, caught.value.filename, caught.value.filename2) == (errno.EISDIR, str(tmp_path / "out"), None)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("write", [written_beside, folder_written_beside])
def test_a_place_where_nothing_can_be_made_is_named(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    # A name one byte too long for the temporary beside it, so that not even that can be made; by a relative path, too.
    name = "x" * 255
    for path in (tmp_path / name, Path(name), Path("..") / tmp_path.name / name):
        with pytest.raises(OSError, match="File name too long") as caught, write(path):
            pytest.fail("nothing could be made")
        assert (caught.value.errno, caught.value.filename) == (errno.ENAMETOOLONG, str(path))


@pytest.mark.parametrize("write", [written_beside, folder_written_beside])
def test_what_goes_wrong_inside_keeps_its_number_and_kind(tmp_path, write):
    target = tmp_path / "made"
    with pytest.raises(OSError, match="No space left") as caught, write(target):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(target))
    with pytest.raises(PermissionError) as caught, write(target) as temporary:
        raise PermissionError(errno.EACCES, "Permission denied", str(temporary))
    assert (caught.value.errno, caught.value.filename) == (errno.EACCES, str(target))
    # Another file that is read meanwhile has its own name, and what is no OSError passes.
    with pytest.raises(FileNotFoundError) as caught, write(target):
        (tmp_path / "absent").read_text()
    assert caught.value.filename == str(tmp_path / "absent")
    with pytest.raises(ValueError, match="mine"), write(target):
        raise ValueError("mine")
    assert not list(tmp_path.iterdir())


def test_a_file_inside_a_folder_that_is_made_is_named_after_the_folder(tmp_path):
    target = tmp_path / "data"

    def make():
        with folder_written_beside(target) as made:
            (made / "table").mkdir()
            write_text(made / "table", "text")

    with pytest.raises(IsADirectoryError) as caught:
        make()
    assert caught.value.filename == str(target)
    assert not list(tmp_path.iterdir())


def test_a_table_that_the_disk_does_not_take_is_named(tmp_path, monkeypatch):
    real = pl.DataFrame.write_parquet
    # A device that is full: what polars says of it is no OSError.
    monkeypatch.setattr(pl.DataFrame, "write_parquet", lambda self, _file, **how: real(self, "/dev/full", **how))
    with pytest.raises(OSError, match="No space left") as caught:
        write_parquet(tmp_path / "table.parquet", pl.DataFrame({"a": [1]}))
    assert caught.value.filename == str(tmp_path / "table.parquet")
    assert not list(tmp_path.iterdir())


KILLED = """
import os, signal, sys
from pathlib import Path
from valuestrata.files import folder_written_beside, temporary_folder, write_text, written_beside
place = Path(sys.argv[1])
with written_beside(place / "a.txt") as file, folder_written_beside(place / "data") as folder, temporary_folder() as extracted:
    file.write_text("half")
    (folder / "table").write_text("half")
    (extracted / "rows.csv").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_next_write_removes_what_a_killed_process_left(tmp_path, monkeypatch):
    place, system = tmp_path / "out", tmp_path / "system"
    system.mkdir()
    monkeypatch.setenv("TMPDIR", str(system))
    ended = subprocess.run([sys.executable, "-c", KILLED, str(place)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert (len(list(place.iterdir())), len(list(system.iterdir()))) == (2, 1)
    write_text(place / "b.txt", "whole")
    assert [path.name for path in place.iterdir()] == ["b.txt"]
    monkeypatch.setattr(files.tempfile, "tempdir", None)
    with temporary_folder() as folder:
        assert list(system.iterdir()) == [folder]
    assert not list(system.iterdir())


def leftover(folder, name, pid, machine, ending=".vs-tmp"):
    path = folder / f".{name}.{pid}-{machine}-abcd_123{ending}"
    path.write_text("x")
    return path


def dead_process():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_files_of_running_processes_of_other_machines_and_of_users_are_kept(tmp_path):
    here, dead = files._machine(), dead_process()
    gone = leftover(tmp_path, "a", dead, here)
    kept = [
        leftover(tmp_path, "a", os.getpid(), here),
        leftover(tmp_path, "a", 1, here),
        leftover(tmp_path, "a", dead, "0" * 8 if here != "0" * 8 else "1" * 8),
        leftover(tmp_path, "a", dead, here, ".tmp"),
        leftover(tmp_path, "a", "x", here),
    ]
    for name in (
        ".a.20240101",
        ".data.backup",
        "a.vs-tmp",
        ".vs-tmp",
        ".a.12-zzzzzzzz-abcd_123.vs-tmp",
        f"a.{dead}-{here}-abcd_123.vs-tmp",
    ):
        (tmp_path / name).write_text("mine")
        kept.append(tmp_path / name)
    old = leftover(tmp_path, "b", dead, "2" * 8)
    os.utime(old, (time.time() - 8 * 24 * 3600,) * 2)
    remove_leftovers(tmp_path)
    assert not gone.exists()
    assert not old.exists()
    assert all(path.exists() for path in kept)
    remove_leftovers(tmp_path / "absent")


def test_a_folder_that_was_being_replaced_is_put_back(tmp_path):
    owner = f"{dead_process()}-{files._machine()}"
    for name in ("data", "model"):
        (tmp_path / f".{name}.{owner}-abcd_123.vs-tmp").mkdir()
        (tmp_path / f".{name}.{owner}-abcd_123.vs-tmp.old").mkdir()
        (tmp_path / f".{name}.{owner}-abcd_123.vs-tmp.old" / "table").write_text(name)
    (tmp_path / "model").mkdir()
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "model"]
    assert (tmp_path / "data" / "table").read_text() == "data"
    assert not list((tmp_path / "model").iterdir())


def test_a_link_is_removed_but_not_what_it_leads_to(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("keep")
    link = tmp_path / f".a.{dead_process()}-{files._machine()}-abcd_123.vs-tmp"
    link.symlink_to(tmp_path / "mine")
    remove_leftovers(tmp_path)
    assert not link.is_symlink()
    assert (tmp_path / "mine" / "file").read_text() == "keep"


def test_a_json_file_is_bounded(tmp_path):
    for text, why in (
        ("[" * 200 + "]" * 200, "more than 100 levels"),
        ('{"a": 1, "a": 1}', "'a' is given twice"),
        ('["\\u0000"]', "cannot be written"),
    ):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(InputDataError, match=why):
            read_json(tmp_path / "a.json")
