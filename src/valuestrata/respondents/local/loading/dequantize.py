"""Convert a model read from a GGUF file into a plain one, which can be trained and saved."""

from __future__ import annotations

import copy
from typing import Any

from valuestrata.errors import InputDataError


def plain_model(model: Any, name: str) -> Any:
    """Return a model with the same weights that is not marked as quantised; a model that is not from GGUF is returned as is.

    transformers reads a GGUF file into ordinary weights but still marks the model as quantised, and then neither trains
    nor saves it.

    Raises:
        InputDataError: the weights do not fit a new model of the same class.
    """
    mark: Any = getattr(model.config, "quantization_config", None)
    method = mark.get("quant_method") if isinstance(mark, dict) else getattr(mark, "quant_method", None)
    if getattr(method, "value", method) != "gguf":
        return model
    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(model.config)
    del config.quantization_config
    plain: Any = AutoModelForCausalLM.from_config(config, dtype=model.dtype, trust_remote_code=False)
    # Assigned, not copied: memory may not suffice for two models.
    lost = plain.load_state_dict(model.state_dict(), strict=False, assign=True)
    plain.tie_weights()
    # A missing weight is no loss if it is tied to one that was loaded.
    loaded = {id(weight) for key, weight in plain.named_parameters(remove_duplicate=False) if key not in lost.missing_keys}
    missing = [key for key in lost.missing_keys if id(plain.get_parameter(key)) not in loaded]
    if lost.unexpected_keys or missing:
        keys = sorted({*lost.unexpected_keys, *missing})
        raise InputDataError(f"{name}: its weights do not fit a {type(plain).__name__} ({', '.join(keys[:3])}).")
    plain.generation_config = copy.deepcopy(model.generation_config)
    return plain.to(model.device).train(model.training)
