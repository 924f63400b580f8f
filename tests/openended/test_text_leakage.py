"""What restates the description and what merely speaks as such a person, on sentences labelled by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestrata.openended.text.persona_leakage import leak_of
from valuestrata.openended.text.persona_names import name_of, names_of, single_words, without_names, years_of
from valuestrata.prompts.persona import Persona, Trait, Words

TRAITS = {
    "woman": Trait("sex", "Sex", "Female", "woman", "noun"),
    "man": Trait("sex", "Sex", "Male", "man", "noun"),
    "young": Trait("age_group", "Age", "16-24 years", "aged 16 to 24"),
    "middle": Trait("age_group", "Age", "35-44 years", "aged 35 to 44"),
    "old": Trait("age_group", "Age", "65 and over", "aged 65 or over"),
    "malay": Trait("ethnicity", "Ethnicity", "SG: Malay", "Malay", "adjective"),
    "other": Trait("ethnicity", "Race", "Other", "of a race other than White or Black"),
    "muslim": Trait("religion", "Religion", "Muslim", "Muslim", "adjective"),
    "catholic": Trait("religion", "Religion", "Roman Catholic", "Roman Catholic", "adjective"),
    "none": Trait("religion", "Religion", "Do not belong to a denomination", "without a religion"),
    "single": Trait("marital_status", "Marital status", "Never married", "who has never married", "clause"),
    "town": Trait("settlement", "Settlement", "Urban", "who lives in a town or city", "clause"),
    "full": Trait("employment", "Employment", "Full time (30 hours a week or more)", "who works full time", "clause"),
    "retired": Trait("employment", "Employment", "Retired/pensioned", "who is retired", "clause"),
    "unchurched": Trait("religion", "Religion", "No denomination", "who does not belong to any religious denomination", "clause"),
    "low": Trait("income", "Income", "Low", "whose household has a low income", "clause"),
    "school": Trait("education", "Highest degree", "High school", "with a high school diploma"),
}

RESTATES = [
    ("woman middle malay muslim", "As a Malay Muslim woman of 40, I think family matters."),
    ("catholic", "As a Catholic, I value my parish."),
    ("catholic", "I'm a devout Roman Catholic and it shapes me."),
    ("catholic", "We Catholics believe in charity."),
    ("muslim", "As someone who is Muslim, I pray."),
    ("muslim", "My identity as a Muslim matters."),
    ("malay woman", "I’m a Malay woman."),
    ("woman", "Being a woman, I know this."),
    ("woman", "For women like me it is hard."),
    ("man", "As men, we keep quiet."),
    ("man", "Speaking as a man, it is odd."),
    ("middle", "I'm 40 years old and tired."),
    ("middle", "As a 38-year-old, I worry."),
    ("middle", "I am 41. Work is hard."),
    ("middle", "Now that I am in my early forties, I care more."),
    ("middle", "As a mother aged 40, I worry."),
    ("woman middle", "I am a nurse in my late 30s who works."),
    ("young", "In my early twenties, I want to travel."),
    ("young", "I am between 16 and 24."),
    ("old", "As someone over 65, I value peace."),
    ("old", "At the age of 72, I have seen much."),
    ("school", "I have a high school diploma and no more."),
    ("none", "As someone without a religion, I decide for myself."),
    ("none", "I do not have a religion."),
    ("other", "I am of a race other than White or Black."),
    ("malay", "I live in Singapore and like it."),
    ("single", "I have never married."),
    ("town", "I live in a town or city, and it is loud."),
    ("full", "I work full time."),
    ("full", "As someone who works full time, I am tired."),
    ("retired", "I'm retired now."),
    ("unchurched", "I don't belong to any religious denomination."),
    ("school", "With my high school diploma I got a job."),
    ("woman", "As women we carry more."),
    ("woman", "From a woman's perspective, I see it otherwise."),
    ("woman", "The persona is a mother of two."),
    ("woman", "The profile given says little."),
    ("woman", "- Sex: Female\nI think so."),
    ("muslim", "My profile says little."),
    ("malay muslim", "The Malay Muslim community matters."),
]
SPEAKS = [
    ("catholic", "My faith is central to my life."),
    ("catholic", "Catholics believe in charity, and I agree."),
    ("catholic", "I am happy to see Catholic schools."),
    ("catholic", "As a result, Catholic schools suffer, I feel."),
    ("catholic", "I see it as the Catholic Church teaches."),
    ("catholic", "I am against Catholic priests."),
    ("catholic", "People such as Catholics do, I guess."),
    ("muslim", "As a society, Muslim or not, we must share."),
    ("muslim", "I am not a Muslim."),
    ("woman", "Women deserve better pay, I think."),
    ("woman", "She is treated as a woman."),
    ("woman", "I am a friend of the woman next door."),
    ("woman", "My mother is a strong woman."),
    ("woman", "I'm a believer that women matter."),
    ("man", "I am a human being."),
    ("man", "I am sure men agree."),
    ("middle", "I have 40 cousins."),
    ("middle", "My brother is 40 years old."),
    ("middle", "I am 40 minutes from town."),
    ("middle", "I started at age 12 in my town."),
    ("middle", "As a mother of a 40-year-old, I worry."),
    ("young", "I am 40 years old."),
    ("school", "A high school diploma helps, I believe."),
    ("none", "Religion is a private matter to me."),
    ("other", "Others disagree with me."),
    ("malay", "Singapore is a good place for me."),
    ("single", "I am married."),
    ("full", "I am on time, and time is all I have."),
    ("low", "I am low on money and high on hope."),
    ("woman", "The profile of a candidate matters to me."),
]


def names(keys: str):
    return names_of(Persona(tuple(TRAITS[key] for key in keys.split())))


@pytest.mark.parametrize(("keys", "text"), RESTATES)
def test_it_restates_the_description(keys, text):
    assert leak_of(text, names(keys), "Singapore") is not None


@pytest.mark.parametrize(("keys", "text"), SPEAKS)
def test_it_only_speaks_as_such_a_person(keys, text):
    assert leak_of(text, names(keys), "Singapore") is None


def test_what_is_found_is_named():
    found = leak_of("Well. As a Malay Muslim woman of 40, I think so.", names("woman middle malay muslim"))
    assert found is not None
    assert (found.kind, found.attributes, found.text) == ("self", ("sex", "ethnicity", "religion"), "As a Malay Muslim woman")
    assert leak_of("Sex: Female", names("woman")).kind == "profile"
    assert leak_of("A Malay Muslim thinks so.", names("malay muslim")).kind == "description"


def test_another_persons_words_are_no_leakage():
    assert leak_of("As a Catholic, I value my parish.", names("muslim")) is None
    assert leak_of("As a Catholic, I value my parish.", (), None) is None


def test_a_template_in_another_language_brings_its_own_words():
    words = Words(attributes={"religion": "Glaube"}, levels={"religion": {"Muslim": "muslimisch"}})
    found = leak_of("Glaube: Muslimisch", names_of(Persona((TRAITS["muslim"],)), words))
    assert found is not None
    assert found.kind == "profile"
    assert leak_of("Glaube: Muslimisch", names("muslim")) is None


@pytest.mark.parametrize(
    ("text", "years"),
    [
        *[("16-24 years", (16, 24)), ("aged 35 to 44", (35, 44)), ("65 and over", (65, 120)), ("aged 65 or over", (65, 120))],
        *[("65+", (65, 120)), ("under 30", (0, 30)), ("High school", None), ("44 to 35", None), ("Black", None)],
    ],
)
def test_ages_are_read_from_labels(text, years):
    assert years_of(text) == years


def test_names_have_plurals_and_no_brackets():
    assert set(name_of(Trait("r", "R", "Orthodox (Russian/Greek/etc.)", None)).words) == {"orthodox"}
    assert {"buddhist", "buddhists"} == set(name_of(Trait("r", "R", "Buddhist", None)).words)
    assert {"roman catholic", "catholic"} <= set(name_of(TRAITS["catholic"]).words)
    assert not {"time", "married"} & {word for key in ("full", "single") for word in name_of(TRAITS[key]).words}
    assert name_of(TRAITS["low"]).words == ("whose household has a low income",)
    assert name_of(TRAITS["other"]).words == ("of a race other than white or black",)
    assert single_words((name_of(TRAITS["school"]),)) >= {"high", "school", "diploma"}


def test_names_can_be_taken_out():
    assert without_names("As a Roman Catholic of 40, catholics like me", names("catholic middle")).split() == [
        "As",
        "a",
        "of",
        ",",
        "like",
        "me",
    ]


@given(st.text(max_size=300), st.sampled_from(sorted(TRAITS)))
def test_any_text_is_decided(text, key):
    found = leak_of(text, names(key), "Singapore")
    assert found is None or found.text


@given(st.sampled_from(RESTATES), st.sampled_from(["Let me think.", "Well, it depends."]))
def test_what_stands_before_does_not_hide_it(case, before):
    assert leak_of(f"{before} {case[1]}", names(case[0]), "Singapore") is not None


@given(st.sampled_from(SPEAKS))
def test_capitals_change_nothing(case):
    assert leak_of(case[1].upper(), names(case[0]), "Singapore") is None
