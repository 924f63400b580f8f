"""vLLM's engine: loading a model into it, running requests, and what identifies it."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from valuestrata.errors import InputDataError, MissingExtraError, RunFailedError, UsageError, did_you_mean
from valuestrata.respondents.hosted.keys import refuse_keys
from valuestrata.respondents.local.adapter import WEIGHTS, adapter_config, adapter_identity, adapter_training
from valuestrata.respondents.local.load import Spec, hub_or_folder, parse_spec
from valuestrata.respondents.local.loading.safe_files import check_weights, refuse_pickles
from valuestrata.respondents.local.memory import describe_error
from valuestrata.respondents.local.tree import Ids

# Engine settings that determine what is asked and how it is read; the user cannot set them.
_FIXED = (
    "model",
    "tokenizer",
    "revision",
    "tokenizer_revision",
    "runner",
    "enable_prefix_caching",
    "logprobs_mode",
    "enable_lora",
    "seed",
    "trust_remote_code",
)
# Engine settings that change only its speed; they are not part of a run's identity.
_SPEED = (
    "gpu_memory_utilization",
    "max_num_seqs",
    "max_num_batched_tokens",
    "cpu_offload_gb",
    "kv_cache_memory_bytes",
    "disable_log_stats",
)
# LoRA ranks that vLLM supports.
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


@dataclass(frozen=True)
class Engine:
    """An engine, the types of its requests, and what identifies it.

    Attributes:
        llm: `vllm.LLM`, or an object with the same `generate`.
        tokenizer: of the model.
        sampling: `vllm.SamplingParams`. choice: `vllm.sampling_params.StructuredOutputsParams`.
        lora: the request that names the adapter, None without one.
        longest: maximum number of tokens of a prompt and its completion; None if unlimited.
        identity: provider, model, revision, adapter hash, number type, device, versions.
        training: the data set that the adapter was trained on, if it says so.
    """

    llm: Any
    tokenizer: Any
    sampling: Callable[..., Any]
    choice: Callable[..., Any]
    lora: Any
    longest: int | None
    identity: Mapping[str, Any]
    training: Mapping[str, str] | None = None

    def run(self, requests: Sequence[Ids], sampling: Sequence[Any]) -> list[Any]:
        """Return vLLM's output for each request, in their order.

        Raises:
            RunFailedError: the engine failed.
        """
        prompts = [{"prompt_token_ids": list(ids)} for ids in requests]
        try:
            found = list(self.llm.generate(prompts, list(sampling), use_tqdm=False, lora_request=self.lora))
        except (RuntimeError, ValueError, OSError) as error:
            raise RunFailedError(f"vLLM failed ({describe_error(error)}). Earlier answers are kept; run the same command again.") from error
        if len(found) != len(prompts):
            raise RunFailedError(f"vLLM returned {len(found)} outputs for {len(prompts)} requests.")
        return found


def load_engine(name: str, *, seed: int, options: Mapping[str, Any]) -> Engine:
    """Start vLLM's engine in this process.

    Args:
        name: `vllm:ORG/NAME[@REVISION][+ADAPTER]` or `vllm:FOLDER[+ADAPTER]`.
        seed: the engine's seed.
        options: further settings of the engine, as for `vllm.LLM`.

    Raises:
        UsageError: the specification or a setting is invalid.
        MissingExtraError: vLLM is not installed.
        InputDataError: the model or adapter is missing or broken, or the adapter was made for another base model.
    """
    spec = parse_vllm_spec(name)
    if fixed := [key for key in options if key in _FIXED]:
        raise UsageError(f"{name}: valuestrata sets the engine's {fixed[0]!r} itself; remove this setting.")
    refuse_keys(name, options)
    if importlib.util.find_spec("vllm") is None:
        raise MissingExtraError(name, "vllm", "vllm")
    source = hub_or_folder(name, spec)
    if spec.is_folder:
        check_weights(Path(spec.place).expanduser())
    lora = {} if spec.adapter is None else {"enable_lora": True, "max_lora_rank": check_adapter(name, spec)}
    # Read by vLLM when it is imported: send no usage statistics, log errors only.
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    import vllm  # pyright: ignore[reportMissingImports]

    library: Any = vllm
    try:
        llm = library.LLM(
            model=str(Path(spec.place).expanduser()) if spec.is_folder else spec.place,
            revision=spec.revision,
            tokenizer_revision=spec.revision,
            trust_remote_code=False,
            enable_prefix_caching=True,
            logprobs_mode="raw_logprobs",
            seed=seed,
            **lora,
            **{"load_format": "safetensors", **options},
        )
    except TypeError as error:
        raise UsageError(f"{name}: vLLM's engine does not accept these settings ({describe_error(error)}).") from error
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise InputDataError(f"{name}: vLLM cannot load the model ({describe_error(error)}).") from error
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
        "revision": source["revision"] if spec.is_folder else _commit_hash(config) or spec.revision,
        **adapter_identity(spec.adapter, spec.model_folder),
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
        training=adapter_training(spec.adapter, spec.model_folder),
    )


def parse_vllm_spec(name: str) -> Spec:
    """Split `vllm:ORG/NAME[@REV][+ADAPTER]` into its parts.

    Raises:
        UsageError: nothing after the colon, or no adapter after the plus sign.
    """
    place = name.removeprefix("vllm:")
    if place == name or not place or place.endswith("+"):
        raise UsageError(f"{name!r} is not a model for vLLM. Write vllm:ORG/NAME[@REVISION] or vllm:FOLDER, each with +ADAPTER (a folder).")
    return replace(parse_spec(f"hf:{place}"), kind="vllm")


def check_adapter(name: str, spec: Spec) -> int:
    """Check that an adapter fits a model, and return the rank that the engine must support.

    Raises:
        InputDataError: not a LoRA adapter, made for another base model, or of too large a rank.
    """
    adapter = spec.adapter
    assert adapter is not None
    config = adapter_config(adapter)
    if config.get("peft_type") != "LORA":
        raise InputDataError(f"{adapter}: the adapter is of type {config.get('peft_type')!r}; vLLM takes LoRA adapters.")
    base = config.get("base_model_name_or_path")
    # A folder may have been moved, but two names on the hub that differ are two models.
    if base and base != spec.place and not Path(base).expanduser().is_dir() and not spec.is_folder:
        raise InputDataError(
            f"{adapter}: the adapter was made for {base}, not for {spec.place} ({name}).{did_you_mean(spec.place, [base])}"
        )
    if not (adapter / WEIGHTS).is_file():
        refuse_pickles(adapter)
    rank = max(int(config.get("r", 0)), *(int(one) for one in (config.get("rank_pattern") or {}).values()), 1)
    supported = next((most for most in _RANKS if most >= rank), None)
    if supported is None:
        raise InputDataError(f"{adapter}: rank {rank}; vLLM takes LoRA adapters up to rank {_RANKS[-1]}.")
    return supported


def _commit_hash(config: Any) -> str | None:
    return getattr(getattr(config, "hf_config", None), "_commit_hash", None)
