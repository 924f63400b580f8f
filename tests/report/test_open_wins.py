"""Base and tuned as the paper's table has them, agreement with people and corrected figures on the page, scores by level."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from tests.openended.judged import coded, contests, drawn_key, judged_folder, open_run, verdicts
from tests.report.test_open_page import QUICK, Study, cells, section
from valuestrata.errors import UsageError
from valuestrata.formatting import points
from valuestrata.openended.annotation.sample import pairwise_units
from valuestrata.openended.sources import load_sources
from valuestrata.openended.validity.judge_validity import Codings
from valuestrata.reports.open.findings import open_findings, tuned_runs
from valuestrata.reports.open.page import write_open_report

MODEL = {"provider": "transformers", "model": "small", "revision": "1", "adapter_hash": None, "decoding": {"seed": 0}}


def by(run, **identity):
    return replace(run, meta={**run.meta, "respondent": {**MODEL, **identity}})


class Tuned(Study):
    """The study with a second run that is judged: `plain`, of the model that `tuned` was made from."""

    def __init__(self, folder):
        super().__init__(folder)
        plain = contests(self.dataset, seed=5, run="plain", chances=(0.3, 0.2, 0.5))
        self.plain = by(open_run(folder / "plain", self.dataset, plain))
        self.tuned = by(self.tuned, adapter_hash="abc", taught_on={"dataset": "d"}, decoding={"seed": 1})
        both = [verdicts(one, criterion=criterion) for one in (self.planted, plain) for criterion in ("overall", "value")]
        self.both = pl.concat([*both, verdicts(self.planted, criterion="persona", first=1.0)])
        judged = judged_folder(folder / "both", self.dataset, self.both, [self.tuned, self.plain], self.base)
        self.known = load_sources(self.dataset, [judged, folder / "tuned", folder / "plain", folder / "base"])
        self.runs = [self.tuned, self.plain, self.base]

    def page(self, out, **how):
        write_open_report(self.dataset, self.runs, out, sources=self.known, **QUICK, **how)
        return out.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return Tuned(tmp_path_factory.mktemp("tuned"))


def test_a_run_with_an_adapter_belongs_to_that_of_its_model(study):
    assert tuned_runs(study.runs) == [("tuned", "plain")]
    other = by(study.plain, model="another")
    assert tuned_runs([study.tuned, other]) == []
    asked_otherwise = replace(study.plain, meta={**study.plain.meta, "template": "third-person"})
    assert tuned_runs([study.tuned, asked_otherwise]) == []
    control = replace(study.plain, meta={**study.plain.meta, "respondent": {"provider": "control", "name": "control:no-persona@small"}})
    assert tuned_runs([study.tuned, control]) == []


@pytest.mark.slow
def test_base_and_tuned_stand_side_by_side_with_the_published_ones(study, tmp_path):
    wins = section(study.page(tmp_path / "open.html"), "wins")
    assert "Before and after tuning, against base, judged by fake" in wins
    found = open_findings(study.dataset, study.runs, sources=study.known, **QUICK)
    whole = found.winrates.filter((pl.col("by") == "all") & (pl.col("metric") == "win_rate") & (pl.col("criterion") == "overall"))
    rates = dict(whole.select("run", "value").iter_rows())
    differences = found.differences.filter((pl.col("by") == "all") & (pl.col("criterion") == "overall"))
    assert differences.select("run", "against").rows() == [("tuned", "plain")], "tuned minus base, though tuned was given first"
    assert differences["value"].item() == pytest.approx(rates["tuned"] - rates["plain"])
    row = next(row for row in cells(wins) if row[:1] == ["plain"] and len(row) > 10)
    # Value, then Persona (on which only one of the two was judged), then Overall.
    assert row[7:10] == [points(rates["plain"]), points(rates["tuned"]), points(differences["value"].item())]
    llama = next(row for row in cells(wins) if row[:1] == ["Llama-3.1-8B"])
    assert llama[7:10] == ["29.4", "32.0", "2.6"]
    mean = next(row for row in cells(wins) if row[:1] == ["Mean of the seven"])
    assert [*mean[1:4], *mean[7:10]] == ["–", "–", "2.2", "23.6", "24.7", "1.1"]
    assert "Llama-3.1-8B" not in section(study.page(tmp_path / "own.html", published=False), "wins")


@pytest.mark.slow
def test_a_criterion_that_a_judge_never_saw_is_not_held_against_it(study, tmp_path):
    more = study.both.filter((pl.col("criterion") == "value") & (pl.col("run") == "tuned")).with_columns(judge=pl.lit("second"))
    sources = replace(study.known, verdicts=pl.concat([study.both, more]))
    page = write_open_report(study.dataset, study.runs, tmp_path / "open.html", sources=sources, **QUICK).read_text()
    assert "by second" not in section(page, "wins").split('class="warn">')[1].split("</p>")[0]


def codings_of(study) -> Codings:
    key = drawn_key(study.dataset, pairwise_units(study.both.filter(pl.col("run") == "tuned")), 240)
    return Codings(key, {name: coded(key, study.planted, seed, error=0.15) for seed, name in enumerate(("ana", "ben"))}, {})


@pytest.mark.slow
def test_what_people_say_stands_beside_the_judge(study, tmp_path):
    text = study.page(tmp_path / "open.html", codings=codings_of(study))
    judges = section(text, "judges")
    assert "Agreement with people and among people" in judges
    for measure in ("Weighted kappa", "Krippendorff&#39;s alpha, ordinal"):
        assert measure in judges
    assert "Agreement with people by level" in judges
    assert ".568" in judges
    assert "Corrected for the judges&#39; errors" in judges
    assert "tuned against base, Overall: win rate" in section(text, "what"), "the corrected win rate may be said"
    found = open_findings(study.dataset, study.runs, sources=study.known, codings=codings_of(study), **QUICK)
    agreed = found.validity.agreed.filter(
        (pl.col("by") == "all") & (pl.col("measure") == "kappa_quadratic") & (pl.col("criterion") == "overall")
    )
    values = dict(agreed.select("between", "value").iter_rows())
    row = next(row for row in cells(judges) if row[1:3] == ["Overall", "Weighted kappa"])
    assert row[3] == f"{values['judge-people']:.3f} ✓".lstrip("0")
    # That judge takes the first answer, whatever it is.
    assert next(row for row in cells(judges) if row[1:3] == ["Persona", "Weighted kappa"])[3] == ".000 ✗"
    assert row[4] == f"{values['people-people']:.3f}".lstrip("0")


def test_closed_answers_and_codings_need_what_they_are_held_against(study):
    with pytest.raises(UsageError, match="give `stances="):
        open_findings(study.dataset, study.runs, closed=[study.closed], **QUICK)
    with pytest.raises(UsageError, match="give `judgements=` or `stances="):
        open_findings(study.dataset, study.runs, codings=codings_of(study), **QUICK)


def test_stances_and_agreement_are_told_by_level_and_subgroup(tmp_path):
    study = Study(tmp_path)
    text = study.write(tmp_path / "open.html", baselines=("uniform",))
    assert "Agreement between judges" not in section(text, "stances")
    assert section(text, "stances").count(">W1<") == 1, "only the baseline has shares, and it is in the upper table alone"
    assert "Scores by subgroup" in section(text, "stances")
    stances = [row for row in cells(section(text, "stances")) if row[:3] == ["Sex: Female", "tuned", "open"]]
    assert len(stances) == 1
    women = study.dataset.subgroups.filter(pl.col("sex") == "Female")["subgroup"].to_list()
    assert stances[0][-1] == str(sum(row["subgroup"] in women for row in study.planted.rows))
    agreement = [row for row in cells(section(text, "agreement")) if row[:2] == ["Sex: Female", "tuned"]]
    same = [code == 1 for code, row in zip(study.taken, study.planted.rows, strict=True) if code is not None and row["subgroup"] in women]
    assert agreement[0][4] == points(sum(same) / len(same))
    assert "chose “Very much” in closed" in section(text, "examples")


def test_several_judges_of_stances_are_compared(tmp_path):
    study = Study(tmp_path)
    second = study.sources.stances.with_columns(judge=pl.lit("second"), answer=pl.lit(1, pl.Int32), status=pl.lit("answered"))
    study.sources = replace(study.sources, stances=pl.concat([study.sources.stances, second]))
    row = next(row for row in cells(section(study.write(tmp_path / "open.html"), "stances")) if row[:3] == ["tuned", "fake", "second"])
    assert row[3] == points(sum(code == 1 for code in study.taken) / len(study.taken))
