"""Recipes: built-in ones, files with a base, overrides, and errors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from valuestrata.errors import InputDataError, UsageError
from valuestrata.tuning import Recipe, builtin_recipes, load_recipe
from valuestrata.tuning.recipe import EarlyStopping, Lora, PairWeights, Preference, Validation, recipe_with

BUILT_IN = ["distribution", "dpo", "fair", "modal", "ordinal", "paper", "shift"]


def test_every_documented_recipe_exists_and_has_a_purpose():
    assert builtin_recipes() == BUILT_IN
    for name in BUILT_IN:
        recipe = load_recipe(name)
        assert recipe.name == name
        assert len(recipe.description) > 40


def test_the_papers_recipe():
    paper = load_recipe("paper")
    assert (paper.objective, paper.learning_rate, paper.epochs, paper.batch) == ("tokens", 1e-6, 1, 8)
    assert (paper.scheduler, paper.warmup_ratio, paper.seed, paper.validation.samples) == ("linear", 0.1, 42, 500)
    assert (paper.lora.r, paper.lora.alpha, paper.lora.target_modules) == (8, 16, "all-linear")
    assert paper.early_stopping is None


def test_modal_differs_from_the_paper_in_rate_length_and_stopping_alone():
    paper, modal = load_recipe("paper").document, load_recipe("modal").document
    differing = {key for key in paper if paper[key] != modal[key]}
    assert differing == {"name", "description", "learning_rate", "epochs", "early_stopping"}


@pytest.mark.parametrize("section", [Recipe, Lora, Validation, EarlyStopping, PairWeights, Preference])
def test_every_field_has_a_description(section):
    for name, field in section.model_fields.items():
        assert field.description, name


def test_a_resolved_recipe_reads_back_as_itself(tmp_path):
    for name in BUILT_IN:
        recipe = load_recipe(name)
        file = tmp_path / f"{name}.resolved.yaml"
        file.write_text(recipe.to_yaml())
        assert load_recipe(file) == recipe
        assert set(yaml.safe_load(recipe.to_yaml())) == set(Recipe.model_fields)


def test_a_file_holds_only_what_differs_from_its_base(tmp_path):
    (tmp_path / "mine.yaml").write_text("base: distribution\nlearning_rate: 3.0e-5\nlora: {r: 16}\n")
    (tmp_path / "further.yaml").write_text("base: mine.yaml\nepochs: 2\n")
    recipe, of_distribution = load_recipe(tmp_path / "further.yaml"), load_recipe("distribution")
    assert (recipe.objective, recipe.learning_rate, recipe.epochs) == ("kl", 3e-5, 2)
    assert recipe.lora == Lora(r=16, alpha=of_distribution.lora.alpha)


def test_a_circular_base_is_refused(tmp_path):
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    one.write_text(f"base: {other}\n")
    other.write_text(f"base: {one}\n")
    with pytest.raises(InputDataError, match="refers back to the recipe itself"):
        load_recipe(one)


def test_fields_of_a_section_are_changed_alone():
    assert load_recipe("modal", lora={"r": 32}).lora == Lora(r=32, alpha=16)
    assert load_recipe("modal", **{"lora.r": 32, "lora.alpha": 64}).lora == Lora(r=32, alpha=64)
    assert load_recipe("modal", early_stopping=None).early_stopping is None
    assert load_recipe("paper", **{"early_stopping.patience": 2}).early_stopping == EarlyStopping(patience=2)


def test_an_unknown_key_of_a_file_is_refused_with_the_closest_known_one(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("base: modal\nlora: {rnk: 4, alpa: 3}\n")
    with pytest.raises(InputDataError, match=r"mine\.yaml, line 2, column 8: the key 'lora\.(rnk|alpa)' is not known"):
        load_recipe(file)
    file.write_text("learning_rat: 1\n")
    with pytest.raises(InputDataError, match="Did you mean 'learning_rate'"):
        load_recipe(file)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epoch": 2}, "no field 'epoch'. Did you mean 'epochs'"),
        ({"lora.rank": 2}, r"no field 'lora\.rank'"),
        ({"learning_rate": -1}, "learning_rate: Input should be greater than 0"),
        ({"batch": 6, "accumulation": 4}, "multiple of accumulation, 4"),
        ({"validation.samples": 0}, "early_stopping needs validation pairs"),
        ({"objective": "kl", "target": "option"}, "objective `tokens` only"),
        ({"objective": "kll"}, "objective"),
        ({"orders": "sideways"}, "no option order 'sideways'"),
    ],
)
def test_invalid_overrides_are_refused(changes, said):
    with pytest.raises(UsageError, match=said):
        load_recipe("modal", **changes)


def test_unknown_recipes_are_refused(tmp_path):
    with pytest.raises(UsageError, match="Did you mean 'distribution'"):
        load_recipe("distribtion")
    (tmp_path / "list.yaml").write_text("- modal\n")
    with pytest.raises(InputDataError, match="expected a mapping at the top of the file, found list"):
        load_recipe(tmp_path / "list.yaml")


def test_the_documented_table_has_every_field_with_its_default():
    text = (Path(__file__).resolve().parents[2] / "docs" / "tuning.md").read_text()
    rows = re.findall(r"^\| (`[a-z_.]+`(?:, `[a-z_.]+`)*) \| ([^|]+) \|", text.split("## Recipes")[1].split("\n## ")[0], flags=re.MULTILINE)
    written = {
        name: default
        for names, defaults in rows
        for name, default in zip(re.findall(r"`([a-z_.]+)`", names), defaults.strip().split(", "), strict=True)
    }
    plain = Recipe()
    expected = {}
    for name in Recipe.model_fields:
        value = getattr(plain, name)
        expected |= (
            {f"{name}.{key}": getattr(value, key) for key in type(value).model_fields} if isinstance(value, BaseModel) else {name: value}
        )
    assert list(written) == list(expected)
    for name, value in expected.items():
        shown = "none" if value in (None, "") else str(value).lower() if isinstance(value, bool) else str(value)
        assert written[name] == shown, name


def test_settings_are_read_as_the_type_of_their_field():
    settings = ["learning_rate=1e-3", "lora.r=16", "early_stopping=null", "max_steps=7", "paraphrases=0", "gradient_checkpointing=true"]
    read = recipe_with("modal", [*settings, "lora.target_modules=[q_proj, v_proj]"])
    changes = {"learning_rate": 1e-3, "early_stopping": None, "max_steps": 7, "gradient_checkpointing": True}
    assert read == load_recipe("modal", **changes, lora={"r": 16, "target_modules": ["q_proj", "v_proj"]})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["learning_rat=1"], "no field 'learning_rat'. Did you mean 'learning_rate'?"),
        (["name_or_file=1"], "no field 'name_or_file'"),
        (["lora.rank=1"], "no field 'lora.rank'"),
        (["learning_rate=fast"], "learning_rate: .*found 'fast'"),
        (["batch=7.5"], "batch: .*found '7.5'"),
        (["learning_rate"], "expected FIELD=VALUE"),
        (["lora.r=1", "lora.r=2"], "'lora.r' is set twice"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        recipe_with("modal", settings)
