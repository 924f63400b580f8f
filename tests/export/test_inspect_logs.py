"""Logs of Inspect that cannot be imported, and outputs that are no answers. tests/cli/test_harnesses.py imports logs of evaluations."""

import importlib.util
from datetime import UTC, datetime

import pytest

from valuestrata.errors import InputDataError, MissingExtraError
from valuestrata.export.harness.documents import documents_of
from valuestrata.export.harness.harness_log import import_log, log_format_of
from valuestrata.responses.run.folder import load_run

pytest.importorskip("inspect_ai", reason="needs the extra `inspect`")
# Importing Inspect takes seconds.
pytestmark = pytest.mark.slow
NOW = datetime(2026, 3, 1, tzinfo=UTC).isoformat()


@pytest.fixture
def written(handmade, tmp_path):
    """Write a log of one sample for each (document, sample's other fields)."""
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSample, EvalSpec, write_eval_log
    from inspect_ai.model import ChatMessageUser, ModelOutput

    from valuestrata.export.harness.inspect_task import DOCUMENT

    def write(fields, name="log.eval", status="success", documents=None, **more):
        asked = documents or documents_of(handmade, ("text",))
        samples = []
        for place, given in enumerate(fields):
            document = asked[place].model_dump()
            messages = [ChatMessageUser(content=message["content"]) for message in document.pop("messages")]
            plain = {"id": asked[place].pair_id, "epoch": 1, "input": messages, "messages": messages, "target": "1"}
            output = ModelOutput.from_content("mockllm/model", given.pop("text", "Answer: 1"), given.pop("stop_reason", "stop"))
            samples.append(EvalSample(**{**plain, "output": output, "metadata": {DOCUMENT: document}, **given}))
        spec = EvalSpec(created=NOW, task="valuestrata/survey", dataset=EvalDataset(), model="mockllm/model", config=EvalConfig())
        write_eval_log(EvalLog(status=status, eval=spec, samples=samples, **more), str(tmp_path / name))
        return tmp_path / name

    return write


def test_failed_samples_and_outputs_without_text_are_recorded(handmade, written, tmp_path):
    from inspect_ai.log import EvalError
    from inspect_ai.model import ModelOutput

    error = EvalError(message="RateLimitError: slow down\nmore", traceback="", traceback_ansi="")
    cut = {"text": "Well, I would say that", "stop_reason": "max_tokens"}
    withheld = {"text": "", "stop_reason": "content_filter"}
    log = written([{"error": error}, {"output": ModelOutput(model="m", error="blocked")}, cut, withheld, {"epoch": 1}])
    import_log(handmade, log, tmp_path / "run")
    run = load_run(tmp_path / "run")
    found = {row["pair_id"]: (row["status"], row["error"]) for row in run.responses.iter_rows(named=True)}
    rows = [found[document.pair_id] for document in documents_of(handmade, ("text",))[:5]]
    assert rows[:2] == [("failed", "RateLimitError: slow down"), ("failed", "blocked")]
    assert rows[2][0] == "unparsed"
    assert "cut off before it was finished" in rows[2][1]
    assert rows[3][0] == "refused"
    assert rows[4] == ("answered", None)
    assert run.meta["respondent"] == {"name": "mockllm/model", "model": "mockllm/model", "decoding": {}, "provider": "imported"}


def test_epochs_are_samples(handmade, written, tmp_path):
    document = documents_of(handmade, ("text",))[0]
    log = written([{}, {"epoch": 2, "text": "Answer: 2"}], documents=[document, document])
    import_log(handmade, log, tmp_path / "run")
    assert load_run(tmp_path / "run").responses.select("sample", "answer").rows() == [(0, 1), (1, 2)]


def test_logs_that_cannot_be_used_say_why(handmade, make_handmade, written, tmp_path):
    from inspect_ai.log import EvalError

    def refused(log, message, dataset=handmade):
        with pytest.raises(InputDataError, match=message):
            import_log(dataset, log, tmp_path / "run")
        assert not (tmp_path / "run").exists()

    error = EvalError(message="the server is down", traceback="", traceback_ansi="")
    refused(written([{}], status="error", error=error), r"has status 'error': the server is down. Finish it with `inspect eval-retry")
    refused(written([{}], status="cancelled"), "has status 'cancelled'. Finish it")
    refused(written([{"metadata": {}}]), "it has no metadata of valuestrata, so its pair is not known")
    refused(written([{}]), "these answers are to another data set", make_handmade(fingerprint="e" * 64))
    refused(written([]), "the log holds no samples")
    (tmp_path / "broken.eval").write_bytes(b"PK no zip")
    refused(tmp_path / "broken.eval", "not a readable log of Inspect")
    refused(tmp_path / "absent.eval", "the file does not exist")


def test_json_logs_are_recognised(written, tmp_path):
    assert log_format_of(written([{}], name="log.json")) == "inspect"
    (tmp_path / "other.json").write_text('[{"custom_id": "a", "response": "1"}]')
    assert log_format_of(tmp_path / "other.json") is None


def test_without_inspect_the_message_names_the_extra(handmade, written, tmp_path, monkeypatch):
    log = written([{}])
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "inspect_ai" else real(name, *rest))
    with pytest.raises(MissingExtraError, match=r'pip install "valuestrata\[inspect\]"'):
        import_log(handmade, log, tmp_path / "run")
