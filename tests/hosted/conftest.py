"""Waits of these tests are short, and no key or address of the environment plays a part."""

import pytest

from valuestrata.respondents.hosted.limits import concurrency
from valuestrata.respondents.hosted.providers import PROVIDERS


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    monkeypatch.setattr(concurrency, "_SHORTEST", 0.01)
    for provider in PROVIDERS.values():
        for name in provider.keys:
            monkeypatch.delenv(name, raising=False)
    for name in ("OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
