"""What cannot be written is named by the place the user gave, not by the temporary beside it."""

import errno
from pathlib import Path

import polars as pl
import pytest

from valuestrata.files import folder_written_beside, write_parquet, write_text, written_beside


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
