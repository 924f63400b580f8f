"""Tiny models shared by the tests of a session."""

from __future__ import annotations

import pytest

from . import tiny


@pytest.fixture(scope="module")
def one_thread():
    """Compute on one thread: passes of tiny models would spend their time waking threads."""
    pytest.importorskip("torch", reason="needs the extra `local`")
    with tiny.one_thread():
        yield


@pytest.fixture(scope="session")
def tiny_llama():
    """A tiny Llama with random weights; no test changes it."""
    pytest.importorskip("torch", reason="needs the extra `local`")
    return tiny.tiny_model(tiny.tiny_tokenizer())
