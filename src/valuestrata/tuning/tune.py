"""Train an adapter from a data set, a model and a recipe; the same call continues an interrupted training."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import time
import warnings
from collections import Counter
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import MissingExtraError, Option, RunFailedError, UsageError
from valuestrata.progress import progress
from valuestrata.respondents.local.load import Loaded, load_model, parse_spec
from valuestrata.respondents.local.loading.dequantize import plain_model
from valuestrata.respondents.local.memory import is_out_of_memory
from valuestrata.tuning.adapters import CURVE_FILE, MERGED, claim, finished, save_weights, unfinished, write_adapter, write_merged
from valuestrata.tuning.data.encode import Encoder
from valuestrata.tuning.data.examples import TuningData, tuning_data
from valuestrata.tuning.loss_curve import CURVE, curve_of, write_curve
from valuestrata.tuning.recipe import Recipe, recipe_of
from valuestrata.tuning.record import LIBRARIES, read_training, training_record
from valuestrata.tuning.train.checkpoints import last_checkpoint, read_checkpoint, remove_incomplete
from valuestrata.tuning.train.layout import attention_of, best_layout
from valuestrata.tuning.train.processes import is_main, load_device, processes, trains_on_cpu
from valuestrata.tuning.train.sampler import sequence, updates_of
from valuestrata.tuning.train.step import EncodedExamples

if TYPE_CHECKING:
    from valuestrata.tuning.train.trainer import AnswerTrainer


@dataclass(frozen=True)
class TuneResult:
    """A trained adapter.

    Attributes:
        adapter: folder of the adapter. merged: folder of the merged model, or None.
        document: content of `training.json`: request, base, data, held_out, examples, updates, validation, versions.
        curve: frame of `loss_curve.CURVE`.
    """

    adapter: Path
    merged: Path | None
    document: Mapping[str, Any]
    curve: pl.DataFrame

    @property
    def before(self) -> Mapping[str, float] | None:
        """Validation measures of the base model; None without validation pairs."""
        return self.document["validation"]["before"]

    @property
    def after(self) -> Mapping[str, float] | None:
        """Validation measures of the adapter; None without validation pairs."""
        return self.document["validation"]["after"]


def tune(
    dataset: Dataset,
    model: str,
    out: str | Path,
    *,
    recipe: Recipe | str | Path = "modal",
    control: str | None = None,
    split: str = "paper",
    fold: int | None = None,
    device: str | None = None,
    max_steps: int | None = None,
    seed: int | None = None,
    merge: bool = False,
) -> TuneResult:
    """Train a model on the training gold of a split and write the adapter.

    The same call continues an interrupted training and returns a finished adapter. Under `accelerate launch` or `torchrun`
    every process makes the same call.

    Args:
        dataset: the data set whose training gold is used.
        model: `embedded`, `hf:ORG/NAME[@REVISION]`, `hf:FOLDER` or `gguf:FILE`.
        out: folder of the adapter. During training its files are in `OUT.unfinished`.
        recipe: a recipe, or the name or file of one.
        control: `no-persona`, `country-only` or `shuffled-persona`: train on the same gold with other personas.
        split: split scheme.
        fold: its fold, needed if the split has several.
        device: `cpu`, `cuda` or `mps`; by default the best available one.
        max_steps: maximum number of updates, overrides the recipe.
        seed: overrides the recipe's `seed` and `data_seed`.
        merge: also write base and adapter as one model, into `OUT/merged`.

    Raises:
        MissingExtraError: a library is not installed.
        UsageError: an unknown name, a model that cannot be tuned here, or another adapter in the same folder.
        InputDataError: the data set, model or recipe cannot be used, for example no training pairs, no chat template, or an
            answer that the tokenizer cannot write.
        RunFailedError: the loss is not finite, memory does not suffice, or a checkpoint cannot be written.
    """
    for library in LIBRARIES:
        if importlib.util.find_spec(library) is None:
            raise MissingExtraError("Tuning", "train", library)
    spec = parse_spec(model)
    if spec.adapter is not None:
        raise UsageError(
            f"{model}: a model with an adapter cannot be tuned. Merge {spec.adapter} into its base first (",
            Option("merge"),
            ") and tune the merged model: hf:FOLDER/merged.",
        )
    chosen = recipe_of(recipe, seed=seed, max_steps=max_steps)
    place = Path(out)
    data = tuning_data(dataset, chosen, split=split, fold=fold, control=control)
    request = {"dataset": dataset.fingerprint, "model": model, "split": split, "fold": fold, "control": control, "recipe": chosen.document}
    if not finished(place, request):
        _train(dataset, model, place, chosen, data, request, device)
    elif is_main():
        # It is still there if the process was killed between writing the adapter and removing this folder.
        shutil.rmtree(unfinished(place), ignore_errors=True)
    merged = place / MERGED
    if merge and not merged.is_dir() and is_main():
        with _quiet_libraries():
            write_merged(model, place)
    document = read_training(place)
    return TuneResult(place, merged if merge or merged.is_dir() else None, document, CURVE.frame(document["curve"]))


def _train(dataset: Dataset, model: str, out: Path, recipe: Recipe, data: TuningData, request: dict[str, Any], device: str | None) -> None:
    """Train from the last complete checkpoint, or from the start, and write the adapter."""
    started = time.monotonic()
    loaded = load_model(model, device=load_device(device), dtype=None)
    encoder = Encoder(loaded.tokenizer, model, recipe.target if recipe.objective == "tokens" else "option")
    examples = _encoded(data, recipe, encoder)
    base = plain_model(loaded.model, model)
    folder = claim(out, request, loaded.identity) if is_main() else unfinished(out)
    with _quiet_libraries():
        trainer = _trained(loaded, base, recipe, data, examples, encoder, folder)
        weights = save_weights(trainer, folder)
        if is_main():
            spec = parse_spec(model)
            curve = curve_of(trainer.state.log_history, len(data.train) / recipe.batch)
            how = {"sight": trainer.context.layout, "processes": processes(), "seconds": round(time.monotonic() - started, 1)}
            planned = updates_of(recipe, len(data.train))
            record = training_record(dataset, data, request, loaded.identity, how, trainer, planned, curve)
            named = (spec.place, spec.revision) if spec.kind == "hf" else (str(loaded.identity["model"]), None)
            write_adapter(out, weights, named, recipe.to_yaml(), record, curve)
            shutil.rmtree(folder, ignore_errors=True)
        trainer.accelerator.wait_for_everyone()


def _encoded(data: TuningData, recipe: Recipe, encoder: Encoder) -> EncodedExamples:
    """Return the examples as token ids, training first, and the order of training."""
    order = sequence(recipe, [getattr(example.prompt, "subgroup" if data.first == "persona" else "item") for example in data.train])
    examples = (*data.train, *data.validation)
    validation = range(len(data.train), len(examples))
    encoded = {number: encoder.encode(examples[number]) for number in (*dict.fromkeys(order.tolist()), *validation)}
    return EncodedExamples(examples, encoded, order.tolist(), validation)


def _trained(
    loaded: Loaded, base: Any, recipe: Recipe, data: TuningData, examples: EncodedExamples, encoder: Encoder, folder: Path
) -> AnswerTrainer:
    """Return a trainer that has finished its training."""
    from valuestrata.tuning.train.trainer import AnswerTrainer, TrainingContext, training_arguments
    from valuestrata.tuning.train.trl_adapter import use_one_gpu

    updates, per_epoch = updates_of(recipe, len(data.train)), len(data.train) / recipe.batch
    settings: Any = training_arguments(
        recipe,
        folder,
        updates,
        len(data.train),
        validate=bool(data.validation),
        use_cpu=trains_on_cpu(base),
        bf16=loaded.identity["dtype"] == "bfloat16",
    )
    if is_main():
        remove_incomplete(folder)
    settings.distributed_state.wait_for_everyone()
    checkpoint = last_checkpoint(folder)
    settings.eval_on_start = bool(data.validation) and checkpoint is None
    use_one_gpu(settings)
    longest = max(len(one.written(place)) for one in examples.encoded.values() for place in range(len(one.options)))
    layout = best_layout(base, longest, on_cpu=settings.device.type == "cpu")
    sizes = Counter(example.group for example in data.train)
    with progress("tuning", updates) as advance, attention_of(base, layout):
        context = TrainingContext(
            recipe=recipe,
            examples=examples,
            encoder=encoder,
            layout=layout,
            group_sizes=[sizes[number] for number in range(len(data.groups))],
            advance=advance,
            on_log=lambda history: write_curve(folder / CURVE_FILE, curve_of(history, per_epoch)),
        )
        trainer = AnswerTrainer(base, loaded.tokenizer, settings, context)
        if checkpoint is not None:
            at = read_checkpoint(checkpoint)
            trainer.step.group_weights = at["group_weights"]
            advance(at["step"])
        try:
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise RunFailedError(
                "Tuning: there is not enough memory for a pass. Raise the recipe's `accumulation` (fewer examples a pass) or set "
                f"`gradient_checkpointing: true`, and use another folder (checkpoints so far: {folder})."
            ) from error
    return trainer


@contextlib.contextmanager
def _quiet_libraries() -> Generator[None]:
    """Switch off the progress bars, logs and deprecation warnings of the libraries."""
    import datasets
    from transformers.utils import logging

    level, bars, mapped = logging.get_verbosity(), logging.is_progress_bar_enabled(), datasets.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            # A GGUF file has no config file next to it, and no tokens are added here.
            warnings.filterwarnings("ignore", message="Could not find a config file")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
        if mapped:
            datasets.enable_progress_bars()
