"""The section `open`: which questions are asked openly, and who judges what is written."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from valuestrata.openended.pairwise.prompts import JudgeElicitation
from valuestrata.openended.stance.prompts import StanceElicitation
from valuestrata.study.config.sections import CalledSection, each_as, folder_name
from valuestrata.yaml_files import StrictModel


class JudgeSection(CalledSection):
    """One model that compares open answers with those of the reference."""

    elicitation: JudgeElicitation = "reasoned"

    @property
    def folder_name(self) -> str:
        """Name of the folder of its verdicts."""
        return folder_name(self.model)


class ReaderSection(CalledSection):
    """One model that places open answers on the items' scales; without `elicitation` text if it is hosted, else logprob."""

    elicitation: StanceElicitation | None = None


class OpenSection(StrictModel):
    """Which of the study's models are asked which questions openly, and who judges and reads what they write."""

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
    example: tuple[str, str, str] | None = None

    @field_validator("judges", "readers", mode="before")
    @classmethod
    def _bare_words_are_models(cls, value: Any) -> Any:
        return each_as(value, "model")

    @model_validator(mode="after")
    def _who_judges_has_something_to_judge(self) -> Self:
        if self.judges and self.reference is None:
            raise ValueError("`judges` compare with a reference: name one of the study's runs under `reference`")
        if self.reference is not None and not self.judges:
            raise ValueError("`reference` is there for judges, and there are none: name a model under `judges`, or leave it out")
        for what, words in (("judges", [one.folder_name for one in self.judges]), ("readers", [one.model for one in self.readers])):
            if twice := sorted({word for word in words if words.count(word) > 1}):
                raise ValueError(f"`{what}` names {twice[0]!r} more than once")
        return self
