"""Judges and readers of a study: loaded only while something is left to judge, within one cost limit."""

import shutil

import pytest

from tests.hosted.server import Act, Server, said
from tests.openended.protocol import Speaks, open_run, quality
from valuestrata.openended.files import load_judgements, load_stances
from valuestrata.openended.judging import left_of
from valuestrata.openended.pairwise.prompts import load_criteria
from valuestrata.responses.run.folder import STORE
from valuestrata.responses.run.store import FILE, spent_in
from valuestrata.responses.run.unsettled import UnsettledCalls
from valuestrata.study.config import OpenSection, Study
from valuestrata.study.context import StudyContext
from valuestrata.study.open_questions import judging

VALUE = load_criteria(["value"])


@pytest.fixture
def runs(handmade, tmp_path):
    return [open_run(handmade, tmp_path / "runs" / name, quality(name), f"fake:{name}") for name in ("alpha", "beta")]


class Judged:
    """Lets the judges of a section judge, again and again; `messages` are those of the last time."""

    def __init__(self, dataset, folder, runs):
        self.dataset, self.folder, self.runs = dataset, folder, runs
        self.messages, self.problems = [], []

    def run(self, **section):
        self.messages, self.problems = [], []
        study = Study.model_validate(
            {"name": "s", "output": str(self.folder), "survey": {"file": "x.csv"}, "models": ["openai-compatible/m"]}
        )
        context = StudyContext(study, self.dataset, None, self.messages.append, study.folder)
        opened = OpenSection.model_validate({"reference": "beta", **section})
        judging.check_judges(context, opened)
        return (
            judging.judge_pairs(context, opened, VALUE, self.runs, self.problems),
            judging.read_stances(context, opened, self.runs, self.problems),
        )

    @property
    def cost(self):
        return sum(spent_in(run / STORE) for run in [*self.folder.glob("judged/*"), *self.folder.glob("stances/judges/*")])


@pytest.fixture
def judged(handmade, tmp_path, runs):
    return Judged(handmade, tmp_path / "study", runs)


def test_a_local_judge_is_loaded_only_while_something_is_left_to_judge(judged, tmp_path, monkeypatch):
    loaded = []
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")

    def load(spec, dataset, *, settings, calls=True):
        loaded.append(spec)
        return Speaks(lambda prompt: "Verdict: tie" if prompt.template == "value" else "Answer: 1", spec)

    monkeypatch.setattr(judging, "make_respondent", load)
    section = {"judges": [f"hf:{model}"], "readers": [f"hf:{model}"]}
    first = judged.run(**section)
    assert (judged.problems, len(loaded)) == ([], 2)
    assert judged.run(**section) == first
    assert len(loaded) == 2, "all verdicts and stances are stored"
    assert [line for line in judged.messages if "already complete, skipped" in line] == [
        f"hf:{model} as judge: already complete, skipped"
    ] * 2
    (folder,), stances = first
    assert (load_judgements(folder).verdicts.height, load_stances(stances).stances.height) == (18, 18)
    shutil.rmtree(folder)
    judged.run(**section)
    assert len(loaded) == 3, "the verdicts were deleted, the stances were not"
    (folder / "responses.parquet").unlink()
    store = folder / STORE / FILE
    store.write_bytes(store.read_bytes().replace(b"Verdict: tie", b"verdict: tie", 2))
    judged.run(**section)
    assert len(loaded) == 4, "two stored verdicts are damaged"
    assert any("2 damaged lines" in line for line in judged.messages)
    assert load_judgements(folder).verdicts.height == 18
    shutil.rmtree(folder)
    (model / "config.json").write_text('{"changed": true}')
    judged.run(judges=section["judges"])
    assert len(loaded) == 5, "the model was changed"


def test_a_judge_that_did_not_finish_is_called_again(judged):
    failing = [True]

    def behave(request):
        return Act(status=400) if failing[0] and request.number % 2 else Act(document=said("Verdict: 1"))

    with Server(behave) as server:
        section = {"judges": [{"model": "openai-compatible/j", "base_url": server.url, "attempts": 1}]}
        judged.run(**section)
        assert len(judged.problems) == 1
        failing[0], before = False, len(server.log)
        judged.run(**section)
        assert (judged.problems, len(server.log) > before) == ([], True)
        before = len(server.log)
        judged.run(**section)
        assert len(server.log) == before


def test_one_cost_limit_applies_to_all_judges_and_readers(judged):
    with Server(lambda request: Act(document=said("Verdict: 1" if request.body["model"] == "j" else "Answer: 1"))) as server:

        def at(word):
            return {"model": f"openai-compatible/{word}", "base_url": server.url, "prices": [1000.0, 1000.0], "max_new_tokens": 4}

        section = {"judges": [at("j")], "readers": [at("r"), at("q")]}
        # 18 verdicts and two times 18 stances at .104 dollars. A call is not made if the most that it can cost is beyond the limit.
        for limit, calls in ((2.5, range(10, 25)), (3.5, range(20, 34)), (5.0, range(35, 49)), (20.0, range(54, 55))):
            for _ in range(2):
                judged.run(**section, max_cost=limit)
                assert judged.cost <= limit
                assert judged.cost == pytest.approx(0.104 * len(server.log))
            assert len(server.log) in calls
        assert judged.problems == []


def test_what_a_killed_judge_may_have_spent_counts_for_the_others(tmp_path):
    runs = [tmp_path / name for name in ("one", "two")]
    (runs[0] / STORE).mkdir(parents=True)
    assert left_of(2.0, runs[1], runs) == 2.0
    UnsettledCalls(runs[0] / STORE).add("key", 0.75)  # the process ends before the call is settled
    assert left_of(2.0, runs[1], runs) == pytest.approx(1.25)
    assert left_of(2.0, runs[0], runs) == 2.0, "the run itself counts its own calls"
    assert left_of(0.5, runs[1], runs) == 0.0


def test_a_judge_has_its_own_limit_within_that_of_all(judged):
    with Server(lambda request: Act(document=said("Verdict: 1" if request.body["model"] == "j" else "Answer: 1"))) as server:
        own = {"base_url": server.url, "prices": [1000.0, 1000.0], "max_new_tokens": 4}
        judge = {"model": "openai-compatible/j", "max_cost": 1.5, **own}
        judged.run(judges=[judge], readers=[{"model": "openai-compatible/r", **own}], max_cost=3.0)
    spent = [spent_in(folder / STORE) for folder in judged.folder.glob("judged/*")]
    assert 0 < spent[0] <= 1.5
    assert 1.5 < judged.cost <= 3.0
    assert sum("stopped" in line for line in judged.messages) == 2
