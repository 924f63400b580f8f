"""Data sets on disk: a file that was changed after the build is refused."""

import json
import shutil

import polars as pl
import pytest

from tests.core.people import random_survey
from valuestrata.building import BuildSettings, build
from valuestrata.dataset.tables import TABLES, load_dataset, refuse_other_survey, write_dataset
from valuestrata.errors import InputDataError


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "data"
    write_dataset(build(random_survey(300, 4, attributes=2), BuildSettings(min_respondents=10, min_valid=5, draws=20)), folder)
    return folder


@pytest.fixture
def data(built, tmp_path):
    return shutil.copytree(built, tmp_path / "data")


def edit(data, change):
    document = json.loads((data / "dataset.json").read_text())
    change(document)
    (data / "dataset.json").write_text(json.dumps(document))


def as_of_an_older_version(data):
    edit(data, lambda document: document.pop("sha256"))


@pytest.mark.parametrize("older", [False, True])
def test_an_unchanged_data_set_opens(data, older):
    if older:
        as_of_an_older_version(data)
    dataset = load_dataset(data)
    write_dataset(dataset, data.with_name("copy"))
    assert load_dataset(data.with_name("copy")).gold.equals(dataset.gold)
    refuse_other_survey(data, dataset.meta["survey"]["name"])


@pytest.mark.parametrize("name", [*TABLES, "joint"])
def test_a_changed_table_is_refused(data, name):
    file = data / f"{name}.parquet"
    table = pl.read_parquet(file)
    table.head(table.height - 1).write_parquet(file)
    with pytest.raises(InputDataError, match=rf"{name}\.parquet: the table was changed after the data set was built\. Restore the file"):
        load_dataset(data)


def test_other_counts_or_shares_do_not_fit_the_fingerprint_of_an_older_data_set(data):
    as_of_an_older_version(data)
    file = data / "gold.parquet"
    gold = pl.read_parquet(file)
    gold.with_columns(pl.col("counts_raw").list.reverse()).write_parquet(file)
    with pytest.raises(InputDataError, match="a file was changed after the data set was built: it does not have the fingerprint"):
        load_dataset(data)
    gold.with_columns(pl.col("shares").list.reverse()).write_parquet(file)
    with pytest.raises(InputDataError, match=r"gold\.parquet: the shares are not those of the weighted counts"):
        load_dataset(data)
    gold.with_columns(pl.col("shares").list.head(1)).write_parquet(file)
    with pytest.raises(InputDataError, match=r"gold\.parquet: the shares are not those of the weighted counts"):
        load_dataset(data)


@pytest.mark.parametrize("older", [False, True])
def test_a_changed_document_is_refused(data, older):
    if older:
        as_of_an_older_version(data)
    edit(data, lambda document: document["attributes"][0]["levels"][0].update(phrase="a pirate"))
    with pytest.raises(InputDataError, match=r"was changed after the data set was built"):
        load_dataset(data)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: d.pop("attributes"), r"the key 'attributes' is missing\. Restore the file"),
        (lambda d: d.update(attributes=None), r"attributes: Input should be a valid list \(found None\)"),
        (lambda d: d.update(format="valuestrata-dataset-1"), "format: Input should be 'valuestrata-dataset-2'"),
        (lambda d: d["survey"].update(name=3), r"survey\.name: Input should be a valid string \(found 3\)"),
        (lambda d: d.update(counts=[]), "counts: expected a mapping of keys to values"),
    ],
)
def test_an_incomplete_document_is_refused_with_its_key(data, change, why):
    edit(data, change)
    for read in (load_dataset, lambda data: refuse_other_survey(data, "x")):
        with pytest.raises(InputDataError, match=r"dataset\.json: .*" + why):
            read(data)


@pytest.mark.parametrize(
    "text", ["[]", "null", "3", "{}", "", "{", "[" * 9000, '{"format": NaN}', '{"a": 1, "a": 2}', '"\\ud800"', "\x00", "9" * 5000]
)
def test_what_is_no_document_is_refused(data, text):
    (data / "dataset.json").write_text(text)
    with pytest.raises(InputDataError, match=r"dataset\.json: "):
        load_dataset(data)


def test_a_data_set_without_small_area_estimates_is_read_and_scored_with_its_own_ceilings(tmp_path):
    """Older versions wrote no such table: reading works, and the scores say that the ceilings are too high."""
    from valuestrata.dataset.document import with_hashes
    from valuestrata.reports.core.names import has_reachable_bounds

    made = build(random_survey(400, 2), BuildSettings(min_respondents=30, min_valid=10, draws=20))
    folder = tmp_path / "data"
    write_dataset(made, folder)
    assert has_reachable_bounds(load_dataset(folder))
    keys = ["pair_id", "half"]
    assert load_dataset(folder).small_area.select(keys).equals(made.gold.select(keys))
    (folder / "small_area.parquet").unlink()
    # The file is recorded, so its absence is an error.
    with pytest.raises(InputDataError, match=r"small_area\.parquet"):
        load_dataset(folder)
    (folder / "dataset.json").write_text(json.dumps(with_hashes(made.meta, folder)))
    old = load_dataset(folder)
    assert old.small_area.is_empty()
    assert not has_reachable_bounds(old)
