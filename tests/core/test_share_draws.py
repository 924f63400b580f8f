"""Redrawn shares: what is packed comes back, their spread and covariance follow closed forms, ceilings and floors follow them."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.people import attribute, item, random_survey, survey
from valuestrata.building import SHARE_DRAWS, BuildSettings, build
from valuestrata.dataset.gold import redraw, shares_of, unpack_share_draws
from valuestrata.dataset.tables import load_dataset, write_dataset
from valuestrata.scores.pairs import OF_HALVES, gold_of

STEP = 1 / 32


def redrawn_by_hand(made, people, draws, seed):
    """Return the shares of one item in each draw, person by person, shape (draws, K); from the documented resampling."""
    options = len(made.items[0].codes)
    weight = made.weight if made.weight is not None else np.ones(made.respondents)
    times = np.random.default_rng(seed).multinomial(made.respondents, np.full(made.respondents, 1 / made.respondents), size=draws)
    shares = np.full((draws, options), np.nan)
    for draw in range(draws):
        counts = [0.0] * options
        for person in people:
            if made.answers[person, 0] >= 0:
                counts[made.answers[person, 0]] += times[draw, person] * weight[person]
        if sum(counts):
            shares[draw] = np.array(counts) / sum(counts)
    return shares


def redraws_of(made, people, *, draws, share_draws, seed=0, half=None):
    """Redraw the first item of a survey in one or several subgroups; return the Redraws and the gold shares (3, subgroups, K)."""
    half = np.arange(made.respondents) % 2 == 0 if half is None else half
    options = len(made.items[0].codes)
    weight = made.weight if made.weight is not None else np.ones(made.respondents)
    gold = np.zeros((3, 1, len(people), options))
    for h, inside in enumerate((np.ones_like(half), half, ~half)):
        for s, members in enumerate(people):
            for person in members:
                if inside[person] and made.answers[person, 0] >= 0:
                    gold[h, 0, s, made.answers[person, 0]] += weight[person]
    (result,) = redraw(
        made.answers[:, :1],
        np.array([options]),
        [np.asarray(members) for members in people],
        half,
        gold,
        draws=draws,
        share_draws=share_draws,
        rng=np.random.default_rng(seed),
        weight=made.weight,
    )
    return result, shares_of(gold)[:, 0]


def unpacked(result, shares, half, subgroup):
    packed = result.share_draws[half, 0, subgroup]
    return unpack_share_draws(packed.reshape(-1), shares[half, subgroup], result.share_se[half, 0, subgroup])


@settings(max_examples=20, deadline=None)
@given(st.integers(60, 200), st.integers(0, 1000), st.booleans(), st.integers(2, 6))
def test_unpacked_shares_are_what_was_drawn_to_a_sixty_fourth_of_a_standard_error(people, seed, weighted, options):
    rng = np.random.default_rng(seed)
    answers = rng.integers(-1, options, (people, 1))
    made = survey(
        [item("Q1", options)], [attribute("sex", ["a"])], answers, np.zeros((people, 1)), rng.uniform(0.5, 2, people) if weighted else None
    )
    result, shares = redraws_of(made, [range(people)], draws=30, share_draws=30, seed=seed)
    drawn = redrawn_by_hand(made, range(people), 30, seed)
    back = unpacked(result, shares, 0, 0)
    se = result.share_se[0, 0, 0]
    assert se == pytest.approx(drawn.std(axis=0))
    # What lies further out than eight bits reach is cut; the others are off by half a step, times the making up to 1.
    inside = np.abs(drawn - shares[0, 0]) <= 127 * STEP * se
    whole = inside.all(axis=1)
    assert whole.mean() > 0.8
    assert np.abs(back - drawn)[whole] == pytest.approx(0, abs=float((se.max() * options + se.max()) * STEP / 2))
    assert back.sum(axis=-1) == pytest.approx(1)
    assert ((back >= 0) & (back <= 1)).all()


def test_unpacking_by_hand():
    # Steps of 32 are one standard error: .5 + .1 and .5 - .1; then what falls below 0 is cut and the rest made up to 1.
    packed = np.array([32, -32, 0, -127, 127, 0], dtype=np.int8)
    found = unpack_share_draws(packed, np.array([0.5, 0.5, 0.0]), np.array([0.1, 0.1, 0.0]))
    assert found[0] == pytest.approx([0.6, 0.4, 0])
    assert found[1] == pytest.approx([0.5 - 12.7 / 32, 0.5 + 12.7 / 32, 0])
    found = unpack_share_draws(np.array([-64, 32], dtype=np.int8), np.array([0.1, 0.9]), np.array([0.1, 0.1]))
    assert found.tolist() == [[0, 1]]


def test_a_share_without_spread_comes_back_as_it_is():
    made = survey([item("Q1", 3)], [attribute("sex", ["a"])], [[1]] * 40, [[0]] * 40)
    result, shares = redraws_of(made, [range(40)], draws=20, share_draws=20)
    assert result.share_se.tolist() == np.zeros((3, 1, 1, 3)).tolist()
    assert unpacked(result, shares, 0, 0).tolist() == [[0, 1, 0]] * 20


def test_covariances_of_the_shares_of_one_pair_are_multinomial():
    """Var s_k = s_k (1 - s_k) / n and Cov(s_j, s_k) = -s_j s_k / n."""
    n, counts = 300, [150, 90, 60]
    made = survey([item("Q1", 3)], [attribute("sex", ["a"])], np.repeat([0, 1, 2], counts)[:, None], [[0]] * n)
    result, shares = redraws_of(made, [range(n)], draws=4000, share_draws=4000, half=np.random.default_rng(0).permutation(n) < 150)
    p = np.array(counts) / n
    expected = (np.diag(p) - np.outer(p, p)) / n
    # A covariance from 4,000 draws has a relative error of about sqrt(2 / 4000) = 2 %; four of these, on the scale of the variances.
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert (np.abs(np.cov(unpacked(result, shares, 0, 0).T) - expected) <= 0.09 * scale).all()
    assert result.share_se[0, 0, 0] == pytest.approx(np.sqrt(np.diag(expected)), rel=0.05)


def weighted_nation(n=400, seed=4):
    rng = np.random.default_rng(seed)
    return survey(
        [item("Q1", 3)], [attribute("sex", ["a"])], rng.choice(3, (n, 1), p=[0.5, 0.3, 0.2]), np.zeros((n, 1)), rng.uniform(0.2, 4, n)
    )


def test_weighted_standard_errors_follow_the_linearised_ratio():
    """Var s_k is close to sum w_i^2 (x_i - s_k)^2 / (sum w)^2, where x_i is 1 for who answers k."""
    made = weighted_nation()
    result, shares = redraws_of(made, [range(400)], draws=4000, share_draws=0)
    for h, inside in enumerate((np.arange(400) >= 0, np.arange(400) % 2 == 0, np.arange(400) % 2 == 1)):
        w, x = made.weight[inside], made.answers[inside, 0]
        for k in range(3):
            residual = w * ((x == k) - shares[h, 0, k])
            assert result.share_se[h, 0, 0, k] == pytest.approx(np.sqrt((residual**2).sum()) / w.sum(), rel=0.06)


def test_weights_without_relation_to_answers_cost_what_kish_says():
    """Where those who answer k weigh as the others do, Var s_k = s_k (1 - s_k) / n_eff."""
    w = np.tile([0.5, 1.0, 4.0], 120)
    answers = np.repeat([0, 0, 0, 1, 2, 2], 60)[:, None]
    made = survey([item("Q1", 3)], [attribute("sex", ["a"])], answers, np.zeros((360, 1)), w)
    result, shares = redraws_of(made, [range(360)], draws=4000, share_draws=0)
    p = np.array([3, 1, 2]) / 6
    assert shares[0, 0] == pytest.approx(p)
    n_eff = w.sum() ** 2 / (w**2).sum()
    assert n_eff < 0.6 * len(w)
    assert result.share_se[0, 0, 0] == pytest.approx(np.sqrt(p * (1 - p) / n_eff), rel=0.06)


def test_a_cell_and_its_parent_keep_their_covariance_and_cells_apart_have_none():
    """For a cell of n people in a parent of N: Cov = s (1 - s) / N with s the share in the cell; 0 between cells apart."""
    rng = np.random.default_rng(8)
    answers = np.concatenate([rng.random(150) < 0.7, rng.random(250) < 0.4]).astype(int)[:, None]
    made = survey([item("Q1", 2)], [attribute("sex", ["a"])], answers, np.zeros((400, 1)))
    people = [range(400), range(150), range(150, 400)]
    result, shares = redraws_of(made, people, draws=6000, share_draws=6000)
    first = np.stack([unpacked(result, shares, 0, s)[:, 0] for s in range(3)])
    found = np.cov(first)
    for s in (1, 2):
        share = shares[0, s, 0]
        assert found[0, s] == pytest.approx(share * (1 - share) / 400, rel=0.12)
    assert np.corrcoef(first)[1, 2] == pytest.approx(0, abs=4 / np.sqrt(6000))
    # Half A and half B are other people; the whole lies with both.
    halves = np.corrcoef([unpacked(result, shares, h, 0)[:, 0] for h in range(3)])
    assert halves[1, 2] == pytest.approx(0, abs=4 / np.sqrt(6000))
    assert halves[0, 1] == pytest.approx(np.sqrt(0.5), abs=0.08)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A data set that went through the disk, all of whose redraws keep their shares."""
    folder = tmp_path_factory.mktemp("stored") / "data"
    write_dataset(build(random_survey(3000, 6), BuildSettings(min_respondents=30, min_valid=10, draws=SHARE_DRAWS)), folder)
    return load_dataset(folder)


def rows_of(dataset):
    """Return the rows of gold, with K, level, and what the draws of the pair are."""
    options = dataset.items.select("item", "level", pl.col("codes").list.len().alias("K"), "codes")
    both = ("pair_id", "half")
    joined = dataset.gold.join(dataset.mode_draws, on=both, how="left", maintain_order="left").join(dataset.small_area, on=both)
    joined = joined.join(options, on="item")
    return list(joined.iter_rows(named=True))


def test_every_gold_row_has_its_draws_on_disk(stored):
    assert (
        stored.gold.select("pair_id", "half")
        .sort("pair_id", "half")
        .equals(stored.mode_draws.select("pair_id", "half").sort("pair_id", "half"))
    )
    for row in rows_of(stored):
        assert len(row["draws"]) == SHARE_DRAWS
        assert len(row["share_draws"]) == SHARE_DRAWS * row["K"]
        assert len(row["share_se"]) == row["K"]


def test_stored_draws_lie_about_gold_and_give_its_modes_ceilings_and_floors(stored):
    """From the unpacked draws alone come, within rounding, p_mode, both ceilings and the floors of every gold row."""
    checked = 0
    for row in rows_of(stored):
        # With a handful of answers a redraw may have none: it repeats gold among the draws, and counts for nothing in the floors.
        assert row["n"] > 20
        k, gold = row["K"], np.array(row["shares"])
        se = np.array(row["share_se"])
        drawn = unpack_share_draws(np.array(row["share_draws"], dtype=np.int8), gold, se)
        assert drawn.shape == (SHARE_DRAWS, k)
        assert drawn.std(axis=0) == pytest.approx(se, rel=0.15, abs=0.002)
        assert (np.abs(drawn.mean(axis=0) - gold) <= 5 * se / np.sqrt(SHARE_DRAWS) + 1e-3).all()
        # Ceilings: from the stored modes, p_mode but for ties, which weights leave none.
        codes = np.array(row["codes"])
        chance = np.bincount(np.array(row["draws"]), minlength=k) / SHARE_DRAWS
        assert chance == pytest.approx(row["p_mode"], abs=0.03)
        assert sum(row["p_true"]) == pytest.approx(1)
        assert sum(row["shares_shrunken"]) == pytest.approx(1)
        assert row["ceiling_oracle"] == pytest.approx(sum(a * b for a, b in zip(row["p_true"], row["p_mode"], strict=True)))
        assert 1 / k / 2 < row["ceiling_human"] <= 1
        agree = (drawn.argmax(axis=1) == np.array(row["draws"])).mean()
        assert agree >= 0.9
        if row["level"] == "nominal":
            assert row["floor_w1"] is row["floor_rps"] is row["floor_nmae"] is None
            continue
        mode = codes.tolist().index(row["mode"])
        # The best answer is the true mode, but for scales with likely modes on both sides of it.
        of_mode = sum(p * abs(at - mode) / (k - 1) for at, p in enumerate(row["p_true"]))
        assert row["floor_nmae"] == pytest.approx(of_mode, abs=1e-9 if k == 2 else 0.35)
        w1, rps = [], []
        for shares in drawn:
            gaps = [sum(shares[: at + 1]) - sum(gold[: at + 1]) for at in range(k)]
            w1.append(sum(abs(gap) for gap in gaps) / (k - 1))
            rps.append(sum(gap * gap for gap in gaps) / (k - 1))
        n = row["n_eff"]
        assert row["floor_w1"] == pytest.approx(np.mean(w1) * np.sqrt(n / (n - 1)), rel=0.05, abs=1e-4)
        assert row["floor_rps"] == pytest.approx(np.mean(rps) * n / (n - 1), rel=0.1, abs=1e-5)
        checked += 1
    assert checked > 100


def test_a_half_has_wider_draws_than_the_whole(stored):
    """Half as many people: standard errors larger by the root of two, on the average of the pairs."""
    total = dict.fromkeys(("all", "A", "B"), 0.0)
    for row in rows_of(stored):
        if row["K"] == 2:
            total[row["half"]] += row["share_se"][0] ** 2
    assert total["A"] / total["all"] == pytest.approx(2, rel=0.15)
    assert total["B"] / total["all"] == pytest.approx(2, rel=0.15)


def test_agreement_of_the_halves_is_that_of_their_gold_rows(stored):
    """ceiling_halves, floor_nmae_halves and floor_w1_halves from the rows of halves A and B, pair by pair."""
    by_half = {(row["pair_id"], row["half"]): row for row in rows_of(stored)}
    found = gold_of(stored, stored.gold.select("pair_id").unique(maintain_order=True), "all")
    assert len(found) == len({pair for pair, _ in by_half})
    for row in found.select("pair_id", *OF_HALVES).iter_rows(named=True):
        a, b = by_half.get((row["pair_id"], "A")), by_half.get((row["pair_id"], "B"))
        if a is None or b is None:
            assert row["ceiling_halves"] is row["floor_nmae_halves"] is row["floor_w1_halves"] is None
            continue
        assert row["ceiling_halves"] == (a["mode"] == b["mode"])
        if a["level"] == "nominal":
            assert row["floor_nmae_halves"] is row["floor_w1_halves"] is None
            continue
        steps = a["K"] - 1
        assert row["floor_nmae_halves"] == pytest.approx(abs(a["codes"].index(a["mode"]) - a["codes"].index(b["mode"])) / steps)
        apart = [abs(sum(a["shares"][: at + 1]) - sum(b["shares"][: at + 1])) for at in range(steps)]
        assert row["floor_w1_halves"] == pytest.approx(sum(apart) / steps)


def test_fewer_draws_than_share_draws_keep_them_all():
    made = build(random_survey(100, 6), BuildSettings(min_respondents=1, min_valid=1, draws=7))
    lengths = made.mode_draws.join(made.gold.select("pair_id", "half", "p_mode"), on=("pair_id", "half"))
    assert (lengths["share_draws"].list.len() == 7 * lengths["p_mode"].list.len()).all()
