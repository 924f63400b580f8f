"""Writes test files of a simulated WVS wave 7 population in every format.

Codes, labels and expected values come from reference files, not from the codebook, so errors of the codebook or the reader
are detected.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyreadstat
import rdata
import xlsxwriter
from rdata.conversion.to_r import build_r_object
from rdata.parser import RObjectType

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference"
FACTS = REFERENCE / "wvs7_codebook_facts.json"

COUNTRIES = {702: ("SGP", "Singapore"), 840: ("USA", "United States")}
UNANSWERED = "Q20"  # an item that is not asked
NEVER_ASKED = -4
AGE_BANDS = ((16, 24), (25, 34), (35, 44), (45, 54), (55, 64), (65, 200))

# Variants of labels in other exports, used in addition to the label of the reference files.
VARIANTS = {
    "Don't know": ["Don´t know", "Don’t know", "DON'T KNOW", " Don't  know ", "Don't -9:-2"],
    "No answer": ["No answer/refused"],
    "Missing; Not available": ["Missing; Unknown", "Missing"],
    "Not asked": ["Not asked in survey"],
    "Very important": ["very important"],
    "Strongly agree": ["Agree strongly"],
    "Strongly disagree": ["Disagree strongly"],
    "A great deal": ["A good deal"],
    "A: Protect environment": ["Protecting environment"],
    "Incomes more equal": ["Incomes should be made more equal"],
    "Roman Catholic": ["Catholic (Roman/Greek/etc)"],
    "Completely satisfied": ["10"],
    "Satisfied": ["10"],
}


@dataclass(frozen=True)
class Population:
    """Codes by column, column titles, and the expected values."""

    raw: dict[str, list[int | float | str]]
    titles: dict[str, str]
    labels: dict[str, dict[int, str]]
    items: list[str]
    answers: np.ndarray  # respondents x items: option index, or -1..-5 by class of missing
    sex: np.ndarray
    age: np.ndarray
    religion: np.ndarray  # codes 0..9, or -1
    ethnicity: np.ndarray  # codes, or -1
    weight: np.ndarray
    country: np.ndarray


def population(respondents: int = 160, seed: int = 7) -> Population:
    """Simulate a population: half Singapore, half the United States."""
    facts = json.loads(FACTS.read_text(encoding="utf-8"))
    topics = json.loads((REFERENCE / "wvs7_topics_facts.json").read_text(encoding="utf-8"))
    direction = json.loads((REFERENCE / "wvs7_scale_direction_facts.json").read_text(encoding="utf-8"))
    rng = np.random.default_rng(seed)
    items = [name for name, entry in topics.items() if entry["use_case"] == "value"]
    country = np.repeat([702, 840], respondents // 2)
    n = len(country)
    raw: dict[str, list] = {
        "A_WAVE": [7] * n,
        "A_STUDY": [2] * n,
        "B_COUNTRY": country.tolist(),
        "B_COUNTRY_ALPHA": [COUNTRIES[c][0] for c in country],
        "D_INTERVIEW": (country * 100_000 + np.arange(n)).tolist(),
        "N_TOWN": rng.integers(1, 40, n).tolist(),
    }
    weight = np.round(rng.uniform(0.3, 2.5, n), 5)
    raw["W_WEIGHT"] = weight.tolist()
    labels: dict[str, dict[int, str]] = {}
    answers = np.empty((n, len(items)), dtype=np.int8)
    for place, name in enumerate(items):
        choices = {int(code): label for code, label in facts[name]["choices"].items()}
        labels[name] = choices
        valid = sorted(code for code in choices if code >= 0)
        absent = [code for code in choices if code < 0 and code != NEVER_ASKED]
        drawn = rng.choice(valid, n, p=rng.dirichlet(np.full(len(valid), 3.0)))
        drawn[: len(valid)] = valid  # every option occurs in both countries
        drawn[-len(valid) :] = valid
        lost = rng.random(n) < 0.06
        lost[: len(valid)] = lost[-len(valid) :] = False
        drawn[lost] = rng.choice(absent, int(lost.sum()))
        if name == UNANSWERED:
            drawn[:] = NEVER_ASKED
        raw[name] = drawn.tolist()
        to_scale = {code: str(code) for code in valid} | {int(k): v for k, v in direction.get(name, {}).items()}
        scale = sorted({int(code) for code in to_scale.values() if code != ""})
        index = {code: scale.index(int(target)) if target != "" else -5 for code, target in to_scale.items()}
        answers[:, place] = [index[code] if code >= 0 else code for code in raw[name]]
    sex = rng.integers(0, 2, n)
    raw["Q260"] = (sex + 1).tolist()
    years = rng.integers(16, 93, n)
    raw["Q262"] = years.tolist()
    age = np.array([next(i for i, (low, high) in enumerate(AGE_BANDS) if low <= year <= high) for year in years])
    raw["X003R"] = (age + 1).tolist()
    religion = rng.integers(0, 10, n)
    religion[5] = religion[-5] = -1
    raw["Q289"] = religion.tolist()
    groups = {c: [int(code) for code in facts["Q290"]["choices"] if int(code) // 1000 == c] for c in COUNTRIES}
    ethnicity = np.array([rng.choice(groups[c]) for c in country])
    raw["Q290"] = ethnicity.tolist()
    ethnicity = ethnicity.copy()
    raw["Q290"][3], ethnicity[3] = -2, -1
    for name in ("Q260", "X003R", "Q289", "Q290", "B_COUNTRY"):
        labels[name] = {int(code): label for code, label in facts[name]["choices"].items()}
    titles = {name: f"{name}: {facts[name]['question']}" if name in facts else name for name in raw}
    return Population(raw, titles, labels, items, answers, sex, age, religion, ethnicity, weight, country)


def numeric_csv(people: Population, path: Path, separator: str = ",", *, titled: bool = False, encoding: str = "utf-8") -> Path:
    """Write codes as separated text."""

    def field(text: object) -> str:
        shown = str(text)
        return f'"{shown}"' if separator in shown or '"' in shown else shown

    lines = [separator.join(field(people.titles[name] if titled else name) for name in people.raw)]
    lines += [separator.join(map(field, row)) for row in zip(*people.raw.values(), strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def labelled(people: Population, seed: int = 1) -> dict[str, list[object]]:
    """Return the columns as labels and their variants, with some numbers."""
    rng = np.random.default_rng(seed)
    columns: dict[str, list[object]] = {}
    for name, codes in people.raw.items():
        texts = people.labels.get(name)
        if name == "Q262":
            columns[name] = ["65 and more years" if year >= 65 and rng.random() < 0.5 else int(year) for year in codes]
        elif texts is None:
            columns[name] = list(codes)
        else:
            columns[name] = [_cell(texts[code], rng) for code in codes]
    return columns


def _cell(label: str, rng: np.random.Generator) -> object:
    options = [label, *VARIANTS.get(label, [])]
    shown = options[int(rng.integers(len(options)))]
    return int(shown) if shown.isdecimal() and rng.random() < 0.5 else shown


def label_excel(people: Population, path: Path, *, titled: bool = True) -> Path:
    """Write labels as an Excel workbook."""
    book = xlsxwriter.Workbook(path)
    sheet = book.add_worksheet("data")
    for column, (name, cells) in enumerate(labelled(people).items()):
        sheet.write(0, column, people.titles[name] if titled else name)
        for row, cell in enumerate(cells, start=1):
            (sheet.write_number if isinstance(cell, int | float) else sheet.write_string)(row, column, cell)
    book.close()
    return path


def numeric_excel(people: Population, path: Path) -> Path:
    """Write codes as an Excel workbook."""
    book = xlsxwriter.Workbook(path)
    sheet = book.add_worksheet("data")
    for column, (name, cells) in enumerate(people.raw.items()):
        sheet.write_column(0, column, [name, *cells])
    book.close()
    return path


def frame(people: Population) -> pd.DataFrame:
    """Return the codes as a pandas frame of floats and text."""
    return pd.DataFrame({name: _column(cells) for name, cells in people.raw.items()})


def _column(cells: list) -> pd.Series:
    if isinstance(cells[0], str):
        return pd.Series(np.array(cells, dtype=object), dtype=object)
    return pd.Series(np.array(cells, dtype=np.float64))


def sav(people: Population, path: Path) -> Path:
    """Write an SPSS file with value labels and declared missing codes."""
    coded = [name for name in people.labels if name in people.raw]
    pyreadstat.write_sav(
        frame(people),
        path,
        column_labels=people.titles,
        variable_value_labels={name: people.labels[name] for name in coded if len(people.labels[name]) < 120},
        missing_ranges={name: [{"lo": -9, "hi": -1}] for name in coded},
    )
    return path


def dta(people: Population, path: Path) -> Path:
    """Write a Stata file with value labels."""
    coded = {name: texts for name, texts in people.labels.items() if name in people.raw and len(texts) < 120}
    pyreadstat.write_dta(frame(people), path, variable_value_labels=coded)
    return path


def parquet(people: Population, path: Path) -> Path:
    """Write the codes as Parquet."""
    pl.DataFrame(people.raw).write_parquet(path)
    return path


def _for_r(data: pd.DataFrame) -> pd.DataFrame:
    data.columns = pd.Index(list(data.columns), dtype=object)
    return data


def rds(people: Population, path: Path) -> Path:
    """Write the codes as an R data frame."""
    rdata.write_rds(path, _for_r(frame(people)))
    return path


class _Vector:
    """An R vector of numbers with attributes."""

    def __init__(self, values: list, **attributes: object) -> None:
        self.values, self.attributes = np.array(values, dtype=np.float64), attributes


@dataclass(frozen=True)
class _Tibble:
    """A data frame of `_Vector`s."""

    columns: dict[str, _Vector]


def _r_vector(vector: _Vector, converter) -> object:
    attributes = converter.convert_to_r_attributes(vector.attributes)
    return build_r_object(RObjectType.REAL, value=vector.values, is_object="class" in vector.attributes, attributes=attributes)


def _r_tibble(tibble: _Tibble, converter) -> object:
    vectors = list(tibble.columns.values())
    attributes = {
        "names": _texts(tibble.columns),
        "class": _texts(["tbl_df", "tbl", "data.frame"]),
        "row.names": np.arange(1, len(vectors[0].values) + 1, dtype="int32"),
    }
    values = [converter.convert_to_r_object(vector) for vector in vectors]
    return build_r_object(RObjectType.VEC, value=values, is_object=True, attributes=converter.convert_to_r_attributes(attributes))


def _texts(words) -> np.ndarray:
    return np.array(list(words), dtype="U")


def haven_rds(people: Population, path: Path) -> Path:
    """Write a tibble of codes with value labels, as the R package haven does, without text columns."""
    columns: dict[str, _Vector] = {}
    for name, cells in people.raw.items():
        if isinstance(cells[0], str):
            continue
        texts = people.labels.get(name, {})
        labels = _Vector(list(texts), names=_texts(texts.values()))
        classed = {"labels": labels, "class": _texts(["haven_labelled", "vctrs_vctr", "double"])} if texts else {}
        columns[name] = _Vector(cells, label=people.titles[name], **classed)
    rdata.write_rds(path, _Tibble(columns), constructor_dict={_Vector: _r_vector, _Tibble: _r_tibble})
    return path


def rdata_factors(people: Population, path: Path) -> Path:
    """Write labels as factors in an .rdata file."""
    columns: dict[str, object] = {}
    for name, cells in labelled(people, seed=2).items():
        if all(isinstance(cell, int | float) for cell in cells):
            columns[name] = np.array(cells, dtype=np.float64)
        else:
            texts = [str(cell) for cell in cells]
            levels = sorted(set(texts))
            columns[name] = pd.Categorical.from_codes([levels.index(text) for text in texts], categories=pd.Index(levels, dtype=object))
    rdata.write_rda(path, {"WVS7": _for_r(pd.DataFrame(columns))})
    return path


def write_all(people: Population, folder: Path) -> dict[str, Path]:
    """Write the population in every format and return name -> file."""
    return {
        "csv comma": numeric_csv(people, folder / "comma.csv"),
        "csv semicolon, titled": numeric_csv(people, folder / "semicolon.csv", ";", titled=True, encoding="utf-8-sig"),
        "csv tab, titled": numeric_csv(people, folder / "tab.tsv", "\t", titled=True, encoding="cp1252"),
        "excel labels": label_excel(people, folder / "labels.xlsx"),
        "excel numbers": numeric_excel(people, folder / "numbers.xlsx"),
        "sav": sav(people, folder / "spss.sav"),
        "dta": dta(people, folder / "stata.dta"),
        "rds": rds(people, folder / "r.rds"),
        "rds haven": haven_rds(people, folder / "haven.rds"),
        "rdata factors": rdata_factors(people, folder / "r.RData"),
        "parquet": parquet(people, folder / "data.parquet"),
    }
