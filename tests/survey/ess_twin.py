"""A simulated survey in the layout of the European Social Survey, as SPSS, Stata and CSV files, and its plain gold.

Respondents are aged 15 to 99. The missing codes of the items, 77, 88 and 99, are also ages.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyreadstat

BANDS = ((15, 24), (25, 44), (45, 64), (65, 200))
BAND_LABELS = ("15-24 years", "25-44 years", "45-64 years", "65 and over")
SEXES = ("Male", "Female")
LOST = {77: "Refusal", 88: "Don't know", 99: "No answer"}
ITEMS = tuple(f"ppl{number}" for number in range(12))

CODEBOOK = f"""
survey: ess-twin
title: A simulated survey in the layout of the ESS
weight: pspwght
respondent_id: idno
missing:
  dont_know: {{codes: [88]}}
  no_answer: {{codes: [77, 99, 999]}}
scales:
  eleven: {{range: [0, 10], ends: [Not at all, Completely]}}
items:
{chr(10).join(f'  - {{id: {name}, topic: Topic {name[-1]}, scale: eleven, question: "How much of {name}?"}}' for name in ITEMS)}
attributes:
  - name: sex
    column: gndr
    levels: [{{label: Male, code: 1}}, {{label: Female, code: 2}}]
  - name: age_group
    short: age
    column: agea
    levels:
      - {{label: 15-24 years, band: [15, 24]}}
      - {{label: 25-44 years, band: [25, 44]}}
      - {{label: 45-64 years, band: [45, 64]}}
      - {{label: 65 and over, band: [65, null]}}
"""


def people(respondents: int = 1800, seed: int = 3) -> pd.DataFrame:
    """Return the respondents: codes as in the files."""
    rng = np.random.default_rng(seed)
    age = rng.integers(15, 100, respondents).astype(float)
    sex = rng.integers(1, 3, respondents).astype(float)
    data = pd.DataFrame({"idno": np.arange(1.0, respondents + 1), "cntry": rng.choice(["AT", "CH"], respondents), "gndr": sex, "agea": age})
    data["pspwght"] = np.round(rng.uniform(0.3, 3.0, respondents), 4)
    for place, name in enumerate(ITEMS):
        # The oldest differ, so that their loss changes modes.
        centre = 4 + 3 * np.sin(place) + np.where(age >= 77, 2.0, 0.0) + 0.4 * (sex - 1)
        data[name] = np.clip(np.round(rng.normal(centre, 2.2)), 0, 10)
        lost = rng.random(respondents) < 0.05
        data.loc[lost, name] = rng.choice(list(LOST), int(lost.sum()))
    data.loc[rng.random(respondents) < 0.01, "agea"] = 999.0
    data.loc[rng.random(respondents) < 0.01, "gndr"] = 9.0
    return data


def write(data: pd.DataFrame, path: Path) -> Path:
    """Write the respondents in the format of the file ending."""
    labels = {name: {0: "Not at all", 10: "Completely", **LOST} for name in ITEMS}
    labels |= {"gndr": {1: "Male", 2: "Female", 9: "No answer"}, "agea": {999: "Not available"}}
    if path.suffix == ".sav":
        declared = {name: list(LOST) for name in ITEMS} | {"gndr": [9], "agea": [999]}
        pyreadstat.write_sav(data, path, variable_value_labels=labels, missing_ranges=declared)
    elif path.suffix == ".dta":
        whole = dict.fromkeys((*labels, "idno"), "int32")
        pyreadstat.write_dta(data.astype(whole), path, variable_value_labels=labels)
    else:
        data.to_csv(path, index=False, float_format="%g")
    return path


def plain_gold(data: pd.DataFrame) -> dict[str, tuple[list[int], list[float]]]:
    """Return pair id -> (modes, weighted shares of 0 to 10), computed respondent by respondent."""
    sums: dict[str, list[float]] = {}
    for row in data.to_dict("records"):
        sex = SEXES[int(row["gndr"]) - 1] if row["gndr"] in (1, 2) else None
        age = next((label for label, (low, high) in zip(BAND_LABELS, BANDS, strict=True) if low <= row["agea"] <= high), None)
        sex_level, age_level = (None if level is None else level.replace(" ", "-") for level in (sex, age))
        subgroups = ["all", f"sex_{sex_level}" if sex else None, f"age_group_{age_level}" if age else None]
        subgroups.append(f"sex_x_age_{sex_level}_{age_level}" if sex and age else None)
        for name in ITEMS:
            if row[name] in LOST:
                continue
            for subgroup in filter(None, subgroups):
                sums.setdefault(f"{name}_{subgroup}", [0.0] * 11)[int(row[name])] += row["pspwght"]
    gold: dict[str, tuple[list[int], list[float]]] = {}
    for pair, weights in sums.items():
        shares = [weight / sum(weights) for weight in weights]
        gold[pair] = ([code for code, share in enumerate(shares) if share > max(shares) - 1e-12], shares)
    return gold
