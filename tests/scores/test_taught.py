"""What a run was trained on, compared with what it is scored on."""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import polars as pl
import pytest

from tests.core.people import attribute, item, random_survey, survey
from tests.tuning.planted import planted
from valuestrata.building import BuildSettings, build
from valuestrata.dataset.training_source import Overlap, TrainedPairs, TrainingSource, pooled_source, source_of, stated_source, untrained
from valuestrata.errors import InputDataError, UsageError
from valuestrata.respondents.baselines import make_baseline
from valuestrata.scores.train_test_overlap import training_overlap, training_warnings

SETTINGS = BuildSettings(min_respondents=20, min_valid=5, draws=20, share_draws=2)


@cache
def built(**changes):
    """The data set of one survey, with other settings."""
    return build(random_survey(300, seed=5), replace(SETTINGS, **changes))


@pytest.fixture(scope="module")
def people():
    return planted()


def run(name, pairs, taught=None, *, control=False, provider="transformers", survey=None):
    model = {"name": "hf:M", "provider": provider, "adapter_hash": None if provider == "imported" else "a"}
    model |= {} if taught is None else {"taught_on": taught}
    respondent = {"name": "control:no-persona@hf:M", "provider": "control", "control": "no-persona", "of": model} if control else model
    meta = {"respondent": respondent} | ({} if survey is None else {"training_data": {"survey": survey}})
    return SimpleNamespace(name=name, meta=meta, responses=pairs.select("pair_id"))


def old(dataset, *, split="paper", fold=None, fingerprint=None):
    """A record of an earlier version."""
    return {"dataset": fingerprint or dataset.fingerprint, "split": split, "fold": fold, "control": None}


def record(dataset, *, split="paper", fold=None, half="all"):
    return source_of(dataset, dataset.part(split, "train", fold), split=split, fold=fold, halves=(half,), method="tune:modal")


def found(dataset, one, split="paper", part="test", fold=None) -> Overlap:
    return training_overlap(dataset, [one], split=split, part=part, fold=fold)[one.name]


@pytest.mark.parametrize("control", [False, True])
@pytest.mark.parametrize("make", [old, record])
def test_the_share_is_that_of_its_own_pairs_which_were_trained(people, make, control):
    test, every = people.part("paper", "test"), people.part("paper", "all").unique("pair_id")
    trained = people.part("paper", "train")["pair_id"].unique()
    of_test = found(people, run("m", test, make(people), control=control), part="all")
    assert (of_test.relation, of_test.tested, of_test.voids) == ("here", 0.0, False)
    of_all = found(people, run("m", every, make(people), control=control), part="all")
    assert (of_all.tested, of_all.pairs) == (pytest.approx(len(trained) / every.height), every.height)
    assert of_all.voids


def test_runs_without_survey_data_and_runs_without_a_record(people):
    every = people.part("paper", "all").unique("pair_id")
    plain = SimpleNamespace(name="m", meta={"respondent": {"name": "hf:M", "provider": "transformers"}}, responses=every)
    hosted = SimpleNamespace(name="m", meta={"respondent": {"provider": "openai", "model": "ft:gpt-4.1-mini:acme::A"}}, responses=every)
    for split in ("paper", "paper+disjoint"):
        assert found(people, plain, split, "all") == Overlap("none", pairs=every.height)
        assert found(people, run("m", every, untrained(), provider="imported"), split, "all").relation == "none"
        for unknown in (run("m", every), run("m", every, provider="imported"), hosted):
            assert found(people, unknown, split, "all") == Overlap("unknown", pairs=every.height)
    assert found(people, SimpleNamespace(name="m", responses=every), part="all").relation == "none"


def test_folds(people):
    test = people.part("unseen-item", "test")
    folds = sorted(test["fold"].unique())
    assert len(folds) > 1
    one = found(people, run("one", test, record(people, split="unseen-item", fold=folds[0])), "unseen-item")
    expected = test.join(people.part("unseen-item", "train", folds[0]).select("pair_id").unique(), on="pair_id", how="semi")
    assert one.tested == pytest.approx(expected["pair_id"].n_unique() / test["pair_id"].n_unique())
    assert one.tested > 0
    # Every fold was answered by an adapter of its own.
    each = pooled_source([record(people, split="unseen-item", fold=fold) for fold in folds])
    for taught in (each, old(people, split="unseen-item"), stated_source("unseen-item", people)):
        assert found(people, run("each", test, taught), "unseen-item").tested == 0
    assert each["pairs"] == [people.part("unseen-item", "train", fold).height for fold in folds]
    its_fold = run("there", test, record(people, split="unseen-item", fold=folds[0]))
    assert found(people, its_fold, "unseen-item", fold=folds[0]).tested == 0


def test_responses_without_a_pair_are_no_share(people):
    nobody = pl.DataFrame({"pair_id": []}, schema={"pair_id": pl.String})
    assert found(people, run("none", nobody, record(people))) == Overlap("here")


@pytest.mark.parametrize(
    ("split", "half", "halves"),
    [("paper", "all", "all"), ("paper+disjoint", "A", None), ("paper+disjoint", "B", "same half")],
)
@pytest.mark.parametrize("changed", [{"draws": 40}, {"redraw_seed": 3}, {"order": 1}])
def test_training_respondents_are_compared_across_builds(split, half, halves, changed):
    there, here = built(), built(**changed)
    scheme = "unseen-item+disjoint" if changed.get("order") == 1 else "paper+disjoint"
    test = here.part(scheme, "test")
    of_pairs = found(here, run("m", test, record(there, split=split, half=half)), scheme)
    assert (of_pairs.relation, of_pairs.halves) == ("here", halves)
    # Without +disjoint, training and test respondents may be the same.
    assert found(here, run("m", test, record(there, split=split, half=half)), scheme.removesuffix("+disjoint")).halves is None


def test_halves_of_another_seed_overlap():
    there, here = built(half_seed=1), built()
    test = here.part("paper", "test")
    taught = record(there, split="paper+disjoint", half="A")
    assert found(here, run("m", test, taught), "paper+disjoint").halves == "other halves"
    assert found(here, run("m", test, taught)) == Overlap("here", pairs=test["pair_id"].n_unique())
    (line,) = training_warnings({"m": found(here, run("m", test, taught), "paper+disjoint")}, "paper+disjoint", "test")
    assert line.startswith("Warning: m: not a test: trained on a half of the respondents that was drawn in another way")


def test_pairs_are_compared_across_builds():
    """Other folds, draws and minimum: pairs are found by item and subgroup, not by the split of the new data set."""
    there, here = built(), built(draws=30, split_seed=7)
    assert here.fingerprint != there.fingerprint
    taught = record(there, split="unseen-item", fold=0)
    trained = there.part("unseen-item", "train", 0).select("pair_id").unique()
    test = here.part("unseen-item", "test").select("pair_id").unique()
    expected = test.join(trained, on="pair_id", how="semi").height / test.height
    assert 0 < expected < 1
    assert found(here, run("m", test, taught), "unseen-item").tested == pytest.approx(expected)


def test_items_recoded_since_training_do_not_change_the_halves():
    survey_ = random_survey(300, seed=5)
    answers = survey_.answers.copy()
    answers[:, 2] = answers[:, 2] // 2
    there, here = built(), build(replace(survey_, answers=answers), SETTINGS)
    test = here.part("paper", "test")
    assert found(here, run("m", test, record(there, split="paper+disjoint", half="A")), "paper+disjoint").halves is None


def with_meta(dataset, **meta):
    return replace(dataset, meta={**dataset.meta, "fingerprint": "f" * 64, **meta})


def test_another_survey_or_country_is_elsewhere(people):
    other_file = {"source": {"file": "x.csv", "sha256": "1" * 64}}
    test = people.part("paper", "test")

    def against(**meta):
        return found(people, run("m", test, record(with_meta(people, **meta))), "paper+disjoint")

    assert against() == Overlap("here", halves="all", pairs=test["pair_id"].n_unique())
    # The file may have been saved again in another format.
    assert against(**other_file) == Overlap("elsewhere", same_survey=True, pairs=test["pair_id"].n_unique())
    assert against(**other_file, survey={"name": "other"}) == Overlap("elsewhere", pairs=test["pair_id"].n_unique())
    singapore, japan = ({"countries": [{"code": code, "alpha": alpha}]} for code, alpha in ((702, "SGP"), (392, "JPN")))
    here = with_meta(people, **singapore)
    for there, relation in (
        (singapore, "here"),
        (japan, "elsewhere"),
        ({"countries": [*singapore["countries"], *japan["countries"]]}, "here"),
    ):
        assert found(here, run("m", test, record(with_meta(people, fingerprint="e" * 64, **there)))).relation == relation


def test_records_of_earlier_versions_are_compared_by_survey_and_place(people):
    test = people.part("paper", "test")
    rebuilt = old(people, fingerprint="e" * 64)
    assert found(people, run("m", test, rebuilt, survey=people.survey_and_place), "paper+disjoint").halves == "all"
    assert found(people, run("m", test, rebuilt, survey="WVS 7, Japan"), "paper+disjoint").relation == "elsewhere"
    assert found(people, run("m", test, rebuilt), "paper+disjoint").relation == "elsewhere"
    disjoint = old(people, split="paper+disjoint")
    assert found(people, run("m", test, disjoint), "paper+disjoint").halves is None
    # Its halves are not recorded, and may be others than those of the new build.
    unknown = run("m", test, disjoint | {"dataset": "e" * 64}, survey=people.survey_and_place)
    assert found(people, unknown, "paper+disjoint").halves == "other halves"


def test_a_calibrated_run_has_its_own_source_and_that_of_its_model(people):
    test = people.part("paper", "test")
    model = {"name": "hf:M", "provider": "transformers", "adapter_hash": "a", "taught_on": record(people, split="paper+disjoint", half="A")}

    def calibrated(source):
        respondent = {"name": "calibrated", "provider": "calibrated", "of": model, "trained_on": source}
        return found(people, SimpleNamespace(name="c", meta={"respondent": respondent}, responses=test), "paper+disjoint")

    assert calibrated(record(people, split="paper+disjoint", half="A")).halves is None
    assert calibrated(record(people)).halves == "all"


@pytest.mark.parametrize("split", ["paper", "unseen-item", "paper+disjoint"])
def test_baselines_record_their_training(people, split):
    identity = make_baseline("item-mode", people, split=split).identity()["trained_on"]
    halves = ["A"] if split.endswith("+disjoint") else ["all"]
    assert (identity["survey"], identity["file"], identity["dataset"]) == ("made", "0" * 64, people.fingerprint)
    assert (identity["halves"], identity["method"], "half_a" in identity) == (halves, "baseline:item-mode", halves == ["A"])
    base = {"respondent": {"name": "baseline:item-mode", "provider": "baseline", "trained_on": identity}}
    test = people.part(split, "test")
    fitted = SimpleNamespace(name="b", meta=base, responses=test)
    assert found(people, fitted, split) == Overlap("here", pairs=test["pair_id"].n_unique())
    # A record of an earlier version.
    short = {key: identity[key] for key in ("split", "fold", "pairs")}
    meta = {"respondent": base["respondent"] | {"trained_on": short}, "dataset": {"fingerprint": people.fingerprint}}
    assert found(people, SimpleNamespace(name="b", meta=meta, responses=test), split) == found(people, fitted, split)
    nothing = make_baseline("uniform", people, split=split).identity()
    meta = {"respondent": {"name": "baseline:uniform", **nothing}}
    assert found(people, SimpleNamespace(name="u", meta=meta, responses=test), split).relation == "none"


def test_pairs_of_a_record():
    frame = pl.DataFrame({"item": ["a", "b", "a"], "subgroup": ["s", "s", "t"]})
    pairs = TrainedPairs.of(frame)
    assert (pairs.items, pairs.subgroups) == (("a", "b"), {"s": (), "t": ("b",)})
    assert sorted(pairs.frame().rows()) == sorted(frame.rows())


def test_a_statement_names_a_split_a_fold_or_nothing(people):
    whole = TrainingSource(**stated_source("paper", people))
    assert (whole.halves, whole.fold, whole.by_fold) == (("all",), None, False)
    assert whole.pairs == people.part("paper", "train").height
    assert TrainingSource(**stated_source("paper+disjoint", people)).halves == ("A",)
    assert TrainingSource(**stated_source("unseen-item:1", people)).fold == 1
    assert TrainingSource(**stated_source("unseen-item", people)).by_fold
    assert stated_source("none", people)["halves"] == []
    for wrong in ("papier", "unseen-item:x", "unseen-item:99", "transfer"):
        with pytest.raises(UsageError):
            stated_source(wrong, people)


def test_a_statement_is_a_record_or_a_file_with_one(people, tmp_path):
    ids = people.part("paper", "test")["pair_id"].to_list()
    (tmp_path / "what.yaml").write_text(f"survey: made\nhalves: [all]\npair_ids: {ids}\n")
    stated = stated_source(tmp_path / "what.yaml", people)
    test = people.part("paper", "test")
    assert stated["pairs"] == len(ids)
    assert found(people, run("m", test, stated, provider="imported")).tested == 1
    (tmp_path / "training.json").write_text('{"trained_on": {"survey": "made", "split": "paper"}}')
    assert stated_source(str(tmp_path), people) == {"survey": "made", "split": "paper"}
    for wrong in ({"surwey": "made"}, {"split": "paper"}, {"survey": "made", "pair_ids": ["no_such"]}, {"survey": "made", "fold": "x"}):
        with pytest.raises(InputDataError):
            stated_source(wrong, people)
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(InputDataError, match="expected a mapping"):
        stated_source(tmp_path / "list.json", people)


def test_a_small_survey_without_a_nation_in_a_half():
    """No answers in half A: the halves cannot be compared, so they count as others."""
    empty = survey([item("A", 2)], [attribute("sex", ["m", "f"])], [[0]] * 40 + [[1]] * 40, [[0]] * 40 + [[1]] * 40)
    dataset = build(empty, BuildSettings(min_respondents=5, min_valid=5, draws=10))
    nobody = replace(dataset, gold=dataset.gold.filter((pl.col("half") != "A") | (pl.col("subgroup") != "all")))
    taught = source_of(nobody, dataset.gold.head(1), split="paper+disjoint", fold=None, halves=("A",), method="x") | {"dataset": "e" * 64}
    test = dataset.part("transfer", "test")
    assert found(nobody, run("m", test, taught), "transfer+disjoint").halves == "other halves"
