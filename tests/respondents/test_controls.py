"""Controls: the prompts that the model sees, what is stored, and how often the model is asked."""

from __future__ import annotations

import json
from dataclasses import replace

import polars as pl
import pytest

from tests.responses.asked import Writes
from valuestrata.errors import RunFailedError, UsageError
from valuestrata.prompts import load_template, render_prompts
from valuestrata.prompts.persona import Persona
from valuestrata.respondents import models
from valuestrata.respondents.base import Answer, Respondent
from valuestrata.respondents.controls.assignment import wrong_country
from valuestrata.respondents.controls.control import ReplacesPersonas, ReusesAnswers, make_control
from valuestrata.respondents.controls.spec import CONTROLS, parse_control
from valuestrata.respondents.models import ModelSettings, make_respondent
from valuestrata.responses.ask import loop as asking
from valuestrata.responses.ask.loop import ask
from valuestrata.responses.run.folder import load_run
from valuestrata.responses.run.store import FILE

YOUNG_MALAY = "age_x_ethnicity_16-24-years_SG:-Malay"
OLD_OTHERS = "age_x_ethnicity_35-44-years_SG:-Others"
LONE = "ethnicity_x_religion_SG:-Malay_Do-not-belong-to-a-denomination"
# Three items; three subgroups test.
ITEMS, SUBGROUPS = 3, 3


def control(dataset, kind, inner=None, seed=0):
    return make_control(f"control:{kind}@fake", dataset, lambda spec: inner or Writes(name=spec), seed=seed)


def shown_to(dataset, kind, pair_id, tmp_path, **settings):
    """Return the one user message that the model saw for a pair of Q1."""
    seen = {}

    class Sees(Writes):
        def answer(self, prompts):
            for prompt in prompts:
                seen[prompt.hash] = prompt.messages
                yield Answer(prompt, text="Answer: 2")

    ask(dataset, control(dataset, kind, Sees(), **settings), tmp_path / "run", elicitation="text", items=["Q1"])
    (row,) = load_run(tmp_path / "run").responses.filter(pair_id=pair_id).iter_rows(named=True)
    (message,) = seen[row["prompt_hash"]]
    assert message.role == "user"
    return message.content


QUESTION = """
Answer the following question as this person would.

How much does your family matter in your life?

1. Very important
2. Rather important
3. Not very important
4. Not at all important

Reply with one number from 1 to 4, in the form:
Answer: N"""


@pytest.mark.parametrize(
    ("kind", "who"),
    [
        ("no-persona", "You are a person.\n"),
        ("country-only", "You are a person living in Singapore.\n"),
        (
            # The only other cell of the stratum; labels are written without their country prefix.
            "shuffled-persona",
            "You are a person living in Singapore. This is your profile:\n- Age: 35-44 years\n- Ethnic group: Others\n",
        ),
        (
            "wrong-country=NLD",
            "You are a person living in the Netherlands. This is your profile:\n- Age: 16-24 years\n- Ethnic group: Malay\n",
        ),
    ],
)
def test_what_the_model_sees(handmade, tmp_path, kind, who):
    assert shown_to(handmade, kind, f"Q1_{YOUNG_MALAY}", tmp_path) == who + QUESTION


def test_a_cell_alone_in_its_stratum_is_asked_as_itself(handmade, tmp_path):
    text = shown_to(handmade, "shuffled-persona", f"Q1_{LONE}", tmp_path)
    assert "- Ethnic group: Malay\n- Religion: Do not belong to a denomination\n" in text


def test_responses_belong_to_the_pairs_that_were_meant(handmade, tmp_path):
    asked = control(handmade, "shuffled-persona")
    ask(handmade, asked, tmp_path / "run", elicitation="text")
    ask(handmade, Writes(), tmp_path / "plain", elicitation="text")
    run, plain = load_run(tmp_path / "run").responses, load_run(tmp_path / "plain").responses
    assert run.select("pair_id", "item", "subgroup").equals(plain.select("pair_id", "item", "subgroup"))
    hashes, own = ({(row[0], row[1]): row[2] for row in f.select("item", "subgroup", "prompt_hash").iter_rows()} for f in (run, plain))
    assert hashes["Q1", YOUNG_MALAY] == own["Q1", OLD_OTHERS]
    assert hashes["Q1", OLD_OTHERS] == own["Q1", YOUNG_MALAY]
    assert hashes["Q1", LONE] == own["Q1", LONE]


def test_the_identity_names_the_control_the_model_the_seed_and_what_moved(handmade, tmp_path):
    inner = Writes(revision="7")
    ask(handmade, control(handmade, "shuffled-persona", inner, seed=5), tmp_path / "run", elicitation="text")
    assert load_run(tmp_path / "run").meta["respondent"] == {
        "name": "control:shuffled-persona@fake",
        "provider": "control",
        "control": "shuffled-persona",
        "seed": 5,
        # Of 2 + 1 + 2 + 1 cells the 2 + 2 of strata with company; of 2 + 2 + 4 + 2 levels their 2 + 4.
        "cells_changed": 0.666667,
        "levels_changed": 0.6,
        "by_stratum": {
            "age_x_ethnicity": {"cells": 2, "cells_changed": 1.0, "levels_changed": 1.0},
            "ethnicity_x_religion": {"cells": 1, "cells_changed": 0.0, "levels_changed": 0.0},
            "sex": {"cells": 2, "cells_changed": 1.0, "levels_changed": 1.0},
            "sex_x_age": {"cells": 1, "cells_changed": 0.0, "levels_changed": 0.0},
        },
        "of": {"name": "fake:writes", "provider": "fake", "decoding": {"temperature": 0.0, "stop": ["a", "b"]}, "revision": "7"},
    }


def test_the_line_about_a_shuffle_gives_its_shares(handmade):
    note = control(handmade, "shuffled-persona").note
    assert "66.7 % of the cells" in note
    assert "60.0 % of all levels" in note
    assert "ethnicity_x_religion (0.0 % of 1), sex_x_age (0.0 % of 1)" in note
    assert control(handmade, "no-persona").note == ""
    assert control(handmade, "wrong-country=JPN").note == "personas live in Japan"


@pytest.mark.parametrize("kind", CONTROLS)
def test_controls_implement_the_protocols(handmade, kind):
    made = control(handmade, kind)
    assert isinstance(made, Respondent)
    assert isinstance(made, ReplacesPersonas)
    assert isinstance(made, ReusesAnswers) == (kind in ("no-persona", "country-only"))
    assert not isinstance(Writes(), ReplacesPersonas | ReusesAnswers)
    assert made.name == f"control:{kind}@fake"
    assert made.identity()["control"] == kind


def test_a_control_of_another_data_set_is_refused(handmade, make_handmade, tmp_path):
    with pytest.raises(UsageError, match="was made for the data set ffffffffffff and is used with eeeeeeeeeeee"):
        ask(make_handmade(fingerprint="e" * 64), control(handmade, "no-persona"), tmp_path / "run", elicitation="text")
    assert not (tmp_path / "run").exists()


def test_another_seed_is_another_run(handmade, tmp_path):
    ask(handmade, control(handmade, "shuffled-persona"), tmp_path / "run", elicitation="text")
    with pytest.raises(Exception, match=r"respondent\.seed 0, and now it would be 1"):
        ask(handmade, control(handmade, "shuffled-persona", seed=1), tmp_path / "run", elicitation="text")


# --- the wrong country -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["JPN", "jpn", "Japan", "392"])
def test_a_country_is_named_by_code_or_name(wanted):
    assert wrong_country("Singapore", wanted, 0) == ("JPN", "Japan")


def test_a_country_is_drawn_by_seed_and_is_never_the_survey_s_own():
    drawn = [wrong_country("the United States", None, seed) for seed in range(400)]
    assert drawn == [wrong_country("the United States", None, seed) for seed in range(400)]
    assert 60 < len(set(drawn)) < 92
    assert "USA" not in {alpha for alpha, _ in drawn}
    assert {alpha for alpha, _ in (wrong_country("Utopia", None, seed) for seed in range(1000))} >= {"USA", "SGP"}


def test_the_country_drawn_is_kept(handmade):
    alpha, phrase = wrong_country("Singapore", None, 3)
    made = control(handmade, "wrong-country", seed=3)
    expected = {"provider": "control", "control": "wrong-country", "country": alpha, "place": phrase, "seed": 3}
    assert {key: value for key, value in made.identity().items() if key != "of"} == expected
    # A country that is named needs no seed.
    named = control(handmade, "wrong-country=JPN", seed=3).identity()
    assert {key: value for key, value in named.items() if key != "of"} == {
        "provider": "control",
        "control": "wrong-country",
        "country": "JPN",
        "place": "Japan",
    }
    assert {persona.place for persona in made.personas_for(handmade).values()} == {phrase}


def test_a_template_that_translates_the_own_place_must_translate_the_other(handmade, tmp_path):
    (tmp_path / "de.yaml").write_text("name: de\nplaces: {Singapore: Singapur}\nuser: |-\n  {persona_in_place}: {question} {options}\n")
    template = load_template(tmp_path / "de.yaml")
    pairs = handmade.part("paper", "test")
    asked = {"template": template, "elicitation": "text"}
    assert len(list(render_prompts(handmade, pairs, **asked))) == ITEMS * SUBGROUPS
    personas = control(handmade, "no-persona").personas_for(handmade)
    assert len(list(render_prompts(handmade, pairs, personas=personas, **asked))) == ITEMS * SUBGROUPS
    with pytest.raises(Exception, match="template de: places has no entry for 'Japan'"):
        render_prompts(handmade, pairs, personas=control(handmade, "wrong-country=JPN").personas_for(handmade), **asked)


# --- invalid specifications ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("control:shuffled@embedded", "no control 'shuffled'. Did you mean 'shuffled-persona'"),
        ("control:nopersona@embedded", "Did you mean 'no-persona'"),
        ("control:no-persona", "control:no-persona@MODEL"),
        ("control:no-persona@", "control:no-persona@MODEL"),
        ("control:no-persona@baseline:item-mode", "does not use the persona"),
        ("control:no-persona@control:country-only@embedded", "controls cannot be nested"),
        ("control:country-only=JPN@embedded", "country-only takes no '=JPN'"),
        ("control:wrong-country=@embedded", "name a country after '='"),
        ("control:wrong-country=Japn@embedded", "Did you mean 'Japan'"),
        ("control:wrong-country=SGP@embedded", "Singapore is the survey's own place"),
        ("control:no-persona@embeded", "MODEL 'embeded' is not a known kind of model. Did you mean 'embedded'"),
        ("contrl:no-persona@embedded", "Did you mean 'control:no-persona@MODEL'"),
        ("baseline:item-mood", "no baseline 'item-mood'. Did you mean 'item-mode'"),
        ("basline:midpoint", "Did you mean 'baseline:midpoint'"),
    ],
)
def test_an_invalid_specification_is_refused_with_a_suggestion(handmade, spec, message):
    with pytest.raises(UsageError) as caught:
        make_respondent(spec, handmade)
    assert message in str(caught.value)


@pytest.mark.parametrize("kind", ["country-only", "wrong-country", "wrong-country=JPN"])
def test_a_control_about_the_place_needs_one_and_loads_no_model(make_handmade, kind):
    def never(spec):
        raise AssertionError("loaded")

    with pytest.raises(UsageError, match="changes the place"):
        make_control(f"control:{kind}@embedded", make_handmade(place=None), never)
    control(make_handmade(place=None), "no-persona")
    control(make_handmade(place=None), "shuffled-persona")


def test_a_specification_is_split_at_its_first_at_sign(handmade):
    spec = parse_control("control:wrong-country=Hong Kong@hf:org/name@main+adapters/one")
    assert (spec.kind, spec.country, spec.model) == ("wrong-country", "Hong Kong", "hf:org/name@main+adapters/one")


def test_only_a_baseline_is_trained_on_another_data_set(handmade):
    for spec in ("embedded", "control:no-persona@embedded"):
        with pytest.raises(UsageError, match="only a baseline takes `train_on`"):
            make_respondent(spec, handmade, train_on=handmade)


# --- each distinct prompt once -------------------------------------------------------------------------------------------------


class Counts(Writes):
    """Costs something a call, and answers every call differently."""

    def answer(self, prompts):
        for prompt in prompts:
            self.asked.append(prompt)
            text = f"Answer: {1 + len(self.asked) % 3}"
            yield Answer(prompt, text=text, prompt_tokens=100, completion_tokens=3, cost=0.5, latency=2.0)


@pytest.mark.parametrize("kind", ["no-persona", "country-only"])
@pytest.mark.parametrize("chunk", [1, 2, 4, 8192])
def test_each_distinct_prompt_is_asked_once_and_costs_once(handmade, tmp_path, monkeypatch, kind, chunk):
    monkeypatch.setattr(asking, "CHUNK", chunk)
    inner = Counts()
    result = ask(handmade, control(handmade, kind, inner), tmp_path / "run", elicitation="text", orders="scale,reversed", samples=2)
    planned, distinct = ITEMS * SUBGROUPS * 2 * 2, ITEMS * 2 * 2
    assert (result.asked, result.answered, result.left) == (planned, planned, 0)
    assert len(inner.asked) == distinct
    assert len({(prompt.hash, prompt.sample) for prompt in inner.asked}) == distinct
    assert {prompt.pair_id for prompt in inner.asked} == {"Q1_all", "Q182_all", "spend_all"}
    responses = load_run(tmp_path / "run").responses
    assert responses.height == planned
    by_prompt = responses.group_by("prompt_hash", "sample")
    assert by_prompt.agg(pl.col("answer").n_unique())["answer"].to_list() == [1] * distinct
    assert responses["cost"].sum() == 0.5 * distinct
    assert responses["latency"].sum() == 2 * distinct
    assert responses["prompt_tokens"].sum() == 100 * distinct
    assert responses["completion_tokens"].sum() == 3 * distinct
    assert responses["attempts"].sum() == distinct
    assert responses["cost"].null_count() == 0


def test_probabilities_are_copied_in_the_order_that_was_shown(handmade, tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "CHUNK", 1)

    def says(prompt):
        probability = {-1: 0.5, 0: 0.3, 1: 0.2}
        return Answer(prompt, option_probs=tuple(probability[code] for code in prompt.shown), option_mass=0.75)

    for stop in (None, 1):
        asked = control(handmade, "no-persona", Writes(says))
        settings = {"items": ["spend"], "orders": "scale,reversed", "max_calls": stop}
        ask(handmade, asked, tmp_path / f"run{stop}", **settings)
    # The second run stopped after one prompt; a new control completes it, as another process would.
    silent = Writes(says)
    ask(handmade, control(handmade, "no-persona", silent), tmp_path / "run1", items=["spend"], orders="scale,reversed")
    assert [prompt.order for prompt in silent.asked] == ["reversed"]
    for name in ("runNone", "run1"):
        responses = load_run(tmp_path / name).responses
        assert responses["option_probs"].to_list() == [[0.5, 0.3, 0.2]] * 6
        assert responses["option_mass"].to_list() == [0.75] * 6
        assert responses["answer"].to_list() == [-1] * 6


def test_shuffled_orders_are_prompts_of_their_own(handmade, tmp_path):
    inner = Counts()
    ask(handmade, control(handmade, "no-persona", inner), tmp_path / "run", elicitation="text", orders="shuffled:0,shuffled:1,shuffled:2")
    responses = load_run(tmp_path / "run").responses
    assert len(inner.asked) == responses.select("item", "prompt_hash").n_unique() > ITEMS * 3
    assert responses.height == ITEMS * SUBGROUPS * 3


def test_a_run_cut_anywhere_goes_on_with_what_was_said(handmade, tmp_path):
    def says(prompt):
        return Answer(prompt, text="I'd rather not say." if prompt.item == "Q182" else f"Answer: {1 + len(prompt.hash + prompt.item) % 3}")

    whole = Writes(says)
    ask(handmade, control(handmade, "country-only", whole), tmp_path / "whole", elicitation="text")
    stored = (tmp_path / "whole" / "store" / FILE).read_bytes().splitlines(keepends=True)
    columns = ["text", "answer", "status", "prompt_hash", "pair_id", "item", "subgroup", "sample"]
    for kept in range(len(stored) + 1):
        cut = tmp_path / f"cut{kept}"
        (cut / "store").mkdir(parents=True)
        (cut / "store" / FILE).write_bytes(b"".join(stored[:kept]))
        inner = Writes(says)
        ask(handmade, control(handmade, "country-only", inner), cut, elicitation="text")
        before = {json.loads(line)["prompt_hash"] for line in stored[:kept]}
        # Nothing that the store holds is asked again, and nothing twice.
        assert len(inner.asked) == ITEMS - len(before)
        assert not {prompt.hash for prompt in inner.asked} & before
        assert load_run(cut).responses.select(columns).equals(load_run(tmp_path / "whole").responses.select(columns))


def test_an_interrupted_run_keeps_what_was_copied(handmade, tmp_path):
    class Stops(Counts):
        def answer(self, prompts):
            for answer in super().answer(prompts):
                if len(self.asked) == 3:
                    raise KeyboardInterrupt
                yield answer

    with pytest.raises(KeyboardInterrupt):
        ask(handmade, control(handmade, "no-persona", Stops()), tmp_path / "run", elicitation="text")
    assert load_run(tmp_path / "run").responses.height == 2 * SUBGROUPS
    inner = Counts()
    result = ask(handmade, control(handmade, "no-persona", inner), tmp_path / "run", elicitation="text")
    assert len(inner.asked) == 1
    assert (result.kept, result.asked, result.left) == (2 * SUBGROUPS, SUBGROUPS, 0)


def test_another_run_of_the_same_control_asks_again(handmade, tmp_path):
    inner = Counts()
    asked = control(handmade, "no-persona", inner)
    for name in ("one", "two"):
        ask(handmade, asked, tmp_path / name, elicitation="text")
    assert len(inner.asked) == 2 * ITEMS


def test_a_failed_call_fails_its_pairs_once_and_is_asked_again(handmade, tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "CHUNK", 2 * ITEMS)
    calls = []

    def says(prompt):
        calls.append(prompt.item)
        return Answer(prompt, error="Timeout: 30 s", attempts=5) if prompt.item == "Q1" and calls.count("Q1") == 1 else "Answer: 2"

    result = ask(handmade, control(handmade, "no-persona", Writes(says)), tmp_path / "run", elicitation="text")
    # Two chunks of two subgroups and of one: the call that failed for two pairs is made again for the third.
    assert calls == ["Q1", "Q182", "spend", "Q1"]
    assert (result.failed, result.answered, result.left) == (2, 7, 2)
    failed = load_run(tmp_path / "run").responses.filter(status="failed")
    assert failed["attempts"].to_list() == [5, 0]
    inner = Writes()
    result = ask(handmade, control(handmade, "no-persona", inner), tmp_path / "run", elicitation="text")
    assert (len(inner.asked), result.failed, result.left) == (0, 0, 0)  # the third pair's answer is known by now


def test_one_failed_call_does_not_count_as_many(handmade, tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "FAILURES_BEFORE_STOPPING", 2)
    says = lambda prompt: Answer(prompt, error="Timeout: 30 s") if prompt.item == "Q1" else "Answer: 2"  # noqa: E731
    result = ask(handmade, control(handmade, "no-persona", Writes(says)), tmp_path / "run", elicitation="text")
    assert (result.failed, result.answered) == (3, 6)
    hopeless = Writes(lambda prompt: Answer(prompt, error="NotFound: no such model"))
    with pytest.raises(RunFailedError, match="The rest was not asked"):
        ask(handmade, control(handmade, "no-persona", hopeless), tmp_path / "hopeless", elicitation="text")
    assert len(hopeless.asked) == 2


def test_a_prompt_without_an_answer_fails_for_all_its_pairs(handmade, tmp_path):
    class Forgets(Writes):
        def answer(self, prompts):
            yield from super().answer(prompts[:-1])

    result = ask(handmade, control(handmade, "no-persona", Forgets()), tmp_path / "run", elicitation="text")
    assert (result.answered, result.failed, result.left) == (6, 3, 3)


def test_an_answer_to_a_prompt_that_was_not_asked_raises(handmade, tmp_path):
    strays = Writes(lambda prompt: Answer(replace(prompt, sample=9), text="Answer: 1"))
    with pytest.raises(ValueError, match="was not asked"):
        ask(handmade, control(handmade, "no-persona", strays), tmp_path / "run", elicitation="text")


# --- a real model --------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("kind", CONTROLS)
def test_a_language_model_through_a_control_answers_what_it_was_shown(handmade, tmp_path, kind):
    pytest.importorskip("torch", reason="needs the extra `local`")
    pytest.importorskip("transformers", reason="needs the extra `local`")
    from tests.respondents.tiny import save_tiny

    model = f"hf:{save_tiny(tmp_path / 'model')}"
    respondent = make_respondent(f"control:{kind}@{model}", handmade, settings=ModelSettings(device="cpu"))
    ask(handmade, respondent, tmp_path / "run", items=["Q1", "spend"])
    run = load_run(tmp_path / "run")
    assert set(run.responses["status"]) == {"answered"}
    plain = make_respondent(model, handmade, settings=ModelSettings(device="cpu"))
    assert run.meta["respondent"]["of"] == json.loads(json.dumps({"name": plain.name, **plain.identity()}))
    personas = respondent.personas_for(handmade)
    pairs = run.responses.select("pair_id", "item", "subgroup")
    prompts = render_prompts(handmade, pairs, template=load_template("default"), elicitation="logprob", personas=personas)
    expected = {answer.prompt.pair_id: answer.option_probs for answer in plain.answer(list(prompts))}
    for row in run.responses.iter_rows(named=True):
        assert row["option_probs"] == pytest.approx(expected[row["pair_id"]], abs=1e-5)
    if kind == "no-persona":
        assert set(personas.values()) == {Persona()}
        assert run.responses.group_by("item").agg(pl.col("option_probs").n_unique())["option_probs"].to_list() == [1, 1]
        assert run.responses.filter(pl.col("latency") > 0).height == 2


def test_every_kind_is_known_by_name():
    assert {f"control:{kind}@MODEL" for kind in CONTROLS} < set(models.KINDS)
