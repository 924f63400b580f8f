"""The page of the Python interface: every public name, by group. mkdocstrings fills in signatures and docstrings."""

from __future__ import annotations

import inspect

import valuestrata

# Title of a group -> packages of its names. A package that is not listed is a group of its own, after these.
_GROUPS = {
    "Surveys and data sets": ("survey", "building", "dataset", "splits"),
    "Asking models": ("respondents", "responses"),
    "Scores and claims": ("assessment", "scores", "claims"),
    "Audits": ("fairness",),
    "Using a model's answers": ("calibration", "prediction", "estimation"),
    "Tuning": ("tuning",),
    "Open answers": ("openended",),
    "Reports": ("reports",),
    "Studies": ("study",),
    "Errors": ("errors",),
}

_INTRODUCTION = """# Python

All names on this page are attributes of the package: `import valuestrata as vs`, then `vs.score(...)`. Functions take and
return frozen dataclasses and [polars](https://pola.rs) tables. The
[glossary](../glossary.md) explains the terms.

"""


def python_page() -> str:
    """Return the Markdown of all public names: an overview by group, then an entry for each name."""
    groups = grouped()
    text = _INTRODUCTION
    for title, names in groups.items():
        links = ", ".join(f"[`{name}`](#{path_of(name)})" for name in names)
        text += f"**{title}**: {links}\n\n"
    for title, names in groups.items():
        text += f"## {title}\n\n" + "".join(_entry(name) for name in names)
    return text


def grouped() -> dict[str, list[str]]:
    """Return title of a group -> its public names in alphabetical order, functions before classes."""
    packages = {package: title for title, names in _GROUPS.items() for package in names}
    groups: dict[str, list[str]] = {title: [] for title in _GROUPS}
    for name in sorted(valuestrata.__all__, key=lambda name: (inspect.isclass(getattr(valuestrata, name)), name)):
        package = getattr(valuestrata, name).__module__.split(".")[1]
        groups.setdefault(packages.get(package, package.capitalize()), []).append(name)
    return {title: names for title, names in groups.items() if names}


def path_of(name: str) -> str:
    """Return the path of a public name."""
    return f"valuestrata.{name}"


def _entry(name: str) -> str:
    """Return the entry of a name; classes with their documented members."""
    found = getattr(valuestrata, name)
    members = inspect.isclass(found) and not issubclass(found, Exception)
    return f"::: {path_of(name)}\n" + ("    options:\n      members: null\n" if members else "") + "\n"
