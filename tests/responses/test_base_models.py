"""Which runs are of a tuned model and its base, and which models share a base, from what runs record."""

from itertools import permutations

import pytest

from valuestrata.responses.run.base_models import hosted_base, is_tuned_from, share_base
from valuestrata.responses.run.identity import RunIdentity

OPENAI = {"provider": "openai", "base_url": "https://api.openai.com/v1", "revision": None, "adapter_hash": None}
TOGETHER = {**OPENAI, "provider": "together", "base_url": "https://api.together.xyz/v1"}
LOCAL = {"provider": "transformers", "model": "Qwen/Qwen3-8B", "revision": "abc", "adapter_hash": None}


def of(document, **changes):
    return RunIdentity.from_document({"respondent": {**document, **changes}}, "run")


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("ft:gpt-4.1-mini-2025-04-14:acme::AbC123", "gpt-4.1-mini-2025-04-14"),
        ("ft:gpt-4o-2024-08-06:acme:values:AbC:ckpt-step-70", "gpt-4o-2024-08-06"),
        ("ft:open-mistral-7b:587a6b29:20240514:7e773925", "open-mistral-7b"),
        ("acme/Qwen3-8B-vs-0123456789ab-1a2b3c4d", "Qwen3-8B"),
        ("acme/Meta-Llama-3.1-8B-Instruct-Reference-vs-0123456789ab-1a2b3c4d", "Meta-Llama-3.1-8B-Instruct"),
        ("gpt-4.1-mini", None),
        ("Qwen/Qwen3-8B", None),
        ("acme/tv-vs-radio", None),
    ],
)
def test_the_name_of_a_tuned_hosted_model_tells_its_base(name, base):
    assert hosted_base(name) == base


@pytest.mark.parametrize(
    ("tuned", "base"),
    [
        (of(OPENAI, model="ft:gpt-4.1-mini-2025-04-14:acme::A1", decoding={"seed": 1}), of(OPENAI, model="gpt-4.1-mini-2025-04-14")),
        (of(OPENAI, model="ft:gpt-4.1-mini-2025-04-14:acme::A1"), of(OPENAI, model="gpt-4.1-mini")),
        (of(TOGETHER, model="acme/Qwen3-8B-vs-0123456789ab-1a2b"), of(TOGETHER, model="Qwen/Qwen3-8B")),
        (of(LOCAL, adapter_hash="x", taught_on={"split": "paper"}), of(LOCAL, decoding={"seed": 3})),
    ],
)
def test_a_tuned_model_is_paired_with_its_base(tuned, base):
    assert is_tuned_from(tuned, base)
    assert not is_tuned_from(base, tuned)
    assert not is_tuned_from(tuned, tuned)
    assert share_base(tuned, base)


@pytest.mark.parametrize(
    "other",
    [
        of(OPENAI, model="gpt-4.1-mini-2025-06-01"),
        of(OPENAI, model="gpt-4.1"),
        of(OPENAI, model="gpt-4.1-nano-2025-04-14"),
        of(OPENAI, model="gpt-4.1-mini-2025-04-14", base_url="https://elsewhere/v1"),
        of(TOGETHER, model="gpt-4.1-mini-2025-04-14"),
        of(OPENAI, model="ft:gpt-4.1-mini-2025-04-14:acme::B2"),
        RunIdentity.from_document({"respondent": {"provider": "control", "name": "control:no-persona@openai/gpt-4.1-mini"}}, "run"),
        RunIdentity.from_document({}, "run"),
    ],
)
def test_other_models_are_not_its_base(other):
    assert not is_tuned_from(of(OPENAI, model="ft:gpt-4.1-mini-2025-04-14:acme::A1"), other)


SAME = [
    of(TOGETHER, model="Qwen/Qwen3-8B", name="together/Qwen/Qwen3-8B"),
    of(TOGETHER, model="acme/Qwen3-8B-vs-0123456789ab-1a2b", name="together/acme/Qwen3-8B-vs-0123456789ab-1a2b"),
    of({**OPENAI, "provider": "openrouter", "base_url": "https://openrouter.ai/api/v1"}, model="qwen/qwen3-8b:free"),
    of(LOCAL),
    of(LOCAL, adapter_hash="x"),
    of({**LOCAL, "model": "Qwen3-8B-Q4_K_M", "revision": "file"}),
    RunIdentity.from_document({"respondent": {"name": "hf:Qwen/Qwen3-8B@main+adapters/one"}}, "run"),
]


def test_models_on_one_base_share_it_wherever_they_run():
    for one, other in permutations(SAME, 2):
        assert share_base(one, other), (one.model, other.model)
    inside = {"provider": "control", "name": "control:no-persona@openai/gpt-4.1", "of": {**OPENAI, "model": "gpt-4.1-2025-04-14"}}
    assert share_base(RunIdentity.from_document({"respondent": inside}, "run"), of(OPENAI, model="gpt-4.1"))
    renamed = of({**LOCAL, "model": "copy", "revision": "abc"}), of({**LOCAL, "model": "copy", "revision": "abc"}, adapter_hash="y")
    assert share_base(*renamed)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("gpt-4.1", "gpt-4.1-mini"),
        ("gpt-4.1", "gpt-4o"),
        ("claude-sonnet-4-20250514", "claude-opus-4-20250514"),
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-14B"),
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B-Base"),
        ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.2-3B"),
        ("ft:gpt-4.1-mini-2025-04-14:acme::A1", "gpt-4.1"),
        ("runs/one/checkpoint-100", "runs/two/checkpoint-200"),
        ("team-a/model", "team-b/model"),
    ],
)
def test_models_on_other_bases_share_none(one, other):
    assert not share_base(of(OPENAI, model=one), of(OPENAI, model=other))
    assert not share_base(RunIdentity.from_document({"respondent": {"name": "baseline:uniform"}}, "run"), of(OPENAI, model=one))
