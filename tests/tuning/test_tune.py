"""From a data set and a tiny model to an adapter: what it learns, what its folder holds, and what is refused."""

from __future__ import annotations

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import entropy

from tests.respondents import tiny
from tests.tuning.conftest import FAMILIES, SHARED
from tests.tuning.planted import quick, word_tokenizer
from valuestrata.errors import InputDataError, RunFailedError, UsageError
from valuestrata.tuning import load_recipe

torch = pytest.importorskip("torch", reason="needs the extra `local`")
for library in ("peft", "trl", "datasets"):
    pytest.importorskip(library, reason="needs the extra `train`")

from valuestrata.prompts import load_template, render_prompts  # noqa: E402
from valuestrata.respondents.local.respondent import load_local  # noqa: E402
from valuestrata.tuning.data.examples import tuning_data  # noqa: E402
from valuestrata.tuning.tune import tune  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.usefixtures("one_thread"),
]


@pytest.fixture
def learned(trained):
    return trained("distribution")


@pytest.fixture
def shared(template):
    """The recipe of `learned`."""
    return quick("distribution", template, **SHARED)


def asked(model, dataset, template, part="test"):
    prompts = list(render_prompts(dataset, dataset.part("paper", part), template=load_template(template), elicitation="logprob"))
    answers = {answer.prompt.pair_id: answer for answer in load_local(model, device="cpu").answer(prompts)}
    return {prompt.pair_id: answers[prompt.pair_id] for prompt in prompts}


# --- training ---------------------------------------------------------------------------------------------------------


def check_learned(result, recipe):
    assert (result.before["step"], result.after["step"]) == (0, 10)
    assert result.after["loss"] < 0.6 * result.before["loss"]
    curve = result.curve.filter(pl.col("part") == "train")
    assert curve["step"].to_list() == list(range(1, 11))
    assert curve["loss"][-1] < curve["loss"][0]
    assert curve["loss_answer"].null_count() == 0
    assert curve["loss_prefill"].null_count() == (0 if recipe.objective == "tokens" and recipe.target == "turn" else 10)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_lowers_its_own_objective(name, trained, template):
    check_learned(trained(name), quick(name, template))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("base", "changes"),
    [
        *[(name, {}) for name in ("paper", "ordinal", "shift", "fair")],
        ("modal", {"objective": "mode"}),
        ("modal", {"target": "option"}),
        ("ordinal", {"objective": "w1"}),
        ("distribution", {"objective": "cross-entropy"}),
    ],
)
def test_every_other_recipe_lowers_its_own_objective(base, changes, people, template, model, tmp_path):
    recipe = quick(base, template, **changes, **SHARED)
    check_learned(tune(people, model, tmp_path / "a", recipe=recipe), recipe)


@pytest.mark.slow
def test_only_a_model_that_sees_personas_learns_the_subgroups(people, template, model, tmp_path):
    # Without personas the best prediction is the mean shares of each item; its divergence from the subgroups is the floor.
    by_item = {}
    for example in tuning_data(people, quick("distribution", template)).train:
        by_item.setdefault(example.prompt.item, []).append(np.array(example.shares))
    floor = np.mean([entropy(shares, np.mean(rows, axis=0)) for rows in by_item.values() for shares in rows])
    recipe = quick("distribution", template, epochs=25, learning_rate=1e-2, mass_weight=0, **{"validation.every": 25})
    loss = {}
    for control in (None, "no-persona"):
        result = tune(people, model, tmp_path / str(control), recipe=recipe, control=control)
        loss[control] = result.curve.filter(pl.col("part") == "train")["loss"][-10:].mean()
    assert loss[None] < 0.6 * floor
    assert loss["no-persona"] > 0.85 * floor
    men, women = (asked(f"{model}+{tmp_path / 'None'}", people, template, "all")[f"A_sex_{sex}"].option_probs for sex in ("Male", "Female"))
    # Planted: .7 .2 .1 among men, .1 .2 .7 among women.
    assert men[0] > 0.5 > 0.3 > women[0]
    assert women[2] > 0.5 > 0.3 > men[2]


@pytest.mark.slow
def test_weights_of_groups_move_and_are_kept(people, template, model, tmp_path):
    recipe = quick("fair", template, **{"weights.dro_step": 0.5})
    groups = tune(people, model, tmp_path / "a", recipe=recipe, max_steps=8).document["groups"]
    assert sum(groups.values()) == pytest.approx(1)
    assert max(groups.values()) > 1.5 * min(groups.values())


@pytest.mark.slow
def test_early_stopping_keeps_the_best(people, template, model, tmp_path):
    # At this rate the loss soon rises; a fifth of an epoch is one update.
    recipe = quick("modal", template, learning_rate=0.5, epochs=9, **{"validation.every": 0.2, "early_stopping": {"patience": 2}})
    result = tune(people, model, tmp_path / "a", recipe=recipe)
    updates = result.document["updates"]
    assert updates["made"] < updates["planned"]
    seen = result.curve.filter((pl.col("part") == "validation") & (pl.col("step") > 0))
    assert updates["kept"] == seen.sort("loss")["step"][0]
    assert result.after["step"] == updates["kept"]


@pytest.mark.slow
def test_without_validation_pairs_training_makes_all_updates(people, template, model, tmp_path):
    without = replace(people, splits=people.splits.filter(pl.col("part") != "validation"))
    recipe = quick("modal", template, early_stopping={"patience": 1}, max_steps=3)
    result = tune(without, model, tmp_path / "a", recipe=recipe)
    assert (result.before, result.after) == (None, None)
    assert result.document["updates"] == {"planned": 3, "made": 3, "kept": 3}


# --- the adapter's folder ---------------------------------------------------------------------------------------------


def test_the_folder_holds_the_adapter_and_its_record(learned, people, model):
    folder = learned.adapter
    assert sorted(file.name for file in folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "loss.csv",
        "loss.png",
        "loss.svg",
        "recipe.resolved.yaml",
        "training.json",
    ]
    assert not folder.with_name("distribution.unfinished").exists()
    record = json.loads((folder / "training.json").read_text())
    assert record == learned.document
    assert record["data"]["fingerprint"] == people.fingerprint
    assert record["base"]["word"] == model
    assert len(record["base"]["revision"]) == 64
    assert record["held_out"]["subgroups"] == sorted(people.subgroups.filter(pl.col("stratum") == "age_x_town")["subgroup"])
    assert record["updates"] == {"planned": 10, "made": 10, "kept": 10}
    assert record["request"]["recipe"] == load_recipe(folder / "recipe.resolved.yaml").document
    assert {"torch", "transformers", "peft", "trl"} <= set(record["versions"])
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == model.removeprefix("hf:")
    assert pl.read_csv(folder / "loss.csv")["part"].to_list().count("train") == 10
    assert (folder / "loss.svg").read_text().startswith("<svg")
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_an_adapter_answers_as_its_own_training_measured_it(learned, people, template, model):
    answers = asked(f"{model}+{learned.adapter}", people, template, "validation")
    gold = dict(people.gold.filter(pl.col("half") == "all").select("pair_id", "p_mode").iter_rows())
    masses = [answer.option_mass for answer in answers.values()]
    expected = [gold[pair][int(np.argmax(answer.option_probs))] for pair, answer in answers.items()]
    assert learned.after["option_mass"] == pytest.approx(np.mean(masses), rel=1e-3)
    assert learned.after["accuracy_expected"] == pytest.approx(np.mean(expected), rel=1e-3)


def test_a_merged_model_answers_as_base_and_adapter(learned, people, template, model, shared, tmp_path):
    copy = shutil.copytree(learned.adapter, tmp_path / "copy")
    result = tune(people, model, copy, recipe=shared, merge=True)
    assert result.merged == copy / "merged"
    one, other = (asked(name, people, template) for name in (f"{model}+{copy}", f"hf:{result.merged}"))
    for pair, answer in one.items():
        assert other[pair].option_probs == pytest.approx(answer.option_probs, rel=1e-3)
    base = asked(model, people, template)
    assert all(base[pair].option_mass < 0.1 * answer.option_mass for pair, answer in one.items())


def test_a_finished_training_is_returned_and_another_one_refused(learned, people, template, model, shared):
    before = (learned.adapter / "adapter_model.safetensors").stat().st_mtime_ns
    again = tune(people, model, learned.adapter, recipe=shared)
    assert again.document == learned.document
    assert again.curve.equals(learned.curve)
    assert (learned.adapter / "adapter_model.safetensors").stat().st_mtime_ns == before
    for changes, message in (
        ({"max_steps": 13}, "recipe.max_steps 10, but this call has 13"),
        ({"control": "no-persona"}, "control None, but this call has 'no-persona'"),
        ({"seed": 3}, "recipe.seed 42, but this call has 3"),
    ):
        with pytest.raises(UsageError, match=message):
            tune(people, model, learned.adapter, recipe=shared, **changes)


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_folder_with_other_files_is_refused_before_anything_is_loaded(people, template, tmp_path):
    for name, message in (("notes", "is not an adapter made by `tune`"), ("a.unfinished", "is not a training started by `tune`")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("mine")
        with pytest.raises(UsageError, match=message):
            tune(people, "hf:./absent", tmp_path / name.partition(".")[0], recipe=quick("modal", template))


def test_models_that_cannot_be_tuned_are_refused(people, template, model, tmp_path):
    recipe = quick("modal", template)
    with pytest.raises(UsageError, match=r"Merge .* into its base first"):
        tune(people, f"{model}+{tmp_path}", tmp_path / "a", recipe=recipe)
    with pytest.raises(UsageError, match=r"not a model on this machine|not a local model"):
        tune(people, "openai/gpt", tmp_path / "a", recipe=recipe)
    bare = word_tokenizer()
    bare.chat_template = None
    tiny.tiny_model(bare).save_pretrained(tmp_path / "bare")
    bare.save_pretrained(tmp_path / "bare")
    with pytest.raises(InputDataError, match="has no chat template"):
        tune(people, f"hf:{tmp_path / 'bare'}", tmp_path / "a", recipe=recipe)


def test_a_split_without_training_pairs_is_refused(people, template, model, tmp_path):
    empty = replace(people, splits=people.splits.filter(pl.col("part") != "train"))
    with pytest.raises(InputDataError, match="no training pairs in split 'paper'"):
        tune(empty, model, tmp_path / "a", recipe=quick("modal", template))
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_not_finite_ends_the_training(people, template, model, tmp_path):
    recipe = quick("modal", template, learning_rate=1e30, max_grad_norm=1e30, warmup_ratio=0, **{"validation.samples": 0})
    with pytest.raises(RunFailedError, match=r"not a number at update \d+, at a learning rate of 1e\+30"):
        tune(people, model, tmp_path / "a", recipe=recipe)
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "a.unfinished" / "plan.json").is_file()


@pytest.mark.parametrize("every", [1, pytest.param(99, marks=pytest.mark.slow)])
def test_a_weight_that_is_not_finite_is_not_saved(people, template, model, tmp_path, monkeypatch, every):
    # The loss of the last update is finite but its gradient is not: at a checkpoint, or after the last one.
    import transformers

    plain = transformers.Trainer.training_step

    def broken(trainer, model, *rest, **more):
        loss = plain(trainer, model, *rest, **more)
        next(weight for weight in model.parameters() if weight.requires_grad).grad.fill_(float("nan"))
        return loss

    monkeypatch.setattr(transformers.Trainer, "training_step", broken)
    recipe = quick("modal", template, **{"validation.samples": 0, "validation.every": every})
    with pytest.raises(RunFailedError, match="trained weight is not a number at update 1,"):
        tune(people, model, tmp_path / "a", recipe=recipe, max_steps=1)
    assert not (tmp_path / "a").exists()
    assert not list((tmp_path / "a.unfinished").glob("checkpoint-*/whole.json"))


@pytest.mark.slow
def test_a_full_disk_at_the_adapter_loses_nothing(people, template, model, tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    recipe = quick("modal", template, **{"validation.samples": 0})
    with monkeypatch.context() as patched:
        patched.setattr("valuestrata.tuning.adapters.shutil.copyfile", full)
        with pytest.raises(RunFailedError, match=r"a\.unfinished: the weights could not be written .*No space left.* run the same call"):
            tune(people, model, tmp_path / "a", recipe=recipe, max_steps=2)
    assert not (tmp_path / "a").exists()
    assert list((tmp_path / "a.unfinished").glob("checkpoint-*/whole.json"))
    assert tune(people, model, tmp_path / "a", recipe=recipe, max_steps=2).document["updates"]["made"] == 2


def test_processes_that_do_not_divide_the_batch_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    from valuestrata.tuning.train.trainer import training_arguments

    with pytest.raises(UsageError, match="batch of 8 examples cannot be shared by 3 processes"):
        training_arguments(load_recipe("modal"), Path(tmp_path), 10, 100, validate=True, use_cpu=True, bf16=False)
