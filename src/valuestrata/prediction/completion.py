"""Answers for pairs that the model was not asked or did not answer, such as the population."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from valuestrata.calibration.model_answers import ModelAnswers
from valuestrata.dataset.tables import Dataset
from valuestrata.stats.arrays import Floats


def completed(dataset: Dataset, answers: ModelAnswers, subgroups: Sequence[str]) -> ModelAnswers:
    """Return the answers with every pair of an answered item: a missing one has the item's mean over the answered subgroups.

    Subgroups count by their respondents; the mean is over the stratum with most of them, which is the population's answer.

    Args:
        dataset: survey with the new questions. answers: of the model. subgroups: those to complete.
    """
    sizes = {row[0]: row[1:] for row in dataset.subgroups.select("subgroup", "stratum", "n").iter_rows()}
    of_item: dict[str, dict[str, Floats]] = {}
    for (item, subgroup), shares in answers.shares.items():
        of_item.setdefault(item, {})[subgroup] = shares
    shares, n = dict(answers.shares), dict(answers.n)
    for item, own in of_item.items():
        totals: dict[str, int] = {}
        for subgroup in own:
            stratum, size = sizes[subgroup]
            totals[stratum] = totals.get(stratum, 0) + size
        largest = max(totals, key=lambda stratum: totals[stratum])
        among = [subgroup for subgroup in own if sizes[subgroup][0] == largest]
        mean = np.average([own[subgroup] for subgroup in among], axis=0, weights=[max(sizes[subgroup][1], 1) for subgroup in among])
        count = min(answers.n[item, subgroup] for subgroup in among)
        for subgroup in subgroups:
            if subgroup not in own:
                shares[item, subgroup], n[item, subgroup] = mean, count
    return ModelAnswers(shares, n)
