"""Data sets from published counts."""

import json

import numpy as np
import polars as pl
import pytest

import valuestrata as vs
from valuestrata.building import BuildSettings
from valuestrata.dataset.published_cells import rake_sizes

OPTIONS = ["Very safe", "Somewhat safe", "Not too safe", "Not at all safe"]


def waves(folder, *, counts=(40, 30, 20, 10), names=None):
    """A file in the format of opinionqa, with two questions in each of six waves."""
    names = names or [f"{stem}_W{wave}" for wave in range(1, 7) for stem in ("SAFE", "NEAR")]
    rng = np.random.default_rng(0)
    made = {
        name: {"question": f"How {name}?", "options": OPTIONS, "human_counts": rng.permutation(counts).tolist(), "refused": 2}
        for name in names
    }
    file = folder / "questions.json"
    file.write_text(json.dumps(made))
    return file


def test_the_whole_population_is_the_target_of_opinionqa(tmp_path):
    data = vs.build_counts(vs.read_counts(waves(tmp_path)), BuildSettings(item_folds=10, draws=50))
    assert data.splits["subgroup"].unique().to_list() == ["all"]
    assert data.strata == ["all"]
    first = data.gold.row(0, named=True)
    assert (first["pair_id"], first["n"], first["n_eff"], first["half"]) == ("SAFE_W1_all", 100, 100.0, "all")
    assert first["missing"]["no_answer"] == 2
    assert data.items["topic"].unique(maintain_order=True).to_list() == [f"W{wave}" for wave in range(1, 7)]
    assert data.meta["counts"]["pairs"] == 12
    assert data.meta["shareable"]


def test_each_topic_is_a_fold_when_there_are_as_many_folds(tmp_path):
    data = vs.build_counts(vs.read_counts(waves(tmp_path)), BuildSettings(item_folds=10, draws=20))
    assert sorted(data.fold_labels("unseen-item")) == [f"W{wave}" for wave in range(1, 7)]
    assert data.meta["settings"]["item_folds"] == 10


def test_splits_with_halves_are_refused(tmp_path):
    data = vs.build_counts(vs.read_counts(waves(tmp_path)), BuildSettings(draws=20))
    with pytest.raises(vs.InputDataError, match="needs halves of the respondents, and published counts have none"):
        data.part("unseen-item+disjoint", "test")


def test_a_written_data_set_opens_and_says_what_it_assumes(tmp_path):
    vs.write_dataset(vs.build_counts(vs.read_counts(waves(tmp_path)), BuildSettings(draws=20)), tmp_path / "data")
    data = vs.load_dataset(tmp_path / "data")
    assert data.meta["published"]["redraws"] == "multinomial"
    assert any("independent also where subgroups overlap" in remark for remark in data.remarks)


def test_redraws_are_multinomial(tmp_path):
    """The covariance of redrawn shares is (diag p - p p') / n, and pairs are independent."""
    data = vs.build_counts(vs.read_counts(waves(tmp_path)), BuildSettings(draws=4000, share_draws=4000))
    from valuestrata.dataset.gold import unpack_share_draws

    gold = data.gold.join(data.mode_draws, on=("pair_id", "half"), maintain_order="left")
    shares, se = (np.stack(gold[name].to_numpy()) for name in ("shares", "share_se"))
    drawn = unpack_share_draws(np.stack(gold["share_draws"].to_numpy()), shares, se)
    p = shares[0]
    expected = (np.diag(p) - np.outer(p, p)) / 100
    assert np.abs(np.cov(drawn[0].T) - expected).max() < 6 * expected.max() / np.sqrt(4000)
    across = np.corrcoef(drawn[0][:, 0], drawn[1][:, 0])[0, 1]
    assert abs(across) < 4 / np.sqrt(4000)


def test_sizes_of_joint_cells_are_raked_to_published_sizes():
    joint = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.int16)
    cells = np.array([[-1, -1], [0, -1], [1, -1], [-1, 0], [-1, 1]], dtype=np.int16)
    sizes = rake_sizes(joint, cells, np.array([100.0, 60, 40, 30, 70]), 100.0)
    # Without crossed cells, attributes are independent.
    assert sizes == pytest.approx([18, 42, 12, 28])
    crossed = np.array([*cells, [0, 0]], dtype=np.int16)
    assert rake_sizes(joint, crossed, np.array([100.0, 60, 40, 30, 70, 25]), 100.0) == pytest.approx([25, 35, 5, 35])


def test_default_folds_do_not_change_the_fingerprint(tmp_path):
    from valuestrata.dataset.document import fingerprint_of

    data = vs.build_counts(vs.read_counts(waves(tmp_path)), BuildSettings(draws=20))
    older = {**data.meta, "settings": {key: value for key, value in data.meta["settings"].items() if key != "item_folds"}}
    assert fingerprint_of(older, data.items, data.subgroups, data.gold, data.splits) == data.fingerprint
    other = vs.build_counts(vs.read_counts(waves(tmp_path)), BuildSettings(draws=20, item_folds=6))
    assert other.fingerprint != data.fingerprint


def test_pairs_below_the_minimum_are_left_out(tmp_path):
    data = vs.build_counts(vs.read_counts(waves(tmp_path, counts=(5, 4, 3, 1))), BuildSettings(draws=20, min_valid=10))
    assert data.gold["n"].unique().to_list() == [13]
    with pytest.raises(vs.InputDataError, match="no pair has 30 valid answers"):
        vs.build_counts(vs.read_counts(waves(tmp_path, counts=(5, 4, 3, 1))), BuildSettings(draws=20))
    assert isinstance(data.gold, pl.DataFrame)


def test_countries_are_subgroups_and_their_sum_the_population(tmp_path):
    file = tmp_path / "counts.yaml"
    cells = "[{levels: {country: A}, counts: [60, 40]}, {levels: {country: B}, counts: [10, 40]}, {levels: {country: C}, counts: [5, 5]}]"
    file.write_text(f"questions: [{{item: Q, question: Q?, options: [Yes, No], cells: {cells}}}]")
    data = vs.build_counts(vs.read_counts(file), BuildSettings(draws=20))
    whole = data.gold.filter(pl.col("subgroup") == "all").row(0, named=True)
    assert (whole["counts_raw"], data.meta["published"]["everyone"]) == ([75, 85], "summed")
    assert data.subgroups["subgroup"].to_list() == ["all", "country_A", "country_B"]
    assert data.meta["counts"]["subgroups_dropped"] == 1
    assert data.strata == ["country"]
    assert any("no respondents" not in remark and "sum of the subgroups" in remark for remark in data.remarks)


def test_small_published_cells_are_not_shareable(tmp_path):
    settings = BuildSettings(draws=20, min_valid=5, min_respondents=5)
    data = vs.build_counts(vs.read_counts(waves(tmp_path, counts=(5, 2, 1, 1))), settings)
    assert data.meta["shareable"] is False


def test_data_sets_without_subgroups_are_scored_with_baselines_but_not_audited(tmp_path):
    vs.write_dataset(vs.build_counts(vs.read_counts(waves(tmp_path)), BuildSettings(draws=20, item_folds=6)), tmp_path / "data")
    data = vs.load_dataset(tmp_path / "data")
    kinds = ("item-average", "item-mode", "nearest-parent", "additive", "low-rank")
    runs = vs.baselines_beside(data, [], kinds=kinds, split="unseen-item")
    assert [run.responses["subgroup"].unique().to_list() for run in runs] == [["all"]] * len(kinds)
    scores = vs.score(data, runs, split="unseen-item", bootstrap=20, by=("all", "stratum", "topic"))
    found = scores.filter((pl.col("by") == "stratum") & (pl.col("metric") == "w1") & pl.col("against").is_null())
    assert found["key"].unique().to_list() == ["all"]
    # Nothing but the average of other questions is known of an unseen question.
    average = dict(found.select("run", "value").iter_rows())
    assert average["baseline-additive"] == pytest.approx(average["baseline-item-average"])
    with pytest.raises(vs.InputDataError, match="the whole population only, so there are no subgroups to compare"):
        vs.audit(data, runs, split="unseen-item")
    with pytest.raises(vs.InputDataError, match="no subgroups to compare"):
        vs.power(data, split="unseen-item")


def test_the_average_of_other_questions_is_that_of_training_topics(tmp_path):
    data = vs.build_counts(vs.read_counts(waves(tmp_path)), BuildSettings(draws=20, item_folds=6))
    (run,) = vs.baselines_beside(data, [], kinds=("item-average",), split="unseen-item")
    row = run.responses.filter(pl.col("item") == "SAFE_W1").row(0, named=True)
    fold = data.fold_labels("unseen-item").index("W1")
    train = data.part("unseen-item", "train", fold)
    assert not train["item"].str.ends_with("_W1").any()
    others = data.gold.join(train, on="pair_id", how="semi")
    assert row["option_probs"] == pytest.approx(np.stack(others["shares"].to_numpy()).mean(axis=0), abs=1e-6)


def test_the_report_says_what_is_assumed(tmp_path):
    from valuestrata.reports.closed.narrative import facts

    data = vs.build_counts(vs.read_counts(waves(tmp_path)), BuildSettings(draws=20))
    said = dict(facts(data, [], []))
    assert "redraws are multinomial" in said["Published counts"]
    assert "Sampling design" not in said
    assert said["Subgroups"] == "1 subgroup: Everyone."


def test_personas_of_the_population_have_no_traits(tmp_path):
    from valuestrata.prompts import load_template, render_prompts

    data = vs.build_counts(vs.read_counts(waves(tmp_path)), BuildSettings(draws=20))
    pairs = data.part("unseen-item", "test").head(1)
    (prompt,) = render_prompts(data, pairs, template=load_template("default"), elicitation="logprob")
    assert "You are a person living in the United States." in prompt.messages[0].content


def test_a_study_sets_the_folds_of_items(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text("name: a\nsurvey: {file: embedded}\nmodels: [embedded]\nbuild: {item_folds: 7}\n")
    assert vs.load_study(file).settings.item_folds == 7
    with pytest.raises(vs.UsageError, match="a split needs at least 2 folds"):
        BuildSettings(item_folds=1)
