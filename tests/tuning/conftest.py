"""One planted data set and one short template for all tests of tuning."""

from __future__ import annotations

import pytest

from tests.tuning.planted import planted, short_template


@pytest.fixture(scope="session")
def people():
    """The planted data set; it is never changed."""
    return planted()


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """Path of a template of few tokens."""
    return short_template(tmp_path_factory.mktemp("template"))


@pytest.fixture
def one_thread():
    """Passes of tiny models spend their time on waking threads."""
    torch = pytest.importorskip("torch", reason="needs the extra `local`")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
