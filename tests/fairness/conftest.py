"""A layout with every gap that may occur, as the tests of scores make it."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.scores.conftest import World, build, random_rows, random_world, respond, run_of


def run_with_meta(name: str, rows: Any, **meta: Any) -> SimpleNamespace:
    """A run that says of itself what `meta` holds."""
    return SimpleNamespace(meta=meta, **vars(run_of(name, rows)))


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    return SimpleNamespace(
        World=World, build=build, random_rows=random_rows, random_world=random_world, respond=respond, run_of=run_with_meta
    )
