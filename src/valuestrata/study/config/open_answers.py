"""The section `open`: open questions, judges and readers."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from valuestrata.files import name_problem
from valuestrata.openended.pairwise.prompts import JudgeElicitation
from valuestrata.openended.stance.prompts import StanceElicitation
from valuestrata.study.config.sections import CalledSection, FolderName, folder_name, strings_as
from valuestrata.yaml_files import StrictModel, refused


class JudgeSection(CalledSection):
    """A judge that compares open answers with those of the reference."""

    elicitation: JudgeElicitation = "reasoned"
    name: FolderName | None = Field(default=None, description="folder of its verdicts")

    @property
    def folder_name(self) -> str:
        """Folder name of its verdicts: `name`, else the specification as a folder name."""
        return self.name or folder_name(self.model)

    @model_validator(mode="after")
    def _folder_has_a_name(self) -> Self:
        if problem := name_problem(self.folder_name):
            raise refused(f"{self.model!r} does not give the judge's folder a name: {problem}. Add a `name`.", "model")
        return self


class ReaderSection(CalledSection):
    """A model that reads the stance of open answers; `elicitation` defaults to text for hosted models, else logprob."""

    elicitation: StanceElicitation | None = None


class OpenSection(StrictModel):
    """Open questions: models, items and pairs to ask, judges and readers."""

    models: list[str] = Field(
        default_factory=list[str], description="names of the models to ask; by default all except baselines and controls"
    )
    items: list[str] = Field(default_factory=list[str], description="only these items")
    topics: list[str] = Field(default_factory=list[str], description="only items of these topics")
    most_divided: int | None = Field(default=10, ge=1, description="number of items on which subgroups differ most; `null` for all")
    strata: list[str] = Field(default_factory=list[str], description="only subgroups of these strata")
    pairs_per_item: int | None = Field(
        default=6, ge=1, description="pairs sampled per item, spread over strata, with `seeds.split`; `null` for all"
    )
    template: str = Field(default="default", description="as in `ask`; the template must have the key `open`")
    samples: int = Field(default=1, ge=1, description="answers to each question")
    max_new_tokens: int | None = Field(default=None, ge=1, description="maximum tokens of an answer")
    reference: str | None = Field(default=None, description="run that judges compare the others with; required for judges")
    judges: list[JudgeSection] = Field(default_factory=list[JudgeSection], description="list of models that compare pairs, in both orders")
    criteria: list[str] = Field(
        default_factory=list[str], description="names of criteria: `value`, `persona`, `overall` and those of the file"
    )
    criteria_file: str | None = Field(default=None, description="YAML that adds or replaces criteria")
    readers: list[ReaderSection] = Field(
        default_factory=list[ReaderSection], description="list of models that read the stance of each answer"
    )
    truncate: int | None = Field(default=None, ge=1, description="shorten answers to about this many tokens before judging")
    context: int | None = Field(default=None, ge=1, description="context length of judges that do not state theirs")
    max_cost: float | None = Field(
        default=None,
        gt=0,
        description="stop before all paid judges and readers together cost more than this many US dollars, earlier calls included",
    )
    example: tuple[str, str, str] | None = Field(default=None, description="`[ITEM, SUBGROUP, SUBGROUP]` of the example in the report")

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
