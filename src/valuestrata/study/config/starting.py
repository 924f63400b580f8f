"""The text of a new study file: every key with its default, and its description as a comment."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from valuestrata.errors import UsageError
from valuestrata.files import check_file, name_problem, write_text
from valuestrata.respondents.models import check_model_spec
from valuestrata.study.config.open_answers import OpenSection
from valuestrata.study.config.paths import file_seen_from, model_seen_from
from valuestrata.study.config.sections import ModelSection
from valuestrata.study.config.study import Study
from valuestrata.study.config.tune import TuneSection
from valuestrata.yaml_files import StrictModel

# Width of the file, and the columns in which comments may begin.
_WIDTH = 120
_FIRST_COLUMN, _LAST_COLUMN = 24, 44
_OF_ASK = "as in `ask`, for this model only"
# A recipe that suits a first trial: it is trained on the distribution of answers.
_RECIPES = ["distribution"]


def starting_study(
    name: str, *, survey: str = "embedded", models: Sequence[str] = (), open_questions: bool = False, tune: bool = False
) -> str:
    """Return the text of a new study file, which `valuestrata run` accepts as it is.

    Keys with a default are written out; those without one are comments. Comments are the descriptions of the keys.

    Args:
        name: of the study. survey: the survey file.
        models: specifications; by default the embedded model where a language model is needed, else a baseline.
        open_questions, tune: whether to add these sections. Otherwise they are named in a comment.
    """
    chosen = list(models) or ["embedded" if open_questions or tune else "baseline:item-mode"]
    own: Mapping[str, str] = {
        "name": _lines(_pair("name", name), _described(Study, "name")),
        "survey": _section("survey", {"file": survey}),
        "models": _models(chosen),
        "tune": _section("tune", {"recipes": _RECIPES}) if tune else _off("tune", {"recipes": _RECIPES}),
        "open": _section("open", {}) if open_questions else _off("open", value=True),
    }
    parts = [
        f"# A valuestrata study. Run it with: valuestrata run FILE\n{_wrapped(_HEAD)}",
        *(own.get(key) or _of(key, field) for key, field in Study.model_fields.items()),
    ]
    return "\n".join(parts) + "\n"


def write_starting_study(
    file: Path, *, survey: str = "embedded", models: Sequence[str] = (), open_questions: bool = False, tune: bool = False
) -> None:
    """Write a new study file; paths are relative to the working directory, and are written relative to the file.

    Raises:
        UsageError: the file exists, its name cannot name a study, or a model is not known.
        InputDataError: the survey file does not exist.
    """
    if file.exists() or file.is_symlink():
        raise UsageError(f"{file} exists, and is not overwritten. Name another file.")
    if problem := name_problem(file.stem):
        raise UsageError(f"{file}: the study would be called {file.stem!r}: {problem}. Choose another name for the file.")
    for model in models:
        check_model_spec(model)
    if survey != "embedded":
        check_file(Path(survey))
        survey = file_seen_from(survey, file.parent)
    seen = [model_seen_from(model, file.parent) for model in models]
    write_text(file, starting_study(file.stem, survey=survey, models=seen, open_questions=open_questions, tune=tune))


_HEAD = (
    "A line that begins with # has no effect. To set its key, remove the # and give it a value. Paths are relative to the folder of this "
    "file. docs/study.md explains all keys."
)
_SECTIONS: Mapping[str, type[StrictModel]] = {"tune": TuneSection, "open": OpenSection}


def _of(key: str, field: FieldInfo) -> str:
    """Return a key of the study: a section with its keys, or a key that is off."""
    if isinstance(field.get_default(call_default_factory=True), StrictModel):
        return _section(key, {})
    return _off(key, value=True) if field.annotation is not str and key != "output" else _lines(f"# {key}:", _described(Study, key))


def _section(key: str, values: Mapping[str, Any]) -> str:
    """Return a section with every key; those without a default are comments unless `values` has them."""
    section = _SECTIONS.get(key) or cast("type[StrictModel]", Study.model_fields[key].annotation)
    entries = [
        (f"  {_entry(name, _default(field) if name not in values else values[name])}", field.description or "")
        for name, field in section.model_fields.items()
    ]
    return f"\n# {_sentence(_described(Study, key))}\n{key}:\n{_aligned(entries)}"


def _models(specifications: Sequence[str]) -> str:
    """Return the models; the first with all keys of a model as comments."""
    first, *others = specifications
    entries = [(f"  - {_pair('model', first)}", _described(ModelSection, "model"))]
    entries += [
        (f"    # {_pair(name, _default(field))}", field.description or _OF_ASK)
        for name, field in ModelSection.model_fields.items()
        if name != "model"
    ]
    entries += [(f"  - {_pair('model', other)}", "") for other in others]
    if not any(one.startswith(("baseline:", "control:")) for one in specifications):
        entries.append((f"  # - {_pair('model', f'control:shuffled-persona@{first}')}", "a control: the same model with other personas"))
    return f"\n# {_sentence(_described(Study, 'models'))}\nmodels:\n{_aligned(entries)}"


def _off(key: str, values: Mapping[str, Any] | None = None, *, value: Any = None) -> str:
    """Return a section that the study does not have, as a comment."""
    return f"\n# {_sentence(_described(Study, key))}\n# {_pair(key, value if values is None else dict(values))}"


def _entry(name: str, value: Any) -> str:
    return _pair(name, value) if value not in (None, [], {}) else f"# {_pair(name, None)}"


def _pair(name: str, value: Any) -> str:
    """Return `name: value` as YAML on one line."""
    if value is None:
        return f"{name}:"
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf"))
    return f"{name}: {text.removesuffix('...' + chr(10)).strip()}"


def _default(field: FieldInfo) -> Any:
    """Return the default as YAML would have it; None if there is none."""
    value = field.get_default(call_default_factory=True)
    if isinstance(value, StrictModel):
        return {key: one for key, one in value.model_dump().items() if one not in (None, [], {})}
    return None if value is PydanticUndefined else value


def _described(section: type[StrictModel], key: str) -> str:
    return section.model_fields[key].description or ""


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent="# ", subsequent_indent="# ") + "\n"


def _lines(entry: str, description: str) -> str:
    return "\n".join(_commented(entry, description, _FIRST_COLUMN))


def _aligned(entries: Sequence[tuple[str, str]]) -> str:
    """Return lines of YAML with their comments in one column."""
    column = min(max([_FIRST_COLUMN, *(len(entry) + 2 for entry, _ in entries)]), _LAST_COLUMN)
    return "\n".join(line for entry, description in entries for line in _commented(entry, description, column))


def _commented(entry: str, description: str, column: int) -> Iterator[str]:
    """Yield a line of YAML with its comment, whose further lines are in the same column."""
    if not description:
        yield entry
        return
    lines = textwrap.wrap(description, max(_WIDTH - column - 2, 30), break_on_hyphens=False)
    if len(entry) + 2 > column:
        yield " " * (len(entry) - len(entry.lstrip())) + f"# {description}"
        yield entry
        return
    yield f"{entry.ljust(column)}# {lines[0]}"
    for line in lines[1:]:
        yield f"{' ' * column}# {line}"
