"""Failed passes: exhausted memory makes passes smaller; any other error fails only the prompts of its pass."""

from __future__ import annotations

import weakref

import pytest

from . import tiny

torch = pytest.importorskip("torch", reason="needs the extra `local`")
pytest.importorskip("transformers", reason="needs the extra `local`")

from valuestrata.respondents.local.memory import is_out_of_memory  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::FutureWarning:transformers"),
    pytest.mark.usefixtures("one_thread"),
]

PROMPTS = tiny.prompts()


def failing(respondent, monkeypatch, error, when) -> list[int]:
    """Let a model fail after a pass for which `when` holds of the sizes of all passes so far, in tokens."""
    model, sizes = respondent._loaded.model, []
    plain = model.forward

    def forward(input_ids=None, cache=None, **rest):
        sizes.append(input_ids.numel())
        if when(sizes):
            # Some layers have already written their keys when memory runs out.
            plain(input_ids=input_ids, cache=cache, **rest)
            raise error
        return plain(input_ids=input_ids, cache=cache, **rest)

    monkeypatch.setattr(model, "forward", forward)
    return sizes


MESSAGES = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9.0 GB, max allowed: 9.1 GB)."),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."
    ),
    RuntimeError("[enforce fail at alloc_cpu.cpp:114] data. DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
    MemoryError("Unable to allocate 2.00 GiB for an array"),
]


@pytest.mark.parametrize("error", MESSAGES, ids=range(len(MESSAGES)))
def test_exhausted_memory_is_recognised_on_every_device(error):
    assert is_out_of_memory(error)
    assert not is_out_of_memory(RuntimeError("CUDA error: device lost"))


@pytest.mark.parametrize("elicitation", ["logprob", "text"])
def test_exhausted_memory_makes_passes_smaller_and_changes_nothing(monkeypatch, elicitation):
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    prompts = [tiny.prompt(person, item, elicitation=elicitation) for person in tiny.PEOPLE for item in tiny.ITEMS]
    options = {"temperature": 1.0, "max_new_tokens": 5}
    expected = tiny.by_prompt(tiny.made(**options), prompts)
    respondent = tiny.made(**options)
    sizes = failing(respondent, monkeypatch, error, lambda sizes: sizes[-1] > 150)
    check_equal(tiny.by_prompt(respondent, prompts), expected)
    # The first pass was too large, and no size was tried again that had failed.
    failed = [size for size in sizes if size > 150]
    assert failed == sorted(set(failed), reverse=True)
    assert failed


@pytest.mark.parametrize("limit", [1, 9])
@pytest.mark.parametrize("elicitation", ["logprob", "text"])
def test_a_pass_may_shrink_to_a_single_token(monkeypatch, elicitation, limit):
    prompts = [tiny.prompt(person, elicitation=elicitation) for person in tiny.PEOPLE]
    expected = tiny.by_prompt(tiny.made(max_new_tokens=5), prompts)
    respondent = tiny.made(max_new_tokens=5)
    sizes = failing(respondent, monkeypatch, torch.OutOfMemoryError("CUDA out of memory"), lambda sizes: sizes[-1] > limit)
    check_equal(tiny.by_prompt(respondent, prompts), expected)
    assert min(sizes) >= 1
    assert sizes[-1] <= limit


def check_equal(answers, expected) -> None:
    for answer, known in zip(answers, expected, strict=True):
        assert answer.error is None
        assert answer.text == known.text
        if known.option_probs:
            assert answer.option_probs == pytest.approx(known.option_probs, rel=1e-4)


@pytest.mark.parametrize("elicitation", ["logprob", "text"])
def test_what_a_failed_pass_computed_is_given_up_before_the_next(monkeypatch, elicitation):
    respondent = tiny.made()
    model, held = respondent._loaded.model, []
    plain = model.forward

    def forward(input_ids=None, cache=None, **rest):
        assert all(reference() is None for reference in held)
        output = plain(input_ids=input_ids, cache=cache, **rest)
        if input_ids.numel() > 40:
            held.append(weakref.ref(output.logits))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return output

    monkeypatch.setattr(model, "forward", forward)
    assert all(answer.error is None for answer in respondent.answer([tiny.prompt(elicitation=elicitation)]))
    assert held


def test_memory_too_small_for_anything_fails_each_prompt_and_raises_nothing(monkeypatch):
    respondent = tiny.made()
    failing(respondent, monkeypatch, torch.OutOfMemoryError("CUDA out of memory"), lambda sizes: True)
    answers = tiny.by_prompt(respondent, [PROMPTS[0], tiny.prompt(elicitation="text")])
    assert all(answer.error and "out of memory" in answer.error for answer in answers)


def test_a_failed_batch_loses_its_own_prompts_only(monkeypatch):
    respondent = tiny.made(batch_tokens=60)
    failing(respondent, monkeypatch, RuntimeError("kernel\nat line 3"), lambda sizes: len(sizes) == 3)
    answers = tiny.by_prompt(respondent, PROMPTS)
    failed = [answer for answer in answers if answer.error]
    assert 0 < len(failed) < len(answers) / 2
    assert {answer.error for answer in failed} == {"RuntimeError: kernel"}
    assert all(answer.option_probs is None for answer in failed)
    for answer, known in zip(answers, tiny.by_prompt(tiny.made(), PROMPTS), strict=True):
        if not answer.error:
            assert answer.option_probs == pytest.approx(known.option_probs, rel=1e-4)


@pytest.mark.parametrize("error", [NotImplementedError("x"), KeyError("x"), RecursionError("x")])
def test_defects_are_not_hidden(monkeypatch, error):
    respondent = tiny.made()
    failing(respondent, monkeypatch, error, lambda sizes: True)
    with pytest.raises(type(error)):
        list(respondent.answer(PROMPTS))


def test_a_model_that_gives_no_numbers_fails_by_name():
    respondent = tiny.made()
    with torch.no_grad():
        respondent._loaded.model.lm_head.weight.fill_(float("nan"))
    (answer,) = respondent.answer([tiny.prompt()])
    assert answer.error is not None
    assert "finite" in answer.error
