"""The paths inside a model specification: of a model folder, a GGUF file and an adapter."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

# A place that begins with one of these cannot be a name on the hub.
_OF_PATHS = (".", "/", "~")
# What stands between the parts of a model's name, as in `control:no-persona@hf:ORG/NAME+ADAPTER`.
_BETWEEN = re.compile(r"([:@+=])")
_DRIVE = re.compile(r"\b[A-Za-z]:(?=\\)")


def with_model_paths(spec: str, change: Callable[[str], str], exists: Callable[[str], bool]) -> str:
    """Return a specification with its paths changed; names of hosted models, baselines and models on the hub are kept.

    `hf:NAME` and `vllm:NAME` name a folder if it exists, or if NAME begins with a dot, a slash or a tilde; otherwise a model on the hub.

    Args:
        spec: as for `make_respondent`. change: returns the changed path.
        exists: whether a file or folder exists, by the path as it is in the specification.
    """
    if spec.startswith("control:") and "@" in spec:
        head, _, model = spec.partition("@")
        return f"{head}@{with_model_paths(model, change, exists)}"
    if spec.startswith("embedded+"):
        return f"embedded+{change(spec.removeprefix('embedded+'))}"
    kind, colon, rest = spec.partition(":")
    if kind not in ("hf", "gguf", "vllm") or not colon or not rest:
        return spec
    place, plus, adapter = split_adapter(rest, exists)
    if kind == "gguf":
        place = change(place)
    elif is_path(place) or exists(place):
        made = change(place)
        # What is a path by its form stays one, so that a missing folder is not looked for on the hub.
        place = made if is_path(made) or not is_path(place) else f"./{made}"
    return f"{kind}:{place}{plus}{change(adapter) if adapter else ''}"


def split_adapter(place: str, exists: Callable[[str], bool]) -> tuple[str, str, str]:
    """Split `PLACE+ADAPTER` into place, plus sign and adapter; an existing path may itself contain a plus sign."""
    if exists(place):
        return place, "", ""
    at = place.rfind("+")
    while at > 0:
        if exists(place[:at]):
            return place[:at], "+", place[at + 1 :]
        at = place.rfind("+", 0, at)
    return place.partition("+")


def hub_name(spec: str, exists: Callable[[str], bool]) -> str | None:
    """Return the name on the hub in a specification, without revision; None if it names a folder, a file or another kind of model."""
    model = spec.partition("@")[2] if spec.startswith("control:") else spec
    kind, _, rest = model.partition(":")
    place = split_adapter(rest, exists)[0]
    return None if kind not in ("hf", "vllm") or is_path(place) or exists(place) else place.partition("@")[0]


def is_path(place: str) -> bool:
    """Whether the place of an `hf:` model is a path by its form alone; names on the hub are `NAME` or `ORG/NAME`."""
    return place.startswith(_OF_PATHS) or place.count("/") > 1


def same_but_for_folders(one: str, other: str) -> bool:
    """Whether two specifications are equal apart from the folders that hold their files; other keys of a run identify the content."""
    return one == other or _file_names_only(one) == _file_names_only(other)


def _file_names_only(spec: str) -> str:
    def last(path: str) -> str:
        return Path(path).name

    # Without looking at the disk: a relative path of one or two parts looks like a name on the hub, and keeps all its parts.
    return with_model_paths(spec, last, lambda _path: False).replace(":./", ":")


def without_folders(text: str) -> str:
    """Return a model's name without the folders of paths in it: `hf:/home/me/models/mine` becomes `hf:mine`."""
    first, *others = _BETWEEN.split(_DRIVE.sub("", text))
    parts = [first]
    for sign, part in zip(others[::2], others[1::2], strict=True):
        # The name of a folder may hold a sign, as in /data/me@work/mine. Only an adapter, after a plus sign, follows a path.
        goes_on = sign != "+" and parts[-1].startswith(("/", "~", "\\")) and re.search(r"[/\\]", part[1:]) is not None
        parts = [*parts[:-1], f"{parts[-1]}{sign}{part}"] if goes_on else [*parts, sign, part]
    return "".join(_last(part) for part in parts)


def _last(part: str) -> str:
    """Return the last name of a path; a name on the Hub (one slash) is kept."""
    is_path = "\\" in part or part.startswith(("/", "~", ".")) or part.count("/") > 1
    return re.split(r"[/\\]", part.rstrip("/\\"))[-1] if is_path else part
