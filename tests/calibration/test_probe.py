"""The method `probe`: the linear readout, and the hidden states of a run."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

import valuestrata as vs
from tests.calibration.model_run import EMBEDDED, biased, written
from tests.poison import data, poisoned
from valuestrata.calibration.hidden_states import FOLDER, PairStates, layers_of, pair_states
from valuestrata.calibration.methods import probe
from valuestrata.calibration.methods.probe import StateComponents, fit_probe
from valuestrata.calibration.methods.readout import option_basis, principal_components, ridge
from valuestrata.calibration.methods.scales import ItemScale
from valuestrata.calibration.model_answers import ModelAnswers
from valuestrata.dataset.tables import half_of
from valuestrata.errors import InputDataError, UsageError
from valuestrata.respondents.baselines.gold import JointCells, TrainingGold
from valuestrata.respondents.local import respondent as local

# --- the readout ------------------------------------------------------------------------------------------------------


def test_ridge_is_that_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(1)
    x, y, weight = rng.standard_normal((40, 6)), rng.standard_normal((40, 2)), rng.uniform(1, 9, 40)
    weighted = x * weight[:, None]
    none, strong, weak = ridge(weighted.T @ x, weighted.T @ y, [np.inf, 20.0, 0.1])
    for penalty, found in ((20.0, strong), (0.1, weak)):
        expected = linear_model.Ridge(alpha=penalty, fit_intercept=False).fit(x, y, sample_weight=weight)
        np.testing.assert_allclose(found.T, expected.coef_, rtol=1e-9)
    assert not none.any()


@pytest.mark.parametrize("shape", [(30, 8), (8, 30), (2500, 5)])
def test_principal_components_keep_the_distances_of_standardised_states(shape):
    rng = np.random.default_rng(2)
    states = (5 + rng.standard_normal(shape) * np.arange(1, shape[1] + 1)).astype(np.float32)
    found = principal_components(np.hstack([states, np.full((shape[0], 2), 7.0, dtype=np.float32)]))
    standard = (states - states.mean(axis=0)) / states.std(axis=0)
    np.testing.assert_allclose(found @ found[:5].T, standard @ standard[:5].T, atol=2e-3 * shape[1])
    spread = found.std(axis=0)
    assert spread[0] > spread[-1]


def test_states_without_variation_have_no_components():
    assert principal_components(np.full((4, 3), 2.0, dtype=np.float32)).shape == (4, 0)
    assert principal_components(np.full((1, 3), 2.0, dtype=np.float32)).shape == (1, 0)


def test_the_basis_is_orthonormal_and_of_the_positions():
    logits = np.log(np.array([[0.2, 0.3, 0.4, 0.05, 0.05]]))
    basis = option_basis(ItemScale(5, "ordinal"), logits)[0]
    np.testing.assert_allclose(basis.T @ basis / 5, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(basis.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(basis[:, 0], np.linspace(-1, 1, 5) * np.sqrt(2), atol=1e-12)
    assert option_basis(ItemScale(2, "binary"), logits[:, :2]).shape == (1, 2, 1)
    nominal = option_basis(ItemScale(5, "nominal"), logits)[0]
    assert nominal.shape == (5, 1)
    assert np.corrcoef(nominal[:, 0], logits[0])[0, 1] == pytest.approx(1)
    assert not option_basis(ItemScale(3, "nominal"), np.zeros((1, 3))).any()


@dataclasses.dataclass
class World:
    """Items whose true shares depend on the model's answers and on a linear function of one layer's states."""

    gold: TrainingGold
    answers: ModelAnswers
    states: PairStates
    truth: dict
    unseen: set

    def error(self, predictor):
        """Mean total variation on items without training pairs."""
        pairs = [pair for pair in self.truth if pair[0] in self.unseen]
        return np.mean([np.abs(predictor.shares(*pair) - self.truth[pair]).sum() / 2 for pair in pairs])


def world(seed, *, items=24, options=(2, 3, 5), signal=1.0, level="ordinal", groups=6):
    rng = np.random.default_rng(seed)
    number = {f"q{i}": options[i % len(options)] for i in range(items)}
    subgroups = [f"s{i}" for i in range(groups)]
    direction = rng.standard_normal(8) / np.sqrt(8)
    truth, model, rows = {}, {}, []
    for item, k in number.items():
        own, says = 2 * rng.standard_normal(8), rng.standard_normal(k)
        for subgroup in subgroups:
            state = own + rng.standard_normal(8)
            logits = 0.5 * says + signal * (state @ direction) * np.linspace(-1, 1, k)
            for shares, of in ((truth, logits), (model, says + 0.2 * rng.standard_normal(k))):
                shares[item, subgroup] = np.exp(of) / np.exp(of).sum()
            rows.append(state)
    noise = rng.standard_normal((len(rows), 8))
    states = PairStates({pair: row for row, pair in enumerate(truth)}, (3, 7), np.stack([noise, rows], axis=1).astype(np.float16))
    unseen = set(list(number)[::4])
    counts = {pair: rng.multinomial(200, shares).astype(float) for pair, shares in truth.items() if pair[0] not in unseen}
    joint = JointCells(("group",), tuple((s,) for s in subgroups), np.ones(groups), np.ones(groups))
    gold = TrainingGold(
        codes={item: tuple(range(k)) for item, k in number.items()},
        level={item: "binary" if k == 2 else level for item, k in number.items()},
        labels={item: tuple("abcdefghij"[:k]) for item, k in number.items()},
        question={item: item for item in number},
        topic={item: f"topic {i % 8}" for i, item in enumerate(number)},
        counts=counts,
        n=dict.fromkeys(counts, 200),
        n_eff=dict.fromkeys(counts, 200.0),
        levels={s: {"group": s} for s in subgroups},
        singles={"group": subgroups},
        joint=joint,
        trained_joint=joint,
        scheme="unseen-item",
        fold=0,
    )
    return World(gold, ModelAnswers(model, dict.fromkeys(model, 1)), states, truth, unseen)


def test_a_planted_signal_is_found_and_predicts_unseen_items():
    for seed in range(2):
        made = world(seed)
        found = fit_probe(made.gold, made.answers, StateComponents.of(made.states))
        assert found.settings["probe"]["layer"] == 7
        assert made.error(found) < 0.6 * made.error(found.base)


def test_states_that_say_nothing_leave_the_answers_of_shares():
    changes = []
    for seed in range(3):
        made = world(seed, signal=0.0)
        found = fit_probe(made.gold, made.answers, StateComponents.of(made.states))
        changes.append(made.error(found) - made.error(found.base))
        if found.settings["probe"]["layer"] is None:
            np.testing.assert_array_equal(found.shares("q0", "s0"), found.base.shares("q0", "s0"))
    assert changes.count(0.0) >= 2
    assert max(changes) < 0.005


@pytest.mark.slow
@pytest.mark.parametrize("items", [24, 100])
def test_rates_of_readouts_with_and_without_a_signal(items):
    used, worst = 0, 0.0
    for seed in range(20):
        made = world(seed, items=items, signal=0.0)
        found = fit_probe(made.gold, made.answers, StateComponents.of(made.states))
        used += found.settings["probe"]["layer"] is not None
        worst = max(worst, made.error(found) - made.error(found.base))
        made = world(seed, items=items, signal=0.3)
        found = fit_probe(made.gold, made.answers, StateComponents.of(made.states))
        assert found.settings["probe"]["layer"] == 7
        assert made.error(found) < made.error(found.base)
    assert used <= 8
    assert worst < 0.005


@pytest.mark.parametrize(
    ("settings", "few"),
    [
        ({"items": 2}, True),
        ({"items": 5, "options": (3,)}, True),
        ({"items": 24, "groups": 1}, False),
        ({"items": 24, "options": (10, 2, 7)}, False),
        ({"level": "nominal", "options": (4, 3)}, False),
    ],
)
def test_small_and_nominal_data_give_valid_shares(settings, few):
    made = world(4, **settings)
    found = fit_probe(made.gold, made.answers, StateComponents.of(made.states))
    assert ("needed" in found.settings["probe"]) == few
    for pair in made.truth:
        assert found.shares(*pair).sum() == pytest.approx(1)
        assert (found.shares(*pair) >= 0).all()
    assert bool(probe.probe_remarks([found.settings])) == (found.settings["probe"]["layer"] is None)


def test_constant_states_and_gold_of_one_option_give_finite_answers():
    made = world(5)
    flat = dataclasses.replace(made.states, states=np.ones_like(made.states.states))
    one = {pair: np.eye(len(counts))[0] * 200 for pair, counts in made.gold.counts.items()}
    for gold, states in ((made.gold, flat), (dataclasses.replace(made.gold, counts=one), made.states)):
        found = fit_probe(gold, made.answers, StateComponents.of(states))
        assert all(np.isfinite(found.shares(*pair)).all() for pair in made.truth)


def test_a_pair_without_a_state_gets_the_answer_of_shares():
    made = world(0)
    some = {pair: row for pair, row in made.states.row.items() if pair not in {("q0", "s0"), ("q1", "s0")}}
    found = fit_probe(made.gold, made.answers, StateComponents.of(dataclasses.replace(made.states, row=some)))
    assert found.settings["probe"]["layer"] == 7
    np.testing.assert_array_equal(found.shares("q0", "s0"), found.base.shares("q0", "s0"))
    assert np.abs(found.shares("q0", "s1") - found.base.shares("q0", "s1")).max() > 0.01


def test_a_control_moves_the_states_with_the_answers():
    made = world(0)
    components = StateComponents.of(made.states)
    swapped = components.of_items({"q0": "q1", "q1": "q0"})
    assert swapped.row["q0", "s2"] == components.row["q1", "s2"]
    assert len(swapped.row) == 12
    assert not components.of_items({}).row


# --- hidden states of a run -------------------------------------------------------------------------------------------


class Model:
    """Stands for a local model: its state is a function of the prompt."""

    name, layers = "embedded", 10

    def __init__(self, revision="1", stop_after=None):
        self.revision, self.stop_after, self.read = revision, stop_after, []

    def identity(self):
        return {**EMBEDDED, "revision": self.revision, "adapter_hash": None}

    def hidden_states(self, prompts, layers):
        if self.stop_after is not None and len(self.read) >= self.stop_after:
            raise KeyboardInterrupt
        self.read += prompts
        return np.array([[[layer, len(prompt.messages[-1].content), 1e6] for layer in layers] for prompt in prompts], dtype=np.float32)


@pytest.fixture
def model(monkeypatch):
    made = Model()
    monkeypatch.setattr(local, "load_local", lambda spec, *, device=None: made)
    return made


def asked(folder, respondent=EMBEDDED, orders=("scale", "reversed")):
    """Write a run that recorded the hashes of its prompts."""
    from valuestrata.respondents.models import ModelSettings, personas_of_model
    from valuestrata.responses.ask.plan import plan_asking

    plan = plan_asking(data(), split="paper", part="all", orders=",".join(orders))
    personas = personas_of_model(respondent["name"], data(), ModelSettings())
    prompts = {(one.pair_id, one.order): one.hash for one in plan.prompts_with(data(), personas)}
    folder.mkdir()
    run = written(data(), folder, biased(data()), respondent)
    rows = pl.concat([run.responses.with_columns(order=pl.lit(order)) for order in orders])
    hashes = [prompts[one] for one in rows.select("pair_id", "order").iter_rows()]
    return dataclasses.replace(run, responses=rows.with_columns(prompt_hash=pl.Series(hashes)))


def test_states_are_averaged_over_orders_stored_in_float16_and_read_once(tmp_path, model):
    run = asked(tmp_path / "run")
    found = pair_states(data(), run)
    pairs = run.responses.select("item", "subgroup").unique()
    assert len(model.read) == 2 * len(pairs) == len(run.responses)
    assert set(found.row) == set(pairs.iter_rows())
    assert found.layers == layers_of(10) == (4, 6, 8, 10)
    assert found.states.dtype == np.float16
    row = found.row["S1", "sex_sex-1"]
    lengths = [len(one.messages[-1].content) for one in model.read if one.pair_id == "S1_sex_sex-1"]
    np.testing.assert_allclose(found.states[row, 1], [6, np.mean(lengths), np.finfo(np.float16).max], rtol=1e-3)
    again = pair_states(data(), run)
    assert len(model.read) == len(run.responses)
    np.testing.assert_array_equal(again.states[again.row["S1", "sex_sex-1"]], found.states[row])


def test_an_interrupted_reading_continues(tmp_path, model, monkeypatch):
    monkeypatch.setattr("valuestrata.calibration.hidden_states.CHUNK", 50)
    run = asked(tmp_path / "run")
    model.stop_after = 100
    with pytest.raises(KeyboardInterrupt):
        pair_states(data(), run)
    assert len(list((tmp_path / "run" / FOLDER).iterdir())) == 2
    model.stop_after = None
    found = pair_states(data(), run)
    assert len(found.row) == run.responses["pair_id"].n_unique()
    assert len(model.read) == len(run.responses)


def test_a_control_without_persona_reads_each_prompt_once(tmp_path, model):
    of = {"name": "control:no-persona@embedded", "provider": "control", "control": "no-persona", "of": EMBEDDED}
    run = asked(tmp_path / "run", of)
    found = pair_states(data(), run)
    assert len(model.read) == run.responses["prompt_hash"].n_unique() < len(run.responses) / 4
    assert len(found.row) == run.responses["pair_id"].n_unique()


def test_another_model_or_other_prompts_are_refused(tmp_path, model):
    run = asked(tmp_path / "run")
    model.revision = "2"
    with pytest.raises(InputDataError, match=r"the model 'embedded' now has revision '2'; the run 'run' was answered with '1'"):
        pair_states(data(), run)
    changed = dataclasses.replace(run, responses=run.responses.with_columns(prompt_hash=pl.lit("0")))
    with pytest.raises(InputDataError, match=r"can no longer be rendered as the run 'run' asked it.*template"):
        pair_states(data(), changed)
    assert not (tmp_path / "run" / FOLDER).exists()


@pytest.mark.parametrize("respondent", [{"name": "openai/gpt", "provider": "openai"}, {"name": "vllm:a/b", "provider": "vllm"}])
def test_only_local_models_have_hidden_states(tmp_path, respondent):
    (tmp_path / "run").mkdir()
    run = written(data(), tmp_path / "run", biased(data()), respondent)
    with pytest.raises(UsageError, match=r"hidden states are read from local models only .*`shares` or `hybrid`"):
        vs.calibrate(data(), run, tmp_path / "out", method="probe")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("split", ["unseen-item", "unseen-item+disjoint"])
def test_gold_outside_training_changes_nothing(tmp_path, monkeypatch, split):
    run = asked(tmp_path / "run")
    gold = {pair: shares[0] for pair, shares in data().gold.filter(half="all").select("pair_id", "shares").iter_rows()}
    reader = Model()
    # States that know the answers, so the readout is used.
    reader.hidden_states = lambda prompts, layers: np.array(
        [[[gold.get(prompt.pair_id, 0.0), 1.0, 2.0]] * len(layers) for prompt in prompts], dtype=np.float32
    )
    monkeypatch.setattr(local, "load_local", lambda spec, *, device=None: reader)
    wrong = poisoned(data(), data().part(split, "train", 0), half_of(split, "train", 0))
    right, changed = (
        vs.calibrate(one, run, tmp_path / name, split=split, fold=0, method="probe") for name, one in (("right", data()), ("wrong", wrong))
    )
    assert right.run.responses.equals(changed.run.responses)
    assert right.settings == changed.settings
    assert right.settings[0]["probe"]
