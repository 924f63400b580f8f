"""Samples of lm-evaluation-harness as runs; the files here have the form that the harness writes."""

import json
import math

import pytest
from typer.testing import CliRunner

from valuestrata.cli import make_app
from valuestrata.dataset.tables import write_dataset
from valuestrata.errors import InputDataError, UsageError
from valuestrata.export.harness.documents import documents_of
from valuestrata.export.harness.harness_log import import_log, log_format_of, without_secrets
from valuestrata.responses.import_runs import import_run
from valuestrata.responses.run.folder import load_run

DATE = "2026-03-01T10-00-00.123456"


def sample(document, responses):
    doc = document if isinstance(document, dict) else document.model_dump()
    return {"doc_id": 0, "doc": doc, "target": "1", "arguments": {}, "resps": responses, "filtered_resps": [], "filter": "none"}


def scored(document, likely):
    """A sample in which the forms of option `likely` have probabilities .3 and .1, and those of the others .01 each."""
    forms = [math.log(p) for place in range(len(document.options)) for p in ((0.3, 0.1) if place == likely else (0.01, 0.01))]
    return sample(document, [[[str(log), "False"]] for log in forms])


def written(folder, rows, task="topic", date=DATE):
    folder.mkdir(exist_ok=True)
    file = folder / f"samples_{task}_{date}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def documents(handmade):
    return documents_of(handmade, ("logprob",))


def test_log_likelihoods_become_option_probabilities(handmade, documents, tmp_path):
    (tmp_path / "out").mkdir()
    config = {"model": "hf", "model_args": {"pretrained": "ORG/NAME"}}
    results = {"model_name": "ORG/NAME", "lm_eval_version": "0.4.13", "config": config, "results": {}}
    (tmp_path / "out" / f"results_{DATE}.json").write_text(json.dumps(results))
    written(tmp_path / "out", [scored(document, 1) for document in documents[:4]], "one")
    written(tmp_path / "out", [scored(document, 2) for document in documents[4:]], "two")
    assert log_format_of(tmp_path / "out") == log_format_of(tmp_path / "out" / f"results_{DATE}.json") == "lm-eval"
    import_log(handmade, tmp_path / "out", tmp_path / "run", trained_on="none")
    run = load_run(tmp_path / "run")
    assert run.meta["respondent"]["name"] == "ORG/NAME"
    assert run.meta["respondent"]["decoding"]["args"] == {"pretrained": "ORG/NAME"}
    assert run.meta["source"]["harness"] == "lm_eval 0.4.13"
    assert run.meta["source"]["tasks"] == ["one", "two"]
    assert run.meta["template_version"] == documents[0].template_version
    rows = {row["pair_id"]: row for row in run.responses.iter_rows(named=True)}
    for place, document in enumerate(documents):
        row, likely = rows[document.pair_id], 1 if place < 4 else 2
        total = 0.4 + 0.02 * (len(document.options) - 1)
        assert row["answer"] == document.shown[likely]
        assert row["option_probs"] == pytest.approx([(0.4 if at == likely else 0.02) / total for at in range(len(document.options))])
        assert row["option_mass"] == pytest.approx(total)
        assert row["prompt_hash"] == document.prompt().hash


def test_texts_are_read_with_our_parser_and_repeats_are_samples(handmade, tmp_path):
    first, second, *_ = documents_of(handmade, ("text",))
    file = written(tmp_path, [sample(first, [["Answer: 1", "I'd rather not say."]]), sample(second, [["Answer: 1", "2."]])])
    result = import_log(handmade, file, tmp_path / "run")
    assert (result.counts["answered"], result.counts["refused"]) == (3, 1)
    assert load_run(tmp_path / "run").responses["sample"].to_list() == [0, 1, 0, 1]


def test_a_sample_without_finite_likelihoods_failed(handmade, documents, tmp_path):
    file = written(tmp_path, [sample(documents[0], [[["-inf", "False"]]] * 2 * len(documents[0].options))])
    assert import_log(handmade, file, tmp_path / "run").counts["failed"] == 1


def test_logs_that_cannot_be_used_say_why(handmade, make_handmade, documents, tmp_path):
    file = written(tmp_path, [scored(document, 0) for document in documents])
    with pytest.raises(InputDataError, match=r"another data set \(fingerprint ffffffffffff\) than .* \(fingerprint eeeeeeeeeeee\)"):
        import_log(make_handmade(fingerprint="e" * 64), file, tmp_path / "run")
    with pytest.raises(InputDataError, match="line 1: its document has no dataset and pair_id"):
        import_log(handmade, written(tmp_path, [sample({"question": "?"}, [])]), tmp_path / "run")
    with pytest.raises(InputDataError, match=r"line 1: 1 log-likelihoods, expected \d+: two for each option"):
        import_log(handmade, written(tmp_path, [sample(documents[0], [[["-1", "True"]]])]), tmp_path / "run")
    with pytest.raises(InputDataError, match=r"is answered twice \(2 such rows\)"):
        import_log(handmade, written(tmp_path, [scored(documents[0], 0)] * 2), tmp_path / "run")
    with pytest.raises(InputDataError, match="holds no samples"):
        import_log(handmade, written(tmp_path, []), tmp_path / "run", format="lm-eval")
    changed = documents[0].model_copy(update={"shown": [9, *documents[0].shown[1:]]})
    with pytest.raises(InputDataError, match="its options are not those of the data set"):
        import_log(handmade, written(tmp_path, [scored(changed, 0)]), tmp_path / "run")
    moved = documents[0].model_copy(update={"pair_id": "none"})
    with pytest.raises(InputDataError, match="none is no pair of the data set"):
        import_log(handmade, written(tmp_path, [scored(moved, 0)]), tmp_path / "run")
    unknown = sample(documents[0], [[["unknown", "False"]]] * 2 * len(documents[0].options))
    for wrong in (unknown, sample(documents_of(handmade, ("text",))[0], [])):
        with pytest.raises(InputDataError, match="line 1: its 'resps' are not what lm-evaluation-harness writes"):
            import_log(handmade, written(tmp_path, [wrong]), tmp_path / "run")
    file.write_text("{")
    with pytest.raises(InputDataError, match="line 1: not JSON"):
        import_log(handmade, file, tmp_path / "run", format="lm-eval")
    assert not (tmp_path / "run").exists()


def test_keys_in_the_settings_of_a_model_are_not_kept(handmade, documents, tmp_path):
    args = "pretrained=ORG/NAME,tokenizer=other,api_key=sk-SECRET,base_url=https://me:SECRET@host/v1,max_tokens=5"
    written(tmp_path / "out", [scored(document, 1) for document in documents])
    (tmp_path / "out" / f"results_{DATE}.json").write_text(json.dumps({"config": {"model": "api", "model_args": args}, "results": {}}))
    import_log(handmade, tmp_path / "out", tmp_path / "run")
    kept = load_run(tmp_path / "run").meta["respondent"]["decoding"]["args"]
    assert kept == "pretrained=ORG/NAME,tokenizer=other,base_url=https://host/v1,max_tokens=5"
    assert "SECRET" not in (tmp_path / "run" / "run.json").read_text()
    settings = {"temperature": 0.5, "extra_headers": {"Authorization": "Bearer SECRET"}, "extra_body": {"hf_token": "SECRET", "top_k": 3}}
    assert without_secrets(settings) == {"temperature": 0.5, "extra_body": {"top_k": 3}}


def test_a_folder_of_two_evaluations_asks_for_one(handmade, documents, tmp_path):
    for date in (DATE, "2026-03-02T10-00-00.000001"):
        written(tmp_path / "out", [scored(document, 0) for document in documents], date=date)
        (tmp_path / "out" / f"results_{date}.json").write_text(json.dumps({"results": {}}))
    with pytest.raises(InputDataError, match=r"holds 2 evaluations. Give the file results_\*.json of one of them"):
        import_log(handmade, tmp_path / "out", tmp_path / "run")
    result = import_log(handmade, tmp_path / "out" / f"results_{DATE}.json", tmp_path / "run")
    assert result.pairs == len(documents)


def test_other_files_are_no_logs(handmade, tmp_path):
    rows = tmp_path / "outputs.jsonl"
    rows.write_text('{"custom_id": "Q1_sex_Female", "response": "1"}\n')
    assert log_format_of(rows) is None
    with pytest.raises(InputDataError, match="no log of Inspect or lm-evaluation-harness"):
        import_log(handmade, rows, tmp_path / "run")
    with pytest.raises(UsageError, match="Did you mean 'lm-eval'"):
        import_log(handmade, rows, tmp_path / "run", format="lm_eval")
    assert import_run(handmade, rows, tmp_path / "run").pairs == 1


def test_the_command_recognises_a_log(handmade, documents, tmp_path):
    write_dataset(handmade, tmp_path / "data")
    file = written(tmp_path, [scored(document, 0) for document in documents])
    call = ["import", str(tmp_path / "data"), str(file), "-o", str(tmp_path / "run"), "--trained-on", "none"]
    result = CliRunner().invoke(make_app(), call)
    assert "9 answered, 0 refused" in result.stdout, result.output
    refused = CliRunner().invoke(make_app(), [*call, "--format", "lm-eval", "--id", "pair"])
    assert "leave out the other options that describe FILE" in str(refused.exception)
