"""The whole audit on small data sets: every table, what agrees with fairlearn and with scores, and bad input said plainly."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from fairlearn.metrics import MetricFrame

from valuestrata.errors import InputDataError, UsageError
from valuestrata.fairness import CHANGES, DISPARITY, ERRS, EXCESS, GAPS, GROUPS, MEASURES, audit
from valuestrata.scores import compare, score
from valuestrata.stats.multiple_testing import benjamini_hochberg, holm

FEW = {"permutations": 60, "bootstrap": 60}


def crossed(rng, *, items=14, levels=(2, 3), right=lambda item, a, b: 0.6, kind="binary"):
    """A stratum of two attributes and the nation; answers that are right by a chance. Returns a World's arguments and rows."""
    questions = {f"Q{i}": ("topic", kind, [1, 2] if kind == "binary" else [1, 2, 3]) for i in range(items)}
    cells = [(a, b) for a in range(levels[0]) for b in range(levels[1])]
    subgroups = {f"one_x_two_A{a}_B{b}": ("one_x_two", {"one": f"A{a}", "two": f"B{b}"}) for a, b in cells} | {"all": ("all", {})}
    counts, draws, rows = {}, {}, []
    for item, (_, _, codes) in questions.items():
        for subgroup in subgroups:
            counts[item, subgroup] = [int(c) for c in rng.multinomial(60, rng.dirichlet(np.ones(len(codes))))]
            draws[item, subgroup] = [int(d) for d in rng.choice(len(codes), 30, p=np.array(counts[item, subgroup]) / 60)]
        for a, b in cells:
            subgroup = f"one_x_two_A{a}_B{b}"
            mode = int(np.argmax(counts[item, subgroup]))
            wrong = [k for k in range(len(codes)) if k != mode]
            place = mode if rng.random() < right(item, a, b) else int(rng.choice(wrong))
            rows.append({"item": item, "subgroup": subgroup, "answer": codes[place]})
    return {
        "items": questions,
        "subgroups": subgroups,
        "counts": counts,
        "draws": draws,
        "parts": {(i, "all"): "none" for i in questions},
    }, rows


@pytest.fixture(scope="module")
def found(kit):
    plan = kit.random_world(1, items=10, draws=20)
    dataset = kit.build(plan)
    runs = [
        kit.run_of("base", kit.random_rows(plan, 1)),
        kit.run_of("tuned", kit.random_rows(plan, 2)),
        kit.run_of("baseline-item-mode", kit.random_rows(plan, 3, missing=0), respondent={"name": "baseline:item-mode"}),
    ]
    return dataset, runs, audit(dataset, runs, against="base", **FEW)


def test_every_table_has_its_schema_and_no_nan(found):
    _, _, result = found
    schemas = {"disparity": DISPARITY, "groups": GROUPS, "gaps": GAPS, "changes": CHANGES, "excess": EXCESS, "errs": ERRS}
    assert result.tables().keys() == schemas.keys()
    for name, frame in result.tables().items():
        assert frame.columns == list(schemas[name].columns)
        assert len(frame) > 0
        for column in frame.select(pl.col(pl.Float64)).columns:
            assert not frame[column].is_nan().any(), (name, column)
            assert not frame[column].is_infinite().any(), (name, column)


def test_rows_are_those_asked_for(found):
    _, _, result = found
    keys = ("run", "by", "key", "metric", "measure")
    assert result.disparity.select(keys).is_unique().all()
    assert len(result.disparity) == 3 * 2 * 3 * len(MEASURES)
    assert len(result.groups) == 3 * 2 * 15
    assert len(result.gaps) == 3 * 2 * 6
    assert result.gaps.select("run", "attribute", "level", "against_level", "metric").is_unique().all()
    assert set(result.changes["run"]) == {"tuned", "baseline-item-mode"}
    assert set(result.excess["stratum"]) == {"one_x_two"}
    assert result.disparity["population"][0] == "15 test subgroups of one, two, one_x_two"
    assert "3 levels of one, each over its pairs in 12 test subgroups of one, one_x_two" in result.disparity["population"].to_list()


def test_scores_and_ranges_agree_with_fairlearn(found, kit):
    dataset, _, _ = found
    plan = kit.random_world(1, items=10, draws=20)
    rows = [
        {"item": i, "subgroup": s, "answer": int(np.random.default_rng([9, k]).choice(plan.items[i][2]))}
        for k, (i, s) in enumerate(plan.counts)
    ]
    result = audit(dataset, [kit.run_of("a", rows)], metrics=("accuracy",), **FEW)
    gold = {(g["item"], g["subgroup"]): g["mode"] for g in dataset.gold.filter(pl.col("half") == "all").iter_rows(named=True)}
    frame = MetricFrame(
        metrics=lambda y_true, y_pred: float(np.mean(y_true == y_pred)),
        y_true=np.array([gold[row["item"], row["subgroup"]] for row in rows]),
        y_pred=np.array([row["answer"] for row in rows]),
        sensitive_features=np.array([row["subgroup"] for row in rows]),
    )
    groups = dict(result.groups.select("subgroup", "value").iter_rows())
    assert groups == pytest.approx(frame.by_group.to_dict())
    everyone = dict(result.disparity.filter(pl.col("by") == "all").select("measure", "value").iter_rows())
    assert everyone["max_min"] == pytest.approx(frame.difference(method="between_groups"))
    assert everyone["norm_range"] == pytest.approx(1 - frame.ratio(method="between_groups"))
    levels = [plan.subgroups[row["subgroup"]][1].get("one") for row in rows]
    kept = [k for k, level in enumerate(levels) if level is not None]
    by_level = MetricFrame(
        metrics=lambda y_true, y_pred: float(np.mean(y_true == y_pred)),
        y_true=np.array([gold[rows[k]["item"], rows[k]["subgroup"]] for k in kept]),
        y_pred=np.array([rows[k]["answer"] for k in kept]),
        sensitive_features=np.array([levels[k] for k in kept]),
    )
    of_one = dict(result.disparity.filter(pl.col("key") == "one").select("measure", "value").iter_rows())
    assert of_one["max_min"] == pytest.approx(by_level.difference(method="between_groups"))
    assert of_one["cv"] == pytest.approx(by_level.by_group.std(ddof=0) / by_level.by_group.mean())


def test_groups_and_changes_have_the_figures_of_scores_and_comparisons(found):
    dataset, runs, result = found
    scores = score(dataset, runs, by=("subgroup",), bootstrap=60).rename({"key": "subgroup"})
    both = result.groups.join(scores, on=("run", "metric", "subgroup"), suffix="_scores")
    assert len(both) == len(result.groups)
    for column in ("value", "ci_low", "ci_high", "pairs"):
        assert both[column].to_numpy() == pytest.approx(both[f"{column}_scores"].to_numpy(), abs=1e-5, nan_ok=True)
    compared = compare(dataset, runs, [("tuned", "base")], by=("all", "subgroup", "level"), metrics=["accuracy", "nmae"], bootstrap=60)
    changes = result.changes.filter((pl.col("measure") == "score") & (pl.col("run") == "tuned"))
    both = changes.join(compared, on=("metric", "by", "key"), suffix="_compared")
    assert len(both) == len(changes)
    for column in ("ci_low", "ci_high", "pairs"):
        assert both[column].to_numpy() == pytest.approx(both[f"{column}_compared"].to_numpy(), abs=1e-4, nan_ok=True)
    # With ten items p is that of Student's t where it is larger.
    assert (both["p"] >= both["p_compared"] - 1e-4).all()
    assert both["change"].to_numpy() == pytest.approx(both["difference"].to_numpy(), abs=1e-6, nan_ok=True)
    assert (both["after"] - both["before"]).to_numpy() == pytest.approx(both["change"].to_numpy(), abs=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    ("name", "family", "p", "adjusted"),
    [
        ("gaps", ("run", "metric"), "p", "p_holm"),
        ("gaps", ("run", "metric"), "excess_p", "excess_p_holm"),
        ("gaps", ("run", "metric"), "adjusted_p", "adjusted_p_holm"),
        ("changes", ("run", "metric", "by"), "p", "p_holm"),
        ("excess", ("run", "metric"), "p", "p_holm"),
    ],
)
def test_families_are_those_the_schema_names(found, name, family, p, adjusted):
    frame = found[2].tables()[name]
    if name == "changes":
        frame = frame.filter(pl.col("measure") == "score")
    for _, rows in frame.group_by(family, maintain_order=True):
        assert rows[adjusted].to_list() == pytest.approx(holm(rows[p].to_list()))
    if name == "excess":
        for _, rows in frame.group_by(family, maintain_order=True):
            assert rows["p_bh"].to_list() == pytest.approx(benjamini_hochberg(rows[p].to_list()))


def test_spreads_of_the_changes_are_those_of_each_run_on_common_pairs(kit):
    result = full_pair(kit)
    spreads = result.changes.filter((pl.col("measure").is_in(MEASURES)) & (pl.col("by") == "all"))
    for row in spreads.iter_rows(named=True):
        for run, column in (("base", "before"), ("tuned", "after")):
            value = result.disparity.filter(
                (pl.col("run") == run)
                & (pl.col("by") == "all")
                & (pl.col("metric") == row["metric"])
                & (pl.col("measure") == row["measure"])
            )["value"].item()
            assert row[column] == pytest.approx(value)


def full_pair(kit):
    rng = np.random.default_rng(3)
    world, rows = crossed(rng)
    flipped = [{**row, "answer": 3 - row["answer"] if rng.random() < 0.3 else row["answer"]} for row in rows]
    runs = [kit.run_of("base", flipped), kit.run_of("tuned", rows)]
    return audit(kit.build(kit.World(**world)), runs, against="base", **FEW)


def test_excess_of_gaps_is_the_gap_less_that_of_the_baseline(kit):
    rng = np.random.default_rng(4)
    world, rows = crossed(rng)
    other = [{**row, "answer": 3 - row["answer"] if rng.random() < 0.2 else row["answer"]} for row in rows]
    runs = [kit.run_of("model", rows), kit.run_of("baseline-item-mode", other, respondent={"name": "baseline:item-mode"})]
    result = audit(kit.build(kit.World(**world)), runs, **FEW)
    gaps = result.gaps.filter(pl.col("run") == "model")
    theirs = result.gaps.filter(pl.col("run") == "baseline-item-mode")
    assert set(gaps["baseline"]) == {"baseline-item-mode"}
    assert gaps["gap_baseline"].to_numpy() == pytest.approx(theirs["gap"].to_numpy(), abs=1e-6)
    assert gaps["excess"].to_numpy() == pytest.approx((gaps["gap"] - gaps["gap_baseline"]).to_numpy(), abs=1e-6)
    assert theirs["baseline"].null_count() == len(theirs)
    assert theirs["excess"].null_count() == len(theirs)


def test_the_best_cheap_baseline_is_taken_and_no_other_run(kit):
    rng = np.random.default_rng(5)
    world, rows = crossed(rng, right=lambda *_: 1.0)

    def worse(share):
        return [{**row, "answer": 3 - row["answer"] if rng.random() < share else row["answer"]} for row in rows]

    runs = [
        kit.run_of("model", rows),
        kit.run_of("weak", worse(0.6), respondent={"name": "baseline:item-mode"}),
        kit.run_of("good", worse(0.3), respondent={"name": "baseline:nearest-parent"}),
        kit.run_of("dear", worse(0.1), respondent={"name": "baseline:additive"}),
    ]
    result = audit(kit.build(kit.World(**world)), runs, **FEW)
    assert set(result.gaps.filter(pl.col("run") == "model")["baseline"]) == {"good"}
    assert set(result.gaps.filter(pl.col("run") == "weak")["baseline"]) == {"good"}


def test_a_level_served_much_worse_is_named_in_words(kit):
    world, rows = crossed(np.random.default_rng(6), items=60, right=lambda _, a, b: 0.3 if b == 2 else 0.95)
    result = audit(kit.build(kit.World(**world)), [kit.run_of("model", rows)], metrics=("accuracy",), **FEW)
    words = {(row["level"], row["against_level"]): row["remains"] for row in result.gaps.iter_rows(named=True)}
    # No baseline stands beside it: what is the model's doing cannot be told.
    assert words == {("A0", "A1"): "not shown", ("B0", "B1"): "not shown", ("B0", "B2"): "unclear", ("B1", "B2"): "unclear"}
    claimed = result.groups.filter(pl.col("worst"))["subgroup"].to_list()
    assert sorted(claimed) == ["one_x_two_A0_B2", "one_x_two_A1_B2"]
    spread = result.disparity.filter((pl.col("key") == "two") & (pl.col("measure") == "spread_corrected"))
    # Levels at .95, .95 and .3: a standard deviation of .375.
    assert spread["ci_low"].item() < 0.375 < spread["ci_high"].item()
    assert spread["p"].item() < 0.05


def test_a_planted_crossing_is_found_among_the_cells(kit):
    world, rows = crossed(np.random.default_rng(7), items=80, levels=(3, 3), right=lambda _, a, b: 0.15 if (a, b) == (1, 1) else 0.9)
    result = audit(kit.build(kit.World(**world)), [kit.run_of("model", rows)], metrics=("accuracy",), **FEW)
    cell = result.excess.row(by_predicate=pl.col("subgroup") == "one_x_two_A1_B1", named=True)
    assert cell["p_holm"] < 0.05
    assert cell["ci_low"] < -0.75 < cell["ci_high"]
    assert cell["value"] - cell["explained"] == pytest.approx(cell["excess"])
    assert result.excess["p_holm"].arg_min() == result.excess["subgroup"].to_list().index("one_x_two_A1_B1")


def test_a_run_that_lifts_everybody_is_better_for_all_and_levels_nothing_down(kit):
    rng = np.random.default_rng(8)
    world, rows = crossed(rng, items=60, right=lambda *_: 1.0)
    poor = [{**row, "answer": 3 - row["answer"] if rng.random() < 0.5 else row["answer"]} for row in rows]
    dataset = kit.build(kit.World(**world))
    up = audit(
        dataset,
        [kit.run_of("base", poor), kit.run_of("tuned", rows)],
        against="base",
        metrics=("accuracy",),
        permutations=20,
        bootstrap=300,
    )
    row = up.changes.row(by_predicate=(pl.col("measure") == "max_min") & (pl.col("by") == "all"), named=True)
    assert row["pareto"].startswith("better for all: 6 gained")
    assert row["levelling_down"] is False
    down = audit(
        dataset,
        [kit.run_of("base", rows), kit.run_of("tuned", poor)],
        against="base",
        metrics=("accuracy",),
        permutations=20,
        bootstrap=300,
    )
    row = down.changes.row(by_predicate=(pl.col("measure") == "max_min") & (pl.col("by") == "all"), named=True)
    assert row["pareto"].startswith("worse for all: 0 gained, 6 lost")


def test_a_gap_closed_at_the_cost_of_the_best_is_called_levelling_down(kit):
    rng = np.random.default_rng(9)
    world, rows = crossed(rng, items=80, right=lambda _, a, b: 1.0)
    before = [
        {**row, "answer": row["answer"] if row["subgroup"].endswith("B0") or rng.random() < 0.5 else 3 - row["answer"]} for row in rows
    ]
    after = [{**row, "answer": row["answer"] if rng.random() < 0.5 else 3 - row["answer"]} for row in rows]
    runs = [kit.run_of("base", before), kit.run_of("tuned", after)]
    result = audit(kit.build(kit.World(**world)), runs, against="base", metrics=("accuracy",), permutations=20, bootstrap=300)
    rows = result.changes.filter((pl.col("measure") == "max_min") & (pl.col("key") == "two"))
    assert rows["levelling_down"].item() is True
    assert rows["outcome"].item() == "narrower"


def test_the_same_seed_gives_the_same_tables(kit, found):
    dataset, runs, result = found
    again = audit(dataset, runs, against="base", **FEW)
    for name, frame in result.tables().items():
        assert frame.equals(again.tables()[name]), name
    other = audit(dataset, runs, against="base", seed=1, **FEW)
    assert not other.groups.equals(result.groups)


# ------------------------------------------------------------------ bad input


def test_one_subgroup_is_said_plainly_and_not_an_error(kit):
    items = {f"Q{i}": ("t", "ordinal", [1, 2, 3]) for i in range(5)}
    counts = {(item, "sex_M"): [5, 3, 2] for item in items}
    dataset = kit.build(kit.World(items, {"sex_M": ("sex", {"sex": "M"})}, counts))
    run = kit.run_of("a", [{"item": item, "subgroup": "sex_M", "answer": 1 + k % 2} for k, item in enumerate(items)])
    result = audit(dataset, [run], **FEW)
    assert set(result.disparity["note"]) == {"one subgroup"}
    assert result.disparity.select("value", "alike", "p").null_count().row(0) == (len(result.disparity),) * 3
    assert result.gaps.is_empty()
    assert result.excess.is_empty()
    assert result.groups["worst"].null_count() == len(result.groups)
    assert set(result.groups["note"]) == {"no other subgroup of its stratum has its items"}
    assert result.groups.filter(pl.col("metric") == "accuracy")["value"].item() == pytest.approx(3 / 5)


def test_subgroups_without_common_items_are_said_plainly(kit):
    items = {f"Q{i}": ("t", "binary", [1, 2]) for i in range(8)}
    subgroups = {"sex_M": ("sex", {"sex": "M"}), "sex_F": ("sex", {"sex": "F"})}
    counts = {(f"Q{i}", "sex_M" if i < 4 else "sex_F"): [7, 3] for i in range(8)}
    dataset = kit.build(kit.World(items, subgroups, counts))
    run = kit.run_of("a", [{"item": i, "subgroup": s, "answer": 1} for i, s in counts])
    result = audit(dataset, [run], metrics=("accuracy",), **FEW)
    gap = result.gaps.row(0, named=True)
    assert (gap["gap"], gap["p"], gap["items"], gap["pairs"]) == (None, None, 0, 0)
    assert gap["remains"] == "not known"
    assert gap["note"].startswith("no common items; fewer than two items that two subgroups share")
    notes = dict(result.disparity.filter(pl.col("by") == "all").select("measure", "note").iter_rows())
    assert notes["variance_corrected"] == "no common items"
    assert set(result.groups["note"]) == {"no other subgroup of its stratum has its items"}


def test_runs_on_different_data_sets_are_refused(kit):
    world, rows = crossed(np.random.default_rng(0))
    dataset = kit.build(kit.World(**world))
    with pytest.raises(InputDataError, match=r"b: this run answered data set other.*different data sets"):
        audit(dataset, [kit.run_of("a", rows), kit.run_of("b", rows, dataset={"fingerprint": "other"})], **FEW)
    assert len(audit(dataset, [kit.run_of("a", rows, dataset={"fingerprint": "x"})], **FEW).groups) == 12


def test_a_third_of_invalid_answers_stands_in_every_disparity(kit):
    world, rows = crossed(np.random.default_rng(1), items=15)
    broken = [{**row, "answer": None, "status": "unparsed"} if k % 3 == 0 else row for k, row in enumerate(rows)]
    result = audit(kit.build(kit.World(**world)), [kit.run_of("a", broken), kit.run_of("b", rows)], against="b", **FEW)
    mine = pl.col("run") == "a"
    assert set(result.disparity.filter(mine)["note"]) == {
        "33 % of the answers missing (0 % refused, 33 % invalid), counted as wrong".replace(" %", "\u00a0%")
    }
    assert result.disparity.filter(~mine)["note"].null_count() == len(result.disparity.filter(~mine))
    assert result.changes["note"].str.contains("of the answers missing").all()
    assert result.groups.filter(mine)["invalid_rate"].mean() == pytest.approx(1 / 3)


def test_a_run_that_is_always_right_has_undefined_distances_that_say_so(kit):
    world, rows = crossed(np.random.default_rng(2), right=lambda *_: 1.0, kind="ordinal")
    result = audit(kit.build(kit.World(**world)), [kit.run_of("a", rows)], permutations=20, bootstrap=20)
    nmae = result.disparity.filter((pl.col("metric") == "nmae") & (pl.col("by") == "all"))
    values = dict(nmae.select("measure", "value").iter_rows())
    assert (values["norm_range"], values["cv"], values["theil"], values["gini"]) == (None,) * 4
    assert values["max_min"] == 0
    assert nmae.filter(pl.col("measure") == "norm_range")["note"].item().startswith("all zero")
    accuracy = result.disparity.filter((pl.col("metric") == "accuracy") & (pl.col("by") == "all"))
    assert dict(accuracy.select("measure", "value").iter_rows())["norm_range"] == 0


def test_a_run_that_answers_half_of_the_pairs_says_so_and_is_compared_on_common_pairs(kit):
    world, rows = crossed(np.random.default_rng(3))
    dataset = kit.build(kit.World(**world))
    half = [row for row in rows if not row["subgroup"].endswith("B0")][::2]
    result = audit(dataset, [kit.run_of("whole", rows), kit.run_of("half", half)], against="whole", **FEW)
    assert result.disparity.filter(pl.col("run") == "half")["note"].str.contains("of the part's pairs were asked").all()
    lost = result.groups.filter((pl.col("run") == "half") & pl.col("subgroup").str.ends_with("B0"))
    assert lost["value"].null_count() == len(lost)
    assert set(lost["note"]) == {"no pair scored"}
    everyone = result.changes.filter((pl.col("by") == "all") & (pl.col("measure") == "score"))
    assert set(everyone["pairs"]) == {len(half)}
    assert everyone["change"].to_list() == pytest.approx([0.0, 0.0])
    gone = result.changes.filter((pl.col("by") == "level") & (pl.col("key") == "two=B0"))
    assert gone["change"].null_count() == len(gone)
    assert gone["note"].str.contains("no common pair").all()


def test_a_run_without_any_pair_of_the_part_has_rows_with_nulls(kit):
    world, rows = crossed(np.random.default_rng(4))
    dataset = kit.build(kit.World(**world))
    result = audit(dataset, [kit.run_of("whole", rows), kit.run_of("none", rows[:0])], against="whole", **FEW)
    none = result.disparity.filter(pl.col("run") == "none")
    assert none["value"].null_count() == len(none)
    assert none["note"].str.contains("no pair scored|one subgroup").all()
    assert result.changes.filter(pl.col("measure") == "score")["pairs"].sum() == 0


def test_without_permutations_and_replicates_nothing_is_claimed(kit):
    world, rows = crossed(np.random.default_rng(5))
    result = audit(kit.build(kit.World(**world)), [kit.run_of("a", rows)], permutations=0, bootstrap=0)
    assert result.groups["worst"].null_count() == len(result.groups)
    assert result.disparity["p"].null_count() == len(result.disparity)
    assert result.disparity["value"].null_count() == 0
    assert set(result.gaps["remains"]) == {"not known"}
    assert result.gaps["note"].str.starts_with("no interval").all()


def test_published_figures_stand_beside_the_run_they_are_of(kit):
    world, rows = crossed(np.random.default_rng(6))
    runs = [kit.run_of("a", rows), kit.run_of("b", rows)]
    result = audit(kit.build(kit.World(**world)), runs, published={"a": "Qwen2.5-7B base"}, **FEW)
    given = result.disparity.filter(pl.col("published").is_not_null())
    assert {(row["run"], row["by"], row["metric"], row["measure"]): row["published"] for row in given.iter_rows(named=True)} == {
        ("a", "all", "accuracy", "norm_range"): 0.256,
        ("a", "all", "accuracy", "cv"): 0.089,
        ("a", "all", "nmae", "norm_range"): 0.318,
        ("a", "all", "nmae", "cv"): 0.108,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ("accurcy",)}, "accuracy"),
        ({"metrics": ("bias",)}, "no better direction"),
        ({"metrics": ()}, "at least one"),
        ({"metrics": ("nmae", "nmae")}, "each once"),
        ({"against": "tunned"}, "tuned"),
        ({"permutations": -1}, "negative"),
        ({"bootstrap": -1}, "negative"),
        ({"confidence": 1.0}, "not between"),
        ({"published": {"base": "Qwen base"}}, "Qwen2.5-7B base"),
        ({"published": {"bas": "Qwen2.5-7B base"}}, "base"),
    ],
)
def test_what_is_refused(found, options, message):
    dataset, runs, _ = found
    with pytest.raises(UsageError, match=message):
        audit(dataset, runs, **options)


def test_two_runs_of_one_name_and_an_unknown_split_are_refused(found):
    dataset, runs, _ = found
    with pytest.raises(UsageError, match="Two runs"):
        audit(dataset, [runs[0], runs[0]])
    with pytest.raises(UsageError, match="no split 'unseen'"):
        audit(dataset, runs, split="unseen")


def with_blocks(dataset, blocks):
    return replace(dataset, items=dataset.items.with_columns(block=pl.Series(blocks, dtype=pl.String)))


def test_an_audit_says_once_which_items_it_takes_as_independent(kit):
    rng = np.random.default_rng(0)
    world, rows = crossed(rng, items=12, levels=(2, 3))
    dataset, run = kit.build(kit.World(**world)), kit.run_of("a", rows)
    wanted = {
        "The survey names no blocks of items": [None] * 12,
        "Blocks of items are resampled and permuted as wholes: the 12 items form 6 blocks, equivalent to 6": [
            f"b{i % 6}" for i in range(12)
        ],
        "The 12 items form 2 blocks, equivalent to 1.2 of equal size.": ["a"] * 11 + [None],
    }
    for words, blocks in wanted.items():
        (note,) = audit(with_blocks(dataset, blocks), [run], metrics=("accuracy",), **FEW).notes
        assert note.startswith(words)


def test_blocks_of_single_items_change_no_number_of_an_audit(kit):
    rng = np.random.default_rng(1)
    world, rows = crossed(rng, items=10)
    dataset = kit.build(kit.World(**world))
    runs = [kit.run_of("a", rows), kit.run_of("b", rows[::2])]
    plain = audit(dataset, runs, against="a", **FEW).tables()
    single = audit(with_blocks(dataset, [f"b{i}" for i in range(10)]), runs, against="a", **FEW).tables()
    for name, frame in plain.items():
        assert frame.equals(single[name]), name


def test_few_blocks_are_not_tested_and_the_rows_say_why(kit):
    rng = np.random.default_rng(2)
    world, rows = crossed(rng, items=12, levels=(2, 3))
    dataset = with_blocks(kit.build(kit.World(**world)), [f"b{i % 3}" for i in range(12)])
    found = audit(dataset, [kit.run_of("a", rows)], metrics=("accuracy",), **FEW)
    assert found.groups["p_worst"].is_null().all()
    assert (found.groups["note"] == "pairs in 3.0 effective blocks of items, under 4: not tested").all()
    # Two levels and three blocks: four arrangements differ, so p is at least .25.
    note = found.disparity.filter(key="one", measure="spread_corrected")["note"].item()
    assert note == "only 4 permutations differ: p cannot be below 0.25, so nothing can be claimed"
    # Gaps and intersections have Student's t with 2 degrees of freedom.
    assert found.gaps["p"].is_not_null().all()
    assert (found.gaps["items"] == 12).all()
