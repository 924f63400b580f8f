"""Benchmarks as ratios: both sides do the same work in one call, and their results are checked to be equal.

    python bench/run.py [NAME...]

prints a table and writes bench/results.json, a list of {name, ours, peer, peer_name, ratio, unit, detail}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import audit_10x20k
import baseline_ladder
import bootstrap_10x20k
import calibrate_20k
import estimate_20k
import gold_counts_vs_pandas
import hosted_vs_inspect
import local_forward
import local_vs_lm_eval
import mode_bootstrap
import resume_200k
import score_whole
import tune_vs_trl

# Each returns one row per comparison; a row without a name gets that of the benchmark.
BENCHMARKS = {
    "gold_counts_vs_pandas": gold_counts_vs_pandas.run,
    "mode_bootstrap": mode_bootstrap.run,
    "local_forward": local_forward.run,
    "local_vs_lm_eval": local_vs_lm_eval.run,
    "hosted_vs_inspect": hosted_vs_inspect.run,
    "resume_200k": resume_200k.run,
    "baseline_ladder": baseline_ladder.run,
    "score_whole": score_whole.run,
    "bootstrap_10x20k": bootstrap_10x20k.run,
    "audit_10x20k": audit_10x20k.run,
    "calibrate_20k": calibrate_20k.run,
    "estimate_20k": estimate_20k.run,
    "tune_vs_trl": tune_vs_trl.run,
}
# Comparisons that share a loaded model; each can be requested by name.
PARTS = dict.fromkeys(
    ("local_vs_alone", "local_vs_generate", "local_forward_fraction", "local_forward_fraction_item_first"), "local_forward"
) | {
    "local_vs_lm_eval_item_first": "local_vs_lm_eval",
    **dict.fromkeys(("build_whole", "score_redraws", "score_shuffles"), "score_whole"),
    "tune_vs_trainer": "tune_vs_trl",
    "tune_vs_trl_together": "tune_vs_trl",
}


def main() -> int:
    """Run the named benchmarks, or all of them."""
    names = sys.argv[1:] or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS and name not in PARTS]:
        print(f"Unknown benchmark {unknown[0]!r}. Known benchmarks: {', '.join([*BENCHMARKS, *PARTS])}", file=sys.stderr)
        return 2
    results = []
    for name in names:
        print(f"{name} ...", flush=True)
        found = BENCHMARKS[PARTS.get(name, name)]()
        rows = [{"name": name, **row} for row in (found if isinstance(found, list) else [found])]
        results += [row for row in rows if name not in PARTS or row["name"] == name]
    print(f"\n{'benchmark':24} {'ours':>10} {'peer':>10} {'ratio':>8}  unit")
    for row in results:
        peer = "-" if row["peer"] is None else f"{row['peer']:10.3f}"
        ratio = "-" if row["ratio"] is None else f"{row['ratio']:8.1f}"
        print(f"{row['name']:24} {row['ours']:10.3f} {peer:>10} {ratio:>8}  {row['unit']}  {row['detail']}")
    Path(__file__).with_name("results.json").write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
