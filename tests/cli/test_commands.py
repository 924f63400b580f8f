"""Commands on a small survey: output, JSON, exit codes and files."""

import json
import subprocess
import sys

import polars as pl
import pytest
from typer.main import get_command

from tests.cli.conftest import write_survey
from valuestrata.cli import HEADINGS, make_app
from valuestrata.respondents.baselines import LADDER

CHEAP = ("--baselines", "cheap")


def build(call, folder, *more):
    return call("build", folder / "tiny.csv", "--survey", folder / "tiny.yaml", "-o", folder / "data", *more)


def test_help_names_every_command(call):
    shown = call("--help").out
    for command in ("demo", "describe", "build", "landscape", "ask", "import", "score", "report", "run", "codebook", "simulate", "leakage"):
        assert command in shown


@pytest.mark.parametrize(
    ("words", "suggested"),
    [
        (("scor",), "score'?"),
        (("codebook", "drft"), "codebook draft'?"),
        (("open", "jugde"), "open judge'?"),
        (("tune-job", "statsu"), "tune-job status'?"),
        (("foo",), "Commands: demo, init, run, describe, build, "),
        (("codebook", "foo", "bar"), "Commands: draft."),
    ],
)
def test_an_unknown_command_is_refused_with_a_suggestion(call, words, suggested):
    refused = call(*words)
    assert refused.code == 2
    assert f"No such command '{words[1] if len(words) > 1 else words[0]}'. " in refused.err
    assert suggested in refused.err


def test_from_file_to_scores(call, tiny):
    assert call("describe", tiny / "tiny.csv", "--survey", tiny / "tiny.yaml").code == 0
    built = build(call, tiny)
    assert built.code == 0, built.err
    assert "3 items x" in built.out
    assert "Work" in call("landscape", tiny / "data").out
    for kind in ("uniform", "midpoint", "item-mode", "nearest-parent"):
        asked = call("ask", tiny / "data", "--model", f"baseline:{kind}", "-o", tiny / "runs" / kind)
        assert asked.code == 0, asked.err
    scored = call("score", tiny / "data", *(tiny / "runs" / k for k in ("item-mode", "uniform")), "--bootstrap", 50, "--json", *CHEAP)
    assert scored.code == 0, scored.err
    document = json.loads(scored.out)
    assert {row["run"] for row in document["baselines"]} == {"baseline-midpoint", "baseline-nearest-parent"}
    assert {row["rule"] for row in document["verdicts"] if row["run"] == "uniform"} >= {"below-item-mode", "below-nearest-parent"}
    rows = document["scores"]
    accuracy = {row["run"]: row["value"] for row in rows if row["by"] == "all" and row["metric"] == "accuracy"}
    assert list(accuracy) == ["item-mode", "uniform"]
    # A random guess among the options of each pair.
    data = pl.read_parquet(tiny / "data" / "splits.parquet").filter(pl.col("part") == "test")
    options = {"Q1": 4, "Q2": 2, "Q3": 10}
    assert accuracy["uniform"] == pytest.approx(sum(1 / options[i] for i in data["item"]) / len(data))
    reported = call("report", tiny / "data", tiny / "runs" / "item-mode", "-o", tiny / "report.html", "--bootstrap", 50, *CHEAP)
    assert reported.code == 0, reported.err
    assert (tiny / "report.html").read_text().startswith("<!DOCTYPE html>") or "<html" in (tiny / "report.html").read_text()
    assert (tiny / "tables" / "headline.csv").is_file()


@pytest.mark.slow
def test_all_baselines_are_added_by_default(call, built):
    call("ask", built / "data", "--model", "baseline:uniform", "-o", built / "run")
    document = json.loads(call("score", built / "data", built / "run", "--bootstrap", 50, "--json").out)
    assert {row["run"] for row in document["baselines"]} == {f"baseline-{kind}" for kind in LADDER if kind != "uniform"}


def test_baselines_are_computed_once_and_can_be_left_out(call, built):
    call("ask", built / "data", "--model", "baseline:uniform", "-o", built / "run")
    words = ("score", built / "data", built / "run", "--bootstrap", 50)
    alone = call(*words, "--baselines", "none")
    assert "baseline-item-mode" not in alone.out
    beside = call(*words, "--baselines", "cheap")
    assert "Less accurate than the item-mode baseline" in beside.out
    kept = sorted((built / "data" / "ladder").rglob("responses.parquet"))
    assert {file.parent.name for file in kept} == {"baseline-midpoint", "baseline-item-mode", "baseline-nearest-parent"}
    times = [file.stat().st_mtime_ns for file in kept]
    assert call(*words, "--baselines", "cheap").out == beside.out
    assert [file.stat().st_mtime_ns for file in kept] == times
    assert "Did you mean 'item-mode'" in call(*words, "--baselines", "item-mod").err
    build(call, built)
    assert not (built / "data" / "ladder").exists()


def test_an_unwritable_path_is_named(call, tiny):
    outcome = build(call, tiny, "-o", "/proc/nowhere/data")
    assert outcome.code == 2
    assert "/proc/nowhere" in outcome.err
    assert "Traceback" not in outcome.err
    # The message has the given name, not that of a temporary file.
    made = call("simulate", "-o", "/proc/x.sav", "--items", 2, "--respondents", 50)
    assert made.code == 2
    assert "valuestrata: /proc/x.sav: " in made.err


@pytest.mark.slow
def test_damaged_baselines_are_computed_again(call, built):
    call("ask", built / "data", "--model", "baseline:uniform", "-o", built / "run")
    words = ("score", built / "data", built / "run", "--bootstrap", 50, "--baselines", "cheap")
    first = call(*words).out
    for damage in ("table", "rows", "document", "key"):
        folder = next((built / "data" / "ladder").rglob("baseline-nearest-parent"))
        table = folder / "responses.parquet"
        if damage == "table":
            table.write_bytes(table.read_bytes()[:100])
        elif damage == "rows":
            pl.read_parquet(table).head(2).write_parquet(table)
        elif damage == "document":
            (folder / "run.json").write_text("{")
        else:
            document = json.loads((folder / "run.json").read_text())
            (folder / "run.json").write_text(json.dumps(document | {"key": "another"}))
            pl.read_parquet(table).with_columns(pl.lit(None, dtype=pl.Int64).alias("answer")).write_parquet(table)
        again = call(*words)
        assert again.code == 0, again.err
        assert again.out == first, damage


def test_a_baseline_is_scored_only_on_its_own_split(call, built):
    call("ask", built / "data", "--model", "baseline:item-mode", "-o", built / "paper")
    call("ask", built / "data", "--model", "baseline:item-mode", "--split", "unseen-level", "--fold", 0, "-o", built / "fold")
    for command in ("score", "audit"):
        for words, message in (
            (("paper", "--split", "unseen-item"), "fitted to the training pairs of 'paper'"),
            (("paper", "--split", "paper+disjoint"), "Ask it again with --split paper+disjoint"),
            (("fold", "--split", "unseen-level"), "'unseen-level', fold 0"),
            (("fold", "--split", "unseen-level", "--fold", 1), "--split unseen-level and --fold 1"),
        ):
            outcome = call(command, built / "data", built / words[0], *words[1:], "--bootstrap", 50)
            assert outcome.code == 2, (command, words)
            assert message in outcome.err
    right = call("score", built / "data", built / "fold", "--split", "unseen-level", "--fold", 0, "--bootstrap", 50, "--baselines", "cheap")
    assert right.code == 0, right.err


def test_build_says_what_is_left_out(call, tiny):
    """Columns that are absent, and respondents without a level, with a warning above 5 %."""
    lines = (tiny / "tiny.csv").read_text().splitlines()
    place = lines[0].split(",").index("area")
    rows = [line.split(",") for line in lines[1:]]
    for number, row in enumerate(rows):
        row[place] = "9" if number % 10 == 0 else row[place]
    (tiny / "tiny.csv").write_text("\n".join([lines[0].replace("Q2", "Q2x"), *map(",".join, rows)]) + "\n")
    built = build(call, tiny)
    assert built.code == 0, built.err
    lost = -(-len(rows) // 10)
    assert f"Warning: area leaves out {lost} of {len(rows)} respondents (10.0%): 9 ({lost})." in built.err
    assert "Left out: 1 item of the codebook not in the file: Q2." in built.err
    assert json.loads((tiny / "data" / "dataset.json").read_text())["findings"]["dropped"][0]["values"] == [["9", lost]]
    described = call("describe", tiny / "tiny.csv", "--survey", tiny / "tiny.yaml")
    assert f"left out: {lost} of {len(rows)} respondents (10.0%): 9 ({lost})" in described.out


def test_a_codebook_is_drafted_from_a_variable_list(call, tmp_path):
    (tmp_path / "a.csv").write_text("q,sex\n1,1\n2,2\n")
    refused = call("codebook", "draft", tmp_path / "a.csv")
    assert (refused.code, "give the list of its variables with --variables" in refused.err) == (3, True)
    (tmp_path / "list.csv").write_text("variable,question,values\nq,Good?,1=Yes;2=No\nsex,Sex,1=Male;2=Female\n")
    made = call("codebook", "draft", tmp_path / "a.csv", "--variables", tmp_path / "list.csv", "-o", tmp_path / "mine.yaml")
    assert made.code == 0, made.err
    assert "Items: 1" in call("describe", tmp_path / "a.csv", "--survey", tmp_path / "mine.yaml").out


def test_merged_levels_make_another_data_set(call, tiny):
    prints = []
    for merged in ("Everywhere: [Town, Country]", "Anywhere: [Country, Town]"):
        (tiny / "levels.yaml").write_text(f"area: {{{merged}}}\n")
        made = build(call, tiny, "--levels", tiny / "levels.yaml")
        assert made.code == 0, made.err
        prints.append(json.loads((tiny / "data" / "dataset.json").read_text())["fingerprint"])
    build(call, tiny)
    prints.append(json.loads((tiny / "data" / "dataset.json").read_text())["fingerprint"])
    assert len(set(prints)) == 3
    build(call, tiny)
    assert json.loads((tiny / "data" / "dataset.json").read_text())["fingerprint"] == prints[2]


def test_transfer_to_the_same_respondents_is_refused(call, built):
    call("build", built / "tiny.csv", "--survey", built / "tiny.yaml", "-o", built / "again", "--seed", 5)
    asked = call(
        "ask", built / "data", "--model", "baseline:item-mode", "--split", "transfer", "--train-on", built / "again", "-o", built / "r"
    )
    assert asked.code == 2
    assert "training and test respondents would be the same" in asked.err


def test_differences_from_a_named_run_are_printed(call, built):
    call("ask", built / "data", "--model", "baseline:uniform", "-o", built / "run")
    words = ("score", built / "data", built / "run", "--bootstrap", 50, "--baselines", "cheap")
    shown = call(*words, "--against", "baseline-item-mode")
    assert "Paired differences: run minus baseline-item-mode" in shown.out
    assert call(*words, "-o", built / "out.xlsx").code == 2


def test_leakage_is_printed(call, built):
    rows = {row["scheme"]: row for row in json.loads(call("leakage", built / "data", "--json").out)["leakage"]}
    assert rows["paper"]["shared_mean"] == 1
    assert rows["paper+disjoint"]["shared_mean"] == 0
    assert max(len(line) for line in call("leakage", built / "data").out.splitlines() if line.startswith("unseen")) <= 100
    shown = call("leakage", built / "data", "--wide").out
    assert "unseen-both" in shown
    assert " ".join(shown.split()).startswith("scheme folds train per fold validation per fold test per fold test pairs")


def test_asking_again_asks_nothing(call, built):
    arguments = ("ask", built / "data", "--model", "baseline:item-mode", "-o", built / "run", "--json")
    first = json.loads(call(*arguments).out)
    again = json.loads(call(*arguments).out)
    assert first["asked"] > 0
    assert again["asked"] == 0
    assert again["left"] == 0


def test_dry_run_writes_nothing(call, tiny):
    shown = build(call, tiny, "--dry-run")
    assert shown.code == 0
    assert "age_x_area" in shown.out
    assert not (tiny / "data").exists()


def test_paper_preset_prints_the_published_counts(call, tiny):
    shown = build(call, tiny, "--preset", "paper")
    assert shown.code == 0, shown.err
    assert "10,177" in shown.out
    # The tiny survey is of Utopia.
    for text in (shown.out, build(call, tiny, "--preset", "paper", "--dry-run").out):
        assert "Not comparable: the published counts are of World Values Survey wave 7, Singapore" in text
        assert "published (Singapore)" in text
        assert "difference" not in text


def test_one_json_document_and_nothing_else(call, tiny):
    assert json.loads(build(call, tiny, "--json").out)["counts"]["items"] == 3
    described = call("describe", tiny / "tiny.csv", "--survey", tiny / "tiny.yaml", "--json")
    assert isinstance(json.loads(described.out), dict)
    assert isinstance(json.loads(call("landscape", tiny / "data", "--json").out), dict)


def test_import_takes_published_outputs(call, built):
    pairs = pl.read_parquet(built / "data" / "splits.parquet").filter(pl.col("part") == "test")["pair_id"]
    (built / "out.csv").write_text("custom_id,response\n" + "".join(f'"{pair}","Answer: 2"\n' for pair in pairs))
    taken = call("import", built / "data", built / "out.csv", "-o", built / "runs" / "published")
    assert taken.code == 0, taken.err
    responses = pl.read_parquet(built / "runs" / "published" / "responses.parquet")
    assert responses["answer"].to_list() == [2] * len(pairs)
    assert call("score", built / "data", built / "runs" / "published", "--bootstrap", 0).code == 0
    assert "--numbers" not in taken.err
    (built / "out.csv").write_text("custom_id,response\n" + "".join(f'"{pair}","99"\n' for pair in pairs))
    again = call("import", built / "data", built / "out.csv", "-o", built / "runs" / "published")
    assert again.code == 2
    assert "replace it with --overwrite" in again.err
    doubted = call("import", built / "data", built / "out.csv", "-o", built / "runs" / "published", "--overwrite", "--json")
    assert "import with --numbers position" in doubted.err
    assert json.loads(doubted.out)["counts"]["invalid_code"] == len(pairs)
    assert "negative" in call("import", "--help").out


def test_import_names_columns_and_asks_what_repeats_are(call, built):
    (built / "scores.csv").write_text("QUESTION_ID,PARTICIPANT_ID,SCORE\nQ1,sex_Male,2\nQ1,sex_Male,3\nQ1,sex_Femal,1\n")
    how = ("import", built / "data", built / "scores.csv", "--id", "QUESTION_ID,PARTICIPANT_ID")
    taken = call(*how, "--answer", "SCORE", "-o", built / "runs" / "scores")
    assert taken.code == 0, taken.err
    assert "1 rows have a value of QUESTION_ID,PARTICIPANT_ID that is not in this data set (Q1, sex_Femal)." in taken.out
    assert "1 pairs have several rows. Say with --repeats" in taken.err
    assert "State it with --trained-on" in taken.err
    stated = ("--repeats", "people", "--trained-on", "none")
    assert call(*how, "--answer", "SCORE", "-o", built / "runs" / "people", *stated).err == ""
    missing = call(*how, "--answer", "SCOR", "-o", built / "runs" / "other")
    assert (missing.code, "Did you mean 'SCORE'?" in missing.err) == (3, True)
    unnamed = call("import", built / "data", built / "scores.csv", "-o", built / "runs" / "other")
    assert "Name the columns with --id and --answer." in unnamed.err
    assert call(*how, "--answer", "SCORE", "-o", built / "runs" / "other", "--repeats", "sample").code == 2


def test_import_of_answers_per_respondent_and_of_shares(call, built):
    survey = pl.read_csv(built / "tiny.csv").with_row_index("person")
    survey.write_csv(built / "people.csv")
    items = pl.read_parquet(built / "data" / "items.parquet")["item"].to_list()
    survey.select("person", *(name for name in survey.columns if name in items)).write_csv(built / "answers.csv")
    how = ("import", built / "data", built / "answers.csv", "--id", "person", "--trained-on", "none")
    from_survey = ("--survey", built / "tiny.yaml", "--truth", built / "people.csv", "--missing", "-1")
    taken = call(*how, *from_survey, "-o", built / "runs" / "persons")
    assert taken.code == 0, taken.err
    assert f"answers of {len(survey)} respondents (refused" in taken.out
    assert "Agreement minus that of the lookup" in taken.out
    found = json.loads(call("score", built / "data", built / "runs" / "persons", "--bootstrap", 0, "--baselines", "none", "--json").out)
    values = {row["metric"]: row["value"] for row in found["persons"] if row["by"] == "all"}
    assert (values["agreement"], values["spread"]) == (1.0, pytest.approx(1.0))
    assert values["agreement_over_lookup"] == pytest.approx(1.0 - values["agreement_lookup"])
    assert "Agreement of a lookup" in call("score", built / "data", built / "runs" / "persons", "--bootstrap", 0, "--baselines", "none").out
    assert (
        call("report", built / "data", built / "runs" / "persons", "--bootstrap", 0, "--baselines", "none", "-o", built / "p.html").code
        == 0
    )
    assert "Does it answer as each person did?" in (built / "p.html").read_text()
    alone = call(*how, "--per-respondent", "-o", built / "runs" / "other")
    assert (alone.code, "give it with --people" in alone.err or "with --people" in alone.err) == (2, True)
    unused = call(*how, "--survey", built / "tiny.yaml", "-o", built / "runs" / "other")
    assert (unused.code, "--survey describes answers per respondent" in unused.err) == (2, True)

    pair = pl.read_parquet(built / "data" / "splits.parquet")["pair_id"][0]
    (built / "shares.csv").write_text(f"custom_id,option,share\n{pair},1,0.7\n{pair},2,0.4\n")
    shares = ("import", built / "data", built / "shares.csv", "--shares", "--trained-on", "none")
    wrong = call(*shares, "-o", built / "runs" / "shares")
    assert (wrong.code, "sum to 1.1, not to 1" in wrong.err) == (3, True)
    assert call(*shares, "--answer", "x", "-o", built / "runs" / "shares").code == 2
    (built / "shares.csv").write_text(f"custom_id,option,share\n{pair},1,0.6\n{pair},2,0.4\n")
    assert call(*shares, "-o", built / "runs" / "shares").code == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["build", "absent.csv", "-o", "x"], 3, "absent.csv"),
        (["score", "nowhere", "run"], 3, "dataset.json is missing"),
        (["ask", "nowhere", "--model", "baseline:uniform", "-o", "x"], 3, "dataset.json"),
        (["frobnicate"], 2, "frobnicate"),
        (["build", "tiny.csv", "--survey", "tinny", "-o", "x"], 2, "tinny"),
        (["build", "tiny.csv", "--survey", "tiny.yaml"], 2, "-o"),
        (["build", "tiny.csv", "--survey", "tiny.yaml", "--preset", "papers", "-o", "x"], 2, "'paper'"),
        (["build", "tiny.csv", "--survey", "tiny.yaml", "--strata", "sex_x_agee", "-o", "x"], 2, "sex_x_age"),
        (["run", "absent.yaml"], 3, "absent.yaml"),
        (["codebook", "draft", "tiny.csv"], 3, "tiny.csv"),
    ],
)
def test_errors_have_their_exit_codes(call, tiny, monkeypatch, words, code, message):
    monkeypatch.chdir(tiny)
    before = sorted(tiny.iterdir())
    outcome = call(*words)
    assert outcome.code == code, outcome.err
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert sorted(tiny.iterdir()) == before, "something half-written was left behind"


def test_unknown_model_and_split_are_refused_by_name(call, built):
    wrong = call("ask", built / "data", "--model", "baseline:item-mood", "-o", built / "run")
    assert (wrong.code, "item-mode" in wrong.err) == (2, True)
    wrong = call("ask", built / "data", "--model", "baseline:uniform", "-o", built / "run", "--split", "papper")
    assert (wrong.code, "Did you mean 'paper'" in wrong.err) == (2, True)
    wrong = call("ask", built / "data", "--model", "gguf:" + str(built / "tiny.csv"), "-o", built / "run")
    assert wrong.code in (2, 3)
    assert not (built / "run").exists()


def test_a_run_of_another_data_set_is_refused(call, built, tmp_path_factory):
    call("ask", built / "data", "--model", "baseline:uniform", "-o", built / "run")
    elsewhere = tmp_path_factory.mktemp("other")
    write_survey(elsewhere, Q2=lambda person: 1 + person % 2)
    build(call, elsewhere)
    outcome = call("score", elsewhere / "data", built / "run")
    assert outcome.code == 3
    assert "run" in outcome.err


def test_a_data_set_of_another_survey_is_not_replaced(call, built):
    (built / "other.yaml").write_text((built / "tiny.yaml").read_text().replace("survey: tiny", "survey: other"))
    outcome = call("build", built / "tiny.csv", "--survey", built / "other.yaml", "-o", built / "data")
    assert outcome.code == 3
    assert "'tiny'" in outcome.err


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("wt", lambda person: 0, "wt"),
        ("wt", lambda person: -1 if person == 3 else 1 + person % 2, "wt"),
        ("id", lambda person: person // 2, "id"),
    ],
)
def test_bad_columns_are_named(call, tmp_path, column, value, message):
    write_survey(tmp_path, **{column: value})
    outcome = build(call, tmp_path)
    assert outcome.code == 3
    assert message in outcome.err
    assert "tiny.csv" in outcome.err
    assert not (tmp_path / "data").exists()


def test_the_installed_command_runs():
    done = subprocess.run([sys.executable, "-m", "valuestrata", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "describe" in done.stdout


def test_an_unused_weight_may_be_invalid(call, tmp_path):
    write_survey(tmp_path, wt=lambda person: -1)
    assert build(call, tmp_path).code == 3
    assert build(call, tmp_path, "--unweighted").code == 0


def test_a_constant_weight_is_reported(call, tmp_path):
    write_survey(tmp_path, wt=lambda person: 1)
    built = build(call, tmp_path)
    assert built.code == 0
    assert "unweighted" in built.err


def test_the_design_is_named_in_the_output_of_describe_and_build(call, tmp_path):
    rows = "q,sex,place,cntry\n" + "".join(f"{1 + (n * 7 % 5 > 1)},{1 + n % 2},{n // 10},{'AT' if n < 60 else 'CH'}\n" for n in range(120))
    (tmp_path / "s.csv").write_text(rows)
    text = """
survey: mine
title: Mine
country_alpha_column: cntry
missing: {}
items: [{id: q, topic: T, codes: [1, 2], labels: [Yes, No], question: "Is it so?"}]
attributes: [{name: sex, column: sex, levels: [{label: Male, code: 1}, {label: Female, code: 2}]}]
"""
    (tmp_path / "plain.yaml").write_text(text)
    (tmp_path / "mine.yaml").write_text(f"{text}design: {{psu: place}}\n")
    given = (tmp_path / "s.csv", "--survey", tmp_path / "mine.yaml", "--pooling", "equal-per-country")
    described = call("describe", *given)
    assert "Design: Redraws follow 12 sampling units (place) (only 10 more units than strata" in described.out
    found = json.loads(call("describe", *given, "--json").out)
    assert (found["design"]["units"], found["pooling"]) == (12, "equal-per-country")
    assert found["design_effect"]["nation"] >= 1
    built = call("build", *given, "-o", tmp_path / "data", "--draws", "10", "--min-valid", "5")
    assert "Redraws follow 12 sampling units (place)" in built.out
    assert "; design effect " in built.out
    assert "for pairs (medians, weights included)." in built.out
    plain = call(
        "build", tmp_path / "s.csv", "--survey", tmp_path / "plain.yaml", "--country", "AT", "-o", tmp_path / "one", "--draws", "10"
    )
    assert (plain.out + plain.err).count("treat respondents as independent") == 1


def test_several_countries_need_a_choice(call, tiny):
    rows = (tiny / "tiny.csv").read_text().splitlines()
    both = [f"{rows[0]},cntry", *(f"{row},{'AT' if n % 2 else 'CH'}" for n, row in enumerate(rows[1:]))]
    (tiny / "two.csv").write_text("\n".join(both) + "\n")
    (tiny / "two.yaml").write_text((tiny / "tiny.yaml").read_text() + "\ncountry_alpha_column: cntry\n")
    refused = call("build", tiny / "two.csv", "--survey", tiny / "two.yaml", "-o", tiny / "two")
    assert refused.code == 3
    assert "--pooling equal-per-country" in refused.err
    assert call("build", tiny / "two.csv", "--survey", tiny / "two.yaml", "-o", tiny / "two", "--pooling", "equal").code == 2
    chosen = call("build", tiny / "two.csv", "--survey", tiny / "two.yaml", "-o", tiny / "two", "--pooling", "equal-per-country", "--json")
    assert json.loads(chosen.out)["pooling"] == "equal-per-country"


def test_the_help_lists_every_command_under_its_heading(call):
    shown = call("--help").out
    sections = {part.split(":\n")[0]: part.split(":\n", 1)[1] for part in shown.split("\n\n") if ":\n" in part}
    assert [heading for heading in sections if heading != "Options"] == list(HEADINGS)
    first = {heading: section.split()[0] for heading, section in sections.items()}
    assert (first["Start"], first["Data"], first["Open answers"], first["Share"]) == ("demo", "describe", "open", "export")
    listed = [
        line.split()[0] for heading in HEADINGS for line in sections[heading].splitlines() if line.startswith("  ") and line[2] != " "
    ]
    assert sorted(listed) == sorted(get_command(make_app()).commands)
    assert max(map(len, shown.splitlines())) <= 100
    # Groups have no headings.
    assert "\n\nCommands:\n  ask " in call("open", "--help").out


def test_tables_can_be_printed_for_other_documents(call, built):
    csv = call("landscape", built / "data", "--table-format", "csv")
    shown = json.loads(call("landscape", built / "data", "--json").out)["topics"]
    assert pl.read_csv(csv.out.encode()).to_dicts() == shown
    # Only the table is on stdout.
    assert "By chance" in csv.err
    assert "By chance" not in csv.out.splitlines()[-1]
    markdown = call("landscape", built / "data", "--table-format", "markdown").out
    assert "| topic | items |" in markdown
    latex = call("leakage", built / "data", "--table-format", "latex").out
    assert latex.count("\\toprule") == 1
    assert all(line.startswith("% ") for line in latex.split("\\end{table}")[1].splitlines() if line.strip())
    wrong = call("landscape", built / "data", "--table-format", "cvs")
    assert (wrong.code, "Did you mean 'csv'?" in wrong.err) == (2, True)
    both = call("leakage", built / "data", "--table-format", "csv", "--json")
    assert (both.code, "--json prints one document without tables; leave out --table-format" in both.err) == (2, True)


def test_every_command_that_prints_tables_has_the_options():
    root = get_command(make_app())
    commands = {**root.commands, **{f"open {name}": command for name, command in root.commands["open"].commands.items()}}
    with_options = {name for name, command in commands.items() if {"table_format", "wide"} <= {option.name for option in command.params}}
    assert with_options == {
        *("demo", "run", "build", "landscape", "leakage", "score", "variance", "audit", "power", "calibrate", "predict"),
        *("estimate", "plan-sample", "tune", "forgetting", "open judge", "open stance", "open validity", "open texts", "open report"),
    }
