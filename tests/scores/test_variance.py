"""The variance table: by hand, by plain loops, and null with a reason where a design does not tell."""

import itertools
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from valuestrata.claims.templates import word
from valuestrata.claims.variance import variance_claims
from valuestrata.errors import InputDataError, UsageError
from valuestrata.scores.variance.table import VARIANCE, by_model, variance

MODEL = {"provider": "hf", "model": "org/m", "revision": "1"}
PERSONAS = ["sex_F", "sex_M", "age_Old"]


def asked(kit, name, rows, identity=MODEL):
    return SimpleNamespace(name=name, meta={"respondent": dict(identity)}, responses=kit.respond(rows))


@pytest.fixture
def data(kit):
    """Three items: a yes or no, the same declared nominal, and a scale of five; three subgroups of two strata."""
    items = {"Yes": ("one", "binary", [0, 1]), "Same": ("one", "nominal", [0, 1]), "Scale": ("two", "ordinal", [1, 2, 3, 4, 5])}
    subgroups = {"sex_F": ("sex", {"sex": "F"}), "sex_M": ("sex", {"sex": "M"}), "age_Old": ("age", {"age": "Old"})}
    shares = {"sex_F": [30, 10], "sex_M": [20, 20], "age_Old": [12, 28]}
    counts = {(item, group): shares[group] for item in ("Yes", "Same") for group in subgroups}
    counts |= {("Scale", group): [10, 10, first, 10, second] for group, (first, second) in shares.items()}
    return kit.build(kit.World(items, subgroups, counts))


def certain(item, subgroup, yes, **more):
    """A response that gives code 1 of a binary item the probability `yes`."""
    return {"item": item, "subgroup": subgroup, "elicitation": "logprob", "option_probs": [1 - yes, yes], "answer": int(yes >= 0.5)} | more


def cell(table, component, column="variance", by="all", key="all", against=None):
    rows = table.filter(
        pl.col("component") == component, pl.col("by") == by, pl.col("key") == key, pl.col("against").eq_missing(pl.lit(against, pl.String))
    )
    assert len(rows) == 1, f"{len(rows)} rows of {component} {by} {key} {against}"
    return rows[column][0]


# Persona moves the probability of a yes to .2, .4 and .9; turning the list round adds .1 to all.
YES = dict(zip(PERSONAS, (0.2, 0.4, 0.9), strict=True))


def both_orders(item="Yes"):
    return [
        certain(item, persona, yes + 0.1 * turned, order=order, shown=shown)
        for persona, yes in YES.items()
        for turned, order, shown in ((0, "scale", [0, 1]), (1, "reversed", [1, 0]))
    ]


def test_two_orders_by_hand(kit, data):
    table = variance(data, [asked(kit, "m", both_orders())])
    assert table.schema == VARIANCE.empty().schema
    # .2, .4, .9 have the sample variance .13; 0 and .1 have .005; nothing else moves.
    assert cell(table, "persona") == pytest.approx(0.13)
    assert cell(table, "order") == pytest.approx(0.005)
    assert cell(table, "persona x presentation") == 0
    assert cell(table, "total") == pytest.approx(0.135)
    assert cell(table, "persona", "share") == pytest.approx(0.13 / 0.135)
    assert [cell(table, name, "levels") for name in ("persona", "order", "template", "sample")] == [3, 2, 1, None]
    assert cell(table, "order", against="persona") == pytest.approx(0.005 - 0.13)
    assert cell(table, "order", "share", against="persona") == pytest.approx(0.005 / 0.13)
    assert cell(table, "persona", "ci_low") is None


def test_what_does_not_vary_is_null_with_its_reason(kit, data):
    table = variance(data, [asked(kit, "m", both_orders())])
    reasons = {
        "paraphrase": "one paraphrase only",
        "template": "one template only",
        "combination": "needs two of order, paraphrase and template to vary",
        "sample": "read from probabilities: nothing is drawn",
    }
    for component, reason in reasons.items():
        assert [cell(table, component, column) for column in ("variance", "share", "ci_low")] == [None, None, None]
        assert cell(table, component, "note") == reason


def test_one_order_and_one_sample_leave_one_sum(kit, data):
    rows = [{"item": "Scale", "subgroup": persona, "answer": answer} for persona, answer in zip(PERSONAS, (1, 3, 5), strict=True)]
    table = variance(data, [asked(kit, "m", rows)])
    joint = "persona + persona x presentation + sample"
    assert cell(table, joint) == pytest.approx(np.var([0, 0.5, 1], ddof=1))
    assert cell(table, joint, "share") == 1
    for component, others in (("persona", "persona x presentation and sample"), ("sample", "persona and persona x presentation")):
        assert cell(table, component) is None
        assert cell(table, component, "note") == f"confounded with {others} (one answer per prompt); their sum is in {joint}"
    assert cell(table, "order", "note") == "one order of the options only"
    # What holds chance is compared with nothing.
    assert table["against"].is_null().all()


def test_one_presentation_asked_twice_tells_sampling_only(kit, data):
    rows = [{"item": "Yes", "subgroup": p, "sample": s, "answer": s if p == "sex_F" else 1} for p in PERSONAS for s in (0, 1)]
    table = variance(data, [asked(kit, "m", rows)])
    # One prompt of three has the answers 0 and 1.
    assert cell(table, "sample") == pytest.approx(0.5 / 3)
    joint = "persona + persona x presentation"
    assert cell(table, joint) == pytest.approx(np.var([0.5, 1, 1], ddof=1) - 0.5 / 3 / 2)
    assert "(one presentation only)" in cell(table, "persona", "note")
    assert cell(table, "sample", against=joint) == pytest.approx(cell(table, "sample") - cell(table, joint))
    assert cell(table, joint, against="gold") == pytest.approx(cell(table, joint) - cell(table, "gold"))


@pytest.mark.parametrize(
    ("repeats", "component", "words"),
    [
        (None, "repeat", "repeated answers for the same pair"),
        ("people", "person", "the different people of a subgroup"),
        ("samples", "sample", "sampling at the same prompt"),
    ],
)
def test_repeated_rows_of_an_import_are_samples_only_if_the_run_says_so(kit, data, repeats, component, words):
    rows = [{"item": "Yes", "subgroup": p, "sample": s, "answer": s if p == "sex_F" else 1} for p in PERSONAS for s in (0, 1)]
    run = asked(kit, "m", rows, {"name": "m", "provider": "imported"})
    run.meta |= {} if repeats is None else {"repeats": repeats}
    table = variance(data, [run])
    assert cell(table, component) == pytest.approx(0.5 / 3)
    assert set(table["component"]) & {"sample", "repeat", "person"} == {component}
    text = " ".join(word(claim).sentence for claim in variance_claims(table))
    assert words in text
    assert ("sampling" in text) == (repeats == "samples")
    one = asked(kit, "m", rows[::2], {"name": "m", "provider": "imported"})
    one.meta |= run.meta
    assert f" + {component}" in " ".join(variance(data, [one])["note"].drop_nulls()) + " ".join(variance(data, [one])["component"])


def test_a_yes_or_no_has_one_variance_whichever_way_it_is_declared(kit, data):
    table = variance(data, [asked(kit, "m", both_orders("Yes") + both_orders("Same"))])
    for component in ("persona", "order", "total", "gold"):
        assert cell(table, component, by="item", key="Same") == pytest.approx(cell(table, component, by="item", key="Yes"))
        assert cell(table, component) == pytest.approx(cell(table, component, by="topic", key="one"))


def test_a_list_shown_alike_is_one_order_whatever_it_is_called(kit, data):
    """Shuffles show each persona another list: what was seen decides, and the persona gets nothing of what the list did."""
    rows = []
    for persona, seeds in zip(PERSONAS, ((0, 1), (1, 0), (0, 1)), strict=True):
        for seed, turned in enumerate(seeds):
            yes = 0.3 + 0.4 * turned
            rows.append(certain("Yes", persona, yes, order=f"shuffled-{seed}", shown=[1, 0] if turned else [0, 1]))
    table = variance(data, [asked(kit, "m", rows)])
    assert cell(table, "order") == pytest.approx(0.4**2 / 2)
    assert (cell(table, "persona"), cell(table, "persona x presentation")) == (0, 0)
    # Where the list was not recorded the name has to do.
    unseen = variance(data, [asked(kit, "m", [row | {"shown": None} for row in rows])])
    assert cell(unseen, "order") < cell(unseen, "persona x presentation")


def test_missing_answers_are_left_out_and_counted(kit, data):
    rows = [*both_orders(), *(certain("Yes", p, 0.5) | {"answer": None, "option_probs": None, "order": "x"} for p in PERSONAS)]
    table = variance(data, [asked(kit, "m", rows)])
    assert cell(table, "persona") == pytest.approx(0.13)
    assert (cell(table, "persona", "responses"), cell(table, "persona", "missing")) == (6, 3)


def test_several_runs_of_one_model_are_one_table(kit, data):
    rows = [row | {"template": template} for row in both_orders() for template in ("a", "b")]
    for row in rows:
        if row["template"] == "b":
            row["option_probs"] = [row["option_probs"][0] + 0.05, row["option_probs"][1] - 0.05]
    whole = variance(data, [asked(kit, "m", rows)])
    parts = [asked(kit, name, [row for row in rows if row["template"] == name]) for name in "ab"]
    apart = variance(data, parts)
    assert apart["run"].unique().to_list() == ["a + b"]
    assert apart.drop("run").equals(whole.drop("run"))
    assert cell(apart, "template") == pytest.approx(0.05**2 / 2)
    assert cell(apart, "combination") == pytest.approx(0, abs=1e-12)
    # Another version of a template is another template.
    versions = [row | {"template": "a", "template_version": row["template"]} for row in rows]
    assert cell(variance(data, [asked(kit, "m", versions)]), "template") == pytest.approx(0.05**2 / 2)


def test_each_readout_has_a_table_of_its_own(kit, data):
    said = [{"item": "Yes", "subgroup": p, "sample": s, "answer": int(s > 0)} for p in PERSONAS for s in range(3)]
    table = variance(data, [asked(kit, "probs", both_orders()), asked(kit, "said", said)])
    tables = table.select("run", "elicitation").unique(maintain_order=True).rows()
    assert tables == [("probs", "logprob"), ("said", "text")]
    alone = variance(data, [asked(kit, "said", said)])
    assert table.filter(pl.col("run") == "said").equals(alone)
    assert cell(alone, "sample") == pytest.approx(1 / 3)


def test_models_are_not_mixed(kit, data):
    other = {**MODEL, "revision": "2"}
    control = {"provider": "control", "name": "control:shuffled-persona@m", "control": "shuffled-persona", "of": MODEL}
    runs = [asked(kit, name, both_orders(), who) for name, who in (("a", MODEL), ("b", other), ("c", MODEL), ("d", control))]
    for pair in ((0, 1), (0, 3)):
        with pytest.raises(UsageError, match="not known to be of the same model"):
            variance(data, [runs[place] for place in pair])
    assert [[run.name for run in group] for group in by_model(runs)] == [["a", "c"], ["b"], ["d"]]
    with pytest.raises(UsageError, match="at least one run"):
        variance(data, [])
    with pytest.raises(UsageError, match=r"'topics'.*Did you mean 'topic'"):
        variance(data, runs[:1], by=["topics"])
    with pytest.raises(UsageError, match="Two runs are named 'a'"):
        variance(data, [runs[0], runs[0]])


def test_responses_that_do_not_fit_the_data_set_are_refused(kit, data):
    with pytest.raises(InputDataError, match="have no gold in the data set, first 'Yes_sex_X'"):
        variance(data, [asked(kit, "m", [certain("Yes", "sex_X", 0.5)])])
    with pytest.raises(InputDataError, match="'Yes_sex_F': 7 is not a code of the item 'Yes'"):
        variance(data, [asked(kit, "m", [{"item": "Yes", "subgroup": "sex_F", "answer": 7}])])
    wrong = certain("Yes", "sex_F", 0.5) | {"option_probs": [0.2, 0.3, 0.5]}
    with pytest.raises(InputDataError, match="hold 3 probabilities, the item has 2 options"):
        variance(data, [asked(kit, "m", [wrong])])


def test_a_table_keeps_to_the_items_that_its_design_serves(kit):
    """Seven items asked in two orders, one in one order only: it is left out, counted, and has its own row."""
    items = {f"Q{i}": ("t", "binary", [0, 1]) for i in range(8)}
    groups = {name: ("g", {"g": name}) for name in PERSONAS}
    data = kit.build(kit.World(items, groups, {(i, g): [5, 5] for i in items for g in groups}))
    rows = [row for item in items for row in both_orders(item) if item != "Q7" or row["order"] == "scale"]
    table = variance(data, [asked(kit, "m", rows)], bootstrap=50)
    assert cell(table, "persona", "items") == 7
    assert cell(table, "persona", "responses") == 42
    assert cell(table, "persona", "note") == "1 of 8 items left out: asked in fewer ways, or too few answers"
    assert cell(table, "order", "note", by="item", key="Q7") == "one order of the options only"
    # Four that answered once where four answered twice: what all of them can tell.
    half = [row | {"elicitation": "text", "option_probs": None} for row in rows if row["item"] != "Q7"]
    half += [row | {"sample": 1} for row in half if row["item"] in ("Q0", "Q1", "Q2", "Q3")]
    mixed = variance(data, [asked(kit, "m", half)], bootstrap=50)
    assert cell(mixed, "persona x presentation + sample", "items") == 7
    assert cell(mixed, "sample") is None
    assert cell(mixed, "sample", by="item", key="Q0") == 0


def test_shares_are_of_what_is_above_nothing_and_hold_their_estimates(kit):
    """Personas that differ less than chance would have them: a variance below 0 and a share of 0."""
    items = {f"Q{i}": ("t", "binary", [0, 1]) for i in range(6)}
    groups = {name: ("g", {"g": name}) for name in PERSONAS}
    data = kit.build(kit.World(items, groups, {(i, g): [5, 5] for i in items for g in groups}))
    # Every prompt is answered yes once and no once, whoever is asked; turned round, one item is answered yes only.
    turned = [{"item": "Q0", "subgroup": g, "sample": s, "answer": 1, "order": "reversed"} for g in groups for s in (0, 1)]
    rows = [{"item": i, "subgroup": g, "sample": s, "answer": s} for i in items for g in groups for s in (0, 1)]
    rows += [row | {"order": "reversed"} for row in rows if row["item"] != "Q0"] + turned
    table = variance(data, [asked(kit, "m", rows)], bootstrap=200)
    sample = (5 * 0.5 + 0.25) / 6
    assert cell(table, "sample") == pytest.approx(sample)
    # What noise alone makes of equal means: less than nothing, by a half of the sampling variance.
    lost = cell(table, "persona x presentation")
    assert lost == pytest.approx(-sample / 2)
    assert cell(table, "persona x presentation", "share") == 0
    assert cell(table, "persona x presentation", "share_low") == 0
    order = cell(table, "order")
    assert order > 0
    assert cell(table, "sample", "share") == pytest.approx(sample / (sample + order))
    for component in ("sample", "order"):
        low, share, high = (cell(table, component, name) for name in ("share_low", "share", "share_high"))
        assert 0 <= low < share < high <= 1


def test_nothing_answered_gives_reasons_and_no_numbers(kit, data):
    table = variance(data, [asked(kit, "m", [{"item": "Yes", "subgroup": p, "answer": None} for p in PERSONAS])])
    assert table["variance"].is_null().all()
    assert set(table["note"]) == {"no item has answers to two prompts, or two answers to one prompt"}
    assert variance(data, [asked(kit, "m", [])]).is_empty()


def test_a_baseline_draws_nothing(kit, data):
    rows = [{"item": "Scale", "subgroup": p, "answer": a, "elicitation": "text"} for p, a in zip(PERSONAS, (1, 3, 5), strict=True)]
    table = variance(data, [asked(kit, "baseline-item-mode", rows, {"provider": "baseline", "name": "baseline:item-mode"})])
    assert cell(table, "persona + persona x presentation") == pytest.approx(0.25)


def test_the_table_depends_on_nothing_but_the_answers(kit):
    world = kit.random_world(3, items=8)
    data = kit.build(world)
    rng = np.random.default_rng(0)
    rows = [
        {"item": item, "subgroup": group, "order": order, "shown": list(codes if order == "scale" else codes[::-1]), "sample": sample}
        | {"answer": int(rng.choice(codes))}
        for item, group in world.counts
        for codes in [world.items[item][2]]
        for order, sample in itertools.product(("scale", "reversed"), range(2))
    ]
    table = variance(data, [asked(kit, "m", rows)], bootstrap=100, seed=4)
    mixed = [rows[place] for place in rng.permutation(len(rows))]
    again = variance(data, [asked(kit, "m", mixed)], bootstrap=100, seed=4)
    numbers = ["variance", "ci_low", "ci_high", "share", "share_low", "share_high"]
    assert again.drop(numbers).equals(table.drop(numbers))
    for name in numbers:
        assert again[name].to_list() == pytest.approx(table[name].to_list(), abs=1e-10)
    other = variance(data, [asked(kit, "m", rows)], bootstrap=100, seed=5)
    assert other["variance"].equals(table["variance"])
    assert not other["ci_low"].equals(table["ci_low"])
    none = variance(data, [asked(kit, "m", rows)], bootstrap=0)
    assert none["variance"].equals(table["variance"])
    assert none.select("ci_low", "ci_high", "share_low", "share_high").null_count().row(0) == (len(none),) * 4
    known = table.filter(pl.col("ci_low").is_not_null())
    assert known.select(((pl.col("ci_low") <= pl.col("variance")) & (pl.col("variance") <= pl.col("ci_high"))).all()).item()
    shares = table.filter(
        (pl.col("by") == "all") & pl.col("against").is_null() & ~pl.col("component").is_in(["total", "gold", "gold modes"])
    )
    assert shares["share"].sum() == pytest.approx(1)
    assert shares["share"].min() >= 0
