"""Checks of the wvs7 codebook against reference files of the survey, and of the wording of its questions.

The reference files are not part of the project; tests that need them are skipped if they are absent.
"""

import json
import re
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from valuestrata.survey.codebook import Codebook, Item, Missing, load_codebook

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference"
NOT_DEFAULT = ["Q42", *(f"Q{n}" for n in range(83, 91)), "Q105", *(f"Q{n}" for n in range(152, 158))]
NOMINAL = {"Q42", *(f"Q{n}" for n in range(152, 158))}
NUMERIC_SCALES = {"Q48", "Q49", "Q50", "Q90", "Q112", "Q120", "Q163", "Q164", "Q176", "Q240"}
NUMERIC_SCALES |= {f"Q{n}" for block in (range(106, 111), range(158, 163), range(177, 196), range(241, 253)) for n in block}
LONG_SCALES = NUMERIC_SCALES | {"Q171", "Q172"}


@cache
def facts(name: str) -> dict[str, Any]:
    path = REFERENCE / name
    if not path.is_file():
        pytest.skip(f"the reference file {name} is absent")
    return json.loads(path.read_text(encoding="utf-8"))


def variables() -> dict[str, Any]:
    return facts("wvs7_codebook_facts.json")


def topics() -> dict[str, Any]:
    entries = facts("wvs7_topics_facts.json")
    return {key: e["category"] for key, e in entries.items() if (e["use_case"], e["answer_data_type"]) == ("value", "ordinal")}


def answers(variable: str) -> dict[int, str]:
    """Return code -> label of a variable, without negative codes, which are missing answers."""
    return {int(code): label for code, label in variables()[variable]["choices"].items() if not code.startswith("-")}


@pytest.fixture(scope="module")
def book() -> Codebook:
    return load_codebook("wvs7")


def words(text: str) -> list[str]:
    """Return words in lower case, without accents, punctuation and apostrophes."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.replace("´", "'")) if not unicodedata.combining(c))
    return re.findall(r"[a-z0-9]+", re.sub("['’`]", "", plain.lower()))


def norm(label: str) -> str:
    return " ".join(words(label))


def names_of(item: Item, code: int) -> set[str]:
    """Return the normalised label and synonyms of a code."""
    return {norm(label) for label in (item.labels[item.codes.index(code)], *item.synonyms.get(code, ()))}


# --- which items ------------------------------------------------------------------------------------------------


def test_default_items_are_the_ordinal_value_items(book: Codebook):
    assert len(book.default_items) == 239
    assert {item.id for item in book.default_items} == set(topics())


def test_items_outside_the_default_set(book: Codebook):
    others = [item for item in book.items if not item.default]
    assert [item.id for item in others] == NOT_DEFAULT
    assert {item.id for item in others if item.level == "nominal"} == NOMINAL


def test_items_are_in_file_order(book: Codebook):
    keys = [(int(re.sub(r"\D", "", item.id)), item.id) for item in book.items]
    assert keys == sorted(keys)
    assert all(item.column == item.id and item.wording_source == "valuestrata" for item in book.items)


def test_topics(book: Codebook):
    expected = topics()
    assert {item.id: item.topic for item in book.default_items} == expected
    # Goals of the nation are a section outside the twelve topics.
    assert {item.topic for item in book.items} == {*expected.values(), "Postmaterialism"}
    assert {item.id for item in book.items if item.topic == "Postmaterialism"} == {f"Q{n}" for n in range(152, 158)}


def test_every_item_has_a_block_of_one_topic(book: Codebook):
    pairs = {(item.block, item.topic) for item in book.items}
    assert len({block for block, _ in pairs}) == len(pairs)
    assert all(item.block and re.fullmatch(r"[a-z]+(_[a-z]+)*", item.block) for item in book.items)


def test_levels(book: Codebook):
    for item in book.items:
        expected = "nominal" if item.id in NOMINAL else "binary" if len(item.codes) == 2 else "ordinal"
        assert item.level == expected, item.id


# --- codes and labels -------------------------------------------------------------------------------------------


def test_every_code_is_on_or_off_the_scale(book: Codebook):
    for item in book.items:
        raw = set(answers(item.id))
        known = set(item.index_of_raw()) | set(item.off_scale)
        assert raw <= known, item.id
        # Q119 recodes 0 to 4 to five points, so one scale code does not occur in the file.
        assert known - raw == ({5} if item.id == "Q119" else set()), item.id
        assert not set(item.off_scale) & set(item.index_of_raw()), item.id
        assert sorted(set(item.index_of_raw().values())) == list(range(len(item.codes))), item.id


def test_labels_match_their_codes(book: Codebook):
    for item in book.items:
        position = item.index_of_raw()
        for raw, label in answers(item.id).items():
            if raw in item.off_scale:
                assert norm(item.off_scale[raw]) == norm(label), item.id
            elif label != str(raw):
                assert norm(label) in names_of(item, item.codes[position[raw]]), (item.id, raw, label)


def test_labels_are_unambiguous(book: Codebook):
    missing = {norm(label) for rule in book.missing for label in rule.labels}
    for item in book.items:
        names = [name for code in item.codes for name in names_of(item, code)] + [norm(label) for label in item.off_scale.values()]
        assert len(set(names)) == len(names), (item.id, [n for n, times in Counter(names).items() if times > 1])
        assert not missing & set(names), item.id
        assert set(item.synonyms) <= set(item.codes), item.id


@pytest.mark.parametrize(
    ("item", "code", "label"),
    [
        ("Q27", 1, "Agree strongly"),
        ("Q27", 1, "Strongly agree"),
        ("Q39", 3, "Neither agree or disagree"),
        ("Q49", 10, "Completely satisfied"),
        ("Q56", 2, "Or about the same"),
        ("Q57", 2, "Can't be too careful"),
        ("Q64", 1, "A good deal"),
        ("Q106", 1, "Incomes should be made more equal"),
        ("Q106", 10, "There should be greater incentives for individual effort"),
        ("Q107", 10, "Government ownership of business and industry should be increased"),
        ("Q111", 1, "Protecting environment"),
        ("Q142", 2, "A good deal"),
        ("Q241", 1, "It is against democracy (spontaneous)"),
    ],
)
def test_label_variants_of_released_files(book: Codebook, item: str, code: int, label: str):
    assert norm(label) in names_of(book.item(item), code)


def test_scale_directions(book: Codebook):
    directions = facts("wvs7_scale_direction_facts.json")
    for item in book.items:
        moves = {int(raw): target for raw, target in directions.get(item.id, {}).items()}
        assert item.recode == {raw: int(target) for raw, target in moves.items() if target}, item.id
        assert set(item.off_scale) == {raw for raw, target in moves.items() if not target}, item.id


@pytest.mark.parametrize(
    ("item", "positions"),
    [
        ("Q56", {1: 0, 3: 1, 2: 2}),  # better, same, worse
        ("Q119", {1: 0, 2: 1, 0: 2, 3: 3, 4: 4}),  # "hard to say" is the middle
        ("Q122", {0: 0, 1: 1, 2: 2}),
        ("Q221", {1: 0, 2: 1, 3: 2}),  # not allowed to vote: off the scale
        ("Q246", {0: 0, 1: 0, 2: 1, 10: 9}),  # "against democracy" is merged with the lowest point
        ("Q254", {1: 0, 2: 1, 3: 2, 4: 3}),
    ],
)
def test_positions_of_recoded_items(book: Codebook, item: str, positions: dict[int, int]):
    mapping = book.item(item).index_of_raw()
    assert {raw: mapping[raw] for raw in positions} == positions
    assert not {raw for raw in book.item(item).off_scale if raw in mapping}


def test_ten_point_scales_have_labelled_ends_and_numbers_between(book: Codebook):
    assert {item.id for item in book.items if len(item.codes) == 10} == NUMERIC_SCALES
    for item in book.items:
        assert item.is_numeric_scale == (item.id in NUMERIC_SCALES), item.id
        assert not any(label.isdigit() for label in (item.labels[0], item.labels[-1])), item.id


# --- sentences --------------------------------------------------------------------------------------------------


def phrases_of(text: str, length: int = 6) -> set[tuple[str, ...]]:
    tokens = words(text)
    return {tuple(tokens[i : i + length]) for i in range(len(tokens) - length + 1)}


def test_questions_do_not_copy_the_questionnaire(book: Codebook):
    sources: set[tuple[str, ...]] = set()
    for name in ("wvs7_codebook_facts.json", "wvs7_topics_facts.json"):
        for entry in facts(name).values():
            sources |= phrases_of(entry["question"]) | phrases_of(entry.get("question_instruction", ""))
    copied = {
        item.id: [" ".join(phrase) for phrase in shared]
        for item in book.items
        if (shared := (phrases_of(item.question) | phrases_of(item.open_question or "")) & sources)
    }
    assert not copied


def test_questions_of_long_scales_name_both_ends(book: Codebook):
    stop_words = {"a", "an", "the", "is", "in", "of", "at", "to", "be", "it", "or", "my", "for", "should", "there", "that"}
    assert {item.id for item in book.items if len(item.codes) >= 7} == LONG_SCALES
    for item_id in LONG_SCALES:
        item = book.item(item_id)
        asked = set(words(item.question))
        low, high = (set(words(label)) - stop_words for label in (item.labels[0], item.labels[-1]))
        for end, other in ((low, high), (high, low)):
            # Words of one end only; if there are none, all words of the end.
            assert asked & ((end - other) or end), (item_id, end)


def test_questions_are_complete_and_unique_without_numbers(book: Codebook):
    for sentences in ([item.question for item in book.items], [item.open_question or "" for item in book.items]):
        assert len({norm(s) for s in sentences}) == len(sentences)
        for sentence in sentences:
            assert sentence.endswith(("?", ".")), sentence
            assert sentence[0].isupper() or sentence[0] == '"', sentence
            assert len(words(sentence)) >= 5, sentence
            # A number would be wrong if the options are printed in another order.
            assert not re.search(r"\d", sentence), sentence
            assert not re.search(r"\b[Oo]n a scale\b", sentence), sentence


def test_open_questions_do_not_repeat_the_closed_ones(book: Codebook):
    for item in book.items:
        assert item.open_question, item.id
        assert norm(item.open_question) != norm(item.question), item.id
        assert not phrases_of(item.open_question, 7) & phrases_of(item.question, 7), item.id


def test_questions_vary_in_their_openings(book: Codebook):
    for sentences in ([item.question for item in book.items], [item.open_question or "" for item in book.items]):
        openings = Counter(tuple(words(s)[:3]) for s in sentences)
        opening, times = openings.most_common(1)[0]
        assert times <= 0.15 * len(sentences), opening
    for block in {item.block for item in book.items}:
        members = [item for item in book.items if item.block == block]
        if len(members) >= 5:
            openings = Counter(tuple(words(item.question)[:4]) for item in members)
            assert openings.most_common(1)[0][1] <= len(members) / 3, (block, openings.most_common(1))


# --- missing codes, countries, attributes -----------------------------------------------------------------------


def class_of(label: str, book: Codebook) -> Missing | None:
    """Return the class of a label: of the whole label, or else of the part before `;` or `:`."""
    for part in (label, re.split("[;:]", label)[0]):
        for rule in book.missing:
            if norm(part) in {norm(known) for known in rule.labels}:
                return rule.kind
    return None


def test_missing_codes_and_labels(book: Codebook):
    assert {rule.kind: rule.codes for rule in book.missing} == {kind: (int(kind),) for kind in Missing}
    for kind in Missing:
        others = {norm(known) for rule in book.missing if rule.kind != kind for known in rule.labels}
        assert not others & {norm(known) for rule in book.missing if rule.kind == kind for known in rule.labels}
    for variable, entry in variables().items():
        for code, label in entry["choices"].items():
            if code in {"-1", "-2", "-3", "-4", "-5"}:
                assert class_of(label, book) == int(code), (variable, code, label)


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("Don't know", Missing.DONT_KNOW),
        ("Don´t know", Missing.DONT_KNOW),
        ("Don't -9:-2", Missing.DONT_KNOW),
        ("No answer/refused", Missing.NO_ANSWER),
        ("Not applicable; filtered by an earlier answer", Missing.NOT_APPLICABLE),
        ("Not asked in this country", Missing.NOT_ASKED),
        ("Missing; Unknown", Missing.OTHER_MISSING),
    ],
)
def test_missing_label_variants(book: Codebook, label: str, kind: Missing):
    assert class_of(label, book) is kind


def test_columns(book: Codebook):
    columns = (book.weight, book.respondent_id, book.country_code_column, book.country_alpha_column)
    assert columns == ("W_WEIGHT", "D_INTERVIEW", "B_COUNTRY", "B_COUNTRY_ALPHA")
    assert all(column in variables() for column in columns)
    assert "10.14281/18241.24" in book.citation


def test_countries(book: Codebook):
    by_code = {country.code: country for country in book.countries}
    assert len(by_code) == len(book.countries) == len({c.alpha for c in book.countries}) == len({c.name for c in book.countries})
    for code, name in answers("B_COUNTRY").items():
        assert by_code[code].name == name
    listed = {name: alpha for alpha, name in variables()["B_COUNTRY_ALPHA"]["choices"].items()}
    # The reference has MOR, which is not an ISO code; released files have MAR.
    assert all(c.alpha == listed[c.name] for c in book.countries if c.name in listed and c.name != "Morocco")
    assert all(re.fullmatch("[A-Z]{3}", country.alpha) for country in book.countries)
    assert by_code[504].alpha == "MAR"
    assert (by_code[840].phrase, by_code[528].phrase, by_code[702].phrase) == ("the United States", "the Netherlands", "Singapore")


def test_attributes_and_their_order(book: Codebook):
    assert [a.name for a in book.default_attributes] == ["sex", "age_group", "ethnicity", "religion"]
    assert [a.short for a in book.default_attributes] == ["sex", "age", "ethnicity", "religion"]
    assert [a.name for a in book.attributes[4:]] == ["education", "income", "marital_status", "settlement", "employment"]
    assert all(level.phrase for attribute in book.attributes for level in attribute.levels)


def test_attribute_codes_have_the_labels_of_the_file(book: Codebook):
    for attribute in book.attributes:
        column = attribute.fallback or attribute.column
        held = {code: level for level in attribute.levels for code in level.codes}
        assert set(held) == set(answers(column)), attribute.name
        assert len(held) == sum(len(level.codes) for level in attribute.levels), attribute.name
        for code, label in answers(column).items():
            known = {norm(name) for name in (held[code].label, *held[code].synonyms)}
            assert norm(label) in known, (attribute.name, code, label)
        if attribute.default:
            assert all(answers(column)[code] == level.label for code, level in held.items()), attribute.name


def test_attribute_labels_are_unambiguous(book: Codebook):
    missing = {norm(label) for rule in book.missing for label in rule.labels}
    for attribute in book.attributes:
        names = [name for level in attribute.levels for name in {norm(n) for n in (level.label, *level.synonyms)}]
        assert len(set(names)) == len(names), (attribute.name, [n for n, times in Counter(names).items() if times > 1])
        assert not missing & set(names), attribute.name


def test_age_bands_meet_without_overlap(book: Codebook):
    age = book.attribute("age_group")
    assert age.banded
    assert (age.column, age.fallback) == ("Q262", "X003R")
    assert [(level.low, level.high) for level in age.levels] == [(16, 24), (25, 34), (35, 44), (45, 54), (55, 64), (65, None)]
    assert [level.label for level in age.levels][::5] == ["16-24 years", "65 and over"]


def test_default_level_labels_of_singapore(book: Codebook):
    singapore = {level.codes[0]: level.label for level in book.attribute("ethnicity").levels if level.label.startswith("SG: ")}
    assert singapore == {
        702001: "SG: Caucasian white",
        702003: "SG: South Asian Indian, Pakistan, etc.",
        702004: "SG: Chinese",
        702006: "SG: Malay",
        702008: "SG: Eurasian",
        702999: "SG: Others",
    }


def test_religion_levels_and_phrases(book: Codebook):
    levels = {level.codes[0]: level for level in book.attribute("religion").levels}
    assert levels[0].label == "Do not belong to a denomination"
    assert (levels[0].role, levels[0].phrase) == ("clause", "who does not belong to any religious denomination")
    assert norm("Catholic (Roman/Greek/etc)") in {norm(name) for name in levels[1].synonyms}
    assert [levels[code].phrase for code in (1, 2, 5, 6, 7)] == ["Roman Catholic", "Protestant", "Muslim", "Hindu", "Buddhist"]
