"""Names that become folders stay inside the folder they belong to."""

import pytest

from valuestrata.errors import InputDataError, UsageError
from valuestrata.files import is_inside, name_problem
from valuestrata.study.config import load_study
from valuestrata.study.data import create_folder

STUDY = "name: {name}\n{output}survey: {{file: embedded}}\nmodels: [{model}]\n"


def study(folder, *, name="mine", output="", model="baseline:item-mode"):
    folder.mkdir(exist_ok=True)
    (folder / "study.yaml").write_text(STUDY.format(name=name, output=f"output: {output}\n" if output else "", model=model))
    return folder / "study.yaml"


@pytest.mark.parametrize("name", ["a/b", "../x", "/x", ".", "..", "...", " ", "", "a\\b", "a\nb", "a\0b", "x" * 201, "\u2028"])
def test_what_is_no_name_of_a_folder(name):
    assert name_problem(name)


@pytest.mark.parametrize("name", ["a", "a.b", ".a", "gpt-4o (t=1): low", "Größe 2", "x" * 200, "..a", "日本"])
def test_names_of_folders(name):
    assert name_problem(name) is None


@pytest.mark.parametrize("output", ["..", "../other", "/tmp/elsewhere", "a/../../b", "link/x", "link"])
def test_a_study_writes_inside_its_own_folder(tmp_path, output):
    file = study(tmp_path / "study", output=output)
    (tmp_path / "other").mkdir()
    (tmp_path / "study" / "link").symlink_to(tmp_path / "other")
    with pytest.raises(UsageError, match=r"study\.yaml, line 2, column 1: output: the results would be in .*, outside the study's folder"):
        load_study(file)
    assert load_study(file, tmp_path / "other").folder == tmp_path / "other"


@pytest.mark.parametrize("output", ["out", "./a/b", "a/../b", ".", None])
def test_folders_inside_are_allowed(tmp_path, output):
    found = load_study(study(tmp_path / "study", output=output or "")).folder
    assert is_inside(found, tmp_path / "study")
    inside = str(tmp_path / "study" / "out")
    assert str(load_study(study(tmp_path / "study", output=inside)).folder) == inside


@pytest.mark.parametrize("name", ["../../x", "a/b", "..", '"a\\\\b"'])
def test_the_name_of_a_study_names_its_folder_unless_output_does(tmp_path, name):
    with pytest.raises(UsageError, match=r"study\.yaml, line 1, column 1: .* cannot be the name of a folder"):
        load_study(study(tmp_path / "study", name=name))
    assert load_study(study(tmp_path / "study", name=name, output="out")).name


@pytest.mark.parametrize("name", ["../../../evil", "/tmp/evil", "..", "a/b", '"a\\0b"', '""', "y" * 300])
def test_the_name_of_a_run_is_one_folder(tmp_path, name):
    file = study(tmp_path / "study", model=f"{{model: embedded, name: {name}}}")
    with pytest.raises(InputDataError, match=r"study\.yaml, line 3, column"):
        load_study(file)


@pytest.mark.parametrize("model", ["..", "'.'", "hf:" + "y" * 300])
def test_a_model_without_a_usable_name_needs_one(tmp_path, model):
    with pytest.raises(InputDataError, match=r"study\.yaml, line 3, .* does not give the run a name .* Add a `name`"):
        load_study(study(tmp_path / "study", model=model))


def test_a_run_that_is_a_link_out_of_the_study_is_refused(tmp_path):
    made = load_study(study(tmp_path / "study", output="out"))
    (made.folder / "runs").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (made.folder / "runs" / "baseline-item-mode").symlink_to(tmp_path / "other")
    with pytest.raises(UsageError, match="a symbolic link leads out of the study's folder"):
        create_folder(made)
    assert not any((tmp_path / "other").iterdir())
