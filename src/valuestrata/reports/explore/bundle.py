"""DataTables for a page, from the installed package itables: its module as a script, and its style sheet."""

from __future__ import annotations

import re
from importlib import metadata, util
from pathlib import Path

from valuestrata.errors import MissingExtraError, UsageError

# Name of the global object that holds what the module exports.
EXPORTS = "valuestrataTables"
_EXPORT = re.compile(r"\bexport\s*\{([^{}]*)\}\s*;?")
# Forms of a module that a script cannot have.
_MODULE_ONLY = re.compile(r"(?:^|[;}\n])\s*(?:import\s*[\w{*\"']|export\s+(?:default|const|let|var|function|class|\*))|\bimport\.meta\b")


def datatables() -> tuple[str, str]:
    """Return the script, which sets `window.valuestrataTables`, and the style sheet of DataTables.

    Raises:
        MissingExtraError: itables is not installed. UsageError: the installed version has another layout.
    """
    # The package itself is not imported: that takes most of a second, and only its files are used.
    found = util.find_spec("itables")
    if found is None or found.origin is None:
        raise MissingExtraError("The explorer of a report", "", "itables", install='pip install "itables>=2.9"')
    folder = Path(found.origin).parent / "html"
    module, style = folder / "dt_bundle.js", folder / "dt_bundle.css"
    if not module.is_file() or not style.is_file():
        raise _other_version(f"{folder.name}/{module.name} or {style.name} is missing")
    return as_script(module.read_text(encoding="utf-8"), EXPORTS), style.read_text(encoding="utf-8")


def as_script(module: str, name: str) -> str:
    """Return an ES module without imports as a script that puts its exports into the global object `name`.

    Args:
        module: source with one `export { local as exported, ... }`. name: of the global object.

    Raises:
        UsageError: the module imports something, or exports in another form.
    """
    exports = list(_EXPORT.finditer(module))
    if len(exports) != 1:
        raise _other_version(f"its module has {len(exports)} lists of exports where one is expected")
    (found,) = exports
    if _MODULE_ONLY.search(module[: found.start()] + ";" + module[found.end() :]):
        raise _other_version("its module imports others, or has exports outside its list")
    pairs = [re.split(r"\s+as\s+", entry.strip()) for entry in found[1].split(",") if entry.strip()]
    listed = ", ".join(f"{entry[-1]}: {entry[0]}" for entry in pairs)
    # A module is strict, and its names are its own.
    return f'(() => {{"use strict";\n{module[: found.start()]}globalThis.{name} = {{{listed}}};{module[found.end() :]}\n}})();\n'


def _other_version(reason: str) -> UsageError:
    version = metadata.version("itables")
    return UsageError(
        f"The explorer of a report cannot use itables {version}: {reason}. Install a version that is known to work, "
        'pip install "itables==2.9.1", or make the report without its explorer.'
    )
