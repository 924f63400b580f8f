"""Files that several tests of estimates read."""

import pytest

from tests.estimation.surveyed import Surveyed, surveyed


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Surveyed:
    """A small survey with sampling units and weights, and its data set."""
    return surveyed(tmp_path_factory.mktemp("surveyed"))
