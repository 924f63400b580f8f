"""Exports to other tools: what is refused, for every tool."""

from dataclasses import replace

import polars as pl
import pytest

from valuestrata.errors import InputDataError, UsageError
from valuestrata.export.export import export_dataset


def test_a_data_set_that_may_not_be_shared_is_refused(handmade, tmp_path):
    closed = replace(handmade, meta={**handmade.meta, "shareable": False})
    with pytest.raises(InputDataError, match="may not be shared: some of its cells have fewer than 10 answers"):
        export_dataset(closed, tmp_path / "out", to="hf")
    # The tables count, too, not only what the document says.
    few = pl.when(pl.col("pair_id") == "Q1_sex_Male").then(9).otherwise(pl.col("n")).alias("n")
    with pytest.raises(InputDataError, match="Q1_sex_Male has 9 answers"):
        export_dataset(replace(handmade, gold=handmade.gold.with_columns(few)), tmp_path / "out", to="hf")
    group = pl.when(pl.col("subgroup") == "sex_Male").then(3).otherwise(pl.col("n")).alias("n")
    with pytest.raises(InputDataError, match="the subgroup sex_Male has 3 respondents"):
        export_dataset(replace(handmade, subgroups=handmade.subgroups.with_columns(group)), tmp_path / "out", to="hf")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_is_kept(handmade, tmp_path):
    (tmp_path / "notes.txt").write_text("keep me")
    with pytest.raises(UsageError, match="exists; choose another folder"):
        export_dataset(handmade, tmp_path, to="hf")
    assert (tmp_path / "notes.txt").read_text() == "keep me"


def test_wrong_calls_suggest_the_right_one(handmade, tmp_path):
    with pytest.raises(UsageError, match="Did you mean 'hf'"):
        export_dataset(handmade, tmp_path / "out", to="hff")
    with pytest.raises(UsageError, match="Did you mean 'paper'"):
        export_dataset(handmade, tmp_path / "out", to="hf", split="papr")
    with pytest.raises(UsageError, match="give the runs with"):
        export_dataset(handmade, tmp_path / "out", to="hf", raw_texts=True)
