"""What a user writes for a hosted model: providers, keys, addresses, prices, and what of it identifies an answer."""

import datetime
import json

import pytest

from tests.hosted.prompts import hosted, prompts
from tests.hosted.server import Server
from valuestrata.errors import MissingExtraError, UsageError
from valuestrata.respondents.hosted.codecs import codec as codec_module
from valuestrata.respondents.hosted.prices import Prices, known_prices
from valuestrata.respondents.hosted.providers import PROVIDERS
from valuestrata.respondents.hosted.respondent import make_hosted
from valuestrata.respondents.hosted.settings import HostedSettings

KEY = "sk-proj-Zq81xkLm20dkfjABc93"


def test_an_unknown_provider_is_refused_with_a_suggestion():
    with pytest.raises(UsageError, match=r"no provider 'opnai'. Did you mean 'openai'\?"):
        make_hosted("opnai/gpt-4.1")
    with pytest.raises(UsageError, match="names no model; write openai/MODEL"):
        make_hosted("openai/")


@pytest.mark.parametrize("name", [name for name, provider in PROVIDERS.items() if provider.needs_key])
def test_a_missing_key_is_named_before_anything_else(name):
    with pytest.raises(UsageError, match=PROVIDERS[name].keys[0]):
        make_hosted(f"{name}/planted")
    assert make_hosted(f"{name}/planted", calls=False).estimate(prompts(3)).calls == 3


@pytest.mark.parametrize("name", [name for name, provider in PROVIDERS.items() if provider.free])
def test_a_server_of_ones_own_needs_no_key_and_costs_nothing(name):
    respondent = make_hosted(f"{name}/org/planted")
    assert respondent.identity()["base_url"].startswith("http://localhost:")
    assert respondent.identity()["model"] == "org/planted"
    assert respondent.prices == Prices(0.0, 0.0)


def test_any_other_server_needs_an_address():
    with pytest.raises(UsageError, match="give the server's address with `base_url="):
        make_hosted("openai-compatible/planted")


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000/v1",
        "ftp://host/v1",
        "http://",
        "https://user:secret99@host/v1",
        "https://host/v1?key=secret99",
        "http://localhost:99999/v1",
        "http://localhost:port/v1",
        "http://[::1/v1",
        "http://user:secret99@[::1/v1",
    ],
)
def test_an_address_that_is_none_or_holds_a_key_is_refused_and_not_repeated(url):
    with pytest.raises(UsageError, match="base URL") as raised:
        make_hosted("openai-compatible/planted", HostedSettings(base_url=url))
    assert "secret99" not in str(raised.value)


def test_the_address_of_openais_library_counts_for_openai_alone(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere/v1/")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    assert make_hosted("openai/planted").identity()["base_url"] == "http://elsewhere/v1"
    assert make_hosted("groq/planted").identity()["base_url"] == "https://api.groq.com/openai/v1"
    assert make_hosted("openai/planted", HostedSettings(base_url="http://here/v1")).identity()["base_url"] == "http://here/v1"


def test_what_belongs_to_openai_is_sent_to_nobody_else(monkeypatch):
    for name, value in {
        "OPENAI_API_KEY": KEY,
        "OPENAI_ADMIN_KEY": "sk-admin-1234567890",
        "OPENAI_ORG_ID": "org-mine",
        "OPENAI_PROJECT_ID": "proj-mine",
        "OPENAI_CUSTOM_HEADERS": "X-Mine: secret99\nAuthorization: Bearer other",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("VLLM_API_KEY", "key-of-vllm")
    with Server() as server:
        list(hosted(server.url, "vllm-server/planted").answer(prompts(1)))
        sent = server.log[0].headers
    assert sent["authorization"] == "Bearer key-of-vllm"
    for mine in (KEY, "sk-admin", "org-mine", "proj-mine", "secret99", "Bearer other"):
        assert mine not in json.dumps(sent)


def test_the_identity_holds_what_makes_an_answer_and_nothing_of_how_fast(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def identity(**settings):
        return make_hosted("openai/gpt-4.1-mini", HostedSettings(**settings)).identity()

    plain = identity()
    assert plain["provider"] == "openai"
    assert plain["model"] == "gpt-4.1-mini"
    assert plain["base_url"] == "https://api.openai.com/v1"
    assert (plain["revision"], plain["adapter_hash"]) == (None, None)
    assert KEY not in json.dumps(plain)
    assert "versions" not in plain
    assert list(make_hosted("openai/gpt-4.1-mini").versions()) == ["openai"]
    for same in ({"concurrency": 3}, {"timeout": 9.0}, {"attempts": 2}, {"patience": 9.0}, {"prices": Prices(1, 2)}):
        assert identity(**same) == plain
    for other in (
        {"temperature": 1.0},
        {"seed": 3},
        {"max_new_tokens": 9},
        {"constrain": True},
        {"extra": {"top_p": 0.5}},
        {"base_url": "http://h/v1"},
    ):
        assert identity(**other) != plain


def test_the_alternatives_asked_for_are_part_of_the_identity_as_they_are_sent(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)

    def alternatives(word, **settings):
        return hosted("http://127.0.0.1:9/v1", word, **settings).identity()["decoding"]["top_logprobs"]

    assert alternatives("llamacpp/planted") == 40
    assert alternatives("llamacpp/planted", top_logprobs=7) == 7
    assert alternatives("anthropic/planted") is None


def test_a_provider_without_log_probabilities_is_refused_before_the_first_call(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with Server() as server:
        url = server.url
        with pytest.raises(
            UsageError,
            match=r"anthropic gives no log-probabilities.*Use `elicitation=` text, reasoned or stated-distribution",
        ):
            next(hosted(url, "anthropic/planted").answer(prompts(1, "first-token")))
        with pytest.raises(UsageError, match="anthropic gives no log-probabilities"):
            hosted(url, "anthropic/planted").check("logprob")
        with pytest.raises(UsageError, match=r"`elicitation=` first-token or text, or a server that can: vllm-server/MODEL"):
            next(hosted(url, "openai/planted").answer(prompts(1, "logprob")))
    assert server.log == []


def test_options_alone_are_refused_where_they_cannot_be_asked_for(monkeypatch):
    monkeypatch.setenv("DEEPSEEK_API_KEY", KEY)
    with pytest.raises(UsageError, match="leave out `constrain="):
        make_hosted("deepseek/planted", HostedSettings(constrain=True))


def test_a_missing_library_is_named_with_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setattr(codec_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"valuestrata\[api\]"):
        make_hosted("ollama/planted")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_new_tokens", 0),
        ("concurrency", 0),
        ("attempts", 0),
        ("timeout", 0.0),
        ("temperature", 3.0),
        ("temperature", -1.0),
        ("top_logprobs", 0),
    ],
)
def test_settings_that_make_no_sense_are_refused(name, value):
    with pytest.raises(UsageError, match=name):
        HostedSettings(**{name: value})


def test_known_prices_say_when_and_from_where_they_are(monkeypatch):
    mini = known_prices("openai", "gpt-4.1-mini")
    assert (mini.input, mini.cached, mini.output) == (0.4, 0.1, 1.6)
    assert known_prices("openai", "gpt-4.1-mini-2025-04-14") == mini
    assert known_prices("openai", "gpt-0") is None
    assert known_prices("nobody", "gpt-4.1-mini") is None
    assert mini.batch == 0.5
    assert datetime.date.fromisoformat(mini.as_of) > datetime.date(2026, 1, 1)
    assert "openai.com" in mini.source
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert make_hosted("openai/gpt-4.1-mini").prices == mini
    # The prices of a provider are not those of somebody else who serves a model of the same name.
    assert make_hosted("openai/gpt-4.1-mini", HostedSettings(base_url="http://elsewhere/v1")).prices is None
    # A batch file costs half of prices that a user gives, too.
    assert make_hosted("openai/gpt-4.1-mini", HostedSettings(prices=Prices(9, 9))).prices == Prices(9, 9, batch=0.5)


def test_every_listed_price_is_of_a_known_provider_and_writing_costs_no_less_than_reading():
    from valuestrata.respondents.hosted.prices import _listed

    listed = _listed()
    for provider, table in listed.items():
        assert provider in PROVIDERS
        for model in table["models"]:
            prices = known_prices(provider, model)
            assert 0 < prices.input <= prices.output
            assert prices.cached is None or 0 < prices.cached <= prices.input
            assert prices.as_of
            assert prices.source
