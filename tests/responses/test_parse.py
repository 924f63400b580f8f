"""Parsing of answers: texts with the code or failure expected of a careful reader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestrata.responses.parse.choice import parse_answer

FOUR = ("1", "2", "3", "4"), (1, 2, 3, 4), {1: "Very important", 2: "Rather important", 3: "Not very important", 4: "Not at all important"}
TEN = tuple(str(n) for n in range(1, 11)), tuple(range(1, 11)), {1: "Never justifiable", 10: "Always justifiable"}
SIGNED = ("-1", "0", "1"), (-1, 0, 1), {-1: "Too much", 0: "About right", 1: "Too little"}
PLACED = ("1", "2", "3"), (1, 0, -1), {-1: "Too much", 0: "About right", 1: "Too little"}
YESNO = ("1", "2"), (1, 2), {1: "Yes", 2: "No"}
AGREE = ("1", "2", "3"), (1, 2, 3), {1: "Agree strongly", 2: "Agree", 3: "Disagree"}
TAMIL = ("1", "2"), (1, 2), {1: "மிக முக்கியம்", 2: "முக்கியமில்லை"}
CHINESE = ("1", "2", "3"), (1, 2, 3), {1: "非常重要", 2: "重要", 3: "不重要"}
LETTERS = ("A", "B", "C"), (1, 2, 3), {1: "Good", 2: "Middling", 3: "Bad"}
ELEVEN = tuple(str(n) for n in range(11)), tuple(range(11)), {0: "Bad", 10: "Good"}
PERCENT = ("1", "2", "3"), (1, 2, 3), {1: "Less than 10%", 2: "10-25%", 3: "More than 25%"}
TIMES = ("1", "2"), (1, 2), {1: "Never", 2: "1-2 times a week"}

ANSWERED = [
    (YESNO, "No, I can't say I do.", 2),
    (YESNO, "No, I will not.", 2),
    (YESNO, "No, I cannot answer for others. Answer: 1", 1),
    (FOUR, "2 (Rather important) and 3 reasons for it", 2),
    (FOUR, "Answer: 2 (Rather important), or 9 of 10 in my heart", 2),
    (FOUR, "Answer: 3", 3),
    (FOUR, "3", 3),
    (FOUR, "3.", 3),
    (FOUR, " 3\n", 3),
    (FOUR, "**3**", 3),
    (FOUR, "Answer: **2**", 2),
    (FOUR, "**Answer:** 2", 2),
    (FOUR, "**Answer: 2**", 2),
    (FOUR, "answer:2", 2),
    (FOUR, "ANSWER = 4", 4),
    (FOUR, "Answer 3", 3),
    (FOUR, "Answer: [3]", 3),
    (FOUR, "Answer: <3>", 3),
    (FOUR, "Answer:\n\n3", 3),
    (FOUR, "Final answer: (4)", 4),
    (FOUR, "I would say 3 (Not very important)", 3),
    (FOUR, "I'd say it is a 2.", 2),
    (FOUR, "I would choose option 4 because family matters less to me.", 4),
    (FOUR, "Answer: 2 - Rather important", 2),
    (FOUR, "2) Rather important", 2),
    (FOUR, "2. Rather important", 2),
    (FOUR, "2: Rather important", 2),
    (FOUR, "(2) Rather important", 2),
    (FOUR, "Rather important", 2),
    (FOUR, "rather important.", 2),
    (FOUR, "Not very important", 3),
    (FOUR, '"Not at all important"', 4),
    (FOUR, "Answer: Rather important", 2),
    (FOUR, "Answer: Rather important (2)", 2),
    (FOUR, "\\boxed{3}", 3),
    (FOUR, "The result is $\\boxed{\\text{3}}$.", 3),
    (FOUR, '{"answer": 3}', 3),
    (FOUR, '```json\n{"answer": "3", "why": "2 reasons"}\n```', 3),
    (FOUR, '{"answer": "Rather important"}', 2),
    (FOUR, "Option 3", 3),
    (FOUR, "Option 3 is closest to my view.", 3),
    (FOUR, "My answer is 3 because in 2012 I moved to the city.", 3),
    (FOUR, "3 because in 2012 I lost 2 friends", 3),
    (FOUR, "3\n\nReasons:\n1. I am busy.\n2. I am old.", 3),
    (FOUR, "1\n\nReasons:\n1. I am busy.\n2. I am old.", 1),
    (FOUR, "<think>Maybe 2? Answer: 2</think> Answer: 3", 3),
    (FOUR, "Maybe 2? Answer: 2</think>\n\n3", 3),
    (FOUR, "Answer: 2\nOn reflection I am wrong.\nAnswer: 4", 4),
    (FOUR, "1. Very important 2. Rather important 3. Not very important 4. Not at all important\nAnswer: 2", 2),
    (FOUR, "1. Very important\n2. Rather important\n3. Not very important\nI choose 2.", 2),
    (FOUR, "Answer: N means the number.\nAnswer: 4", 4),
    (FOUR, "3", 3),
    (FOUR, "Answer：３", 3),
    (FOUR, "three", 3),
    (FOUR, "Three.", 3),
    (FOUR, "Answer: two", 2),
    (FOUR, "To us, family is rather important.", 2),
    (FOUR, "I'm sorry, but as an AI I have no family. If I had to choose: Answer: 2", 2),
    (FOUR, "Well, that is a 2, honestly.", 2),
    (FOUR, "3<|im_end|>", 3),
    (FOUR, "Answer: 3.0", 3),
    (FOUR, "Respuesta: 3", 3),
    (FOUR, "答案：3", 3),
    (FOUR, "On a scale of 1 to 4, I would say 3.", 3),
    (TEN, "10", 10),
    (TEN, "Answer: 10", 10),
    (TEN, "Answer: 1", 1),
    (TEN, "3/10", 3),
    (TEN, "7 out of 10", 7),
    (TEN, "I'd rate it 7/10.", 7),
    (TEN, "Answer: 10 out of 10", 10),
    (TEN, "On a scale from 1 to 10, where 1 means never, I would say 8.", 8),
    (TEN, "Always justifiable", 10),
    (TEN, "1. Never justifiable\n2.\n3.\n4.\n5.\n6.\n7.\n8.\n9.\n10. Always justifiable\n\nAnswer: 7", 7),
    (TEN, "3.\n\nI say so because of 2 things.", 3),
    (SIGNED, "-1", -1),
    (SIGNED, "Answer: -1", -1),
    (SIGNED, "Answer: 0", 0),
    (SIGNED, "Answer: −1", -1),
    (SIGNED, "About right", 0),
    (SIGNED, "minus one", -1),
    (PLACED, "1", 1),
    (PLACED, "Answer: 3 (Too much)", -1),
    (PLACED, "Too much", -1),
    (YESNO, "No", 2),
    (YESNO, "Yes, I do.", 1),
    (YESNO, "No. There is no need.", 2),
    (YESNO, "Answer: Yes", 1),
    (AGREE, "Agree", 2),
    (AGREE, "I agree strongly with that.", 1),
    (AGREE, "Disagree", 3),
    (TAMIL, "மிக முக்கியம்", 1),
    (TAMIL, "பதில்: 2", 2),
    (CHINESE, "非常重要", 1),
    (CHINESE, "我认为不重要。", 3),
    (LETTERS, "Answer: B", 2),
    (LETTERS, "c) Bad", 3),
    # Shares and confidences next to an answer.
    (FOUR, "1: 20%, 2: 80%\nAnswer: 2", 2),
    (FOUR, "If 1: 10% and 2: 90%, I would choose 2.", 2),
    (FOUR, "3\n\nReasons:\n1. 20% of people agree.\n2. 30% of them do not.", 3),
    (FOUR, "Answer: 3 (Likelihood: 1: 10%, 2: 20%, 3: 70%)", 3),
    (TEN, "On a scale where 1 is 0% and 10 is 100%, I would say 7.", 7),
    (FOUR, "Option 2 (60 %)", 2),
    (FOUR, "2 - 80% sure", 2),
    (FOUR, "Answer: 2 (confidence: 80%)", 2),
    (FOUR, "Answer: 2\nConfidence: 8/10", 2),
    (FOUR, "Rather important (80%)", 2),
    (FOUR, '{"answer": 3, "confidence": 0.8}', 3),
    (FOUR, '{"answer": 3, "confidence": 4}', 3),
    (FOUR, '{"answer_1": 3}', 3),
    (FOUR, '{"2": "Rather important"}', 2),
    (FOUR, '{"Rather important": 2}', 2),
    (FOUR, "Question 1: 3", 3),
    (FOUR, "2: 2", 2),
    (FOUR, "3/4", 3),
    (ELEVEN, "8/10", 8),
    (PERCENT, "2: 10-25%", 2),
    (PERCENT, "Answer: 2 / 10-25%", 2),
    (TIMES, "2 - 1-2 times a week", 2),
]


@pytest.mark.parametrize(("scale", "text", "code"), ANSWERED, ids=[text for _, text, _ in ANSWERED])
def test_reads_an_answer(scale, text, code):
    parsed = parse_answer(text, *scale)
    assert (parsed.answer, parsed.status, parsed.note) == (code, "answered", None)


FAILED = [
    # `No` that opens a refusal, and two options each with its label.
    (YESNO, "No, I cannot answer that.", "refused"),
    (YESNO, "No. As an AI language model I have no views.", "refused"),
    (YESNO, "No, sorry, I'm not able to assist with this.", "refused"),
    (YESNO, "Answer: 1 (Yes) or 2 (No)", "unparsed"),
    (FOUR, "3 (Not very important) or 4", "unparsed"),
    (FOUR, "I would say 2. Rather important / 3. Not very important", "unparsed"),
    (FOUR, "", "unparsed"),
    (FOUR, " \n ", "unparsed"),
    (FOUR, "**", "unparsed"),
    (FOUR, "Answer:", "unparsed"),
    (FOUR, "Answer: N", "unparsed"),
    (FOUR, "1 or 2", "unparsed"),
    (FOUR, "Answer: 1 or 2", "unparsed"),
    (FOUR, "2-3", "unparsed"),
    (FOUR, "Between 2 and 3", "unparsed"),
    (FOUR, "1, 2", "unparsed"),
    (FOUR, "1/2", "unparsed"),
    (FOUR, "two or three", "unparsed"),
    (FOUR, "1. Very important\n2. Rather important\n3. Not very important\n4. Not at all important", "unparsed"),
    (TEN, "1. Never justifiable\n2.\n3.\n4.\n5.\n6.\n7.\n8.\n9.\n10. Always justifiable\n\nI will answer later.", "unparsed"),
    (FOUR, "1. Option 1: Too much, too much\n2. Option 2: Too much\n3.", "unparsed"),
    (FOUR, "Very important or rather important", "unparsed"),
    (FOUR, "Family has always been the heart of our village, and many things changed in 2012.", "unparsed"),
    (FOUR, "3 things matter to me: work, friends and music.", "unparsed"),
    (FOUR, "One of the best parts of life is family.", "unparsed"),
    (FOUR, "I would not say it is very important to people.", "unparsed"),
    (FOUR, "<think>It should be 3. Answer: 3", "unparsed"),
    (FOUR, "I am 34 years old.", "unparsed"),
    (FOUR, "About 3% of people say so", "unparsed"),
    (TEN, "On a scale from 1 to 10", "unparsed"),
    (YESNO, "There is no telling.", "unparsed"),
    (YESNO, "No one can know", "unparsed"),
    *((ELEVEN, text, "unparsed") for text in ('{"0": 10, "5": 40}', "0: 10%, 5: 40%", "0: 10%\n5: 40%", "| 0 | 10 |\n| 5 | 90 |")),
    *((FOUR, text, "unparsed") for text in ("1=20%, 2=80%", "1 - 20%, 2 - 80%", "1 (20%), 2 (80%)")),
    *((FOUR, text, "unparsed") for text in ("1. 20%\n2. 80%", "1: 20-25%, 2: 75-80%", '{"option_2": 1}', '{"2": 100}')),
    *((FOUR, text, "unparsed") for text in ("Answer: 1: 20%, 2: 80%", 'Answer: {"1": 20, "2": 80}', "I choose 1 (20%) and 2 (80%)")),
    *((FOUR, text, "unparsed") for text in ('{\n "1": 0.2,\n "2": 0.8\n}', '{"answer": {"1": 20, "2": 80}}')),
    *((FOUR, text, "unparsed") for text in ("2: 100%", "2=80%", "Very important: 60%\nRather important: 40%", "1: 3", "1. 3")),
    *((YESNO, text, "unparsed") for text in ("Yes: 60%, No: 40%", '{"Yes": 0.6, "No": 0.4}')),
    (LETTERS, "A: 60%, B: 40%", "unparsed"),
    *((FOUR, text, "unparsed") for text in ("2; 3", "| 2 | 3 |", "3\n2", "2..3", "2~3", "2 + 3", "2 vs 3", '{"answer": [2, 3]}')),
    (FOUR, "3/10", "unparsed"),
    (FOUR, "Answer: 3 out of 10", "unparsed"),
    (TEN, "11", "invalid_code"),
    (TEN, "Answer: 0", "invalid_code"),
    (FOUR, "Answer: 0", "invalid_code"),
    (FOUR, "Answer: 5 (Very important)", "invalid_code"),
    (FOUR, "-1", "invalid_code"),
    (FOUR, "Answer: 2.5", "invalid_code"),
    (FOUR, "9" * 26, "invalid_code"),
    (FOUR, f"Answer: {'9' * 5000}", "invalid_code"),
    (FOUR, f"7 out of {'9' * 5000}", "invalid_code"),
    (FOUR, "3,4", "unparsed"),
    (FOUR, "Answer: " * 3000, "unparsed"),
    (FOUR, "1 2 " * 3000, "unparsed"),
    (FOUR, "I'm sorry, but as an AI language model I cannot take a position on this.", "refused"),
    (FOUR, "I prefer not to answer", "refused"),
    (FOUR, "I’d rather not say.", "refused"),
    (FOUR, "I don't have personal opinions. 1. Very important is one view.", "refused"),
    (FOUR, "I cannot answer whether it is very important.", "refused"),
    (FOUR, "I don't know.", "refused"),
    (FOUR, "I can't provide an answer to that", "refused"),
]


@pytest.mark.parametrize(("scale", "text", "status"), FAILED, ids=[text[:60] or "empty" for _, text, _ in FAILED])
def test_names_a_failure(scale, text, status):
    parsed = parse_answer(text, *scale)
    assert (parsed.answer, parsed.status) == (None, status)


@pytest.mark.parametrize(
    ("scale", "text", "code"),
    [
        (FOUR, "3 (Very important)", 3),
        (FOUR, "Answer: 3 - Very important", 3),
        (FOUR, "Very important (3)", 3),
        (PLACED, "Answer: 1 - Too much", 1),
    ],
)
def test_the_number_holds_against_a_label_and_the_note_says_so(scale, text, code):
    parsed = parse_answer(text, *scale)
    assert (parsed.answer, parsed.status) == (code, "answered")
    assert parsed.note is not None
    assert "belongs to another option" in parsed.note


def test_a_label_of_two_options_decides_nothing():
    parsed = parse_answer("Agree", ("1", "2"), (1, 2), {1: "Agree", 2: "agree"})
    assert parsed.status == "unparsed"


SCALES = st.sampled_from([FOUR, TEN, SIGNED, PLACED, YESNO, AGREE, TAMIL, CHINESE, LETTERS])


@given(SCALES, st.text())
def test_any_text_gives_a_shown_code_or_a_failure(scale, text):
    parsed = parse_answer(text, *scale)
    assert (parsed.answer in scale[1]) == (parsed.status == "answered")
    assert parsed.answer is None or parsed.status == "answered"


PIECES = [
    "Answer:",
    "answer is",
    "1",
    "2",
    "-1",
    "10",
    "or",
    "Very important",
    "No",
    "I would say",
    "\n",
    ". ",
    "/",
    "\\boxed{",
    "}",
    "<think>",
    "</think>",
    "Option",
]


@given(SCALES, st.lists(st.sampled_from(PIECES), max_size=12), st.sampled_from(["", " "]))
def test_any_mixture_of_what_models_write_gives_a_shown_code_or_a_failure(scale, pieces, glue):
    parsed = parse_answer(glue.join(pieces), *scale)
    assert (parsed.answer in scale[1]) == (parsed.status == "answered")


@given(
    st.sampled_from([FOUR, TEN, SIGNED, PLACED]),
    st.data(),
    st.sampled_from(
        [
            "",
            "Sure! ",
            "In 2012 I was 3 years old.\n",
            "1. One 2. Two\n",
            "As an AI, I would guess:\n",
            "<think>Answer: 1</think>\n",
            "Answer: N\n",
        ]
    ),
    st.sampled_from(
        [
            "Answer: {}",
            "Answer:{}",
            "**Answer:** {}",
            "Answer: **{}**",
            "answer is {}",
            "Answer: ({})",
            '"answer": "{}"',
            "Answer: `{}`",
            "\\boxed{{{}}}",
        ]
    ),
    st.sampled_from(["", ".", "\n", "\n\nBecause of 2 things.", " because it is so.", " <|im_end|>", "!", "\n1. A reason\n2. Another"]),
)
def test_a_marked_option_is_read_whatever_stands_around_it(scale, data, before, form, after):
    at = data.draw(st.integers(0, len(scale[0]) - 1))
    parsed = parse_answer(before + form.format(scale[0][at]) + after, *scale)
    assert parsed.answer == scale[1][at]


def test_a_list_behind_a_bracketed_answer_is_no_list_of_the_options():
    assert parse_answer("Answer: (0)\n1. A reason\n2. Another", *SIGNED).answer == 0
    assert parse_answer("Answer: (0) About right (1) Too little", *SIGNED).status == "unparsed"


@given(SCALES, st.data())
def test_every_label_alone_is_its_code(scale, data):
    code = data.draw(st.sampled_from(sorted(scale[2])))
    assert parse_answer(f" {scale[2][code]}.", *scale).answer == code
