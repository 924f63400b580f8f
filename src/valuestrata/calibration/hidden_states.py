"""Hidden states of the prompts that a run answered, read once from its local model and kept in the run's folder.

`hidden_states/NNNN.parquet` has a row per pair: `pair_id`, `prompts` (hash of its prompts) and `layer_N`, the states of layer N in
float16, averaged over option orders and wordings. A pair takes 2 bytes x layers x size of a state: 4.6 kB for the embedded model (4
layers of 576), 33 kB for a model with states of 4,096. Each file is complete when it appears, so an interrupted reading continues.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.calibration.model_answers import Pair
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, UsageError
from valuestrata.files import canonical_hash, read_parquet, write_parquet
from valuestrata.progress import progress
from valuestrata.prompts import Prompt, load_template, render_prompts
from valuestrata.prompts.prompt import elicitation_of
from valuestrata.respondents.models import ModelSettings, personas_of_model
from valuestrata.responses.run.folder import Run
from valuestrata.responses.run.identity import RespondentIdentity, run_identity

if TYPE_CHECKING:
    from valuestrata.respondents.local.respondent import LocalRespondent

FOLDER = "hidden_states"
# Depths of the layers that are read, as shares of all layers. Which of them says most about the answers differs between models.
DEPTHS = (0.4, 0.6, 0.8, 1.0)
# Prompts read together, and then stored.
CHUNK = 512
_MODEL = "valuestrata_model"
_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class PairStates:
    """Hidden states of pairs at the answer position.

    Attributes:
        row: (item, subgroup) -> row of `states`. layers: numbers of the layers; the last layer of a model is normalised.
        states: shape (pairs, layers, size), float16.
    """

    row: Mapping[Pair, int]
    layers: tuple[int, ...]
    states: NDArray[np.float16]


def layers_of(number: int) -> tuple[int, ...]:
    """Return the layers that are read of a model with `number` layers."""
    return tuple(dict.fromkeys(max(1, round(depth * number)) for depth in DEPTHS))


def pair_states(dataset: Dataset, run: Run, *, device: str | None = None, template: str | Path | None = None) -> PairStates:
    """Return the hidden states of the pairs that a run answered, from its folder or from its model.

    The prompts are rendered again and must be those of the run, whose hashes its responses hold.

    Args:
        dataset: the data set of the run. run: a run of a local model, or of a control around one.
        device: `cpu`, `cuda` or `mps`; by default the first that is available.
        template: file of the run's template, if it is not a built-in one.

    Raises:
        UsageError: the run is not of a local model; an elicitation without an answer position; an unknown template or device.
        InputDataError: the prompts or the model are not those of the run, or a file of states is broken.
        MissingExtraError, RunFailedError: as for asking a local model.
    """
    identity = run_identity(run)
    _check_local(run, identity.model)
    valid = run.responses.filter(pl.col("option_probs").is_not_null() | pl.col("answer").is_not_null())
    asked = valid.group_by("pair_id", "item", "subgroup", maintain_order=True).agg(pl.col("prompt_hash").unique().sort())
    hashes: dict[str, tuple[str, ...]] = {pair: tuple(found) for pair, found in asked.select("pair_id", "prompt_hash").iter_rows()}
    wanted = {pair: canonical_hash(list(found)) for pair, found in hashes.items()}
    of_model = {key: getattr(identity.model, key) for key in ("model", "revision", "adapter_hash")}
    folder = run.path / FOLDER
    found = _stored(folder, of_model, wanted)
    missing = asked.filter(~pl.col("pair_id").is_in(found["pair_id"].to_list()))
    if len(missing):
        prompts = _prompts(dataset, run, valid, missing, template)
        _check_prompts(run, prompts, {pair: hashes[pair] for pair in missing["pair_id"]})
        _read(_loaded(run, identity.model, of_model, device), prompts, folder, of_model, wanted)
        found = _stored(folder, of_model, wanted)
    columns = [name for name in found.columns if name.startswith("layer_")]
    pairs = dict(zip(asked["pair_id"], asked.select("item", "subgroup").iter_rows(), strict=True))
    states = [found[name].to_numpy() for name in columns]
    return PairStates(
        {pairs[pair]: row for row, pair in enumerate(found["pair_id"])},
        tuple(int(name.removeprefix("layer_")) for name in columns),
        np.stack(states, axis=1) if states else np.zeros((0, 0, 0), dtype=np.float16),
    )


def _check_local(run: Run, model: RespondentIdentity) -> None:
    if model.provider != "transformers" or model.name is None:
        what = f"a model of the provider {model.provider!r}" if model.provider else "a model that it does not describe"
        raise UsageError(
            f"{run.path}: the run {run.name!r} was answered by {what}; hidden states are read from local models only (embedded, hf:, "
            "gguf:). Use another method, such as `shares` or `hybrid`."
        )


def _stored(folder: Path, of_model: Mapping[str, Any], wanted: Mapping[str, str]) -> pl.DataFrame:
    """Return the stored rows of this model whose prompts are those wanted: pair_id, then the layers."""
    frames: list[pl.DataFrame] = []
    for file in sorted(folder.glob("*.parquet")):
        frame = read_parquet(file)
        if json.loads(pl.read_parquet_metadata(file).get(_MODEL, "null")) == of_model:
            current = [wanted.get(pair) == prompts for pair, prompts in frame.select("pair_id", "prompts").iter_rows()]
            frames.append(frame.filter(pl.Series(current, dtype=pl.Boolean)).drop("prompts"))
    if not frames:
        return pl.DataFrame(schema={"pair_id": pl.String})
    return pl.concat(frames).unique("pair_id", keep="first", maintain_order=True)


def _prompts(dataset: Dataset, run: Run, valid: pl.DataFrame, pairs: pl.DataFrame, template: str | Path | None) -> list[Prompt]:
    """Return the distinct prompts of pairs that the run answered, in prefix order."""
    respondent = run_identity(run).respondent
    seed = respondent.document.get("seed")
    rendered = render_prompts(
        dataset,
        pairs.select("pair_id", "item", "subgroup"),
        template=load_template(template or str(run.meta.get("template"))),
        elicitation=elicitation_of(str(run.meta.get("elicitation"))),
        orders=valid["order"].unique(maintain_order=True).to_list(),
        paraphrases=sorted(valid["paraphrase"].unique().to_list()),
        personas=personas_of_model(str(respondent.name), dataset, ModelSettings(persona_seed=seed if isinstance(seed, int) else 0)),
    )
    answered = set(valid.select("pair_id", "prompt_hash").iter_rows())
    return [prompt for prompt in rendered if (prompt.pair_id, prompt.hash) in answered]


def _check_prompts(run: Run, prompts: Sequence[Prompt], hashes: Mapping[str, Sequence[str]]) -> None:
    there = {(prompt.pair_id, prompt.hash) for prompt in prompts}
    lost = next((pair for pair, found in hashes.items() for one in found if (pair, one) not in there), None)
    if lost is not None:
        raise InputDataError(
            f"{run.path}: the prompt of {lost!r} can no longer be rendered as the run {run.name!r} asked it (template "
            f"{run.meta.get('template')!r}, version {run.meta.get('template_version')!r}), so its hidden states cannot be read. If the "
            "template is a file of your own, name it with ",
            Option("template"),
            "; otherwise ask the run again.",
        )


def _loaded(run: Run, model: RespondentIdentity, of_model: Mapping[str, Any], device: str | None) -> LocalRespondent:
    """Load the model of a run and check that it is the same."""
    from valuestrata.respondents.local.respondent import load_local

    loaded = load_local(str(model.name), device=device)
    now = loaded.identity()
    for key, before in of_model.items():
        if now.get(key) != before:
            raise InputDataError(
                f"{run.path}: the model {model.name!r} now has {key} {now.get(key)!r}; the run {run.name!r} was answered with {before!r}. "
                "Restore that model, or ask the run again."
            )
    return loaded


def _read(model: LocalRespondent, prompts: Sequence[Prompt], folder: Path, of_model: Mapping[str, Any], wanted: Mapping[str, str]) -> None:
    """Read the hidden states of prompts and store those of each pair, averaged over its prompts."""
    layers = layers_of(model.layers)
    left: dict[str, set[str]] = {}
    for prompt in prompts:
        left.setdefault(prompt.pair_id, set()).add(prompt.hash)
    waiting: dict[str, list[NDArray[np.float32]]] = {}
    known: dict[str, NDArray[np.float32]] = {}
    numbers = [int(file.stem) for file in folder.glob("*.parquet") if file.stem.isdigit()]
    number = max(numbers, default=0)
    with progress(f"reading hidden states of {model.name}", len(prompts)) as advance:
        for start in range(0, len(prompts), CHUNK):
            chunk = prompts[start : start + CHUNK]
            # Controls without a persona ask every subgroup the same.
            new = list({prompt.hash: prompt for prompt in chunk if prompt.hash not in known}.values())
            known |= dict(zip((prompt.hash for prompt in new), model.hidden_states(new, layers), strict=True))
            for prompt in chunk:
                if prompt.hash in left[prompt.pair_id]:
                    left[prompt.pair_id].remove(prompt.hash)
                    waiting.setdefault(prompt.pair_id, []).append(known[prompt.hash])
            done = [pair for pair in waiting if not left[pair]]
            if done:
                number += 1
                means = np.array([np.mean(waiting.pop(pair), axis=0) for pair in done]).clip(-_LARGEST, _LARGEST).astype(np.float16)
                columns = {f"layer_{layer}": means[:, i] for i, layer in enumerate(layers)}
                frame = pl.DataFrame({"pair_id": done, "prompts": [wanted[pair] for pair in done], **columns})
                write_parquet(folder / f"{number:04}.parquet", frame, metadata={_MODEL: json.dumps(of_model)})
            # Later chunks repeat few prompts, and a large run would fill the memory.
            known = known if len(known) <= CHUNK else {}
            advance(len(chunk))
