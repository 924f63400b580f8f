"""Personas: profile lines, noun phrases, articles, pronouns, and what is said where something is not known."""

import pytest

from valuestrata.prompts.persona import Persona, Trait, Words, in_place, noun_phrase, personas_of, profile, pronouns

ENGLISH = Words()
WOMAN = Trait("sex", "Sex", "Female", "woman", "noun")
MAN = Trait("sex", "Sex", "Male", "man", "noun")
AGE = Trait("age_group", "Age", "35-44 years", "aged 35 to 44", "clause")
MALAY = Trait("ethnicity", "Ethnic group", "SG: Malay", "Malay", "adjective")
MUSLIM = Trait("religion", "Religion", "Muslim", "Muslim", "adjective")
NO_PHRASE = Trait("education", "Highest degree", "Bachelor")


@pytest.mark.parametrize(
    ("traits", "phrase"),
    [
        ((WOMAN, AGE, MALAY, MUSLIM), "a Malay Muslim woman aged 35 to 44"),
        ((MALAY,), "a Malay person"),
        ((AGE,), "a person aged 35 to 44"),
        ((MAN, NO_PHRASE), "a man whose highest degree is Bachelor"),
        ((NO_PHRASE, Trait("area", "Area", "Rural")), "a person whose highest degree is Bachelor and whose area is Rural"),
        ((MAN, Trait("work", "Work", "Retired", "old-age pensioner", "noun")), "a man who is an old-age pensioner"),
        ((), "a person"),
    ],
)
def test_a_noun_phrase_has_adjectives_then_the_noun_then_clauses(traits, phrase):
    assert noun_phrase(Persona(traits), ENGLISH) == phrase


@pytest.mark.parametrize(
    ("word", "article"),
    [
        ("Indian", "an"),
        ("Orthodox", "an"),
        ("American", "an"),
        ("European", "a"),
        ("Unitarian", "a"),
        ("university-educated", "a"),
        ("unemployed", "an"),
        ("uninsured", "an"),
        ("Ukrainian", "a"),
        ("Uzbek", "an"),
        ("Ugandan", "a"),
        ("Uruguayan", "a"),
        ("Uighur", "a"),
        ("Eurasian", "a"),
        ("Ewe", "a"),
        ("one-time", "a"),
        ("only", "an"),
        ("honest", "an"),
        ("Hindu", "a"),
        ("US", "a"),
        ("LGBT", "an"),
        ("18-year-old", "an"),
        ("80-year-old", "an"),
        ("16-year-old", "a"),
        ("180-day", "a"),
    ],
)
def test_the_article_follows_the_sound(word, article):
    persona = Persona((Trait("x", "X", word, word, "adjective"),))
    assert noun_phrase(persona, ENGLISH) == f"{article} {word} person"


def test_the_place_stands_before_a_described_trait_and_is_left_out_where_unknown():
    somewhere = Persona((WOMAN, NO_PHRASE), "the United States")
    assert noun_phrase(somewhere, ENGLISH, with_place=True) == "a woman living in the United States whose highest degree is Bachelor"
    nowhere = Persona((WOMAN, NO_PHRASE), None)
    assert in_place(nowhere, ENGLISH) == ""
    assert noun_phrase(nowhere, ENGLISH, with_place=True) == "a woman whose highest degree is Bachelor"


def test_a_profile_has_a_line_a_trait_without_the_country_in_front_of_a_label():
    assert profile(Persona((WOMAN, AGE, MALAY)), ENGLISH) == "- Sex: Female\n- Age: 35-44 years\n- Ethnic group: Malay"
    assert profile(Persona(), ENGLISH) == ""


@pytest.mark.parametrize(
    ("traits", "expected"),
    [
        ((WOMAN,), ("she", "her", "her")),
        ((MAN,), ("he", "his", "him")),
        ((Trait("sex", "Sex", "Female"),), ("she", "her", "her")),
        ((Trait("gender", "Gender", "Non-binary", "non-binary person", "noun"),), ("they", "their", "them")),
        ((Trait("religion", "Religion", "Male", None, "adjective"),), ("they", "their", "them")),
        ((), ("they", "their", "them")),
    ],
)
def test_pronouns_come_from_sex(traits, expected):
    assert pronouns(Persona(traits)) == expected


def test_every_subgroup_has_a_persona_in_attribute_order(handmade):
    personas = personas_of(handmade)
    assert set(personas) == set(handmade.subgroups["subgroup"])
    assert personas["all"] == Persona((), "Singapore")
    traits = personas["sex_x_age_Female_16-24-years"].traits
    assert [(t.attribute, t.label, t.role) for t in traits] == [("sex", "Female", "noun"), ("age_group", "16-24 years", "clause")]
    # The level's role goes before the attribute's.
    assert personas["ethnicity_x_religion_SG:-Malay_Do-not-belong-to-a-denomination"].traits[1].role == "clause"


def test_a_translated_persona_says_the_translations():
    tamil = Words(
        person="நபர்",
        articles=False,
        living_in=" ({place})",
        attributes={"sex": "பால்"},
        levels={"sex": {"Female": "பெண்"}},
        phrases={"sex": {"Female": "பெண்"}},
        places={"Singapore": "சிங்கப்பூர்"},
    )
    persona = Persona((WOMAN,), "Singapore")
    assert profile(persona, tamil) == "- பால்: பெண்"
    assert noun_phrase(persona, tamil, with_place=True) == "பெண் (சிங்கப்பூர்)"
    assert noun_phrase(Persona(), tamil) == "நபர்"
