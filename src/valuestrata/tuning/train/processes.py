"""Which process this is, and which device it trains on, from the environment of `accelerate launch` or `torchrun`."""

from __future__ import annotations

import os
from typing import Any


def processes() -> int:
    """Return how many processes train together."""
    return max(1, int(os.environ.get("WORLD_SIZE", "1")))


def is_main() -> bool:
    """Whether this process writes files and prints: the only process, or the first of several."""
    return os.environ.get("RANK", "0") == "0"


def load_device(device: str | None) -> str | None:
    """Return the device to load the model on: this process's own GPU, or the CPU where FSDP or DeepSpeed will shard it."""
    if _is_sharded():
        return "cpu"
    if processes() == 1 or (device is not None and device != "cuda"):
        return device
    import torch

    if device is None and not torch.cuda.is_available():
        return None
    return f"cuda:{int(os.environ.get('LOCAL_RANK', '0'))}"


def trains_on_cpu(model: Any) -> bool:
    """Whether a loaded model will be trained on the CPU. A model to be sharded is loaded there and moved later."""
    import torch

    return model.device.type == "cpu" and not (_is_sharded() and torch.cuda.is_available())


def _is_sharded() -> bool:
    return any(os.environ.get(f"ACCELERATE_USE_{kind}", "").lower() in {"1", "true"} for kind in ("FSDP", "DEEPSPEED"))
