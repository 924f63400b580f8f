"""Disparities published for the Singapore survey: arXiv 2604.12851.

Normalised range and CV of accuracy and NMAE over the unseen subgroups, before and after fine-tuning, from secondary notes of the paper.
Which subgroups entered is unknown; no intervals were published.
"""

from __future__ import annotations

from collections.abc import Mapping

from valuestrata.errors import UsageError, did_you_mean

CONDITIONS = ("base", "tuned")
# model -> (metric, measure) -> before and after.
DISPARITIES: Mapping[str, Mapping[tuple[str, str], tuple[float, float]]] = {
    "Llama-3.1-8B": {
        ("accuracy", "norm_range"): (0.174, 0.188),
        ("accuracy", "cv"): (0.056, 0.054),
        ("nmae", "norm_range"): (0.250, 0.426),
        ("nmae", "cv"): (0.085, 0.133),
    },
    "Qwen2.5-7B": {
        ("accuracy", "norm_range"): (0.256, 0.169),
        ("accuracy", "cv"): (0.089, 0.055),
        ("nmae", "norm_range"): (0.318, 0.352),
        ("nmae", "cv"): (0.108, 0.135),
    },
    "Sailor2-8B": {
        ("accuracy", "norm_range"): (0.305, 0.145),
        ("accuracy", "cv"): (0.101, 0.044),
        ("nmae", "norm_range"): (0.228, 0.343),
        ("nmae", "cv"): (0.068, 0.129),
    },
    "SeaLLMs-v3-7B": {
        ("accuracy", "norm_range"): (0.276, 0.124),
        ("accuracy", "cv"): (0.094, 0.037),
        ("nmae", "norm_range"): (0.294, 0.318),
        ("nmae", "cv"): (0.108, 0.111),
    },
    "Mean of the seven": {
        ("accuracy", "norm_range"): (0.240, 0.179),
        ("accuracy", "cv"): (0.078, 0.054),
        ("nmae", "norm_range"): (0.280, 0.336),
        ("nmae", "cv"): (0.094, 0.116),
    },
}


def published_disparity(model: str) -> dict[tuple[str, str], float]:
    """Return (metric, measure) -> figure of `MODEL base` or `MODEL tuned`; UsageError for another name."""
    known = [f"{name} {condition}" for name in DISPARITIES for condition in CONDITIONS]
    if model not in known:
        raise UsageError(f"No disparities are published for {model!r}; known: {', '.join(known)}.{did_you_mean(model, known)}")
    name, condition = model.rsplit(" ", 1)
    return {key: values[CONDITIONS.index(condition)] for key, values in DISPARITIES[name].items()}
