"""vLLM's engine: from a model as the user writes it to an engine that answers requests, and everything that identifies it."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from valuestrata.errors import InputDataError, MissingExtraError, RunFailedError, UsageError, did_you_mean
from valuestrata.files import read_json
from valuestrata.respondents.hosted.keys import refuse_keys
from valuestrata.respondents.local.load import Spec, adapter_hash, hub_or_folder, parse_spec, taught_on
from valuestrata.respondents.local.tree import Ids

# Settings of the engine that decide what is asked of it and how its answers are read; they are not the user's to choose.
_OURS = ("model", "tokenizer", "revision", "tokenizer_revision", "runner", "enable_prefix_caching", "logprobs_mode", "enable_lora", "seed")
# Settings that change how fast it answers and not what; they are no part of a run's identity.
_SPEED = (
    "gpu_memory_utilization",
    "max_num_seqs",
    "max_num_batched_tokens",
    "cpu_offload_gb",
    "kv_cache_memory_bytes",
    "disable_log_stats",
)
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


@dataclass(frozen=True)
class Engine:
    """An engine, the types that its requests are made of, and what identifies it.

    Attributes:
        llm: `vllm.LLM`, or an object whose `generate` takes and returns the same.
        tokenizer: the model's own.
        sampling: `vllm.SamplingParams`. choice: `vllm.sampling_params.StructuredOutputsParams`.
        lora: the request that names the adapter, None without one.
        longest: tokens that a prompt and what is written may have together; None where nothing limits them.
        identity: provider, model, revision, adapter hash, number type, device, versions.
    """

    llm: Any
    tokenizer: Any
    sampling: Callable[..., Any]
    choice: Callable[..., Any]
    lora: Any
    longest: int | None
    identity: Mapping[str, Any]

    def run(self, requests: Sequence[Ids], how: Sequence[Any]) -> list[Any]:
        """Return vLLM's output to each request, in their order.

        Raises:
            RunFailedError: the engine broke off.
        """
        prompts = [{"prompt_token_ids": list(ids)} for ids in requests]
        try:
            found = list(self.llm.generate(prompts, list(how), use_tqdm=False, lora_request=self.lora))
        except (RuntimeError, ValueError, OSError) as error:
            raise RunFailedError(
                f"vLLM broke off ({_first_line(error)}). What was answered before is kept; run the same command again."
            ) from error
        if len(found) != len(prompts):
            raise RunFailedError(f"vLLM gave {len(found)} outputs to {len(prompts)} requests.")
        return found


def load_engine(name: str, *, seed: int, options: Mapping[str, Any]) -> Engine:
    """Start vLLM's engine in this process.

    Args:
        name: `vllm:ORG/NAME[@REVISION][+ADAPTER]` or `vllm:FOLDER[+ADAPTER]`.
        seed: the engine's seed.
        options: further settings of the engine, as `vllm.LLM` takes them.

    Raises:
        UsageError: not such a word, or a setting that is not the user's or does not exist.
        MissingExtraError: vLLM is not installed.
        InputDataError: the model or adapter is absent, broken, or made for another base model.
    """
    spec = parse_word(name)
    if ours := [key for key in options if key in _OURS]:
        raise UsageError(f"{name}: the engine's setting {ours[0]!r} is made by valuestrata and cannot be given.")
    refuse_keys(name, options)
    if importlib.util.find_spec("vllm") is None:
        raise MissingExtraError(name, "vllm", "vllm")
    source = hub_or_folder(name, spec)
    rank = None if spec.adapter is None else check_adapter(name, spec)
    # Before its first import: vLLM reports how it is used unless it is told not to, and says much on the way.
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    import vllm  # pyright: ignore[reportMissingImports]

    library: Any = vllm
    lora = {} if rank is None else {"enable_lora": True, "max_lora_rank": rank}
    try:
        llm = library.LLM(
            model=str(Path(spec.place).expanduser()) if Path(spec.place).expanduser().is_dir() else spec.place,
            revision=spec.revision,
            tokenizer_revision=spec.revision,
            enable_prefix_caching=True,
            logprobs_mode="raw_logprobs",
            seed=seed,
            **lora,
            **options,
        )
    except TypeError as error:
        raise UsageError(f"{name}: vLLM's engine does not take these settings ({_first_line(error)}).") from error
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise InputDataError(f"{name}: vLLM cannot load the model ({_first_line(error)}).") from error
    return _engine(library, llm, spec, source, options)


def _engine(library: Any, llm: Any, spec: Spec, source: Mapping[str, Any], options: Mapping[str, Any]) -> Engine:
    from vllm.lora.request import LoRARequest  # pyright: ignore[reportMissingImports]
    from vllm.platforms import current_platform  # pyright: ignore[reportMissingImports]
    from vllm.sampling_params import StructuredOutputsParams  # pyright: ignore[reportMissingImports]

    platform: Any = current_platform
    request: Any = LoRARequest
    config: Any = llm.llm_engine.model_config
    settings = {key: value for key, value in options.items() if key not in _SPEED}
    identity = {
        "provider": "vllm",
        "base_url": None,
        **source,
        "revision": source["revision"] if Path(spec.place).expanduser().is_dir() else _commit(config) or spec.revision,
        "adapter_hash": adapter_hash(spec.adapter),
        **taught_on(spec.adapter),
        "dtype": str(config.dtype).removeprefix("torch."),
        "device": str(platform.device_type),
        "versions": {name: version(name) for name in ("torch", "transformers")} | {"vllm": str(library.__version__)},
    }
    return Engine(
        llm=llm,
        tokenizer=llm.get_tokenizer(),
        sampling=library.SamplingParams,
        choice=StructuredOutputsParams,
        lora=None if spec.adapter is None else request(spec.adapter.name, 1, str(spec.adapter.resolve())),
        longest=int(config.max_model_len),
        identity=identity | ({"engine": settings} if settings else {}),
    )


def parse_word(name: str) -> Spec:
    """Take apart `vllm:ORG/NAME[@REV][+ADAPTER]`.

    Raises:
        UsageError: nothing behind the colon, or no adapter behind the plus.
    """
    place = name.removeprefix("vllm:")
    if place == name or not place or place.endswith("+"):
        raise UsageError(f"{name!r} is not a model for vLLM. Write vllm:ORG/NAME[@REVISION] or vllm:FOLDER, each with +ADAPTER (a folder).")
    return parse_spec(f"hf:{place}")._replace(kind="vllm")


def check_adapter(name: str, spec: Spec) -> int:
    """Refuse an adapter that is none, or was made for another base model; return the rank that the engine must make room for.

    Raises:
        InputDataError: names the adapter and what is wrong with it.
    """
    adapter = spec.adapter
    assert adapter is not None
    if not (adapter / "adapter_config.json").is_file():
        raise InputDataError(f"{adapter}: not an adapter (a folder with adapter_config.json).")
    config: Mapping[str, Any] = read_json(adapter / "adapter_config.json")
    if config.get("peft_type") != "LORA":
        raise InputDataError(f"{adapter}: an adapter of the kind {config.get('peft_type')!r}; vLLM takes LoRA adapters.")
    base = config.get("base_model_name_or_path")
    # A folder may have been moved since; two names on the hub that differ are two models.
    if base and base != spec.place and not any(Path(place).expanduser().is_dir() for place in (base, spec.place)):
        raise InputDataError(
            f"{adapter}: the adapter was made for {base}, not for {spec.place} ({name}).{did_you_mean(spec.place, [base])}"
        )
    rank = max(int(config.get("r", 0)), *(int(one) for one in config.get("rank_pattern", {}).values()), 1)
    room = next((most for most in _RANKS if most >= rank), None)
    if room is None:
        raise InputDataError(f"{adapter}: rank {rank}; vLLM takes LoRA adapters up to rank {_RANKS[-1]}.")
    return room


def _commit(config: Any) -> str | None:
    return getattr(getattr(config, "hf_config", None), "_commit_hash", None)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
