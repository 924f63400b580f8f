"""Files of a plan: plan.csv, forms.csv, expected.csv and plan.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import OptionText
from valuestrata.estimation.plan.planner import SamplePlan
from valuestrata.estimation.plan.sentences import opening
from valuestrata.estimation.plan.tables import expected_table, forms_table, levels_table, plan_table
from valuestrata.files import sha256_of, write_json, write_text
from valuestrata.frames import csv_text
from valuestrata.responses.run.folder import new_meta

FORMAT = "valuestrata-sample-plan-1"
DOCUMENT = "plan.json"


def write_sample_plan(plan: SamplePlan, dataset: Dataset, out: Path) -> None:
    """Write plan.csv, forms.csv, expected.csv and plan.json into a folder."""
    frames = {"plan": plan_table(plan), "forms": forms_table(plan), "expected": expected_table(plan)}
    for name, frame in frames.items():
        write_text(out / f"{name}.csv", csv_text(frame))
    document = plan_document(plan, dataset)
    document["sha256"] = {f"{name}.csv": sha256_of(out / f"{name}.csv") for name in frames}
    write_json(out / DOCUMENT, document)


def plan_document(plan: SamplePlan, dataset: Dataset) -> dict[str, Any]:
    """Return a plan for JSON: what it reaches, interviews, forms, and what it rests on."""
    planner = plan.planner
    made = new_meta(dataset, "plan", "sample-plan")
    saving, gain = planner.saving, planner.gain
    return {
        **{key: value for key, value in made.items() if key not in ("name", "kind")},
        "format": FORMAT,
        "goal": plan.goal,
        "budget": plan.budget,
        "estimator": plan.estimator,
        "run": plan.run,
        "seed": plan.seed,
        "reaches": plan.reaches,
        "scale": plan.scale if plan.scale < float("inf") else None,
        "needed": dict(plan.needed),
        "sentences": opening(plan),
        "remarks": [OptionText(remark).render("cli") for remark in plan.remarks],
        "levels": levels_table(plan).to_dicts(),
        "cells": plan_table(plan).to_dicts(),
        "forms": [
            {
                "form": f"form {number + 1}",
                "people": int(people),
                "items": [item for item, asked in zip(planner.evidence.items.ids, row, strict=True) if asked],
            }
            for number, (row, people) in enumerate(zip(plan.forms.asked, plan.dealt.sum(axis=0), strict=True))
        ],
        "split_blocks": list(plan.forms.split),
        "based_on": {"source": planner.evidence.source, "people": planner.evidence.people, "design_effect": planner.design_effect},
        "saving": None if saving is None else {"value": float(saving.value[0]), "low": float(saving.low[0]), "high": float(saving.high[0])},
        "small_area_gain": None if gain is None else {"value": gain.value, "low": gain.low, "high": gain.high, "counted": gain.counted},
    }
