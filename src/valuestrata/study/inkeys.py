"""What other rooms say of flags, said of a study's keys: `--base-url` is the key `base_url`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator

from valuestrata.errors import ValuestrataError
from valuestrata.study.config import AskSection, ModelSection, SplitSection

# Two flags of `ask` are one key of a model.
_OTHERWISE = {"price_in": "prices", "price_out": "prices"}
_FLAG = re.compile(r"--([a-z]+(?:-[a-z]+)*)(?: and --price-out)?(?![\w-])")


def in_keys(message: str) -> str:
    """Return a message with every flag that a study has a key for named as that key."""
    known = {*AskSection.model_fields, *ModelSection.model_fields, *SplitSection.model_fields}

    def key(flag: re.Match[str]) -> str:
        name = flag[1].replace("-", "_")
        name = _OTHERWISE.get(name, name)
        return f"`{name}`" if name in known else flag[0]

    return _FLAG.sub(key, message)


@contextlib.contextmanager
def said_in_keys() -> Generator[None]:
    """Let an error that names flags name keys instead; it stays the error it is."""
    try:
        yield
    except ValuestrataError as error:
        message = in_keys(str(error))
        if message != str(error):
            error.args = (message, *error.args[1:])
        raise
