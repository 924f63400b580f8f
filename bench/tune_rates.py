"""Comparison of learning rates: validation measures of a recipe after a few updates at each rate.

    python bench/tune_rates.py DATASET [--recipe modal] [--updates 25] [--rates 1e-6,1e-5,5e-5,1e-4,2e-4] [--validation 44]

The schedule is that of the recipe, shortened to the number of updates. A rate that is best here is about right for a longer
training; a rate that has no effect here has little effect there.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from valuestrata.dataset.tables import load_dataset
from valuestrata.tuning import load_recipe
from valuestrata.tuning.tune import tune

COLUMNS = ("loss", "loss_answer", "loss_end", "accuracy_expected", "distance", "kl", "option_mass")


def main() -> None:
    """Print one row per rate, and one for the model before training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--recipe", default="modal")
    parser.add_argument("--updates", type=int, default=25)
    parser.add_argument("--rates", default="1e-6,1e-5,5e-5,1e-4,2e-4")
    parser.add_argument("--validation", type=int, default=44)
    given = parser.parse_args()
    dataset = load_dataset(given.dataset)
    print(f"{'rate':>8} " + " ".join(f"{name:>17}" for name in COLUMNS) + "  seconds", flush=True)
    before = None
    for rate in given.rates.split(","):
        recipe = load_recipe(
            given.recipe,
            learning_rate=float(rate),
            max_steps=given.updates,
            early_stopping=None,
            validation={"samples": given.validation, "every": 99},
        )
        with tempfile.TemporaryDirectory() as place:
            start = time.perf_counter()
            result = tune(dataset, given.model, Path(place) / "adapter", recipe=recipe, device="cpu")
            seconds = time.perf_counter() - start
        if before is None:
            before = result.before
            print(line("before", before, 0), flush=True)
        print(line(rate, result.after, seconds), flush=True)


def line(name: str, measures: dict[str, float], seconds: float) -> str:
    """Return one row of the table."""
    return f"{name:>8} " + " ".join(f"{measures[column]:17.4f}" for column in COLUMNS) + f"  {seconds:.0f}"


if __name__ == "__main__":
    main()
