"""Stated distributions, by hand: each text with the shares or the failure that a careful reader would give it."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestrata.responses.parse.distribution import parse_distribution

FOUR = ("1", "2", "3", "4"), (1, 2, 3, 4), {1: "Very important", 2: "Rather important", 3: "Not very important", 4: "Not at all important"}
THREE = ("1", "2", "3"), (1, 2, 3), {1: "Agree strongly", 2: "Agree", 3: "Disagree"}
TEN = tuple(str(n) for n in range(1, 11)), tuple(range(1, 11)), {1: "Never justifiable", 10: "Always justifiable"}
SIGNED = ("-1", "0", "1"), (-1, 0, 1), {-1: "Too much", 0: "About right", 1: "Too little"}
TURNED = ("1", "2", "3"), (1, 0, -1), {-1: "Too much", 0: "About right", 1: "Too little"}
AGES = ("1", "2", "3"), (1, 2, 3), {1: "Under 5 years", 2: "5 to 10 years", 3: "More than 10 years"}
TAMIL = ("1", "2"), (1, 2), {1: "மிக முக்கியம்", 2: "முக்கியமில்லை"}
CHINESE = ("1", "2", "3"), (1, 2, 3), {1: "非常重要", 2: "重要", 3: "不重要"}
LETTERS = ("A", "B", "C"), (1, 2, 3), {1: "Good", 2: "Middling", 3: "Bad"}

READ = [
    "1: 20%\n2: 30%\n3: 40%\n4: 10%",
    "1: 20\n2: 30\n3: 40\n4: 10",
    "1: 20 %\n2: 30 %\n3: 40 %\n4: 10 %",
    "1: 20 percent\n2: 30 per cent\n3: 40 pct\n4: 10%",
    "1: 20%, 2: 30%, 3: 40%, 4: 10%",
    "1: 20, 2: 30, 3: 40, 4: 10.",
    "1: 20,2: 30,3: 40,4: 10",
    "1: 20 2: 30 3: 40 4: 10",
    "1=20;2=30;3=40;4=10",
    "1. 20%\n2. 30%\n3. 40%\n4. 10%",
    "1. 20\n2. 30\n3. 40\n4. 10",
    "1) 20%\n2) 30%\n3) 40%\n4) 10%",
    "1. 1: 20%\n2. 2: 30%\n3. 3: 40%\n4. 4: 10%",
    "(1) 20%\n(2) 30%\n(3) 40%\n(4) 10%",
    "1 - 20%\n2 - 30%\n3 - 40%\n4 - 10%",
    "1 20%\n2 30%\n3 40%\n4 10%",
    "- 1: 20%\n- 2: 30%\n- 3: 40%\n- 4: 10%",
    "-1: 20%\n-2: 30%\n-3: 40%\n-4: 10%",
    "**1**: 20%\n**2**: 30%\n**3**: 40%\n**4:** 10%",
    "Option 1: 20%; Option 2: 30%; Option 3: 40%; Option 4: 10%",
    "1: about 20%\n2: ~30%\n3: approximately 40%\n4: roughly 10%",
    "1 is chosen by 20%, 2 is chosen by 30%, 3 by 40% or so: 3 is 40%, 4 gets 10%",
    "1: 20 out of 100\n2: 30 people out of 100\n3: 40 in 100\n4: 10/100",
    "1. Very important: 20%\n2. Rather important: 30%\n3. Not very important: 40%\n4. Not at all important: 10%",
    "1: Very important - 20%\n2: Rather important - 30%\n3: Not very important - 40%\n4: 10%",
    "1 (Very important): 20%\n2 (Rather important): 30%\n3 (Not very): 40%\n4 (Not at all): 10%",
    "Very important: 20%\nRather important: 30%\nNot very important: 40%\nNot at all important: 10%",
    "Very important (20%), rather important (30%), not very important (40%), not at all important (10%).",
    "Very important (1): 20%\nRather important (2): 30%\nNot very important (3): 40%\n4: 10%",
    "| Option | Share |\n|---|---|\n| 1 | 20% |\n| 2 | 30% |\n| 3 | 40% |\n| 4 | 10% |",
    "|1|Very important|20%|\n|2|Rather important|30%|\n|3|Not very important|40%|\n|4|Not at all important|10%|",
    '{"1": 20, "2": 30, "3": 40, "4": 10}',
    '{"1": "20%", "2": "30%", "3": "40%", "4": "10%"}',
    '```json\n{"shares": {"1": 20, "2": 30, "3": 40, "4": 10}, "sure": true}\n```',
    '{"option_1": 20, "option_2": 30, "option_3": 40, "option_4": 10}',
    "{'1': 20, '2': 30, '3': 40, '4': 10}",
    '{"Very important": 0.2, "Rather important": 0.3, "Not very important": 0.4, "Not at all important": 0.1}',
    "1: 0.2\n2: .3\n3: 0,4\n4: 0.1",
    "１：２０％\n２：３０％\n３：４０％\n４：１０％",
    "<think>1: 90%? No.</think>\n1: 20%\n2: 30%\n3: 40%\n4: 10%",
    "1: 90%? No.</think>\n1: 20%\n2: 30%\n3: 40%\n4: 10%",
    "As an AI I can only estimate:\n1: 20%\n2: 30%\n3: 40%\n4: 10%\nTotal: 100%",
    "Of young women, 1 in 5 thinks so.\n1: 20% (family first)\n2: 30%, for 4 of 10\n3: 40% - most of all\n4: 10%",
    "1: 20%\n2: 30%\n3: 40%\n4: 10%\n\n1: 20%",
]


@pytest.mark.parametrize("text", READ, ids=[text[:60] for text in READ])
def test_reads_shares_in_many_forms(text):
    stated = parse_distribution(text, *FOUR)
    assert (stated.status, stated.note) == ("answered", None)
    assert stated.probabilities == pytest.approx((0.2, 0.3, 0.4, 0.1))


OTHERS = [
    (FOUR, "1: 20,5%\n2: 29,5%\n3: 40%\n4: 10%", (20.5, 29.5, 40, 10)),
    (FOUR, "3: 40%\n1: 60%", (60, 0, 40, 0)),
    (FOUR, "2: 100%", (0, 100, 0, 0)),
    (FOUR, "2: 1.0", (0, 100, 0, 0)),
    (FOUR, "1: 0\n2: 1\n3: 0\n4: 0", (0, 100, 0, 0)),
    (FOUR, "1: 7 or 2: 92 or 3: 1", (7, 92, 1, 0)),
    (FOUR, "1: 33%\n2: 33%\n3: 33%\n4: 0%", (100 / 3, 100 / 3, 100 / 3, 0)),
    (FOUR, "1: 24%\n2: 24%\n3: 24%\n4: 24%", (25, 25, 25, 25)),
    (FOUR, "1: 42%\n2: 21%\n3: 21%\n4: 21%", (40, 20, 20, 20)),
    (THREE, "Agree: 50%\nAgree strongly: 20%\nDisagree: 30%", (20, 50, 30)),
    (THREE, "Agree strongly 20%, agree 50%, disagree 30%", (20, 50, 30)),
    (TEN, "\n".join(f"{n}: {n if n < 10 else 55}%" for n in range(1, 11)), (1, 2, 3, 4, 5, 6, 7, 8, 9, 55)),
    (TEN, ", ".join(f"{n}: {n if n < 10 else 55}" for n in range(1, 11)), (1, 2, 3, 4, 5, 6, 7, 8, 9, 55)),
    (TEN, "1 (Never justifiable): 60%\n10 (Always justifiable): 40%", (60, 0, 0, 0, 0, 0, 0, 0, 0, 40)),
    (SIGNED, "-1: 20%\n0: 50%\n1: 30%", (20, 50, 30)),
    (TURNED, "1: 20%\n2: 50%\n3: 30%", (20, 50, 30)),
    (TURNED, "Too much: 20%\nAbout right: 50%\nToo little: 30%", (30, 50, 20)),
    (AGES, "Under 5 years: 20%\n5 to 10 years: 50%\nMore than 10 years: 30%", (20, 50, 30)),
    (AGES, "1. Under 5 years: 20%\n2. 5 to 10 years: 50%\n3. More than 10 years: 30%", (20, 50, 30)),
    (TAMIL, "மிக முக்கியம்: 70%\nமுக்கியமில்லை: 30%", (70, 30)),
    (TAMIL, json.dumps({"மிக முக்கியம்": 70, "முக்கியமில்லை": 30}), (70, 30)),
    (CHINESE, "非常重要：20%，重要：50%，不重要：30%", (20, 50, 30)),
    (LETTERS, "A: 20%\nB) 50%\nC. Bad: 30%", (20, 50, 30)),
]


@pytest.mark.parametrize(("scale", "text", "percent"), OTHERS, ids=[text[:60] for _, text, _ in OTHERS])
def test_reads_shares_of_any_scale(scale, text, percent):
    stated = parse_distribution(text, *scale)
    assert stated.status == "answered"
    assert stated.probabilities == pytest.approx([share / 100 for share in percent])


FAILED = [
    (FOUR, "", "unparsed", "empty"),
    (FOUR, "<think>1: 20%", "unparsed", "empty"),
    (FOUR, "Answer: 3", "unparsed", "no shares"),
    (FOUR, "1: N%\n2: N%\n3: N%\n4: N%", "unparsed", "no shares"),
    (FOUR, "1. Very important\n2. Rather important\n3. Not very important\n4. Not at all important", "unparsed", "no shares"),
    (FOUR, "[20, 30, 40, 10]", "unparsed", "no shares"),
    (FOUR, "20% would choose 1, 30% would choose 2, 50% would choose 3", "unparsed", "no shares"),
    (FOUR, "1: 1/5\n2: 4/5", "unparsed", "no shares"),
    (FOUR, "1: 20-25%\n2: 30%\n3: 40%\n4: 10%", "unparsed", "a range: '1: 20-25%"),
    (FOUR, "1: 20% to 25%\n2: 30%\n3: 40%\n4: 10%", "unparsed", "a range"),
    (FOUR, "1: 20 – 25\n2: 30\n3: 40\n4: 10", "unparsed", "a range"),
    (FOUR, "1: 30%\n2: 30%\n3: 40%\n4: 10%", "unparsed", "come to 110 and not to 100"),
    (FOUR, "1: 20%\n2: 30%\n3: 40%\n4: 4%", "unparsed", "come to 94 and not to 100"),
    (FOUR, "1: 60%\n2: 38%", "unparsed", "come to 98 and not to 100; none for 3, 4"),
    (FOUR, "1: 0.2\n2: 0.3\n3: 0.4\n4: 0.3", "unparsed", "come to 1.2 and not to 100"),
    (FOUR, "1: 0.2%\n2: 0.3%\n3: 0.4%\n4: 0.1%", "unparsed", "come to 1 and not to 100"),
    (FOUR, "1: 20%\n2: 80%\n\nOr rather:\n1: 30%\n2: 70%", "unparsed", "option 1 has two shares, 20% and 30%"),
    (FOUR, '{"shares": {"1": 20, "2": 80}, "why": "1: 30%"}', "unparsed", "option 1 has two shares, 20 and 30%"),
    (FOUR, '{"1": 20, "2": 80, "1": 30}', "unparsed", "option 1 has two shares, 20 and 30"),
    (FOUR, "1: -5%\n2: 105%", "unparsed", "below 0"),
    (FOUR, '{"1": -5, "2": 105}', "unparsed", "below 0"),
    (FOUR, "1 and 2: 60%\n3: 40%", "unparsed", "several options together"),
    (FOUR, "Options 1, 2: 60%, 3: 40%", "unparsed", "several options together"),
    (FOUR, "Very important or rather important: 60%\nNot very important: 40%", "unparsed", "several options together"),
    (FOUR, "0% Very important - 40% Rather important - 60% Not very important", "unparsed", "either side"),
    (FOUR, "0% say very important - 40% say rather important - 60% say not very important", "unparsed", "either side"),
    (FOUR, "0% (1) 40% (2) 60% (3)", "unparsed", "either side"),
    (FOUR, "0%: Very important 32%: Rather important 68%: Not very important", "unparsed", "either side"),
    (FOUR, "0 of 100 very important - 32 of 100 rather important - 68 of 100 not very important", "unparsed", "either side"),
    (FOUR, "0 1|0 2|100 3", "unparsed", "either side"),
    (SIGNED, "-1) 100|0) 0|1) 0", "unparsed", "come to 1 and not to 100"),
    (SIGNED, "0 -1\n7 1\n93 0", "unparsed", "come to 1 and not to 100"),
    (FOUR, "3: 1", "unparsed", "come to 1 and not to 100"),
    (FOUR, "Very important (2): 20%\nRather important (1): 80%", "unparsed", "number and label of different options"),
    (FOUR, "2. Very important: 20%\n1. Rather important: 80%", "unparsed", "number and label of different options"),
    (FOUR, "I'm sorry, but as an AI I cannot estimate that.", "refused", None),
    (FOUR, "I can't provide an answer to that.", "refused", None),
    (FOUR, "I don't know.", "refused", None),
    (FOUR, f"1: {'9' * 5000}%", "unparsed", "no shares"),
    (TEN, "3", "unparsed", "no shares"),
]


@pytest.mark.parametrize(("scale", "text", "status", "note"), FAILED, ids=[text[:60] or "empty" for _, text, *_ in FAILED])
def test_names_a_failure(scale, text, status, note):
    stated = parse_distribution(text, *scale)
    assert (stated.probabilities, stated.status) == (None, status)
    assert (note is None and stated.note is None) or note in stated.note


def test_a_label_of_two_options_names_neither():
    twice = ("1", "2"), (1, 2), {1: "Agree", 2: "agree"}
    assert parse_distribution("Agree: 100%", *twice).status == "unparsed"
    assert parse_distribution("1. Agree: 40%\n2. agree: 60%", *twice).probabilities == (0.4, 0.6)


def test_an_option_told_wrongly_matters_only_where_it_has_a_share():
    assert parse_distribution("I first took 1 (rather important) for it.\n1: 20%\n2: 80%", *FOUR).probabilities == (0.2, 0.8, 0.0, 0.0)


def test_the_note_says_what_was_done_to_the_shares():
    assert parse_distribution("1: 20%\n2: 80%\n3: 0%\n4: 0%", *FOUR).note is None
    assert parse_distribution("1: 20%\n2: 80%", *FOUR).note == "nothing said of 3, 4, taken as 0"
    assert parse_distribution("1: 20%\n2: 79%\n3: 0%\n4: 0%", *FOUR).note == "the shares come to 99 and were divided by it"


SCALES = [FOUR, THREE, TEN, SIGNED, TURNED, AGES, TAMIL, CHINESE, LETTERS]


@st.composite
def said(draw):
    """A scale, whole percentages for its options that come to 100, and a text that states them in one of many forms."""
    options, shown, labels = draw(st.sampled_from(SCALES))
    cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=len(shown) - 1, max_size=len(shown) - 1)))
    percent = [high - low for low, high in zip([0, *cuts], [*cuts, 100], strict=True)]
    named = all(code in labels for code in shown)
    forms = ["{n}: {p}%", "{n}. {p} %", "{n} = {p}%", "{n}) {l}: {p}%", "| {n} | {l} | {p}% |"]
    form = draw(st.sampled_from([*forms, *["{l}: {p}%"] * named]))
    lines = [form.format(n=n, l=labels.get(c, ""), p=p) for n, c, p in zip(options, shown, percent, strict=True)]
    kept = [line for line, share in zip(lines, percent, strict=True) if share or draw(st.booleans())]
    before = draw(st.sampled_from(["", "Sure! Here is my estimate:\n\n", "<think>1: 99%</think>", "I would say:\n"]))
    after = draw(st.sampled_from(["", "\n", "\n\nThese are estimates.", "<|im_end|>", "\nTotal: 100%"]))
    between = draw(st.sampled_from(["\n", "\n\n", "  \n"]))
    return (options, shown, labels), percent, before + between.join(draw(st.permutations(kept))) + after


@given(said())
def test_whatever_form_states_them_the_shares_are_read(case):
    scale, percent, text = case
    stated = parse_distribution(text, *scale)
    assert stated.status == "answered"
    assert stated.probabilities == pytest.approx([share / 100 for share in percent])


PIECES = [*"124:%,\n {}()-|", "-1", "20", "80%", "100", '"', "Agree", "Very important", ".5"]


@given(st.sampled_from(SCALES), st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=25).map("".join)))
def test_any_text_gives_a_distribution_or_a_failure(scale, text):
    stated = parse_distribution(text, *scale)
    assert (stated.probabilities is None) == (stated.status != "answered")
    if stated.probabilities is not None:
        assert len(stated.probabilities) == len(scale[1])
        assert min(stated.probabilities) >= 0
        assert sum(stated.probabilities) == pytest.approx(1)


@pytest.mark.parametrize("piece", ["1 ", "1: ", "-9 ", "{", '{"1":', "1: 5% ", "Very important ", "(", "1 (", "1, ", "<think>", "1: is "])
def test_a_long_text_of_nothing_but_one_thing_takes_no_time(piece):
    started = time.process_time()
    parse_distribution(piece * 20_000, *FOUR)
    assert time.process_time() - started < 3
