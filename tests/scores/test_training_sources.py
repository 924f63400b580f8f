"""A model trained on the respondents it is judged on is claimed to be above item mode in surveys without effects.

A short version of `bench/training_sources.py`.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from bench.training_sources import ABOVE, FLAG, JUDGED, kinds_of


@pytest.mark.slow
def test_claims_of_a_model_trained_on_all_respondents_are_withheld():
    found = [kinds_of(seed, draws=50, bootstrap=200) for seed in range(6)]
    assert sum(ABOVE in one["paper", "before"] for one in found) >= 4
    assert not any(ABOVE in one["paper", "after"] or FLAG not in one["paper", "after"] for one in found)
    assert sum(ABOVE in one[JUDGED, "after"] for one in found) <= 1
    assert not any(FLAG in one[JUDGED, "after"] for one in found)
