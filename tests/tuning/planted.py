"""A population in which women and men answer very differently, a tiny model and short recipes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.core.people import attribute, item, survey
from tests.respondents import tiny
from valuestrata.building import BuildSettings, build
from valuestrata.dataset.tables import Dataset
from valuestrata.tuning import Recipe, load_recipe

SHORT = """\
name: short
who: "{profile}"
who_all: Someone
user: "{who}\\n{question}\\n{options}\\n{reply}"
reply: "{first} to {last}, Answer: N"
"""
# Shares of the options among men; women answer the other way round.
MEN = {"A": (0.7, 0.2, 0.1), "B": (0.1, 0.15, 0.75), "C": (0.6, 0.1, 0.2, 0.1)}


def planted(seed: int = 0, people: int = 480) -> Dataset:
    """Return a data set with three attributes; only sex affects the answers, and item C is nominal."""
    draw = np.random.default_rng(seed)
    levels = np.stack([np.arange(people) % 2, np.arange(people) // 2 % 2, np.arange(people) // 4 % 2], axis=1)
    answers = np.zeros((people, len(MEN)), dtype=np.int64)
    for column, shares in enumerate(MEN.values()):
        for sex in (0, 1):
            of_sex = levels[:, 0] == sex
            answers[of_sex, column] = draw.choice(len(shares), of_sex.sum(), p=shares if sex == 0 else shares[::-1])
    items = [item("A", 3), item("B", 3), item("C", 4, "nominal")]
    attributes = [
        attribute("sex", ["Male", "Female"]),
        attribute("age_group", ["young", "old"], "age"),
        attribute("town", ["big", "small"]),
    ]
    return build(survey(items, attributes, answers, levels), BuildSettings(min_respondents=20, min_valid=20, draws=50))


def short_template(folder: Path) -> str:
    """Write a template of few tokens and return its path."""
    path = folder / "short.yaml"
    path.write_text(SHORT)
    return str(path)


def tiny_folder(folder: Path, **settings) -> str:
    """Write a tiny model whose tokenizer knows `Female`, `Male` and `Answer:` as words; return its specification."""
    tokenizer = word_tokenizer()
    tiny.tiny_model(tokenizer, **settings).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return f"hf:{folder}"


def word_tokenizer():
    """Return a tokenizer with a token per character and one for each sex; decoding restores the text."""
    from tokenizers import decoders

    merges = [("F", "e"), ("m", "a"), ("Fe", "ma"), ("Fema", "l"), ("M", "a"), ("Ma", "l"), ("Femal", "e"), ("Mal", "e")]
    tokenizer = tiny.tiny_tokenizer(merges)
    tokenizer.backend_tokenizer.decoder = decoders.Fuse()
    return tokenizer


def quick(name: str, template: str, **changes) -> Recipe:
    """Return a recipe for a tiny model: short, at a learning rate that a random model needs."""
    usual = {"learning_rate": 2e-2, "epochs": 6, "template": template, "validation.every": 2, "early_stopping": None}
    return load_recipe(name, **(usual | changes))
