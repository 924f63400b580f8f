"""The method `hybrid`: baselines without a model, with a model's answers as inputs whose weights are chosen inside training.

- `national`: population shares of unseen items, a mixture of `item-text` and a regression on the model's answers.
- `few`: unseen items where training has too few items for that.
- `departures`: the departures of subgroups on unseen items, a multiple of the model's plus those that texts predict.
- `cells`: unseen combinations and levels, the ensemble baseline with the model's departures as covariate.

A weight of 0 gives the prediction of the baseline unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from valuestrata.calibration.methods.hybrid.cells import CellHybrid, fit_cells
from valuestrata.calibration.methods.hybrid.departures import Factors, fit_factors, model_departures, population_shares
from valuestrata.calibration.methods.hybrid.few import FewItems, fit_few
from valuestrata.calibration.methods.hybrid.national import NationalHybrid, fit_national, mixed
from valuestrata.calibration.model_answers import ModelAnswers, Pair
from valuestrata.dataset.tables import base_of
from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.item_models.item_text import ItemText, fit_item_text, trained_shares, with_departures
from valuestrata.stats.arrays import Floats

# Splits whose test pairs are of unseen items only.
ITEM_SPLITS = ("unseen-item", "unseen-both")


@dataclass(frozen=True)
class HybridPredictor:
    """A fitted predictor.

    Attributes:
        items: predictor of unseen items, and of all items without `cells`. trained: training items.
        cells: predictor of training items, or None. few: predictor of unseen items where training has few items.
        departures: (item, subgroup) -> departure of the model's log shares, shape (K,). factors: by which they are multiplied.
        stratum: subgroup -> its attributes. settings: weights, stored in the identity of a run.
    """

    items: ItemText
    trained: frozenset[str]
    cells: CellHybrid | None
    few: FewItems
    departures: Mapping[Pair, Floats]
    factors: Factors
    stratum: Mapping[str, tuple[str, ...]]
    settings: Mapping[str, object]

    def shares(self, item: str, subgroup: str) -> Floats:
        """Return the predicted shares, shape (K,), scale order, sum 1."""
        if item in self.trained:
            return (self.cells or self.items).shares(item, subgroup)
        if self.few.shares is not None and item in self.few.items and (item, subgroup) in self.few.pairs:
            return self.few.shares.shares(item, subgroup)
        departure = self.departures.get((item, subgroup))
        factor = self.factors.factor(self.stratum[subgroup])
        return (
            self.items.shares(item, subgroup)
            if departure is None or factor == 0
            else self.items.shifted(item, subgroup, factor * departure)
        )


def fit_hybrid(gold: TrainingGold, answers: ModelAnswers) -> HybridPredictor:
    """Fit the baselines and choose the weights of the model in each."""
    population = population_shares(gold, answers)
    departures = model_departures(gold, answers, population)
    trained = frozenset(trained_shares(gold))
    text = gold.once(fit_item_text)
    national, factors, few = NationalHybrid(), Factors(), FewItems()
    if gold.codes.keys() - trained:
        national = fit_national(gold, text, population)
        factors = fit_factors(gold, departures)
        few = fit_few(gold, answers, {kind: _of_kind(gold, kind) for kind in national.remarks})
        draws, weights = mixed(text, national, gold.level)
        text = replace(text, national=draws, weights=weights)
    stratum = {subgroup: tuple(own) for subgroup, own in gold.levels.items()}
    if factors.of:
        text = with_departures(gold, text, {pair: factors.factor(stratum[pair[1]]) * own for pair, own in departures.items()})
    unseen_cells = base_of(gold.scheme) not in ITEM_SPLITS or not gold.codes.keys() - trained
    cells = fit_cells(gold, departures) if unseen_cells else None
    settings: dict[str, object] = {"item_text": dict(text.settings)}
    if national.weight:
        settings |= {"weight": dict(national.weight), "gain": dict(national.gain)}
    if national.remarks:
        settings["remarks"] = [f"{kind}: {remark} {_used(gold, kind, few)} is used." for kind, remark in national.remarks.items()]
    if gold.codes.keys() - trained:
        settings["departure_factors"] = {" x ".join(names): round(value, 4) for names, value in factors.of.items()}
        settings["departure_gain"] = factors.gain
    if cells is not None:
        settings |= {
            "combination_coefficient": cells.combination,
            "level_coefficient": cells.level,
            "baseline": dict(cells.baseline.settings),
        }
    return HybridPredictor(text, trained, cells, few, departures, factors, stratum, settings)


def _of_kind(gold: TrainingGold, kind: str) -> list[str]:
    return [item for item in gold.codes if (gold.level[item] == "nominal") == (kind == "nominal")]


def _used(gold: TrainingGold, kind: str, few: FewItems) -> str:
    return "shares" if any(item in few.items for item in _of_kind(gold, kind)) else "item-text"
