"""GGUF files are converted once, whatever happens meanwhile."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra `local`")
pytest.importorskip("gguf", reason="needs the extra `local`")

from valuestrata.errors import InputDataError, MissingExtraError  # noqa: E402
from valuestrata.respondents.local import load as _load  # noqa: E402
from valuestrata.respondents.local.load import load_model  # noqa: E402
from valuestrata.respondents.local.loading.gguf_cache import cache_folder, converted  # noqa: E402

DIGEST = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def root(monkeypatch, tmp_path):
    monkeypatch.setenv("VALUESTRATA_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gguf"


class Converter:
    """Writes two files and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "model.safetensors").write_bytes(b"weights" * 1000)
        (folder / "config.json").write_text("{}")


def test_a_file_is_converted_once_for_each_number_type():
    convert = Converter()
    first = converted(DIGEST, "float32", convert)
    assert converted(DIGEST, "float32", convert) == first
    assert convert.calls == 1
    assert converted(DIGEST, "bfloat16", convert) != first
    assert converted(DIGEST[::-1], "float32", convert) != first
    assert convert.calls == 3


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "no list", "empty list", "broken list"])
def test_a_damaged_folder_is_converted_again(damage):
    convert = Converter()
    place = converted(DIGEST, "float32", convert)
    weights, listed = place / "model.safetensors", place / "complete.json"
    if damage == "flip":
        weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    elif damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif damage == "remove":
        (place / "config.json").unlink()
    elif damage == "no list":
        listed.unlink()
    else:
        listed.write_text("{}" if damage == "empty list" else "[1")
    assert converted(DIGEST, "float32", convert) == place
    assert convert.calls == 2
    assert weights.read_bytes() == b"weights" * 1000


def test_folders_of_a_killed_process_and_of_other_versions_are_removed(root):
    (root / f".{DIGEST[:32]}-float32-1-x.abc").mkdir(parents=True)
    (root / f"{DIGEST[:32]}-float32-1-transformers-4.0").mkdir()
    (root / f"{DIGEST[:32]}-bfloat16-1-x").mkdir()
    place = converted(DIGEST, "float32", Converter())
    assert {entry.name for entry in root.iterdir() if entry.is_dir()} == {place.name, f"{DIGEST[:32]}-bfloat16-1-x"}


def test_an_error_of_the_model_is_raised_and_leaves_nothing(root):
    def broken(folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise InputDataError("cannot be loaded as a model")

    with pytest.raises(InputDataError, match="cannot be loaded"):
        converted(DIGEST, "float32", broken)
    assert [entry.name for entry in root.iterdir()] == [f"{DIGEST[:32]}-float32.lock"]


def test_a_cache_that_cannot_be_written_is_named_with_its_variable(monkeypatch, tmp_path, root):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("VALUESTRATA_CACHE_DIR", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="VALUESTRATA_CACHE_DIR"):
        assert converted(DIGEST, "float32", Converter()) is None

    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("VALUESTRATA_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.warns(UserWarning, match=r"No space left .* free some disk|No space left .*Free some disk"):
        assert converted(DIGEST, "float32", full) is None
    assert not [entry for entry in root.iterdir() if entry.is_dir()]


def test_the_folder_follows_the_platform(monkeypatch, tmp_path):
    monkeypatch.delenv("VALUESTRATA_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "valuestrata" / "gguf"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder().is_relative_to(tmp_path)


def _convert_counted(folder: Path) -> None:
    with (cache_folder() / "calls").open("a") as file:
        file.write("x")
    Converter()(folder)


def _convert_in_process(_: int) -> str:
    return str(converted(DIGEST, "float32", _convert_counted))


def test_processes_at_the_same_time_convert_once(root):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        places = pool.map(_convert_in_process, range(8), chunksize=1)
    assert len(set(places)) == 1
    assert (root / "calls").read_text() == "x"


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::FutureWarning:transformers")
@pytest.mark.model
@pytest.mark.slow
def test_the_converted_embedded_model_is_the_same(monkeypatch):
    try:
        _load.embedded_file()
    except MissingExtraError as error:
        pytest.skip(str(error))
    kept = load_model("embedded", device="cpu", dtype=None)
    monkeypatch.setattr(_load, "converted", lambda *_: None)
    direct = load_model("embedded", device="cpu", dtype=None)
    assert kept.identity == direct.identity
    weights = dict(direct.model.named_parameters())
    assert weights.keys() == dict(kept.model.named_parameters()).keys()
    assert all(torch.equal(weight, weights[name]) for name, weight in kept.model.named_parameters())
    ids = torch.tensor([kept.tokenizer.encode("How important is family in your life? Answer: 10")])
    with torch.inference_mode():
        assert torch.equal(kept.model(ids).logits, direct.model(ids).logits)
    texts = ["Answer: 10", " 3", "Größe, naïve, 日本語 \n\n<|im_end|> <|im_start|>user", "".join(map(chr, range(32, 400)))]
    for text in texts:
        assert kept.tokenizer.encode(text) == direct.tokenizer.encode(text)
        assert kept.tokenizer.encode(text, add_special_tokens=False) == direct.tokenizer.encode(text, add_special_tokens=False)
    for name in ("chat_template", "eos_token_id", "all_special_ids"):
        assert getattr(kept.tokenizer, name) == getattr(direct.tokenizer, name)
    assert kept.tokenizer.get_added_vocab() == direct.tokenizer.get_added_vocab()
    assert kept.model.generation_config.eos_token_id == direct.model.generation_config.eos_token_id
