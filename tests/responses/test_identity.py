"""The typed identity of a run, and what a damaged run.json is refused with."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from tests.responses.asked import Writes
from valuestrata.errors import InputDataError
from valuestrata.responses.ask.loop import ask
from valuestrata.responses.import_runs import import_run
from valuestrata.responses.run.folder import FORMAT, load_run, new_meta
from valuestrata.responses.run.identity import RunIdentity, trained_here

MODEL = {"name": "embedded", "provider": "transformers", "revision": "a", "decoding": {"seed": 0}, "custom": [1, None]}
DOCUMENT = {"format": FORMAT, "name": "run", "dataset": {"fingerprint": "f" * 64, "survey": "wvs7"}, "respondent": MODEL}


def identity(respondent, **keys):
    return RunIdentity.from_document({**DOCUMENT, "respondent": respondent, **keys}, "run")


def test_the_identity_of_a_model():
    found = identity(MODEL, elicitation="text", template="default", template_version="2", plan={"split": "paper"})
    assert (found.kind, found.rule, found.control, found.is_baseline, found.judged) == ("model", "", None, False, False)
    assert (found.elicitation, found.template, found.template_version) == ("text", "default", "2")
    assert (found.dataset.fingerprint, found.dataset.survey) == ("f" * 64, "wvs7")
    assert found.model.provider == "transformers"
    assert found.model.document == MODEL


@pytest.mark.parametrize(("kind", "trained"), [("uniform", False), ("midpoint", False), ("item-mode", True)])
def test_baselines_that_need_no_gold_were_trained_on_nothing(kind, trained):
    assert trained_here(identity({"name": f"baseline:{kind}", "provider": "baseline", "model": kind})) is trained


def test_the_identity_of_a_baseline():
    trained_on = {"split": "paper", "fold": None, "pairs": [3, 4]}
    found = identity({"name": "baseline:item-mode", "provider": "baseline", "model": "item-mode", "trained_on": trained_on})
    assert (found.kind, found.rule, found.is_baseline) == ("baseline", "item-mode", True)
    assert found.respondent.trained_on is not None
    assert (found.respondent.trained_on.split, found.respondent.trained_on.fold) == ("paper", None)
    assert found.respondent.trained_on.document == trained_on


def test_the_identity_of_a_control_holds_the_model_inside():
    control = {"name": "control:wrong-country=JPN@embedded", "provider": "control", "control": "wrong-country", "of": MODEL}
    found = identity(control)
    assert (found.kind, found.rule, found.control) == ("control", "wrong-country=JPN@embedded", "wrong-country")
    assert found.model.document == MODEL
    assert found.respondent.document == control
    assert found.same_model(identity(MODEL))
    assert not found.same_model(identity({**MODEL, "decoding": {"seed": 1}}))
    assert found.same_weights(identity({**MODEL, "decoding": {"seed": 1}}))
    assert not found.same_weights(identity({**MODEL, "custom": [2]}))


def test_readouts_are_compared_where_both_runs_record_them():
    asked = identity(MODEL, elicitation="text", template="default")
    assert asked.same_readout(identity(MODEL, elicitation="text"))
    assert not asked.same_readout(identity(MODEL, elicitation="logprob"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": None}, r"run\.json: the key 'name' is missing\. Restore the file"),
        ({"dataset": {}}, r"run\.json: the key 'dataset\.fingerprint' is missing"),
        ({"dataset": {"fingerprint": 3}}, r"run\.json: dataset\.fingerprint: .* \(found 3\)"),
        ({"template": ["default"]}, r"run\.json: template: "),
        ({"format": "valuestrata-run-9"}, r"format 'valuestrata-run-9', expected 'valuestrata-run-1'"),
    ],
)
def test_a_damaged_run_json_is_refused_with_its_key(tmp_path, changes, message):
    (tmp_path / "run.json").write_text(json.dumps({**DOCUMENT, **changes}))
    with pytest.raises(InputDataError, match=message):
        load_run(tmp_path)


def test_a_table_that_was_changed_is_refused_or_made_from_the_store(handmade, tmp_path):
    ask(handmade, Writes(), tmp_path / "asked", elicitation="text")
    (tmp_path / "answers.csv").write_text(
        "custom_id,response\n" + "".join(f"{pair},1\n" for pair in handmade.part("paper", "test")["pair_id"])
    )
    import_run(handmade, tmp_path / "answers.csv", tmp_path / "imported")
    whole = {name: load_run(tmp_path / name).responses for name in ("asked", "imported")}
    for name in whole:
        file = tmp_path / name / "responses.parquet"
        metadata = pl.read_parquet_metadata(file)
        pl.read_parquet(file).with_columns(answer=pl.lit(2, pl.Int32)).write_parquet(file, metadata=metadata)
    assert load_run(tmp_path / "asked").responses.equals(whole["asked"])
    ask(handmade, Writes(), tmp_path / "asked", elicitation="text")
    assert pl.read_parquet(tmp_path / "asked" / "responses.parquet")["answer"].equals(whole["asked"]["answer"])
    with pytest.raises(InputDataError, match=r"responses\.parquet: the table was changed after the run was written"):
        load_run(tmp_path / "imported")


@pytest.mark.parametrize("name", ["run\x1b[2J", "a\x00b", "two\nlines", "a\u202eb", "\ufffe"])
def test_the_name_of_a_run_has_no_control_character(handmade, name):
    with pytest.raises(InputDataError, match=r"cannot hold the character U\+"):
        new_meta(handmade, name, "asked")
    assert new_meta(handmade, "Größe 日本", "asked")["name"] == "Größe 日本"


EMBEDDED = {"name": "embedded", "provider": "transformers", "model": "small", "revision": "1"}
NO_PERSONA = {"name": "control:no-persona@embedded", "provider": "control", "control": "no-persona", "of": EMBEDDED}


def calibrated(of: dict[str, Any], method: str = "hybrid", **more: Any) -> RunIdentity:
    document = {"name": f"calibrated:{method}", "provider": "calibrated", "method": method, "of": of, **more}
    return RunIdentity.from_document({"respondent": document}, "control:looks-like-one")


def test_a_calibrated_run_has_the_kind_and_the_model_of_what_was_calibrated():
    run, persona, shuffled = calibrated(EMBEDDED), calibrated(NO_PERSONA), calibrated(EMBEDDED, control="shuffled-answers")
    assert [(one.kind, one.control, one.method, one.model.name) for one in (run, persona, shuffled)] == [
        ("model", None, "hybrid", "embedded"),
        ("control", "no-persona", "hybrid", "embedded"),
        ("control", "shuffled-answers", "hybrid", "embedded"),
    ]
    assert calibrated({"name": "baseline:item-mode", "provider": "baseline"}).kind == "model"


def test_calibrated_runs_are_paired_with_their_source_and_with_controls_of_the_same_method():
    raw = RunIdentity.from_document({"respondent": EMBEDDED}, "raw")
    run = calibrated(EMBEDDED)
    assert run.is_calibrated_from(raw)
    assert not raw.is_calibrated_from(run)
    assert not calibrated(NO_PERSONA).is_calibrated_from(raw)
    assert not calibrated(EMBEDDED, control="no-model").is_calibrated_from(raw)
    assert not calibrated({**EMBEDDED, "revision": "2"}).is_calibrated_from(raw)
    assert run.same_model(calibrated(NO_PERSONA))
    assert not run.same_model(calibrated(NO_PERSONA, "shares"))
    # A calibrated run is not the model as it answered.
    assert not run.same_model(raw)
    assert not run.same_weights(raw)
