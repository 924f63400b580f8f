"""Negative seeds and other values that are no seeds are refused with one message, wherever a seed is given."""

import numpy as np
import pytest
import typer

from tests.core.people import random_survey
from valuestrata.building import BuildSettings, build
from valuestrata.cli import make_app
from valuestrata.errors import MOST_SEED, InputDataError, UsageError, check_seed
from valuestrata.respondents.models import ModelSettings
from valuestrata.scores.compare import compare
from valuestrata.stats.arrays import generator
from valuestrata.stats.cluster_bootstrap import clustered_mean
from valuestrata.study.config import Study
from valuestrata.survey.simulation.population import SimulationSettings, draw_survey, plant
from valuestrata.tuning.recipe import load_recipe, recipe_of
from valuestrata.yaml_files import checked

WRONG = [-1, -(2**70), 2**63, 1.5, True, "3", None, float("nan")]


@pytest.mark.parametrize("seed", WRONG)
def test_what_is_no_seed(seed):
    for use in (
        check_seed,
        generator,
        lambda seed: generator(seed, 1),
        lambda seed: BuildSettings(half_seed=seed),
        lambda seed: BuildSettings(redraw_seed=seed),
        lambda seed: BuildSettings(split_seed=seed),
        lambda seed: ModelSettings(seed=seed),
        lambda seed: ModelSettings(persona_seed=seed),
        lambda seed: clustered_mean(np.array([1.0, 2.0]), np.array([1, 2]), bootstrap=10, seed=seed),
        lambda seed: plant(SimulationSettings(respondents=50, items=3, seed=seed)),
        lambda seed: plant(SimulationSettings(respondents=50, items=3, structure_seed=seed)),
        lambda seed: draw_survey(plant(SimulationSettings(respondents=50, items=3)), seed),
    ):
        with pytest.raises(UsageError, match=r"seed=.*a seed is a whole number from 0 to"):
            use(seed)


@pytest.mark.slow
def test_seeds_of_every_size_and_kind_work():
    assert check_seed(np.int64(3)) == 3
    assert generator(MOST_SEED).random() == np.random.default_rng(MOST_SEED).random()
    assert generator(3, 1).random() == np.random.default_rng([3, 1]).random()
    made = build(
        random_survey(120, 1), BuildSettings(min_respondents=5, min_valid=2, draws=10, redraw_seed=MOST_SEED, split_seed=MOST_SEED)
    )
    assert made.splits["seed"].unique().to_list() == [MOST_SEED]


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_of_trainings_have_32_bits(seed):
    with pytest.raises(UsageError, match=r"recipe modal: seed: Input should be"):
        recipe_of(load_recipe("modal"), seed=seed)


def test_seeds_of_a_study():
    document = {"name": "a", "survey": {"file": "embedded"}, "models": ["embedded"]}
    for name in ("half", "redraw", "split", "sampling", "persona", "bootstrap"):
        with pytest.raises(InputDataError, match=rf"seeds\.{name}: Input should be greater than or equal to 0"):
            checked(Study, {**document, "seeds": {name: -1}}, "study.yaml")


def commands(group, name="valuestrata"):
    for key, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{name} {key}")
        else:
            yield f"{name} {key}", command


def test_every_seed_of_the_command_line_has_bounds():
    found = []
    for name, command in commands(typer.main.get_command(make_app())):
        for parameter in command.params:
            if parameter.name.endswith("seed"):
                # Typer before 0.27 keeps the bounds in the type of the parameter.
                bounds = parameter if hasattr(parameter, "min") else parameter.type
                found.append((name, parameter.name, bounds.min, bounds.max))
    assert len(found) >= 15
    assert {least for *_, least, _ in found} == {0}
    assert {most for *_, most in found} == {MOST_SEED, 2**32 - 1}


def test_a_comparison_refuses_a_negative_seed(handmade):
    with pytest.raises(UsageError):
        compare(handmade, [], [], seed=-1)
