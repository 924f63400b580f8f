"""What the command `report` refuses before it scores anything."""

from __future__ import annotations

import json

from valuestrata.reports.core.runs import MOST_RUNS


def test_too_many_runs_and_runs_of_two_data_sets(call, built):
    data, run, other = built / "data", built / "run", built / "other"
    for folder in (run, other):
        assert call("ask", data, "--model", "baseline:item-mode", "-o", folder).code == 0
    many = call("report", data, *[run] * (MOST_RUNS + 1), "-o", built / "report.html")
    assert many.code == 2
    assert many.err.count("\n") == 1
    assert f"A report shows at most {MOST_RUNS} runs, and {MOST_RUNS + 1} were given." in many.err
    document = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps(document | {"dataset": {"fingerprint": "e" * 64, "survey": "another"}}))
    two = call("report", data, run, other, "-o", built / "report.html")
    assert two.code == 3
    assert two.err.count("\n") == 1
    assert "run 'other' belongs to another data set ('another', fingerprint eeeeeeeeeeee)" in two.err
    assert not (built / "report.html").exists()
