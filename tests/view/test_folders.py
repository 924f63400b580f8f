"""What is found in a folder, and which files may be shown."""

from __future__ import annotations

import pytest

from valuestrata.errors import InputDataError
from valuestrata.view.folders import find, served_file


def test_folders_are_recognised_by_their_files(folder):
    (folder / "study.yaml").write_text("name: one")
    (folder / "report.html").write_text("<p>report</p>")
    # Baselines that a data set keeps, and a copy of a run inside a run, belong to them.
    (folder / "data" / "ladder" / "baseline").mkdir(parents=True)
    (folder / "data" / "ladder" / "baseline" / "run.json").write_text("{}")
    (folder / "runs" / "twos" / "copy").mkdir()
    (folder / "runs" / "twos" / "copy" / "run.json").write_text("{}")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "run.json").write_text("{}")
    found = find(folder)
    assert found.datasets == [folder / "data"]
    assert found.runs == [folder / "runs" / name for name in ("mode", "ones", "twos")]
    assert found.studies == [folder]
    assert found.pages == [folder / "report.html"]
    assert not found.cut


def test_a_run_can_be_shown_by_itself(folder):
    assert find(folder / "runs" / "twos").runs == [folder / "runs" / "twos"]


def test_links_to_folders_are_not_followed(folder, tmp_path):
    (tmp_path / "shown2").mkdir()
    (tmp_path / "shown2" / "loop").symlink_to(tmp_path / "shown2")
    (tmp_path / "shown2" / "elsewhere").symlink_to(folder)
    assert find(tmp_path / "shown2").runs == []


def test_deep_and_many_folders_are_cut(folder):
    assert find(folder, most_depth=0).cut
    shallow = find(folder, most_depth=1)
    assert len(shallow.runs) == 0
    assert shallow.cut
    assert find(folder, most_folders=2).cut
    assert not find(folder, most_depth=2).cut


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(InputDataError, match="there is no such folder"):
        find(tmp_path / "absent")


@pytest.mark.parametrize(
    "name",
    [
        "../secret.html",
        "/etc/passwd",
        "a/../../secret.html",
        "key.txt",
        "run.json",
        "respondents.csv",
        ".env.html",
        "link.html",
        "inner.html",
        "hidden.html",
        "linked/secret.html",
        "a\\b.html",
        "x\x00.html",
        "",
        "pages",
        "pages/",
    ],
)
def test_no_other_files_are_shown(tmp_path, name):
    root = tmp_path / "root"
    (root / "pages.html").mkdir(parents=True)
    (tmp_path / "secret.html").write_text("secret")
    for inside in ("key.txt", "run.json", "respondents.csv", ".env.html"):
        (root / inside).write_text("x")
    (root / "link.html").symlink_to(tmp_path / "secret.html")
    (root / "linked").symlink_to(tmp_path)
    (root / "inner.html").symlink_to(root / "key.txt")
    (root / "hidden.html").symlink_to(root / ".env.html")
    assert served_file(root, name) is None
    assert served_file(root, "pages.html") is None


def test_pages_are_shown(tmp_path):
    for name in ("report.html", "audit/report.html"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("x")
        assert served_file(tmp_path, name) == file
