"""Replies of any size: what is too large is broken off, after decompression too, and fails its prompt only."""

from __future__ import annotations

import gzip
import json
import resource
import zlib

import pytest

from tests.hosted.prompts import hosted, prompt
from tests.hosted.server import Act, Server, answers, said
from tests.hosted.vendor_server import Said, VendorServer
from valuestrata.errors import RunFailedError
from valuestrata.respondents.hosted import reply_size
from valuestrata.respondents.hosted.batch.service import AnthropicBatchService, GoogleBatchService, OpenAIBatchService, with_retries
from valuestrata.respondents.hosted.prices import Prices
from valuestrata.tuning.export.jobs_service import Together

KEY = "abcdSECRET1"
MODELS = {"openai-compatible/m": "OPENAI_COMPATIBLE_API_KEY", "anthropic/m": "ANTHROPIC_API_KEY", "google/m": "GEMINI_API_KEY"}


def zipped(megabytes: int) -> bytes:
    """Return a gzip of that many megabytes of blanks, made in pieces."""
    packer = zlib.compressobj(1, wbits=31)
    return b"".join([*(packer.compress(b" " * 2**20) for _ in range(megabytes)), packer.flush()])


@pytest.mark.parametrize(
    ("model", "status", "megabytes"),
    [pytest.param("openai-compatible/m", 200, 400, marks=pytest.mark.slow), *((model, 400, 20) for model in MODELS)],
)
def test_a_large_gzip_fails_its_prompt_within_little_memory(model, status, megabytes, monkeypatch):
    monkeypatch.setenv(MODELS[model], KEY)
    act = Act(status=status, raw=zipped(megabytes), headers={"Content-Encoding": "gzip"})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Server(lambda request: act) as server:
        [answer] = hosted(server.url, model, attempts=5).answer([prompt()])
        assert len(server.log) == 1  # permanent: not asked again
    assert answer.error == "reply too large: the reply is larger than 16 MiB, so it was not read to its end"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize("model", MODELS)
def test_other_prompts_continue_and_the_failure_counts_as_charged(model, monkeypatch):
    monkeypatch.setenv(MODELS[model], KEY)
    monkeypatch.setattr(reply_size, "MOST_OF_REPLY", 10_000)
    if model.startswith("openai"):
        with Server(lambda request: answers(request) if request.number else Act(raw=b" " * 20_000)) as server:
            came = list(hosted(server.url, model, prices=Prices(1.0, 1.0)).answer([prompt(n) for n in range(4)]))
        assert sorted(answer.error is None for answer in came) == [False, True, True, True]
        assert next(answer for answer in came if answer.error).cost > 0
    else:
        with Server(lambda request: Act(raw=b" " * 20_000)) as server:
            [answer] = hosted(server.url, model).answer([prompt()])
        assert answer.error.startswith("reply too large: ")


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "deflate", "raw deflate", "identity", ""])
def test_replies_in_all_encodings_that_were_asked_for_are_read(encoding):
    plain = json.dumps(said("Answer: 2")).encode()
    raw = {"deflate": zlib.compress(plain), "raw deflate": zlib.compress(plain, wbits=-15), "identity": plain, "": plain}
    headers = {"Content-Encoding": encoding.removeprefix("raw ")} if encoding else {}
    with Server(lambda request: Act(raw=raw.get(encoding, gzip.compress(plain)), headers=headers)) as server:
        [answer] = hosted(server.url).answer([prompt()])
        assert server.log[0].headers["accept-encoding"] == "gzip, deflate"
    assert answer.text == "Answer: 2"


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress"])
@pytest.mark.parametrize("model", MODELS)
def test_an_encoding_that_was_not_asked_for_is_garbled(encoding, model, monkeypatch):
    monkeypatch.setenv(MODELS[model], KEY)
    with Server(lambda request: Act(raw=gzip.compress(b"{}"), headers={"Content-Encoding": encoding})) as server:
        [answer] = hosted(server.url, model, attempts=1).answer([prompt()])
    assert answer.error.startswith("garbled reply: ")
    assert encoding in answer.error


SERVICES = {
    "openai-compatible/m": lambda url: OpenAIBatchService(base_url=url, key=KEY, is_openai=False),
    "anthropic/m": lambda url: AnthropicBatchService(base_url=url, key=KEY),
    "google/m": lambda url: GoogleBatchService(base_url=url, key=KEY, model="m"),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("what", ["download", "look"])
def test_a_large_download_or_status_ends_the_command_at_once(model, what, monkeypatch, tmp_path):
    monkeypatch.setenv(MODELS[model], KEY)
    monkeypatch.setattr(reply_size, "MOST_OF_FILE", 10_000)
    monkeypatch.setattr(reply_size, "MOST_OF_REPLY", 5_000)
    raw = gzip.compress(b"x" * 7_500 if what == "look" else b"x" * 20_000)
    with VendorServer(lambda seen: Said(raw, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})) as server:
        service = SERVICES[model](server.url)
        action = (lambda: service.download("files/one", tmp_path / "out")) if what == "download" else (lambda: service.look("batches/one"))
        with pytest.raises(RunFailedError, match="the reply is larger than"):
            with_retries(hosted(server.url, model).codec, action, "results", sleep=lambda _: None)
        assert len(server.seen) <= 2  # Anthropic's library looks a batch up before it downloads
        service.close()
    assert not list(tmp_path.iterdir())


def test_a_large_reply_about_a_job_ends_the_command_at_once(monkeypatch):
    monkeypatch.setenv("TOGETHER_API_KEY", KEY)
    with VendorServer(lambda seen: Said(zipped(17), headers={"Content-Encoding": "gzip"})) as server:
        account = Together(server.url, lambda _: None)
        with pytest.raises(RunFailedError, match="larger than 16 MiB"):
            account.get("/fine-tunes", "the jobs could not be listed")
        account.close()
        assert len(server.seen) == 1
