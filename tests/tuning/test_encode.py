"""Target tokens decode to the target text; others are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.respondents import tiny
from tests.tuning.planted import quick, word_tokenizer
from valuestrata.errors import InputDataError

pytest.importorskip("torch", reason="needs the extra `local`")
pytest.importorskip("transformers", reason="needs the extra `local`")

from valuestrata.tuning.data.encode import Encoder
from valuestrata.tuning.data.examples import tuning_data
from valuestrata.tuning.train.step import Collator, EncodedExamples, check_first_batch

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def with_text(tokenizer):
    from tokenizers import decoders

    tokenizer.backend_tokenizer.decoder = decoders.Fuse()
    return tokenizer


@pytest.fixture
def example(people, template):
    return tuning_data(people, quick("modal", template)).train[0]


@pytest.mark.parametrize(("target", "before"), [("turn", "Answer:"), ("option", "")])
def test_target_tokens_decode_to_the_target_text(example, target, before):
    tokenizer = word_tokenizer()
    encoder = Encoder(tokenizer, "tiny", target)
    encoded = encoder.encode(example)
    for place, text in enumerate(example.prompt.options):
        ids = encoded.written(place)
        assert tokenizer.decode(ids[encoded.start :]) == f"{before} {text}<|im_end|>" == encoder.target_text(example, text)
        assert tokenizer.decode(ids[: encoded.start]).endswith("<|im_start|>assistant\n" + ("" if before else "Answer:"))


def test_a_merged_first_token_may_begin_with_text_of_the_prompt(example):
    tokenizer = with_text(tiny.tiny_tokenizer([(":", " ")]))
    encoded = Encoder(tokenizer, "tiny", "option").encode(example)
    assert tokenizer.decode(encoded.written(0)[encoded.start :]) == ": 1<|im_end|>"


def test_ten_may_be_two_tokens(people, template):
    example = tuning_data(people, quick("modal", template)).train[0]
    ten = replace(example, prompt=replace(example.prompt, options=("9", "10", "11"), shown=example.codes))
    tokenizer = word_tokenizer()
    encoded = Encoder(tokenizer, "tiny", "option").encode(ten)
    assert [len(forms[0]) for forms in encoded.options] == [3, 4, 4]
    lost = with_text(without("0", tiny.tiny_tokenizer().get_vocab()))
    with pytest.raises(InputDataError, match=r"tiny: the answer '10' has the target tokens .*'1', '<unk>'"):
        Encoder(lost, "tiny", "option").encode(ten)


def without(piece, vocabulary):
    """Return a tokenizer of characters that has no token for one of them."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    kept = {name: at for at, name in enumerate(name for name in vocabulary if name != piece)}
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE(vocab=kept, merges=[], unk_token="<unk>")),
        unk_token="<unk>",
        eos_token="<|end|>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
    )
    wrapped.chat_template = tiny.TEMPLATE
    return wrapped


def test_a_tokenizer_without_a_chat_template_is_refused():
    tokenizer = word_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(InputDataError, match="has no chat template"):
        Encoder(tokenizer, "hf:base", "turn")


def test_the_first_batch_is_checked(people, template):
    recipe = quick("modal", template)
    data = tuning_data(people, recipe)
    encoder = Encoder(word_tokenizer(), "tiny", "turn")
    encoded = {number: encoder.encode(data.train[number]) for number in range(4)}
    examples = EncodedExamples(data.train, encoded, range(4), ())
    batch = Collator(data.train, encoded, recipe, rows=False)(range(4), every_option=False)
    check_first_batch(encoder, examples, batch)
    # The end of the turn left out, another answer, and a token of the prompt too many.
    spoilt = {name: values.clone() for name, values in batch.items()}
    last = int((spoilt["target_of"] == 2).nonzero()[-1])
    spoilt["target_token"][last] = spoilt["target_token"][last - 1]
    with pytest.raises(InputDataError, match="and not 'Answer: "):
        check_first_batch(encoder, examples, spoilt)
    other = {name: values.clone() for name, values in batch.items()}
    answers = (other["target_kind"] == 1).nonzero().flatten()
    other["target_token"][answers] = other["target_token"][answers].flip(0)
    with pytest.raises(InputDataError, match="has the target tokens"):
        check_first_batch(encoder, examples, other)
    keep = batch["target_of"] != 1
    short = {name: values[keep] if name.startswith("target_") else values for name, values in batch.items()}
    with pytest.raises(InputDataError):
        check_first_batch(encoder, examples, short)
