"""A data set, a model and a recipe -> an adapter. Called again after a stop, it goes on from the last whole checkpoint."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import time
import warnings
from collections import Counter
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import MissingExtraError, RunFailedError, UsageError
from valuestrata.files import read_json
from valuestrata.progress import progress
from valuestrata.respondents.local.load import Loaded, Spec, load_model, parse_spec
from valuestrata.respondents.local.memory import is_out_of_memory
from valuestrata.tuning.adapters import CURVE_FILE, MERGED, TRAINING, claim, finished, save_weights, unfinished, write_adapter, write_merged
from valuestrata.tuning.data.encode import Encoder
from valuestrata.tuning.data.examples import TuningData, tuning_data
from valuestrata.tuning.loss_curve import CURVE, curve_of, write_curve
from valuestrata.tuning.recipe import Recipe, load_recipe
from valuestrata.tuning.record import LIBRARIES, training_record
from valuestrata.tuning.train.attention import Sight, attending, best_sight
from valuestrata.tuning.train.dequantize import plain_model
from valuestrata.tuning.train.sampler import sequence, updates_of
from valuestrata.tuning.train.trainer import WHOLE, Taught, arguments, local_rank, make_trainer, processes, whole_checkpoint


@dataclass(frozen=True)
class TuneResult:
    """An adapter and how it came about.

    Attributes:
        adapter: its folder. merged: folder of the merged model, or None.
        document: what `training.json` says: request, base, data, held_out, examples, updates, validation, versions.
        curve: frame of `curve.CURVE`.
    """

    adapter: Path
    merged: Path | None
    document: Mapping[str, Any]
    curve: pl.DataFrame

    @property
    def before(self) -> Mapping[str, float] | None:
        """Validation measures of the model that training started from; None without validation pairs."""
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
    """Teach a model the training gold of a split and write the adapter.

    Called again with the same arguments it goes on where it was stopped, and returns what is there once it is done.
    Started by `accelerate launch` or `torchrun`, all processes call it alike.

    Args:
        dataset: the data set.
        model: `embedded`, `hf:ORG/NAME[@REVISION]`, `hf:FOLDER` or `gguf:FILE`.
        out: place of the adapter; beside it `OUT.unfinished` while it is trained.
        recipe: a recipe, or the name or file of one.
        control: `no-persona`, `country-only` or `shuffled-persona`: tune on the same gold with other personas.
        split, fold: which pairs train; a fold is needed where the split has several.
        device: `cpu`, `cuda` or `mps`; the best there is by default.
        max_steps: updates at most, in place of the recipe's. seed: in place of the recipe's `seed` and `data_seed`.
        merge: write base and adapter as one model too, into `OUT/merged`.

    Raises:
        MissingExtraError: a library is not installed.
        UsageError: a name that does not exist, a model that cannot be tuned here, or another adapter at the same place.
        InputDataError: a data set, model or recipe that cannot be used: nothing trains, no chat template, an answer that
            the tokenizer cannot write.
        RunFailedError: the loss is no number, memory does not suffice, or a checkpoint cannot be written.
    """
    _require()
    spec = parse_spec(model)
    if spec.adapter is not None:
        raise UsageError(
            f"{model}: an adapter is made for a model without one. Merge {spec.adapter} into its base first (merge=True, --merge) and tune "
            "the merged model: hf:FOLDER/merged."
        )
    chosen = _with(recipe if isinstance(recipe, Recipe) else load_recipe(recipe), max_steps, seed)
    place = Path(out)
    data = tuning_data(dataset, chosen, split=split, fold=fold, control=control)
    request = {
        "dataset": dataset.fingerprint,
        "model": model,
        "split": split,
        "fold": fold,
        "control": control,
        "recipe": chosen.document,
    }
    if finished(place, request):
        if is_main():
            # Left behind where a kill came between the adapter and its removal.
            shutil.rmtree(unfinished(place), ignore_errors=True)
    else:
        _train(dataset, model, place, chosen, data, request, device)
    merged = _merged(place, model, merge=merge)
    document = read_json(place / TRAINING)
    return TuneResult(place, merged, document, CURVE.frame(document["curve"]))


def _with(recipe: Recipe, max_steps: int | None, seed: int | None) -> Recipe:
    changes: dict[str, Any] = {} if max_steps is None else {"max_steps": max_steps}
    if seed is not None:
        changes |= {"seed": seed, "data_seed": seed}
    return Recipe.model_validate(recipe.document | changes)


@dataclass(frozen=True)
class _Ready:
    """All that a training needs, ready to begin.

    Attributes:
        loaded: the model as it was loaded, for its tokenizer and identity. base: the same, free to be trained.
        taught: examples as ids, in their order. encoder: what made them. longest: tokens of the longest one.
        updates: updates planned. per_epoch: updates an epoch.
    """

    loaded: Loaded
    base: Any
    taught: Taught
    encoder: Encoder
    longest: int
    updates: int
    per_epoch: float


def _ready(model: str, recipe: Recipe, data: TuningData, device: str | None) -> _Ready:
    loaded = load_model(model, device=device, dtype=None)
    encoder = Encoder(loaded.tokenizer, model, recipe.target if recipe.objective == "tokens" else "option")
    order = sequence(recipe, [getattr(example.prompt, "subgroup" if data.first == "persona" else "item") for example in data.train])
    examples = (*data.train, *data.validation)
    validation = range(len(data.train), len(examples))
    encoded = {number: encoder.encode(examples[number]) for number in (*dict.fromkeys(order.tolist()), *validation)}
    return _Ready(
        loaded=loaded,
        base=plain_model(loaded.model, model),
        taught=Taught(examples, encoded, order.tolist(), validation),
        encoder=encoder,
        longest=max(len(one.written(place)) for one in encoded.values() for place in range(len(one.options))),
        updates=updates_of(recipe, len(data.train)),
        per_epoch=len(data.train) / recipe.batch,
    )


def _train(dataset: Dataset, model: str, out: Path, recipe: Recipe, data: TuningData, request: dict[str, Any], device: str | None) -> None:
    """Train what a request asks for, from its last whole checkpoint, and write the adapter."""
    started = time.monotonic()
    ready = _ready(model, recipe, data, _place(device))
    folder = claim(out, request, ready.loaded.identity) if is_main() else unfinished(out)
    with _quiet():
        trainer, sight = _trained(ready, recipe, data, folder)
        weights = save_weights(trainer, folder)
        if is_main():
            curve = curve_of(trainer.state.log_history, ready.per_epoch)
            how = {"sight": sight, "processes": processes(), "seconds": round(time.monotonic() - started, 1)}
            record = training_record(dataset, data, request, ready.loaded.identity, how, trainer, ready.updates, curve)
            write_adapter(out, weights, _base_of(parse_spec(model), ready.loaded), recipe.to_yaml(), record, curve)
            shutil.rmtree(folder, ignore_errors=True)
        trainer.accelerator.wait_for_everyone()


def _trained(ready: _Ready, recipe: Recipe, data: TuningData, folder: Path) -> tuple[Any, Sight]:
    """Return a trainer that has trained, and how its batches were laid out."""
    validate = bool(data.validation)
    settings = arguments(
        recipe,
        folder,
        ready.updates,
        len(data.train),
        validate=validate,
        use_cpu=_on_processor(ready.base),
        bf16=ready.loaded.identity["dtype"] == "bfloat16",
    )
    if is_main():
        whole_checkpoint(folder, clear=True)
    settings.distributed_state.wait_for_everyone()
    checkpoint = whole_checkpoint(folder, clear=False)
    settings.eval_on_start = validate and checkpoint is None
    # One process uses one GPU, however many it sees; more of them take `accelerate launch`.
    settings._n_gpu = min(settings.n_gpu, 1)
    sight = best_sight(ready.base, ready.longest, processor=settings.device.type == "cpu")
    sizes = Counter(example.group for example in data.train)
    with progress("tuning", ready.updates) as advance, attending(ready.base, sight):
        trainer = make_trainer(
            ready.base,
            ready.loaded.tokenizer,
            settings,
            recipe,
            ready.taught,
            ready.encoder,
            sight=sight,
            group_sizes=[sizes[number] for number in range(len(data.groups))],
            advance=advance,
            on_log=lambda history: write_curve(folder / CURVE_FILE, curve_of(history, ready.per_epoch)),
        )
        if checkpoint is not None:
            at = read_json(checkpoint / WHOLE)
            trainer.lesson.group_weights = at["group_weights"]
            advance(int(at["step"]))
        _run(trainer, checkpoint, folder)
    return trainer, sight


def _run(trainer: Any, checkpoint: Path | None, folder: Path) -> None:
    try:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise RunFailedError(
            "Tuning: there is not enough memory for a pass. Raise the recipe's `accumulation` (fewer examples a pass) or set "
            f"`gradient_checkpointing: true`, in another folder (checkpoints so far: {folder})."
        ) from error


def is_main() -> bool:
    """Whether this process writes: the only one, or the first of several."""
    return os.environ.get("RANK", "0") == "0"


def _place(device: str | None) -> str | None:
    """Return where this process loads the model: its own GPU, or the processor where FSDP or DeepSpeed will share it out."""
    if _sharded():
        return "cpu"
    if processes() == 1 or (device is not None and device != "cuda"):
        return device
    import torch

    if device is None and not torch.cuda.is_available():
        return None
    return f"cuda:{local_rank()}"


def _on_processor(base: Any) -> bool:
    """Whether a model is trained on a processor; one that is to be shared out stands there at first all the same."""
    import torch

    return base.device.type == "cpu" and not (_sharded() and torch.cuda.is_available())


def _sharded() -> bool:
    return any(os.environ.get(f"ACCELERATE_USE_{kind}", "").lower() in {"1", "true"} for kind in ("FSDP", "DEEPSPEED"))


def _base_of(spec: Spec, loaded: Loaded) -> tuple[str, str | None]:
    """Return name and revision of the base as an adapter's loaders know it; of a file the name, which says what it is."""
    if spec.kind == "hf":
        return spec.place, spec.revision
    return str(loaded.identity["model"]), None


def _merged(place: Path, model: str, *, merge: bool) -> Path | None:
    found = place / MERGED
    if not merge:
        return found if found.is_dir() else None
    if not found.is_dir() and is_main():
        with _quiet():
            return write_merged(model, place)
    return found


def _require() -> None:
    for library in LIBRARIES:
        if importlib.util.find_spec(library) is None:
            raise MissingExtraError("Tuning", "train", library)


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Hold back the libraries' own bars and remarks; the caller's settings come back after."""
    import datasets
    from transformers.utils import logging

    level, bars, mapped = logging.get_verbosity(), logging.is_progress_bar_enabled(), datasets.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            # Of the libraries to one another, about names that will change.
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            # A GGUF file has no settings beside it, and no tokens are added here.
            warnings.filterwarnings("ignore", message="Could not find a config file")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
        if mapped:
            datasets.enable_progress_bars()
