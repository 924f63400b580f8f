"""The asking loop: each prompt is answered once, and interrupted runs continue."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from tests.responses.asked import Each, Logged, Writes
from valuestrata.errors import InputDataError, RunFailedError, UsageError
from valuestrata.respondents.base import Answer, Respondent
from valuestrata.responses.ask import loop as asking
from valuestrata.responses.ask.loop import ask
from valuestrata.responses.ask.plan import select_pairs
from valuestrata.responses.run.folder import check_same_dataset, load_run
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.responses.run.store import FILE

ROOT = Path(__file__).resolve().parents[2]
TEST_PAIRS = 9


def by_pair(path):
    return {row["pair_id"]: row for row in load_run(path).responses.iter_rows(named=True)}


def test_the_respondents_of_these_tests_obey_the_protocol(tmp_path):
    assert all(isinstance(r, Respondent) for r in (Writes(), Each(), Logged(tmp_path / "log")))


def test_a_run_holds_every_pair_of_the_part_and_says_what_it_is(handmade, tmp_path):
    result = ask(handmade, Writes(), tmp_path / "run", elicitation="text")
    assert (result.asked, result.answered, result.left, result.failed) == (TEST_PAIRS, TEST_PAIRS, 0, 0)
    run = load_run(tmp_path / "run")
    assert run.name == "run"
    assert set(run.responses["pair_id"]) == set(handmade.part("paper", "test")["pair_id"])
    assert run.responses.schema == RESPONSES.empty().schema
    meta = run.meta
    assert meta["respondent"] == {"name": "fake:writes", "provider": "fake", "decoding": {"temperature": 0.0, "stop": ["a", "b"]}}
    assert meta["dataset"] == {"fingerprint": "f" * 64, "survey": "handmade"}
    assert meta["template"] == "default"
    assert meta["template_version"] == run.responses["template_version"][0]
    assert meta["counts"] == {"answered": TEST_PAIRS, "refused": 0, "unparsed": 0, "invalid_code": 0, "failed": 0}
    assert meta["plan"] == {
        "split": "paper",
        "part": "test",
        "fold": None,
        "items": [],
        "strata": [],
        "orders": ["scale"],
        "paraphrases": [0],
        "seeds": [],
        "samples": 1,
    }
    assert {"versions", "python", "started", "finished"} <= set(meta)
    assert str(tmp_path) not in (tmp_path / "run" / "run.json").read_text()


def test_text_is_read_in_the_numbers_that_were_printed(handmade, tmp_path):
    ask(handmade, Writes("Answer: 1"), tmp_path / "run", elicitation="text", orders="scale,reversed", items=["Q1", "spend"])
    found = {(row["item"], row["order"], row["answer"]) for row in load_run(tmp_path / "run").responses.iter_rows(named=True)}
    # spend has the codes -1, 0, 1 and prints 1, 2, 3; reversed lists print 1..K from the other end.
    assert found == {("Q1", "scale", 1), ("Q1", "reversed", 4), ("spend", "scale", -1), ("spend", "reversed", 1)}


def test_refusals_essays_and_wrong_numbers_are_results(handmade, tmp_path):
    texts = {"Q1": "I'm sorry, but I can't answer that.", "Q182": "", "spend": "Answer: 9"}
    result = ask(handmade, Writes(lambda prompt: texts[prompt.item]), tmp_path / "run", elicitation="text")
    assert dict(result.counts) == {"answered": 0, "refused": 3, "unparsed": 3, "invalid_code": 3, "failed": 0}
    assert result.left == 0
    again = Writes()
    ask(handmade, again, tmp_path / "run", elicitation="text")
    assert again.asked == []


def test_probabilities_are_kept_in_scale_order_and_the_likeliest_code_is_the_answer(handmade, tmp_path):
    def says(prompt):
        # .4 and .4 for codes 1 and 0, wherever they stand; the rest for -1.
        probability = {1: 0.4, 0: 0.4, -1: 0.2}
        return Answer(prompt, option_probs=tuple(probability[code] for code in prompt.shown), option_mass=0.9)

    orders = ",".join(["scale", "reversed", *(f"shuffled:{seed}" for seed in range(5))])
    ask(handmade, Writes(says), tmp_path / "run", items=["spend"], orders=orders)
    responses = load_run(tmp_path / "run").responses
    assert responses.height == 3 * 7
    assert responses["shown"].n_unique() > 2
    assert responses["option_probs"].to_list() == [[0.2, 0.4, 0.4]] * 21
    assert set(responses["answer"]) == {0}
    assert set(responses["option_mass"]) == {0.9}


@pytest.mark.parametrize(
    "given", [{"option_probs": (0.5, 0.5)}, {"option_probs": (0.5, 0.6, 0.5)}, {"option_probs": (float("nan"), 0.5, 0.5)}, {}]
)
def test_an_answer_that_is_none_has_failed(handmade, tmp_path, given):
    good = [True]

    def says(prompt):
        return Answer(prompt, text="1") if good and good.pop() else Answer(prompt, **given)

    result = ask(handmade, Writes(says), tmp_path / "run", items=["spend"])
    assert (result.answered, result.failed, result.left) == (1, 2, 2)
    assert len(result.failures) == 1


def test_failures_are_counted_by_kind_and_asked_again(handmade, tmp_path):
    errors = {"Q1": "RateLimit: slow down 7", "Q182": "Timeout: 30 s"}

    def says(prompt):
        error = errors.get(prompt.item)
        return Answer(prompt, error=error, attempts=5) if error else "Answer: 2"

    result = ask(handmade, Writes(says), tmp_path / "run", elicitation="text", strata=["age_x_ethnicity"])
    assert (result.answered, result.failed, result.left) == (2, 4, 4)
    assert dict(result.failures) == {"RateLimit": 2, "Timeout": 2}
    rows = load_run(tmp_path / "run").responses.filter(status="failed")
    assert rows["answer"].null_count() == 4
    assert rows["attempts"].to_list() == [5] * 4
    retried = Writes()
    result = ask(handmade, retried, tmp_path / "run", elicitation="text", strata=["age_x_ethnicity"])
    assert {prompt.item for prompt in retried.asked} == {"Q1", "Q182"}
    assert (result.asked, result.kept, result.answered, result.failed, result.left) == (4, 2, 6, 0, 0)


def test_a_run_in_which_nothing_succeeded_is_an_error_that_says_why(handmade, tmp_path):
    with pytest.raises(RunFailedError, match=r"no call succeeded; 9 failed: 9 x NotFound: no model 'gpt-5o'") as caught:
        ask(handmade, Writes(lambda p: Answer(p, error="NotFound: no model 'gpt-5o'")), tmp_path / "run", elicitation="text")
    assert caught.value.exit_code == 4
    assert load_run(tmp_path / "run").responses["status"].to_list() == ["failed"] * 9


def test_a_respondent_that_always_fails_is_not_asked_to_the_end(handmade, tmp_path):
    hopeless = Writes(lambda prompt: Answer(prompt, error="NotFound: no such model"))
    with pytest.raises(RunFailedError, match="The rest was not asked"):
        ask(handmade, hopeless, tmp_path / "run", elicitation="text", samples=100)
    assert len(hopeless.asked) == asking.FAILURES_BEFORE_STOPPING


def test_a_prompt_that_gets_no_answer_has_failed(handmade, tmp_path):
    class Forgets(Writes):
        def answer(self, prompts):
            yield from super().answer(prompts[:-1])

    result = ask(handmade, Forgets(), tmp_path / "run", elicitation="text")
    assert (result.answered, result.failed, result.left) == (TEST_PAIRS - 1, 1, 1)


def test_max_calls_stops_and_says_what_is_left(handmade, tmp_path):
    kept = set()
    for asked, left in ((4, 5), (4, 1), (1, 0), (0, 0)):
        respondent = Writes()
        result = ask(handmade, respondent, tmp_path / "run", elicitation="text", max_calls=4)
        assert (result.asked, result.left) == (asked, left)
        keys = {prompt.key for prompt in respondent.asked}
        assert not keys & kept
        kept |= keys
    assert len(kept) == TEST_PAIRS


def test_a_run_may_grow_by_items_orders_and_samples_and_asks_nothing_twice(handmade, tmp_path):
    respondent = Writes()
    for settings in ({"items": ["Q1"]}, {}, {"orders": "scale,shuffled:0,shuffled:1"}, {"samples": 2}, {"part": "all"}):
        result = ask(handmade, respondent, tmp_path / "run", elicitation="text", **settings)
        assert result.left == 0
    assert len({prompt.key for prompt in respondent.asked}) == len(respondent.asked) == TEST_PAIRS * 4 + 9
    meta = load_run(tmp_path / "run").meta
    assert meta["plan"]["part"] == "all"
    assert [plan["items"] for plan in meta["earlier_plan"]] == [["Q1"], [], [], []]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"respondent": Writes(name="fake:other")}, "respondent.name 'fake:writes', and now it would be 'fake:other'"),
        ({"respondent": Writes(revision="2")}, "respondent.revision None"),
        ({"respondent": Writes(decoding={"temperature": 1.0, "stop": ("a", "b")})}, "respondent.decoding.temperature 0.0"),
        ({"template": "second-person"}, "template 'default'"),
        ({"elicitation": "logprob"}, "elicitation 'text'"),
        ({"dataset": "other"}, "dataset.fingerprint"),
    ],
)
def test_another_identity_in_the_same_folder_is_refused(handmade, make_handmade, tmp_path, change, field):
    ask(handmade, Writes(), tmp_path / "run", elicitation="text")
    before = {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()}
    dataset = make_handmade(fingerprint="e" * 64) if "dataset" in change else handmade
    settings = {"elicitation": "text"} | {key: value for key, value in change.items() if key in ("template", "elicitation")}
    with pytest.raises(InputDataError, match=field):
        ask(dataset, change.get("respondent", Writes()), tmp_path / "run", **settings)
    assert {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()} == before


def test_a_run_of_another_data_set_is_refused(handmade, make_handmade, tmp_path):
    ask(handmade, Writes(), tmp_path / "run", elicitation="text")
    run = load_run(tmp_path / "run")
    check_same_dataset(run, handmade)
    with pytest.raises(InputDataError, match="another data set"):
        check_same_dataset(run, make_handmade(fingerprint="e" * 64))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"items": ["Q2"]}, UsageError, "no item 'Q2'. Did you mean 'Q182'|no item 'Q2'"),
        ({"strata": ["sex_age"]}, UsageError, "Did you mean 'sex_x_age'"),
        ({"split": "papers"}, UsageError, "no split 'papers'. Did you mean 'paper'"),
        ({"part": "tests"}, UsageError, "Did you mean 'test'"),
        ({"part": "validation"}, InputDataError, "no pairs to ask"),
        ({"strata": ["sex"]}, InputDataError, "no pairs to ask of sex"),
        ({"template": "defualt"}, UsageError, "Did you mean 'default'"),
        ({"orders": "random"}, UsageError, "no option order"),
        ({"samples": 0}, UsageError, "samples is 0"),
        ({"elicitation": "distribution"}, UsageError, "stated-distribution"),
        ({"max_calls": -1}, UsageError, "max_calls"),
    ],
)
def test_a_wrong_call_is_refused_before_anything_is_written(handmade, tmp_path, settings, error, message):
    with pytest.raises(error, match=message):
        ask(handmade, Writes(), tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_no_run_is_left_alone(handmade, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputDataError, match="is not a run"):
        ask(handmade, Writes(), tmp_path, elicitation="text")
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(InputDataError, match="no run here"):
        load_run(tmp_path)


def test_pairs_are_selected_once_each(handmade):
    doubled = replace(handmade, splits=pl.concat([handmade.splits, handmade.splits.with_columns(fold=pl.lit(1, pl.Int32))]))
    assert select_pairs(doubled, "paper", "test").height == TEST_PAIRS
    assert select_pairs(doubled, "paper", "test", items=["Q1"], strata=["age_x_ethnicity"]).height == 2


def test_one_fold_is_asked_and_a_pair_of_several_folds_once(handmade, tmp_path):
    young = handmade.splits.filter(pl.col("subgroup").str.contains("16-24"), part="test")
    folds = [handmade.splits.with_columns(scheme=pl.lit("unseen-level"))]
    folds.append(young.with_columns(scheme=pl.lit("unseen-level"), fold=pl.lit(1, pl.Int32)))
    folded = replace(handmade, splits=pl.concat([handmade.splits, *folds]))
    respondent = Writes()
    result = ask(folded, respondent, tmp_path / "run", split="unseen-level", fold=1, elicitation="text")
    assert (result.asked, result.left) == (3, 0)
    assert {prompt.subgroup for prompt in respondent.asked} == set(young["subgroup"])
    assert load_run(tmp_path / "run").meta["plan"]["fold"] == 1
    # All folds go into the same run, and what the first has asked is not asked again.
    result = ask(folded, respondent, tmp_path / "run", split="unseen-level", elicitation="text")
    assert (result.asked, result.kept, result.left) == (TEST_PAIRS - 3, 3, 0)
    with pytest.raises(UsageError, match=r"Split 'unseen-level' has no fold 7. Available folds: 0, 1"):
        ask(folded, Writes(), tmp_path / "other", split="unseen-level", fold=7, elicitation="text")


def test_splits_with_halves_ask_the_pairs_of_both_halves_once(handmade):
    halves = [handmade.gold.with_columns(half=pl.lit(half)) for half in "AB"]
    small = halves[1].with_columns(n_eff=pl.when(pl.col("item") == "spend").then(0.5).otherwise(pl.col("n_eff")))
    meta = {**handmade.meta, "settings": {"min_valid": 1}}
    made = replace(handmade, gold=pl.concat([handmade.gold, halves[0], small]), meta=meta)
    expected = select_pairs(handmade, "paper", "test").filter(pl.col("item") != "spend")
    for split, fold in (("paper+disjoint", 0), ("paper+crossfit", None), ("paper+crossfit", 1)):
        asked = select_pairs(made, split, "test", fold)
        assert asked.select("pair_id", "item", "subgroup").equals(expected.select("pair_id", "item", "subgroup"))


# --- baselines: answers that are chosen, several a prompt ----------------------------------------------------------------


def test_a_respondent_may_answer_a_prompt_with_several_samples(handmade, tmp_path):
    result = ask(handmade, Each(), tmp_path / "run")
    assert (result.asked, result.left, result.answered) == (TEST_PAIRS, 0, 3 * (4 + 10 + 3))
    responses = load_run(tmp_path / "run").responses.filter(item="spend", subgroup="age_x_ethnicity_16-24-years_SG:-Malay")
    assert responses.sort("sample").select("sample", "answer").rows() == [(0, -1), (1, 0), (2, 1)]
    assert set(responses["elicitation"]) == {"logprob"}
    again = Each()
    assert ask(handmade, again, tmp_path / "run").asked == 0


def test_chosen_answers_cover_every_sample_that_was_asked(handmade, tmp_path):
    class One(Writes):
        def answer(self, prompts):
            for prompt in prompts:
                yield Answer(replace(prompt, sample=0), choice=prompt.shown[0])

    result = ask(handmade, One(), tmp_path / "run", samples=3)
    assert (result.answered, result.failed, result.left) == (TEST_PAIRS, 0, 0)


def test_several_samples_cut_short_are_all_there_after_resuming(handmade, tmp_path):
    ask(handmade, Each(), tmp_path / "whole")
    lines = (tmp_path / "whole" / "store" / FILE).read_bytes().splitlines(keepends=True)
    for kept in range(0, len(lines), 5):
        (tmp_path / "cut" / "store").mkdir(parents=True, exist_ok=True)
        (tmp_path / "cut" / "store" / FILE).write_bytes(b"".join(lines[:kept]))
        ask(handmade, Each(), tmp_path / "cut")
        assert load_run(tmp_path / "cut").responses.equals(load_run(tmp_path / "whole").responses)


def test_a_choice_outside_the_item_is_an_invalid_code(handmade, tmp_path):
    result = ask(handmade, Writes(lambda prompt: Answer(prompt, choice=77)), tmp_path / "run")
    assert result.counts["invalid_code"] == TEST_PAIRS


def test_an_answer_to_what_was_not_asked_is_a_defect(handmade, tmp_path):
    with pytest.raises(ValueError, match="was not asked"):
        ask(handmade, Writes(lambda prompt: Answer(replace(prompt, pair_id="x"), choice=1)), tmp_path / "run")


# --- stopped and resumed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError("cable"), InputDataError("the key has expired")])
def test_the_table_is_written_whatever_ends_the_run(handmade, tmp_path, stop):
    def says(prompt, count=[0]):  # noqa: B006 - a counter
        count[0] += 1
        if count[0] == 5:
            raise stop
        return "Answer: 2"

    with pytest.raises(stop if isinstance(stop, type) else type(stop)):
        ask(handmade, Writes(says), tmp_path / "run", elicitation="text")
    assert pl.read_parquet(tmp_path / "run" / "responses.parquet").height == 4
    respondent = Writes()
    assert ask(handmade, respondent, tmp_path / "run", elicitation="text").asked == 5
    assert by_pair(tmp_path / "run").keys() == set(handmade.part("paper", "test")["pair_id"])


def started(out, log, seconds):
    code = f"""
from pathlib import Path
from tests.conftest import build_handmade
from tests.responses.asked import Logged
from valuestrata.responses.ask.loop import ask
ask(build_handmade(), Logged(Path({str(log)!r}), {seconds}), Path({str(out)!r}), elicitation="text", samples=20)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def calls(log):
    return [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


@pytest.mark.slow
def test_killed_at_any_moment_a_run_goes_on_and_asks_nothing_answered_again(handmade, tmp_path):
    out, log = tmp_path / "run", tmp_path / "log"
    planned = TEST_PAIRS * 20
    for stop_after in (1, 40, 41, 90):
        process = started(out, log, 0.004)
        wait_for(lambda after=stop_after: len(calls(log)) >= after)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
        assert len(calls(log)) < planned
    if not (out / "responses.parquet").exists():
        # Killed before a table was written: the store is read.
        assert load_run(out).responses.height > 0
    result = ask(handmade, Logged(log), out, elicitation="text", samples=20)
    assert (result.answered, result.left, result.failed) == (planned, 0, 0)
    # A kill may fall between a call and its line in the store: that one call, and no other, is made again.
    asked = calls(log)
    assert planned <= len(asked) <= planned + 4
    assert len(set(asked)) == planned
    ask(handmade, Logged(tmp_path / "other"), tmp_path / "undisturbed", elicitation="text", samples=20)
    assert load_run(out).responses.equals(load_run(tmp_path / "undisturbed").responses)


@pytest.mark.slow
def test_a_second_process_on_a_run_is_refused(handmade, tmp_path):
    out, log = tmp_path / "run", tmp_path / "log"
    first = started(out, log, 0.05)
    try:
        wait_for(lambda: len(calls(log)) >= 1)
        respondent = Writes()
        with pytest.raises(InputDataError, match=r"respondent\.|another process"):
            ask(handmade, Writes(name="fake:other"), out, elicitation="text")
        with pytest.raises(UsageError, match=f"id {first.pid}"):
            ask(handmade, respondent, out, elicitation="text", samples=20)
        assert respondent.asked == []
    finally:
        first.kill()
        first.wait()
        first.stderr.close()
    assert ask(handmade, Writes(), out, elicitation="text", samples=20).left == 0


def test_killed_once_a_run_continues_from_its_store(handmade, tmp_path):
    out, log = tmp_path / "run", tmp_path / "log"
    process = started(out, log, 0.05)
    wait_for(lambda: len(calls(log)) >= 4)
    process.kill()
    process.wait()
    process.stderr.close()
    kept = load_run(out).responses.height
    assert 3 <= kept < TEST_PAIRS * 20
    result = ask(handmade, Logged(log), out, elicitation="text", samples=20)
    assert (result.kept, result.left, result.failed) == (kept, 0, 0)
    # Only a call in flight at the kill is repeated.
    assert len(set(calls(log))) == TEST_PAIRS * 20
    assert len(calls(log)) <= TEST_PAIRS * 20 + 1


def test_a_finished_run_is_not_written_again(handmade, tmp_path):
    ask(handmade, Writes(), tmp_path / "run", elicitation="text")
    table = tmp_path / "run" / "responses.parquet"
    before = table.stat().st_mtime_ns
    ask(handmade, Writes(), tmp_path / "run", elicitation="text")
    assert table.stat().st_mtime_ns == before
    table.write_bytes(b"broken")
    ask(handmade, Writes(), tmp_path / "run", elicitation="text")
    assert load_run(tmp_path / "run").responses.height == TEST_PAIRS


@pytest.mark.parametrize("asks", [4, 9])
def test_a_disk_too_full_for_the_table_loses_no_answer(handmade, tmp_path, monkeypatch, asks):
    """The table cannot be written at the end of the run, or after another error."""
    real, model = pl.DataFrame.write_parquet, Writes()
    if asks < 9:
        model.text = lambda prompt: 1 / 0 if len(model.asked) > asks else "Answer: 2"
    with monkeypatch.context() as full:
        full.setattr(pl.DataFrame, "write_parquet", lambda self, _file, **how: real(self, "/dev/full", **how))
        if asks < 9:
            with pytest.raises(ZeroDivisionError):
                ask(handmade, model, tmp_path / "run", elicitation="text")
        else:
            with pytest.raises(RunFailedError, match=r"responses\.parquet: could not be written .*All answers are kept in .*; free disk"):
                ask(handmade, model, tmp_path / "run", elicitation="text")
    assert load_run(tmp_path / "run").responses.height == asks
    again = ask(handmade, Writes(), tmp_path / "run", elicitation="text")
    assert (again.kept, again.asked, again.left) == (asks, 9 - asks, 0)


def test_prompts_are_handed_over_in_chunks(handmade, tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "CHUNK", 4)
    sizes = []

    class Counts(Writes):
        def answer(self, prompts):
            sizes.append(len(prompts))
            yield from super().answer(prompts)

    respondent = Counts()
    result = ask(handmade, respondent, tmp_path / "run", elicitation="text")
    assert sizes == [4, 4, 1]
    assert (result.asked, result.left) == (TEST_PAIRS, 0)
    subgroups = [prompt.subgroup for prompt in respondent.asked]
    assert subgroups == sorted(subgroups, key=subgroups.index)
