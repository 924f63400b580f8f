"""The section `calibrate`: methods that calibrate the answers of each model, and their controls."""

from __future__ import annotations

from pydantic import Field, field_validator

from valuestrata.calibration.controls import CALIBRATION_CONTROLS, CalibrationControl
from valuestrata.errors import did_you_mean
from valuestrata.yaml_files import StrictModel


class CalibrateSection(StrictModel):
    """How each model's answers are calibrated on the training pairs of the study's split, and the controls of it."""

    methods: list[str] = Field(
        default_factory=lambda: ["shares"], min_length=1, description="methods, as for `valuestrata calibrate --method`"
    )
    controls: list[CalibrationControl] = Field(
        default_factory=lambda: list(CALIBRATION_CONTROLS),
        description="the same methods with the model's answers shuffled among items (seed: `seeds.persona`), or replaced by equal shares",
    )

    @field_validator("methods")
    @classmethod
    def _methods_are_known(cls, value: list[str]) -> list[str]:
        from valuestrata.calibration.methods import METHODS, PROBE

        known = (*METHODS, PROBE)
        for method in value:
            if method not in known:
                raise ValueError(f"there is no calibration method {method!r}.{did_you_mean(method, known)}")
            if value.count(method) > 1:
                raise ValueError(f"the method {method!r} is listed twice")
        return value
