"""`build --counts`: what it writes and prints, and which options do not apply."""

import json

import pytest

COUNTS = {
    f"Q{number}_W{wave}": {"question": f"Question {number}?", "options": ["a", "b"], "human_counts": [30 + number, 70], "refused": 1}
    for number, wave in enumerate([1, 1, 2, 2, 3, 3, 4, 4, 5, 5])
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "counts.json").write_text(json.dumps(COUNTS))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_counts_are_built_and_the_output_says_what_is_assumed(folder, call):
    done = call("build", "--counts", "counts.json", "--item-folds", "9", "--draws", "20", "-o", "data")
    assert done.code == 0
    assert "data: 10 items x the whole population, 10 pairs" in done.out
    assert "redraws are multinomial" in done.out
    assert "all are taken as ordinal" in done.err
    document = json.loads((folder / "data" / "dataset.json").read_text())
    assert sorted(document["splits"]["unseen-item"]["folds"]) == ["W1", "W2", "W3", "W4", "W5"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--counts", "counts.json", "--order", "3", "-o", "x"], 2, "--order needs a survey file with respondents"),
        (["--counts", "counts.json", "--dry-run"], 2, "--dry-run"),
        (["survey.csv", "--counts", "counts.json", "-o", "x"], 2, "either a survey FILE or published counts"),
        (["-o", "x"], 2, "either a survey FILE or published counts"),
        (["survey.csv", "--questions", "q.yaml", "-o", "x"], 2, "give these with --counts FILE"),
        (["--counts", "counts.json", "--answers-per-cell", "100", "-o", "x"], 3, "--answers-per-cell 100 is for shares"),
        (["--counts", "count.json", "-o", "x"], 3, "does not exist. Did you mean 'counts.json'"),
    ],
)
def test_wrong_calls_write_nothing(folder, call, arguments, code, message):
    done = call("build", *arguments)
    assert done.code == code
    assert message in " ".join(done.err.split())
    assert not (folder / "x").exists()
