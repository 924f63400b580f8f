"""Words, sentences and readability of texts whose counts are known."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestrata.openended.text.words import readability, sentences_of, syllables, words_of


@pytest.mark.parametrize(
    ("word", "count"),
    [
        *[("make", 1), ("makes", 1), ("table", 2), ("tables", 2), ("asked", 1), ("wanted", 2), ("wishes", 2), ("family", 3)],
        *[("the", 1), ("people", 2), ("believe", 2), ("religious", 3), ("hmm", 1), ("responsibility", 6)],
    ],
)
def test_syllables_of_common_words(word, count):
    assert syllables(word) == count


def test_a_text_worked_by_hand():
    # 12 words, 2 sentences, 12 syllables: 206.835 - 1.015 * 6 - 84.6 = 116.145; no word is longer than six letters, LIX = 6.
    found = readability("The cat sat on the mat. It is in the big house.")
    assert (found.words, found.sentences) == (12, 2)
    assert found.flesch == pytest.approx(116.145)
    assert found.lix == pytest.approx(6.0)


def test_long_words_make_lix_harder():
    # 10 words, 1 sentence, 2 words of more than six letters: 10 + 20.
    found = readability("Die Gemeinschaft hilft mir oft und ich helfe der Nachbarin.")
    assert found.lix == pytest.approx(30.0)
    assert found.flesch is None, "reading ease is of English alone"


def test_a_short_text_has_no_readability():
    assert readability("I do.").flesch is None
    assert readability("I do.").lix is None
    assert (readability("").words, readability("").sentences) == (0, 0)


def test_sentences_end_where_they_end():
    assert sentences_of("Dr. Lee paid 3.5 dollars. Really?! Yes…") == ["Dr. Lee paid 3.5 dollars.", "Really?!", "Yes…"]
    assert sentences_of("I care for:\n- my home\n- my job") == ["I care for:", "- my home", "- my job"]
    assert len(sentences_of("家庭很重要。我同意！")) == 2
    assert sentences_of("...!") == []


def test_a_text_of_dots_alone_takes_no_longer_than_another():
    start = time.perf_counter()
    found = readability("." * 50_000 + "x")
    assert (found.words, found.sentences) == (1, 1)
    # Tried at every dot it took over a minute.
    assert time.perf_counter() - start < 5


def test_words_of_other_scripts_stay_whole():
    assert words_of("மக்கள் வாழ்க்கை") == ["மக்கள்", "வாழ்க்கை"]
    assert words_of("हिन्दी में।") == ["हिन्दी", "में"]
    assert words_of("家庭") == ["家", "庭"]
    assert words_of("Don’t ask my mother-in-law") == ["don't", "ask", "my", "mother-in-law"]


@given(st.text(max_size=200))
def test_any_text_can_be_read(text):
    found = readability(text)
    assert found.words == len(words_of(text))
    assert found.sentences <= max(found.words, 0)
    assert (found.words == 0) == (found.sentences == 0)


@given(st.lists(st.sampled_from(["we", "care", "family", "work", "honest"]), min_size=1, max_size=30))
def test_length_adds_up_over_sentences(words):
    text = " ".join(words)
    once, twice = readability(f"{text}."), readability(f"{text}. {text}.")
    assert (twice.words, twice.sentences) == (2 * once.words, 2 * once.sentences)
    assert twice.lix is None or once.lix is None or twice.lix == pytest.approx(once.lix)
