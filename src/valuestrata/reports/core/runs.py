"""How many runs one page can show."""

from __future__ import annotations

from valuestrata.errors import UsageError

# A reader compares no more, and the tables by subgroup have a column for each of them. Studies are not refused: their runs are paid
# for before the report is written.
MOST_RUNS = 50


def check_number(runs: int) -> None:
    """Refuse a page over too many runs, before anything is scored.

    Args:
        runs: their number, without the baselines that are added.

    Raises:
        UsageError: more than MOST_RUNS.
    """
    if runs > MOST_RUNS:
        raise UsageError(
            f"A report shows at most {MOST_RUNS} runs, and {runs:,} were given. Choose those that you want to compare; "
            "`valuestrata score` has no such limit."
        )
