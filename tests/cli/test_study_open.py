"""A study with open questions, against a local server."""

import polars as pl
import pytest
import yaml

from tests.hosted.server import Act, Server, problem
from tests.openended.protocol import speaks_and_judges
from valuestrata.errors import InputDataError, UsageError
from valuestrata.openended.files import load_judgements, load_stances
from valuestrata.responses.run.folder import load_run
from valuestrata.study import run_study
from valuestrata.study.config import load_study

pytest.importorskip("openai", reason="needs the extra `api`")


def talks(request):
    """Answer as the model: `judge` compares, `reader` reads stances, `gone` does not exist, others answer questions."""
    content, model = request.body["messages"][-1]["content"], request.body["model"]
    if model == "gone":
        return Act(status=404, document=problem("The model does not exist", "model_not_found"))
    assert ("Verdict:" in content) == (model == "judge")
    assert ("Takes no stance" in content) == (model == "reader")
    return speaks_and_judges()(request)


@pytest.fixture
def server(monkeypatch):
    for name in ("OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "OPENAI_COMPATIBLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with Server(talks) as running:
        yield running


@pytest.fixture
def study(tiny, server):
    """A function that writes a study of models on the server and reads it; `openly` is its section `open`."""

    def written(openly, *models, judge="judge", **sections):
        def at(word, **more):
            return {"model": f"openai-compatible/{word}", "base_url": server.url, "attempts": 1, **more}

        if isinstance(openly, dict) and "reference" in openly:
            openly = {"judges": [at(judge)], "readers": [at("reader")], **openly}
        document = {
            "name": "spoken",
            "output": "out",
            "survey": {"file": "tiny.csv", "codebook": "tiny.yaml"},
            "build": {"draws": 20},
            "ask": {"elicitation": "text"},
            "models": [at(name, name=name) if not name.startswith("baseline:") else name for name in models],
            "score": {"bootstrap": 20, "baselines": "uniform"},
            "open": openly,
            **sections,
        }
        (tiny / "study.yaml").write_text(yaml.safe_dump(document))
        return load_study(tiny / "study.yaml")

    return written


def test_open_questions_are_complete_and_their_repetition_does_nothing(study, server):
    messages = []
    spoken = study({"reference": "gpt", "pairs_per_item": 2, "max_new_tokens": 60}, "base", "gpt", "baseline:item-mode")
    found = run_study(spoken, say=messages.append)
    assert found.problems == []
    folder = spoken.folder / "open"
    assert sorted(path.name for path in (folder / "runs").iterdir()) == ["base", "gpt"]
    base, gpt = (load_run(folder / "runs" / name, closed=False).responses for name in ("base", "gpt"))
    items = found.dataset.items.height
    assert set(base["pair_id"]) == set(gpt["pair_id"])
    assert base.group_by("item").len()["len"].max() == 2
    assert base.height <= 2 * items
    assert {request.body["max_tokens"] for request in server.log} >= {60}
    verdicts = load_judgements(folder / "judged" / "openai-compatible-judge").verdicts
    # Three criteria in both orders.
    assert verdicts.height == 6 * base.height
    stances = load_stances(folder / "stances").stances
    assert set(stances["run"]) == {"base", "gpt"}
    assert stances.height == 2 * base.height
    page = (folder / "open.html").read_text()
    assert "spoken: open answers" in page
    agreement = pl.read_csv(folder / "open-tables" / "closed_against_open.csv")
    same = agreement.filter((pl.col("metric") == "same") & (pl.col("by") == "all"))
    assert dict(same.select("run", "value").iter_rows()) == {"base": 1.0, "gpt": 1.0}
    assert 'href="open/open.html"' in (spoken.folder / "report.html").read_text()
    before = len(server.log)
    again = run_study(load_study(spoken.folder / "study.yaml"))
    assert len(server.log) == before
    assert again.open is not None
    assert all(one.skipped for one in again.open.asked)


def test_open_true_asks_without_judges(study, server):
    found = run_study(study(True, "base", "gpt"))
    folder = found.report.parent / "open"
    assert found.open is not None
    assert (found.open.judged, found.open.stances) == ((), None)
    assert not (folder / "judged").exists()
    assert (folder / "open.html").is_file()
    assert not any("Verdict:" in request.body["messages"][-1]["content"] for request in server.log)


def test_an_unreachable_judge_is_reported_and_the_stances_are_audited(study):
    openly, audit = {"reference": "gpt", "pairs_per_item": 1, "criteria": ["value"]}, {"against": "base", "permutations": 20}
    found = run_study(study(openly, "base", "gpt", judge="gone", audit=audit))
    assert len(found.problems) == 1
    assert "openai-compatible/gone as judge" in found.problems[0]
    assert found.open is not None
    assert found.open.judged == ()
    assert found.open.stances is not None
    assert found.open.report is not None
    folder = found.open.stances.parent / "audit"
    assert found.open.audit == folder / "audit.html"
    assert set(pl.read_parquet(folder / "groups.parquet")["run"]) >= {
        f"{name} read by openai-compatible/reader" for name in ("base", "gpt")
    }
    changes = pl.read_parquet(folder / "changes.parquet")
    assert set(changes.select("run", "against").rows()) == {
        ("gpt read by openai-compatible/reader", "base read by openai-compatible/reader")
    }
    assert 'href="open/audit/audit.html"' in found.report.read_text()
    assert set(pl.read_parquet(folder.parent.parent / "audit" / "changes.parquet")["against"]) == {"base"}


def test_an_unreachable_model_is_reported(study):
    found = run_study(study({"reference": "gone", "pairs_per_item": 1}, "base", "gone"))
    assert any("nothing was judged: gone has no open answers" in problem for problem in found.problems)
    assert found.open is not None
    assert found.open.report is not None


@pytest.mark.parametrize(
    ("openly", "message"),
    [
        ({"reference": "gtp"}, "open.reference names the run 'gtp'.*Did you mean 'gpt'"),
        ({"models": ["basis"]}, "open.models names 'basis'.*Did you mean 'base'"),
        ({"reference": "gpt", "criteria": ["valeu"]}, "no criterion 'valeu'.*'value'"),
        ({"topics": ["Nothing"]}, "Nothing"),
        ({"readers": ["embeded"]}, "embeded"),
    ],
)
def test_unknown_names_are_refused_before_the_first_call(study, server, openly, message):
    with pytest.raises(UsageError, match=f"(?s){message}"):
        run_study(study(openly, "base", "gpt"))
    assert server.log == []


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"open": {"judges": ["embedded"]}}, "name one of the study's runs under `reference`"),
        ({"open": {"reference": "base"}}, "name a model under `judges`"),
        ({"open": {"readers": ["embedded", "embedded"]}}, "`readers` names 'embedded' more than once"),
    ],
)
def test_contradictions_are_refused_on_reading(study, sections, message):
    with pytest.raises(InputDataError, match=message):
        study(True, "base", **sections)


def test_a_cost_limit_of_unknown_price_is_refused_before_the_first_call(study, server):
    with pytest.raises(UsageError, match=r"openai-compatible/judge as judge: the price of openai-compatible/judge is not known"):
        run_study(study({"reference": "gpt", "max_cost": 1.0}, "base", "gpt"))
    with pytest.raises(UsageError, match=r"MODEL 'embedded' is free; its max_cost does not apply"):
        run_study(study({"readers": [{"model": "embedded", "max_cost": 1.0}]}, "base", "gpt"))
    assert server.log == []


def test_open_questions_need_a_language_model(study):
    with pytest.raises(UsageError, match="needs language models, and the study has none"):
        run_study(study(True, "baseline:item-mode"))
