"""The paths inside model specifications."""

import pytest

from valuestrata.respondents.model_paths import hub_name, same_but_for_folders, with_model_paths

THERE = {"model", "org/model", "a+b", "a+b/model"}


def moved(spec: str) -> str:
    return with_model_paths(spec, lambda path: f"../{path.removeprefix('./')}", THERE.__contains__)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("embedded", "embedded"),
        ("embedded+adapters/mine", "embedded+../adapters/mine"),
        ("hf:model", "hf:../model"),
        ("hf:org/model", "hf:../org/model"),
        ("hf:./missing", "hf:../missing"),
        ("hf:ORG/NAME", "hf:ORG/NAME"),
        ("hf:ORG/NAME@main+adapter", "hf:ORG/NAME@main+../adapter"),
        ("hf:a+b/model+adapter", "hf:../a+b/model+../adapter"),
        ("vllm:./model+adapter", "vllm:../model+../adapter"),
        ("gguf:m.gguf+adapter", "gguf:../m.gguf+../adapter"),
        ("control:shuffled-persona@gguf:m.gguf", "control:shuffled-persona@gguf:../m.gguf"),
        ("control:wrong-country=JPN@hf:model", "control:wrong-country=JPN@hf:../model"),
        ("openai/gpt-4.1-mini", "openai/gpt-4.1-mini"),
        ("baseline:item-mode", "baseline:item-mode"),
    ],
)
def test_only_paths_are_changed(spec, expected):
    assert moved(spec) == expected


def test_a_path_by_its_form_stays_one():
    assert with_model_paths("hf:../missing", lambda _path: "missing", THERE.__contains__) == "hf:./missing"


def test_a_name_on_the_hub_is_told_from_a_folder():
    names = ["hf:ORG/NAME@main+a", "control:no-persona@vllm:ORG/NAME", "hf:model", "hf:./x", "gguf:ORG/NAME", "embedded"]
    assert [hub_name(spec, THERE.__contains__) for spec in names] == ["ORG/NAME", "ORG/NAME", None, None, None, None]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("hf:./model", "hf:../../model", True),
        ("hf:/somewhere/model+out/adapters/paper/job", "hf:../model+adapters/paper/job", True),
        ("control:no-persona@gguf:a/m.gguf", "control:no-persona@gguf:/b/m.gguf", True),
        ("hf:./model", "hf:./other", False),
        ("hf:ORG/NAME", "hf:OTHER/NAME", False),
        ("embedded+a/one", "embedded+a/two", False),
    ],
)
def test_names_of_models_are_compared_without_their_folders(one, other, same):
    assert same_but_for_folders(one, other) is same
