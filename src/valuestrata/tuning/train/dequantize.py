"""A model as if it had never been read from a GGUF file: same weights, free to be trained and saved."""

from __future__ import annotations

import copy
from typing import Any

from valuestrata.errors import InputDataError


def plain_model(model: Any, name: str) -> Any:
    """Return a model with the weights of another one, without the mark of a GGUF file; any other model as it is.

    transformers turns such a file into ordinary weights and still takes the model for a quantised one, which it neither
    trains nor saves.

    Raises:
        InputDataError: the weights do not fit a fresh model of the same kind.
    """
    mark: Any = getattr(model.config, "quantization_config", None)
    method = mark.get("quant_method") if isinstance(mark, dict) else getattr(mark, "quant_method", None)
    if getattr(method, "value", method) != "gguf":
        return model
    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(model.config)
    del config.quantization_config
    fresh: Any = AutoModelForCausalLM.from_config(config, dtype=model.dtype, attn_implementation=model.config._attn_implementation)
    # Handed over, not copied: two models would not fit where one does.
    lost = fresh.load_state_dict(model.state_dict(), strict=False, assign=True)
    fresh.tie_weights()
    tied = set(getattr(fresh, "_tied_weights_keys", None) or ())
    if lost.unexpected_keys or set(lost.missing_keys) - tied:
        keys = sorted({*lost.unexpected_keys, *lost.missing_keys} - tied)
        raise InputDataError(f"{name}: its weights do not fit a {type(fresh).__name__} ({', '.join(keys[:3])}).")
    fresh.generation_config = copy.deepcopy(model.generation_config)
    return fresh.to(model.device).train(model.training)
