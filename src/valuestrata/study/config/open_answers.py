"""The section `open`: open questions, judges and readers."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from valuestrata.files import name_problem
from valuestrata.openended.pairwise.prompts import JudgeElicitation
from valuestrata.openended.stance.prompts import StanceElicitation
from valuestrata.study.config.sections import CalledSection, folder_name, strings_as
from valuestrata.yaml_files import StrictModel, refused


class JudgeSection(CalledSection):
    """A judge that compares open answers with those of the reference."""

    elicitation: JudgeElicitation = "reasoned"

    @property
    def folder_name(self) -> str:
        """Folder name of its verdicts."""
        return folder_name(self.model)

    @model_validator(mode="after")
    def _folder_has_a_name(self) -> Self:
        if problem := name_problem(self.folder_name):
            raise refused(f"{self.model!r} does not give the judge's folder a name: {problem}.", "model")
        return self


class ReaderSection(CalledSection):
    """A model that reads the stance of open answers; `elicitation` defaults to text for hosted models, else logprob."""

    elicitation: StanceElicitation | None = None


class OpenSection(StrictModel):
    """Open questions: models, items and pairs to ask, judges and readers."""

    models: list[str] = Field(default_factory=list[str])
    items: list[str] = Field(default_factory=list[str])
    topics: list[str] = Field(default_factory=list[str])
    most_divided: int | None = Field(default=10, ge=1)
    strata: list[str] = Field(default_factory=list[str])
    pairs_per_item: int | None = Field(default=6, ge=1)
    template: str = "default"
    samples: int = Field(default=1, ge=1)
    max_new_tokens: int | None = Field(default=None, ge=1)
    reference: str | None = None
    judges: list[JudgeSection] = Field(default_factory=list[JudgeSection])
    criteria: list[str] = Field(default_factory=list[str])
    criteria_file: str | None = None
    readers: list[ReaderSection] = Field(default_factory=list[ReaderSection])
    truncate: int | None = Field(default=None, ge=1)
    context: int | None = Field(default=None, ge=1)
    max_cost: float | None = Field(default=None, gt=0)
    example: tuple[str, str, str] | None = None

    @field_validator("judges", "readers", mode="before")
    @classmethod
    def _strings_are_models(cls, value: Any) -> Any:
        return strings_as(value, "model")

    @model_validator(mode="after")
    def _judges_need_a_reference(self) -> Self:
        if self.judges and self.reference is None:
            raise ValueError("`judges` need a reference: name one of the study's runs under `reference`")
        if self.reference is not None and not self.judges:
            raise ValueError("`reference` needs judges: name a model under `judges`, or remove `reference`")
        for key, names in (("judges", [one.folder_name for one in self.judges]), ("readers", [one.model for one in self.readers])):
            if repeated := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"`{key}` names {repeated[0]!r} more than once")
        return self
