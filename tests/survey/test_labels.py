"""Label matching: it tolerates spelling variants, and ambiguous labels match nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valuestrata.survey.codebook import Attribute, AttributeLevel, Item, Missing, MissingRule
from valuestrata.survey.labels import ItemLabels, LabelTable, MissingLabels, drop_prefix, drop_tail, normalise, number, read_numbered
from valuestrata.survey.levels import LevelLabels

RULES = (
    MissingRule(Missing.DONT_KNOW, (-1,), ("Don't know",)),
    MissingRule(Missing.OTHER_MISSING, (-5,), ("INAP: No internet/no social media",)),
)


def item(labels, **more):
    return Item(
        id="Q", topic="t", level="ordinal", codes=tuple(range(1, len(labels) + 1)), labels=tuple(labels), question="?", column="Q", **more
    )


AGREEMENT = item(
    ["Strongly agree", "Agree", "Disagree", "Strongly disagree"], synonyms={1: ("Agree strongly",)}, off_scale={9: "Other answer"}
)


@pytest.mark.parametrize(
    ("label", "meaning"),
    [
        ("Strongly agree", 0),
        ("  STRONGLY   agree ", 0),
        ("Agree strongly", 0),
        ("agree", 1),
        ("Agree.", 1),
        ("Agree (somewhat)", 1),
        ("4. Strongly disagree", 3),
        ("4 - Strongly disagree", 3),
        ("4 Strongly disagree", 3),
        ("[1] Strongly agree", 0),
        ("(1) Strongly agree", 0),
        ("1) Strongly agree", 0),
        ("1: Strongly agree", 0),
        ("1 = Strongly agree", 0),
        ("Strongly agree{1}", 0),
        ("Strongly agree [1]", 0),
        ("Strongly agree (1)", 0),
        ("Strongly agree (1990)", 0),  # not a code: a tail that is left out
        ("[-1] Don't know", Missing.DONT_KNOW),
        ("Don't know {77}", Missing.DONT_KNOW),
        ("Strongly agree{3}", None),  # number and text contradict each other
        ("[3] Strongly agree", None),
        ("Strongly agree (3)", None),
        ("1. FC Köln", None),
        ("3 - 5 times a week", None),
        ("2 or more", None),
        ("1", None),
        ("{1}", None),
        ("-1: Don't know", Missing.DONT_KNOW),
        ("9. Other answer", Missing.OTHER_MISSING),
        ("8. Other answer", None),
        ("3. Strongly disagree", None),  # number and text contradict each other
        ("Other answer", Missing.OTHER_MISSING),
        ("Don't know", Missing.DONT_KNOW),
        ("Don´t know", Missing.DONT_KNOW),
        ("Don’t know", Missing.DONT_KNOW),
        ("Dont know", Missing.DONT_KNOW),
        ("Don't -9:-2", Missing.DONT_KNOW),
        ("Missing -9:-2", Missing.OTHER_MISSING),
        ("No answer/refused", Missing.NO_ANSWER),
        ("No answer (refused)", Missing.NO_ANSWER),
        ("Not applicable; never had a job", Missing.NOT_APPLICABLE),
        ("INAP: No internet/no social media", Missing.OTHER_MISSING),
        ("INAP: father abroad", Missing.NOT_APPLICABLE),
        ("Missing; Not available", Missing.OTHER_MISSING),
        ("Missing;Unknown", Missing.OTHER_MISSING),
        ("Not asked in survey", Missing.NOT_ASKED),
        ("Post-9/11", None),
        ("2020-01-15", None),
        ("1990-1994", None),
        ("COVID -19 to 21", None),
        ("Who knows", None),
        ("Agreeable", None),
    ],
)
def test_meaning_of_a_label(label, meaning):
    assert ItemLabels(AGREEMENT, MissingLabels(RULES)).find(label) == meaning


@pytest.mark.parametrize(
    ("label", "code", "meaning"),
    [
        ("Strongly agree{11}", 11, 0),
        ("[11] Strongly agree", 11, 0),
        ("11 - Don't know", 11, Missing.DONT_KNOW),
        ("Strongly agree{1}", 11, None),
        ("[3] Strongly agree", 1, None),
    ],
)
def test_the_number_of_a_value_label_must_be_its_code(label, code, meaning):
    assert ItemLabels(AGREEMENT, MissingLabels(RULES)).find(label, code) == meaning


def read(item, labels, **more):
    meanings = ItemLabels(item, MissingLabels(RULES))
    unclear = [label for label in labels if meanings.find(label) is None]
    return read_numbered(unclear, labels, meanings.find, meanings.find_text, item.index_of_raw(), **more)


def test_numbers_that_are_consistent_over_a_column_decide_for_unknown_texts():
    known = ["1. Strongly agree", "2. Agree", "3. Disagree", "4. Utterly disagree", "Don't know"]
    assert read(AGREEMENT, known) == {"4. Utterly disagree": 3}
    foreign = ["[1] Muy de acuerdo", "[2] De acuerdo", "[3] En desacuerdo", "[4] Muy en desacuerdo"]
    assert read(AGREEMENT, foreign) == {label: place for place, label in enumerate(foreign)}
    assert read(AGREEMENT, foreign[:3]) == {}  # nothing confirms that the numbers are those of the codebook


def test_known_texts_decide_if_the_numbers_of_the_file_differ():
    labels = ["0 - Strongly agree", "1 - Agree", "2 - Disagree", "3 - Strongly disagree"]
    assert read(AGREEMENT, labels) == {label: place for place, label in enumerate(labels)}
    assert read(AGREEMENT, labels, has_codes=True) == {}
    assert read(AGREEMENT, labels[:1]) == {}


@pytest.mark.parametrize(
    "labels",
    [
        ["1. FC Köln", "Strongly agree", "2. Agree"],  # not all labels carry a number
        ["1. Strongly agree", "1. Utterly disagree", "2. Agree"],  # one number, two labels
        ["1. Strongly agree", "[4] Utterly disagree"],  # two styles
        ["1. Strongly agree", "2. Disagree", "4. Utterly disagree"],  # a number contradicts a known text
        ["1. Strongly agree", "7. Utterly disagree"],  # no code of the scale
        ["1 Strongly agree", "4 or more"],  # only a space
        ["3 - 5 times a week", "1 - 2 times a week", "2 or more"],
    ],
)
def test_numbers_that_are_not_consistent_decide_nothing(labels):
    assert read(AGREEMENT, labels) == {}


def test_comparison_signs_distinguish_labels():
    degrees = LabelTable([("<HS", 0), ("HS", 1)])
    assert (degrees.find("<HS"), degrees.find("< hs"), degrees.find("hs")) == (0, None, 1)


def test_an_ambiguous_label_matches_nothing():
    table = LabelTable([("SG: Chinese", 0), ("MY: Chinese", 1), ("SG: Malay", 2)])
    assert table.find("Chinese") is None
    assert table.find("Chinese", among={0, 2}) == 0
    assert table.find("Malay") == 2


def test_prefix_and_tail():
    assert drop_prefix("US: White, non-Hispanic") == "White, non-Hispanic"
    assert drop_prefix("A: Protect environment") == "Protect environment"
    assert drop_prefix("Other: what") == "Other: what"
    assert drop_tail("Orthodox (Russian/Greek/etc.)") == "Orthodox"
    assert drop_tail("(spontaneous)") == "(spontaneous)"


def test_a_country_prefix_is_not_a_missing_answer():
    missing = MissingLabels(RULES)
    assert missing.find("DK: White") is None
    assert missing.find("DK") == missing.find("DK; unsure") == Missing.DONT_KNOW
    assert missing.find("IAP: no first answer") == Missing.NOT_APPLICABLE


def test_labels_of_the_item_take_precedence_over_common_missing_labels():
    unusual = item(["Refused", "Accepted", "Missing"])
    labels = ItemLabels(unusual, MissingLabels(()))
    assert [labels.find(label) for label in unusual.labels] == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        (" 3.0 ", 3),
        ("10", 10),
        ("-1", -1),
        ("−1", -1),
        ("0,98", 0.98),
        ("1e-05", 1e-05),
        ("", None),
        ("16-24", None),
        ("nan", None),
    ],
)
def test_numbers_as_text(text, value):
    assert number(text) == value


@settings(deadline=None)
@given(st.text())
def test_normalisation_is_idempotent(text):
    assert normalise(normalise(text)) == normalise(text)


@settings(deadline=None)
@given(st.text(alphabet="abcxyz '’-.,;ÀÉÎÕÜ", min_size=1))
def test_case_quotes_and_spaces_do_not_matter(text):
    changed = "  " + text.upper().replace("'", "´").replace("’", "`").replace(" ", "   ")
    assert normalise(changed) == normalise(text)


@settings(deadline=None)
@given(st.lists(st.text(alphabet="abc (:)A'", min_size=1, max_size=6), min_size=2, max_size=6, unique_by=normalise))
def test_labels_of_a_codebook_match_themselves(labels):
    # Labels that differ after normalisation are never confused.
    table = LabelTable((label, index) for index, label in enumerate(labels))
    for index, label in enumerate(labels):
        assert table.find(label) == (index if normalise(label) or label.strip() else None)


@settings(deadline=None)
@given(st.text(max_size=12))
def test_a_match_is_unique(text):
    table = LabelTable([("Yes", 0), ("No", 1), ("Yes (both)", 2), ("A: No", 3)])
    assert table.find(text) in (None, 0, 1, 2, 3)
    if normalise(text) not in {"yes", "no", "yes both", "a no"}:
        assert table.find(text) is None or "(" in text or ":" in text or "[" in text


def test_number_and_text_of_a_numbered_level_must_agree():
    levels = (AttributeLevel("Male", codes=(1,)), AttributeLevel("Female", codes=(2,)))
    found = LevelLabels(Attribute("sex", "sex", "Sex", "sex", levels), MissingLabels(()))
    assert found.find("1. Male") == 0
    assert found.find("2) female") == 1
    assert found.find("2. Male") is None
    assert [found.find(label) for label in ("Male{1}", "[2] Female", "(1) Male", "Female (2)", "1 = Male")] == [0, 1, 0, 1, 0]
    assert [found.find(label) for label in ("Male{2}", "[1] Female", "Female (1)")] == [None] * 3
    assert found.find("Female{7}", 7) == 1
    assert found.find("Female{7}", 8) is None
