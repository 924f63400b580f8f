"""Models through vLLM, tested with an engine that has vLLM's interface around a tiny transformers model."""

from __future__ import annotations

import json
import os
import sys
import types
from dataclasses import replace
from importlib.machinery import ModuleSpec

import pytest

from tests.respondents import tiny
from tests.scale import vllm_like
from tests.scale.vllm_like import SamplingParams, StructuredOutputsParams, TinyLLM
from valuestrata.errors import InputDataError, MissingExtraError, RunFailedError, UsageError
from valuestrata.respondents.base import Respondent, SupportsEstimate

torch = pytest.importorskip("torch", reason="needs the extra `local`")
pytest.importorskip("transformers", reason="needs the extra `local`")

from valuestrata.respondents.local.chat import Chat  # noqa: E402
from valuestrata.respondents.local.load import Loaded  # noqa: E402
from valuestrata.respondents.local.respondent import LocalRespondent  # noqa: E402
from valuestrata.respondents.vllm import plan as vllm_plan  # noqa: E402
from valuestrata.respondents.vllm.engine import Engine, check_adapter, parse_vllm_spec  # noqa: E402
from valuestrata.respondents.vllm.respondent import VllmRespondent, load_vllm  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::FutureWarning:transformers")

PROMPTS = [prompt for prompt in tiny.prompts() if prompt.item != "fair play"]
MERGES = [("1", "0"), (" ", "1"), (":", " ")]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with tiny.one_thread():
        yield


def made(merges=(), *, longest=None, lora=None, **options):
    """Return a respondent over vLLM's interface, its engine, and the local respondent of the same model."""
    tokenizer = tiny.tiny_tokenizer(merges)
    model = tiny.tiny_model(tokenizer)
    llm = TinyLLM(model, tokenizer)
    engine = Engine(llm, tokenizer, SamplingParams, StructuredOutputsParams, lora, longest, {"provider": "vllm", "model": "tiny"})
    return VllmRespondent("vllm:tiny", engine, **options), llm, LocalRespondent("hf:tiny", Loaded(model, tokenizer, {}), **options)


def asked_as(elicitation, prompts=PROMPTS):
    return [replace(prompt, elicitation=elicitation) for prompt in prompts]


def test_it_implements_the_protocols():
    respondent, _, _ = made()
    assert isinstance(respondent, Respondent)
    assert isinstance(respondent, SupportsEstimate)


@pytest.mark.parametrize("merges", [(), MERGES], ids=["a token a character", "merges over the border"])
@pytest.mark.parametrize("elicitation", ["logprob", "first-token"])
def test_option_probabilities_are_those_of_the_local_respondent(elicitation, merges):
    respondent, _, local = made(merges)
    prompts = asked_as(elicitation)
    for ours, theirs in zip(tiny.by_prompt(respondent, prompts), tiny.by_prompt(local, prompts), strict=True):
        assert ours.option_probs == pytest.approx(theirs.option_probs, abs=1e-5)
        assert ours.option_mass == pytest.approx(theirs.option_mass, rel=1e-4)
        assert (ours.prompt_tokens, ours.completion_tokens) == (theirs.prompt_tokens, theirs.completion_tokens)


@pytest.mark.parametrize("elicitation", ["text", "reasoned", "stated-distribution"])
def test_text_is_that_of_the_local_respondent(elicitation):
    respondent, _, local = made(max_new_tokens=12)
    prompts = asked_as(elicitation)
    ours, theirs = tiny.by_prompt(respondent, prompts), tiny.by_prompt(local, prompts)
    assert [one.text for one in ours] == [one.text for one in theirs]
    counts = [(one.finish_reason, one.prompt_tokens, one.completion_tokens) for one in ours]
    assert counts == [(one.finish_reason, one.prompt_tokens, one.completion_tokens) for one in theirs]


def test_a_turn_that_ends_is_cut_at_its_end():
    respondent, llm, _ = made(max_new_tokens=24, temperature=1.5)
    prompts = [replace(prompt, sample=sample) for prompt in asked_as("text", PROMPTS[:4]) for sample in range(6)]
    answers = tiny.by_prompt(respondent, prompts)
    stopped = [answer for answer in answers if answer.finish_reason == "stop"]
    assert 0 < len(stopped) < len(answers), "of the samples some must end their turn, and some not"
    ends = llm.tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|end|>"])
    texts = []
    for written in (output.outputs[0].token_ids for output in llm.outputs):
        assert not set(ends) & set(written[:-1])
        texts.append(llm.tokenizer.decode(written[:-1] if written[-1] in ends else written, skip_special_tokens=True))
    assert sorted(answer.text for answer in answers) == sorted(texts)


def test_samples_differ_and_do_not_depend_on_the_batch():
    prompts = [replace(PROMPTS[0], elicitation="text", sample=sample) for sample in range(4)]
    respondent, _, _ = made(max_new_tokens=12, temperature=1.0, seed=5)
    texts = [answer.text for answer in tiny.by_prompt(respondent, prompts)]
    assert len(set(texts)) == 4
    again = [tiny.by_prompt(respondent, [prompt])[0].text for prompt in reversed(prompts)]
    assert again[::-1] == texts
    other, _, _ = made(max_new_tokens=12, temperature=1.0, seed=6)
    assert [answer.text for answer in tiny.by_prompt(other, prompts)] != texts


def test_constrained_text_is_one_of_the_options():
    respondent, llm, local = made(constrain=True)
    prompts = asked_as("text")
    answers = tiny.by_prompt(respondent, prompts)
    assert all(answer.text.strip() in answer.prompt.options for answer in answers)
    assert [answer.text for answer in answers] == [answer.text for answer in tiny.by_prompt(local, prompts)]
    tiny.by_prompt(respondent, asked_as("reasoned", PROMPTS[:1]))
    assert llm.calls[-1][1][0].structured_outputs is None


def test_every_inner_node_of_the_options_is_one_request_in_prefix_order():
    respondent, llm, _ = made()
    tiny.by_prompt(respondent, PROMPTS)
    ((requests, how, _),) = llm.calls
    assert requests == sorted(requests)
    assert len(requests) == len(set(requests))
    # Ten options: the root; ` ` and its ten first digits, and the same without the blank, with `0` behind each `1`.
    ten = 1 + (1 + 9 + 1) + (9 + 1)
    three = 1 + (1 + 3) + 3
    assert len(requests) == len(tiny.PEOPLE) * (ten + three)
    assert {one.max_tokens for one in how} == {1}
    assert {one.temperature for one in how} == {0.0}
    # What leaves the root: the blank and the nine digits.
    assert sorted(len(one.logprob_token_ids) for one in how)[-len(tiny.PEOPLE) :] == [10] * len(tiny.PEOPLE)


def test_the_first_token_takes_one_request_a_prompt():
    respondent, llm, _ = made()
    tiny.by_prompt(respondent, asked_as("first-token"))
    assert len(llm.calls[0][0]) == len(PROMPTS)


def test_prompts_that_are_the_same_to_the_last_token_are_computed_once():
    respondent, llm, _ = made()
    twice = [PROMPTS[0], replace(PROMPTS[0], pair_id="other", sample=1)]
    answers = tiny.by_prompt(respondent, twice)
    assert answers[0].option_probs == answers[1].option_probs
    alone, before, _ = made()
    tiny.by_prompt(alone, PROMPTS[:1])
    assert llm.calls[0][0] == before.calls[0][0]


def test_more_tokens_than_one_request_returns_are_asked_in_several(monkeypatch):
    respondent, _, local = made()
    assert vllm_plan.MOST_TOKENS == vllm_like.MAX_LOGPROB_TOKEN_IDS
    monkeypatch.setattr(vllm_like, "MAX_LOGPROB_TOKEN_IDS", 4)
    monkeypatch.setattr(vllm_plan, "MOST_TOKENS", 4)
    ours, theirs = tiny.by_prompt(respondent, PROMPTS[:1]), tiny.by_prompt(local, PROMPTS[:1])
    assert ours[0].option_probs == pytest.approx(theirs[0].option_probs, abs=1e-5)


def test_a_prompt_that_does_not_fit_fails_alone():
    lengths = sorted(answer.prompt_tokens for answer in tiny.by_prompt(made()[0], PROMPTS))
    respondent, _, _ = made(longest=lengths[-1], max_new_tokens=4)
    scored = tiny.by_prompt(respondent, PROMPTS)
    failed = [answer for answer in scored if answer.error]
    assert 0 < len(failed) < len(scored)
    assert all(answer.error.startswith("too long: ") and "max_model_len" in answer.error for answer in failed)
    written = tiny.by_prompt(made(longest=1)[0], asked_as("text"))
    assert {answer.error.partition(":")[0] for answer in written} == {"too long"}


def test_a_failure_of_the_engine_is_reported(monkeypatch):
    respondent, llm, _ = made()
    monkeypatch.setattr(llm, "generate", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("CUDA error: device lost\nmore")))
    with pytest.raises(RunFailedError, match=r"RuntimeError: CUDA error: device lost\)\. Earlier answers are kept"):
        tiny.by_prompt(respondent, PROMPTS)


def test_an_adapter_goes_with_every_request():
    respondent, llm, _ = made(lora="the adapter", max_new_tokens=2)
    tiny.by_prompt(respondent, [*PROMPTS[:1], *asked_as("text", PROMPTS[:1])])
    assert [call[2] for call in llm.calls] == ["the adapter", "the adapter"]


def test_the_identity_contains_the_decoding():
    assert made(max_new_tokens=9, temperature=0.5, seed=3)[0].identity() == {
        "provider": "vllm",
        "model": "tiny",
        "decoding": {"max_new_tokens": 9, "temperature": 0.5, "seed": 3},
    }
    assert made(constrain=True)[0].identity()["decoding"]["constrain"] is True


def test_an_estimate_counts_what_the_requests_hold():
    respondent, llm, _ = made(max_new_tokens=7)
    estimate = respondent.estimate([*PROMPTS, *asked_as("text", PROMPTS[:2])])
    answers = tiny.by_prompt(respondent, [*PROMPTS, *asked_as("text", PROMPTS[:2])])
    assert estimate.prompt_tokens == sum(answer.prompt_tokens for answer in answers)
    assert (estimate.calls, estimate.completion_tokens, estimate.cost) == (10, 14, 0.0)
    computed = 0
    for requests, _, _ in llm.calls:
        cached = set()
        for ids in requests:
            # A cache of whole blocks, filled as the requests come; the last token is always computed.
            blocks = [ids[: end + 16] for end in range(0, len(ids) - 16 + 1, 16)]
            hits = [block in cached for block in blocks if len(block) < len(ids)]
            computed += len(ids) - 16 * (hits.index(False) if False in hits else len(hits))
            cached |= set(blocks)
    assert estimate.computed_tokens == computed
    assert estimate.computed_tokens < sum(len(ids) for requests, _, _ in llm.calls for ids in requests) / 3


@pytest.mark.parametrize("spec", ["vllm:", "hf:ORG/NAME", "vllm:ORG/NAME+"])
def test_an_invalid_specification_is_refused(spec):
    with pytest.raises(UsageError, match=r"vllm:ORG/NAME\[@REVISION\]"):
        parse_vllm_spec(spec)


def test_a_specification_is_split_into_its_parts(tmp_path):
    spec = parse_vllm_spec(f"vllm:org/name@v2+{tmp_path}")
    assert (spec.kind, spec.place, spec.revision, spec.adapter) == ("vllm", "org/name", "v2", tmp_path)


def adapter(folder, **config):
    folder.mkdir(exist_ok=True)
    document = {"peft_type": "LORA", "base_model_name_or_path": "org/base", "r": 8, **config}
    (folder / "adapter_config.json").write_text(json.dumps(document))
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def test_an_adapter_of_another_base_is_refused_before_vllm_starts(tmp_path):
    good = adapter(tmp_path / "good")
    assert check_adapter("m", parse_vllm_spec(f"vllm:org/base+{good}")) == 8
    assert check_adapter("m", parse_vllm_spec(f"vllm:org/base+{adapter(tmp_path / 'wide', r=12)}")) == 16
    assert check_adapter("m", parse_vllm_spec(f"vllm:org/base+{adapter(tmp_path / 'some', rank_pattern={'q_proj': 40})}")) == 64
    for bad, message in (
        (adapter(tmp_path / "other", base_model_name_or_path="org/else"), "made for org/else, not for org/base"),
        (adapter(tmp_path / "kind", peft_type="PREFIX_TUNING"), "PREFIX_TUNING"),
        (adapter(tmp_path / "huge", r=1024), "up to rank 512"),
        (tmp_path, "not an adapter"),
    ):
        with pytest.raises(InputDataError, match=message):
            check_adapter("m", parse_vllm_spec(f"vllm:org/base+{bad}"))


def test_without_vllm_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"valuestrata\[vllm\]"):
        load_vllm("vllm:org/base")


@pytest.fixture
def installed(monkeypatch):
    """A package `vllm` with the names that are imported from it; `LLM` keeps what it was made with."""
    tokenizer = tiny.tiny_tokenizer()
    model = tiny.tiny_model(tokenizer)
    seen = {}

    class LLM(TinyLLM):
        def __init__(self, model_name=None, **settings):
            if "nonsense" in settings:
                raise TypeError("EngineArgs.__init__() got an unexpected keyword argument 'nonsense'")
            if settings["model"] == "org/absent":
                raise OSError("org/absent is not a local folder")
            super().__init__(model, tokenizer)
            seen.update(settings)
            config = types.SimpleNamespace(dtype=torch.float32, max_model_len=512, hf_config=types.SimpleNamespace(_commit_hash="c0ffee"))
            self.llm_engine = types.SimpleNamespace(model_config=config)

        def get_tokenizer(self):
            return tokenizer

    def module(name, **names):
        found = types.ModuleType(name)
        found.__spec__ = ModuleSpec(name, None)
        found.__dict__.update(names)
        monkeypatch.setitem(sys.modules, name, found)

    module("vllm", LLM=LLM, SamplingParams=SamplingParams, __version__="0.0", __path__=[])
    module("vllm.sampling_params", StructuredOutputsParams=StructuredOutputsParams)
    module("vllm.platforms", current_platform=types.SimpleNamespace(device_type="cuda"))
    module("vllm.lora", __path__=[])
    module("vllm.lora.request", LoRARequest=lambda *arguments: arguments)
    return seen


def test_the_engine_is_made_with_prefix_cache_raw_log_probabilities_and_no_reports(installed, monkeypatch, tmp_path):
    monkeypatch.delenv("VLLM_NO_USAGE_STATS", raising=False)
    place = adapter(tmp_path / "tuned")
    respondent = load_vllm(f"vllm:org/base@v2+{place}", seed=4, engine={"tensor_parallel_size": 2, "gpu_memory_utilization": 0.5})
    assert installed == {
        "model": "org/base",
        "revision": "v2",
        "tokenizer_revision": "v2",
        "trust_remote_code": False,
        "load_format": "safetensors",
        "enable_prefix_caching": True,
        "logprobs_mode": "raw_logprobs",
        "seed": 4,
        "enable_lora": True,
        "max_lora_rank": 8,
        "tensor_parallel_size": 2,
        "gpu_memory_utilization": 0.5,
    }
    identity = respondent.identity()
    assert {key: identity[key] for key in ("provider", "model", "revision", "dtype", "device", "engine")} == {
        "provider": "vllm",
        "model": "org/base",
        "revision": "c0ffee",
        "dtype": "float32",
        "device": "cuda",
        "engine": {"tensor_parallel_size": 2},
    }
    assert len(identity["adapter_hash"]) == 64
    assert set(identity["versions"]) == {"vllm", "torch", "transformers"}
    assert tiny.by_prompt(respondent, PROMPTS[:1])[0].option_mass > 0
    assert os.environ["VLLM_NO_USAGE_STATS"] == "1"


def test_settings_and_models_that_do_not_exist_are_refused(installed):
    with pytest.raises(UsageError, match=r"the settings contain a key \(hf_token\)"):
        load_vllm("vllm:org/name", engine={"hf_token": "hf_0123456789"})
    with pytest.raises(UsageError, match="valuestrata sets the engine's 'enable_prefix_caching' itself"):
        load_vllm("vllm:org/base", engine={"enable_prefix_caching": False})
    with pytest.raises(UsageError, match="unexpected keyword argument 'nonsense'"):
        load_vllm("vllm:org/base", engine={"nonsense": 1})
    with pytest.raises(InputDataError, match=r"vLLM cannot load the model \(OSError: org/absent"):
        load_vllm("vllm:org/absent")
    with pytest.raises(UsageError, match="temperature 3; vLLM takes 0 to 2"):
        load_vllm("vllm:org/base", temperature=3.0)


def test_a_model_without_chat_template_is_refused(installed, monkeypatch):
    monkeypatch.setattr(Chat, "_end_of_turn", lambda self: 0)
    bare = tiny.tiny_tokenizer()
    bare.chat_template = None
    engine = Engine(None, bare, SamplingParams, StructuredOutputsParams, None, None, {})
    with pytest.raises(InputDataError, match="no chat template"):
        VllmRespondent("vllm:tiny", engine)
