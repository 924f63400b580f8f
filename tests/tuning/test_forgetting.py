"""Forgetting, compared with independent computations."""

from __future__ import annotations

import math
from collections import Counter

import polars as pl
import pytest

from tests.respondents import tiny
from tests.tuning.planted import tiny_folder, word_tokenizer
from valuestrata.errors import InputDataError, RunFailedError
from valuestrata.responses.parse.choice import parse_answer
from valuestrata.tuning.evaluate import general_questions as offtopic
from valuestrata.tuning.evaluate.general_questions import general_text, general_version, off_topic

torch = pytest.importorskip("torch", reason="needs the extra `local`")

from valuestrata.respondents.local.load import Loaded  # noqa: E402
from valuestrata.tuning.evaluate.forgetting import (  # noqa: E402
    FORGETTING,
    MEASURES,
    compared,
    forgetting,
    general_check,
    read_forgetting,
    token_losses,
    write_forgetting,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def loaded():
    tokenizer = word_tokenizer()
    return Loaded(tiny.tiny_model(tokenizer), tokenizer, {"model": "tiny"})


# --- the text and the questions ---------------------------------------------------------------------------------------


def test_the_text_is_long_enough_and_plain():
    text = general_text()
    assert 550 < len(text.split()) < 800
    assert text.isascii()


def test_every_question_has_one_right_answer_and_no_place_is_favoured():
    asked = off_topic("text")
    assert len(asked) == 20
    assert len({one.prompt.item for one in asked}) == 20
    assert all(len(set(one.labels.values())) == len(one.labels) for one in asked)
    assert Counter(one.right for one in asked) == {1: 5, 2: 5, 3: 5, 4: 5}
    # A model that always says the same number is right a quarter of the time.
    sums = {"sum": 17 + 25, "product": 6 * 7, "difference": 50 - 18, "half": 90 // 2, "minutes": 2 * 60}
    rights = {one.prompt.item: one.labels[one.right] for one in asked}
    assert {name: int(rights[name]) for name in sums} == sums
    assert max(("0.5", "0.25", "0.75", "0.7"), key=float) == rights["largest"]


def test_both_readouts_have_the_same_question_and_accept_the_right_answer():
    written, scored = off_topic("text"), off_topic("logprob")
    assert [one.prompt.messages for one in written] == [one.prompt.messages for one in scored]
    for one in written:
        for said in (f"Answer: {one.right}", f" {one.right}"):
            assert parse_answer(said, one.prompt.options, one.prompt.shown, one.labels).answer == one.right, (one.prompt.item, said)
        for code, label in one.labels.items():
            # An option in words is read; one that is a number may be taken for none, and never for another.
            read = parse_answer(label, one.prompt.options, one.prompt.shown, one.labels).answer
            assert read == code or (read is None and label[0].isdigit()), (one.prompt.item, label, read)


def test_the_version_changes_with_the_text(monkeypatch):
    read = offtopic._read
    first = general_version()
    monkeypatch.setattr(offtopic, "_read", lambda name: read(name) + " ")
    general_version.cache_clear()
    assert general_version() != first
    general_version.cache_clear()


# --- perplexity -------------------------------------------------------------------------------------------------------


def alone(model, ids: list[int], start: int, at: int) -> float:
    """-log p of one token, from a pass over nothing but what stands before it."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids[start:at]])).logits[0, -1].double()
    return float(torch.logsumexp(logits, 0) - logits[ids[at]])


def test_every_token_is_conditioned_on_its_whole_window(loaded):
    ids = loaded.tokenizer("How many legs does a spider have, and why?")["input_ids"]
    assert len(ids) == 41
    whole = token_losses(loaded.model, ids, window=64)
    assert whole == pytest.approx([alone(loaded.model, ids, 0, at) for at in range(1, 41)], abs=1e-4)
    # Windows of 16 that overlap by 8: tokens 1-15 from 0, then 8 tokens from 8, 16, 24 and the last one from 32.
    starts = [0] * 15 + [8] * 8 + [16] * 8 + [24] * 8 + [32] * 1
    parts = token_losses(loaded.model, ids, window=16)
    assert parts == pytest.approx([alone(loaded.model, ids, start, at) for at, start in zip(range(1, 41), starts, strict=True)], abs=1e-4)


def test_perplexity_and_bits_use_the_whole_text(loaded):
    measures, counts = general_check("tiny", loaded)
    text = general_text()
    ids = loaded.tokenizer(text)["input_ids"]
    losses = token_losses(loaded.model, ids, window=1024)
    assert counts["perplexity"] == len(ids) - 1 == len(losses)
    assert measures["perplexity"] == pytest.approx(math.exp(sum(losses) / len(losses)))
    assert measures["bits_per_byte"] == pytest.approx(sum(losses) / math.log(2) / len(text))


def test_a_model_that_knows_nothing_has_the_perplexity_of_its_vocabulary():
    tokenizer = word_tokenizer()
    model = tiny.tiny_model(tokenizer)
    with torch.no_grad():
        model.lm_head.weight.zero_()
    measures, _ = general_check("tiny", Loaded(model, tokenizer, {"model": "tiny"}))
    assert measures["perplexity"] == pytest.approx(len(tokenizer), rel=1e-4)
    # All options are alike: none of them is chosen.
    assert measures["right_share_logprob"] == 0.0


# --- questions --------------------------------------------------------------------------------------------------------


def test_the_likeliest_option_is_that_of_passes_over_whole_sequences(loaded):
    measures, counts = general_check("tiny", loaded)
    end = loaded.tokenizer.convert_tokens_to_ids("<|im_end|>")
    right, mass = 0, 0.0
    for one in off_topic("logprob"):
        shares = tiny.naive(loaded.model, loaded.tokenizer, one.prompt, end)
        right += shares.index(max(shares)) == one.right - 1
        mass += sum(shares)
    assert measures["right_share_logprob"] == right / 20
    assert measures["option_mass"] == pytest.approx(mass / 20, rel=1e-4)
    assert counts["right_share_logprob"] == 20


class Says:
    """Stands in for a model that writes: the answers of a table."""

    def __init__(self, said):
        self.said = said

    def answer(self, prompts):
        from valuestrata.respondents.base import Answer

        # In any order, as the protocol allows.
        for prompt in reversed(prompts):
            yield Answer(prompt, text=self.said(prompt))


def test_an_invalid_answer_is_neither_valid_nor_right():
    from valuestrata.tuning.evaluate.forgetting import _written

    asked = off_topic("text")
    right = {one.prompt.item: one.right for one in asked}
    assert _written(Says(lambda prompt: f"Answer: {right[prompt.item]}"), asked) == {"valid_share": 1.0, "right_share": 1.0}
    assert _written(Says(lambda _: "Answer: 1"), asked) == {"valid_share": 1.0, "right_share": 0.25}
    assert _written(Says(lambda _: "I value tradition."), asked) == {"valid_share": 0.0, "right_share": 0.0}
    half = _written(Says(lambda prompt: "9" if prompt.item in list(right)[:10] else f"{right[prompt.item]}"), asked)
    assert half == {"valid_share": 0.5, "right_share": 0.5}


# --- before and after -------------------------------------------------------------------------------------------------


# PEFT asks transformers by a name that will change.
of_peft = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture
def tuned(tmp_path):
    """A tiny model on disk and an adapter of it with the given scale of its second matrices."""
    peft = pytest.importorskip("peft", reason="needs the extra `train`")
    from transformers import AutoModelForCausalLM

    word = tiny_folder(tmp_path / "model")

    def adapter(scale: float) -> str:
        base = AutoModelForCausalLM.from_pretrained(word.removeprefix("hf:"))
        model = peft.get_peft_model(base, peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules="all-linear"))
        torch.manual_seed(3)
        with torch.no_grad():
            for name, weights in model.named_parameters():
                if "lora_B" in name:
                    weights.normal_(0, scale)
        model.save_pretrained(tmp_path / f"adapter-{scale}")
        return f"{word}+{tmp_path / f'adapter-{scale}'}"

    return word, adapter


@of_peft
def test_an_adapter_that_changes_nothing_forgets_nothing(tuned):
    word, adapter = tuned
    table = forgetting(word, adapter(0.0), device="cpu")
    assert table.columns == list(FORGETTING.columns)
    assert table["measure"].to_list() == list(MEASURES)
    assert table["difference"].to_list() == pytest.approx([0.0] * len(MEASURES), abs=1e-5)
    assert set(table["version"]) == {general_version()}
    assert table.filter(pl.col("better") == "lower")["measure"].to_list() == ["perplexity", "bits_per_byte"]


@of_peft
def test_an_adapter_that_breaks_a_model_is_seen(tuned):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    word, adapter = tuned
    after = adapter(0.5)
    found = forgetting(word, after, device="cpu")
    table, before = (dict(found.select("measure", when).iter_rows()) for when in ("after", "before"))
    base = AutoModelForCausalLM.from_pretrained(word.removeprefix("hf:"))
    model = PeftModel.from_pretrained(base, after.partition("+")[2]).eval()
    ids = word_tokenizer()(general_text())["input_ids"]
    # The first window alone, without our windows or our loss: transformers' own mean over its tokens.
    own = float(model(input_ids=torch.tensor([ids[:1024]]), labels=torch.tensor([ids[:1024]])).loss)
    ours = token_losses(model, ids[:1024], window=1024)
    assert sum(ours) / len(ours) == pytest.approx(own, rel=1e-5)
    assert table["perplexity"] != pytest.approx(before["perplexity"], rel=0.01)
    assert math.log(table["perplexity"]) == pytest.approx(sum(token_losses(model, ids, window=1024)) / (len(ids) - 1), rel=1e-4)


def test_the_table_is_kept_with_the_adapter(tmp_path):
    assert read_forgetting(tmp_path) is None
    before = dict.fromkeys(MEASURES, 0.25)
    found = compared(before, before | {"perplexity": 31.5}, dict.fromkeys(MEASURES, 20))
    # A hash that reads like a number stays a hash.
    found = found.with_columns(version=pl.lit("12345678"))
    path = write_forgetting(tmp_path, found)
    assert read_forgetting(tmp_path).equals(found)
    path.write_text("measure,before\nperplexity,1\n")
    with pytest.raises(InputDataError, match=r"forgetting\.csv: the column 'after'"):
        read_forgetting(tmp_path)


def test_broken_weights_are_named(loaded):
    model = tiny.tiny_model(loaded.tokenizer)
    with torch.no_grad():
        model.lm_head.weight[0, 0] = float("nan")
    with pytest.raises(RunFailedError, match=r"hf:broken: the model gives no finite probabilities"):
        general_check("hf:broken", Loaded(model, loaded.tokenizer, {"model": "tiny"}))
