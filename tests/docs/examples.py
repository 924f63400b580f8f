"""Files that pages of the documentation start with, made by the package's own commands, and smaller than real ones."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl

import valuestrata as vs

# The embedded survey with few subgroups, questions and redraws, so that a model on one core answers it in seconds.
SMALL = "--strata sex,ethnicity,ethnicity_x_education --draws 50 --items natheal,natfare,natrace,natcrime,natenvir,natsci"
# What pages call the reader's own models, and sizes that take minutes.
SHORTER = {
    "control:no-persona@MODEL": "control:no-persona@embedded",
    " MODEL ": " embedded ",
    " FILE ": " WVS_Cross-National_Wave_7.zip ",
    "hf:ORG/NAME": "embedded",
    "--context gold:8": "--context gold:8 --strata sex",
    "survey: {file: embedded}\n": "survey: {file: embedded}\n"
    "build: {strata: [sex, ethnicity, ethnicity_x_education], draws: 50}\nscore: {baselines: cheap, bootstrap: 50}\n",
    "--part all --orders": "--part all --strata sex,ethnicity --orders",
    "predict data/gss": "predict data/gss --strata sex,ethnicity",
    "--items 40": "--items 8",
    "power(dataset, items=40": "power(dataset, items=8",
    "--recipe distribution": "--recipe distribution --max-steps 2",
    "--recipe modal": "--recipe modal --max-steps 2",
}

# Runs the words after `valuestrata`.
Call = Callable[[str], None]


def gss(folder: Path, call: Call) -> None:
    """A data set of the embedded survey."""
    call(f"build embedded -o data/gss {SMALL}")


def wvs(folder: Path, call: Call) -> None:
    """A file named like that of the WVS, simulated."""
    call("simulate -o survey.sav --items 8 --respondents 1000 --seed 1")
    with zipfile.ZipFile(folder / "WVS_Cross-National_Wave_7.zip", "w") as archive:
        archive.write(folder / "survey.sav", "WVS_Cross-National_Wave_7.sav")


def sgp(folder: Path, call: Call) -> None:
    """A data set of a simulated file of the WVS."""
    call("simulate -o simulated.sav --items 8 --respondents 1000 --seed 1")
    call("build simulated.sav --survey wvs7 --strata sex,age_group,age_x_ethnicity --draws 50 -o data/sgp")


def runs_of(data: str, *names: str) -> Callable[[Path, Call], None]:
    """Return a function that imports runs: mixtures of the gold with even shares, the first the nearest to the gold."""

    def make(folder: Path, call: Call) -> None:
        dataset = vs.load_dataset(folder / data)
        rows = dataset.target_gold.join(dataset.items, on="item").select("item", "subgroup", option="codes", share="shares")
        rows = rows.explode("option", "share")
        even = 1 / pl.len().over("item", "subgroup")
        for place, name in enumerate(names):
            weight = 0.8 - 0.3 * place
            rows.with_columns(share=weight * pl.col("share") + (1 - weight) * even).write_csv(folder / f"{name}.csv")
            call(f"import {data} {name}.csv --shares --id item,subgroup --trained-on none -o runs/{name}")

    return make


def three_ways(folder: Path, call: Call) -> None:
    """Runs of one model with two orders and two templates."""
    for name, how in {"scale": "", "reversed": "--orders reversed", "second-person": "--template second-person"}.items():
        call(f"ask data/sgp --model embedded --part all --strata sex {how} -o runs/{name}")


def outputs(folder: Path, call: Call) -> None:
    """Answers of another tool to the pairs of the simulated survey, under the paper's rules."""
    call("build WVS_Cross-National_Wave_7.zip --survey wvs7 --country SGP --preset paper -o published")
    dataset = vs.load_dataset(folder / "published")
    dataset.target_gold.select(custom_id="pair_id", response="mode").write_csv(folder / "outputs.csv")
    shutil.rmtree(folder / "published")


# Name in a comment "starts with" -> what makes it. Later ones may use earlier ones.
EXAMPLES: dict[str, Callable[[Path, Call], None]] = {
    "data/gss": gss,
    "data/sgp": sgp,
    "WVS": wvs,
    "runs on gss": runs_of("data/gss", "mode", "base", "plain"),
    "runs on sgp": runs_of("data/sgp", "tuned", "base", "a", "b"),
    "runs in three ways": three_ways,
    "outputs.csv": outputs,
}
