"""Import of outputs from all file formats."""

import json
from dataclasses import replace

import polars as pl
import pytest

from tests.responses.asked import Writes
from valuestrata.errors import InputDataError, UsageError
from valuestrata.responses.ask.loop import ask
from valuestrata.responses.import_runs import import_run
from valuestrata.responses.run.folder import check_same_dataset, load_run
from valuestrata.responses.run.schema import RESPONSES

FEMALE = "sex_Female"
OUTPUTS = [
    (f"Q1_{FEMALE}", "Answer: 1"),
    ("Q1_sex_x_age_Female_16-24-years", 'I would say 3, "not very", as\nmost would.'),
    (f"Q182_{FEMALE}", "Answer: 10"),
    ("Q1_age_x_ethnicity_16-24-years_SG:-Malay", "I'm sorry, but I can't answer that."),
    (f"spend_{FEMALE}", ""),
]
EXPECTED = {
    f"Q1_{FEMALE}": (1, "answered"),
    "Q1_sex_x_age_Female_16-24-years": (3, "answered"),
    f"Q182_{FEMALE}": (10, "answered"),
    "Q1_age_x_ethnicity_16-24-years_SG:-Malay": (None, "refused"),
    f"spend_{FEMALE}": (None, "unparsed"),
}


def openai(custom_id, content, **message):
    choices = [{"index": 0, "message": {"role": "assistant", "content": content} | message}]
    return {"id": "b", "custom_id": custom_id, "response": {"status_code": 200, "body": {"choices": choices}}, "error": None}


def anthropic(custom_id, content):
    return {"custom_id": custom_id, "result": {"type": "succeeded", "message": {"content": [{"type": "text", "text": content}]}}}


def plain(custom_id, content):
    return {"custom_id": custom_id, "response": content, "model": "m"}


def jsonl(folder, rows, name="outputs.jsonl"):
    file = folder / name
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


def as_csv(folder):
    file = folder / "outputs.csv"
    pl.DataFrame(OUTPUTS, schema=["custom_id", "response"], orient="row").with_columns(model=pl.lit("m")).write_csv(file)
    return file


def as_tsv(folder):
    file = folder / "outputs.tsv"
    pl.DataFrame(OUTPUTS, schema=["custom_id", "response"], orient="row").write_csv(file, separator="\t")
    return file


def as_parquet(folder):
    file = folder / "outputs.parquet"
    pl.DataFrame(OUTPUTS, schema=["custom_id", "response"], orient="row").write_parquet(file)
    return file


def as_batch_parquet(folder):
    file = folder / "outputs.parquet"
    pl.DataFrame([openai(*row) for row in OUTPUTS]).write_parquet(file)
    return file


def as_list(folder):
    file = folder / "outputs.json"
    file.write_text(json.dumps([plain(*row) for row in OUTPUTS], indent=1))
    return file


FORMS = {
    "csv": as_csv,
    "tsv": as_tsv,
    "parquet": as_parquet,
    "batch parquet": as_batch_parquet,
    "json list": as_list,
    "jsonl": lambda folder: jsonl(folder, [plain(*row) for row in OUTPUTS]),
    "lines called json": lambda folder: jsonl(folder, [plain(*row) for row in OUTPUTS], "outputs.json"),
    "openai batch": lambda folder: jsonl(folder, [openai(*row) for row in OUTPUTS]),
    "anthropic batch": lambda folder: jsonl(folder, [anthropic(*row) for row in OUTPUTS]),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_file_becomes_the_same_run(handmade, tmp_path, form):
    file = FORMS[form](tmp_path)
    result = import_run(handmade, file, tmp_path / "run", name="published")
    assert dict(result.counts) == {"answered": 3, "refused": 1, "unparsed": 1, "invalid_code": 0, "failed": 0}
    assert (result.pairs, result.unknown) == (5, 0)
    run = load_run(tmp_path / "run")
    check_same_dataset(run, handmade)
    assert run.name == "published"
    assert (run.meta["template"], run.meta["elicitation"], run.meta["kind"]) == ("imported", "text", "imported")
    assert run.meta["source"]["file"] == file.name
    assert str(tmp_path) not in (tmp_path / "run" / "run.json").read_text()
    assert run.responses.schema == RESPONSES.empty().schema
    rows = {row["pair_id"]: row for row in run.responses.iter_rows(named=True)}
    assert {pair: (row["answer"], row["status"]) for pair, row in rows.items()} == EXPECTED
    assert rows[f"Q1_{FEMALE}"]["text"] == "Answer: 1"
    assert (rows[f"Q1_{FEMALE}"]["item"], rows[f"Q1_{FEMALE}"]["subgroup"]) == ("Q1", FEMALE)
    assert set(run.responses["template"]) == {"imported"}
    assert set(run.responses["elicitation"]) == {"text"}


def test_what_a_number_stands_for_is_said_by_the_caller(handmade, tmp_path):
    items = handmade.items.with_columns(codes=pl.when(pl.col("item") == "Q1").then([0, 1, 2, 3]).otherwise("codes").cast(pl.List(pl.Int32)))
    dataset = replace(handmade, items=items)
    file = jsonl(tmp_path, [plain(f"Q1_{FEMALE}", "Answer: 3"), plain(f"spend_{FEMALE}", "Answer: 1")])
    answers = {}
    for numbers in ("code", "position"):
        import_run(dataset, file, tmp_path / numbers, numbers=numbers)
        answers[numbers] = dict(load_run(tmp_path / numbers).responses.select("item", "answer").iter_rows())
    # Q1 has the codes 0..3 here; spend has -1, 0, 1, which no list prints.
    assert answers == {"code": {"Q1": 3, "spend": -1}, "position": {"Q1": 2, "spend": -1}}


@pytest.mark.parametrize(("numbers", "other"), [("code", "position"), ("position", "code")])
def test_numbers_that_are_mostly_no_options_raise_a_doubt(handmade, tmp_path, numbers, other):
    """Q1 has four options; 7 is neither code nor position of one. Half of the responses are no reason, one more is."""
    half = [plain(f"Q1_{FEMALE}", "7"), plain(f"Q1_{FEMALE}", "2")]
    assert import_run(handmade, jsonl(tmp_path, half), tmp_path / "run", numbers=numbers).remark is None
    remark = import_run(handmade, jsonl(tmp_path, [*half, plain(f"Q1_{FEMALE}", "9")]), tmp_path / "other", numbers=numbers).remark
    assert remark is not None
    assert str(remark).startswith("2 of 3 responses name a number that no option has.")
    assert remark.render("cli").endswith(f"import with --numbers {other}.")


def test_ids_are_looked_up_and_strangers_counted_and_named(handmade, tmp_path):
    rows = [plain(f"Q1_{FEMALE}", "1"), plain("Q999_sex_Female", "1"), plain("Q999_sex_Female", "2"), plain("", "1")]
    result = import_run(handmade, jsonl(tmp_path, rows), tmp_path / "run")
    assert (result.pairs, result.unknown, result.unknown_ids) == (1, 3, ("Q999_sex_Female", ""))


def test_outputs_of_another_data_set_are_refused(handmade, tmp_path):
    with pytest.raises(InputDataError, match=r"none of its 1 custom_ids .* 'Q1_sex_Femal'.*Did you mean 'Q1_sex_Female'"):
        import_run(handmade, jsonl(tmp_path, [plain("Q1_sex_Femal", "1")]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_pair_that_comes_again_is_another_sample(handmade, tmp_path):
    rows = [plain(f"Q1_{FEMALE}", f"Answer: {number}") for number in (2, 1, 2)] + [plain("Q1_sex_Male", "4")]
    import_run(handmade, jsonl(tmp_path, rows), tmp_path / "run")
    found = load_run(tmp_path / "run").responses.select("pair_id", "sample", "answer").rows()
    assert found == [(f"Q1_{FEMALE}", 0, 2), (f"Q1_{FEMALE}", 1, 1), (f"Q1_{FEMALE}", 2, 2), ("Q1_sex_Male", 0, 4)]


def test_batch_lines_that_failed_have_failed(handmade, tmp_path):
    rows = [
        openai(f"Q1_{FEMALE}", "Answer: 1"),
        openai("Q1_sex_Male", None, refusal="I cannot help with that."),
        {"custom_id": f"Q182_{FEMALE}", "response": None, "error": {"code": "batch_expired", "message": "too late"}},
        {"custom_id": "Q182_sex_Male", "response": {"status_code": 500, "body": {"error": {"type": "server_error"}}}, "error": None},
        {"custom_id": "spend_sex_Male", "response": {"status_code": 200, "body": {"choices": []}}, "error": None},
        {"custom_id": f"spend_{FEMALE}", "result": {"type": "errored", "error": {"type": "error", "error": {"type": "overloaded"}}}},
    ]
    result = import_run(handmade, jsonl(tmp_path, rows), tmp_path / "run")
    assert dict(result.counts) == {"answered": 1, "refused": 1, "unparsed": 0, "invalid_code": 0, "failed": 4}
    errors = dict(load_run(tmp_path / "run").responses.filter(status="failed").select("pair_id", "error").iter_rows())
    assert errors[f"Q182_{FEMALE}"] == "batch_expired: too late"
    assert errors["Q182_sex_Male"] == "server_error"
    assert errors[f"spend_{FEMALE}"] == "errored: overloaded"


def test_what_is_odd_within_a_line_is_of_that_line_alone(handmade, tmp_path):
    ids = [f"Q1_{FEMALE}", "Q1_sex_Male", f"Q182_{FEMALE}", "Q182_sex_Male", f"spend_{FEMALE}"]
    bodies = [{"choices": {"0": 1}}, {"choices": [{"message": ["x"]}]}, {"choices": [{"message": {"refusal": 7}}]}]
    rows = [{"custom_id": id_, "response": {"status_code": 200, "body": body}} for id_, body in zip(ids, bodies, strict=False)]
    rows += [{"custom_id": ids[3], "response": "Answer: 2 \ud800"}, {"custom_id": ids[4], "error": "half \ud800"}]
    file = tmp_path / "outputs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = import_run(handmade, file, tmp_path / "run")
    assert dict(result.counts) == {"answered": 2, "refused": 0, "unparsed": 0, "invalid_code": 0, "failed": 3}
    texts = dict(load_run(tmp_path / "run").responses.select("pair_id", "text").iter_rows())
    assert (texts[ids[2]], texts[ids[3]]) == ("7", "Answer: 2 ?")


def test_responses_that_are_numbers_or_nothing(handmade, tmp_path):
    rows = [plain(f"Q1_{FEMALE}", 3), plain("Q1_sex_Male", None)]
    import_run(handmade, jsonl(tmp_path, rows), tmp_path / "run")
    found = load_run(tmp_path / "run").responses.select("answer", "status", "text").rows()
    assert found == [(3, "answered", "3"), (None, "unparsed", None)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xlsx", b"PK", "are not read as outputs"),
        ("a", b"", "end in nothing"),
        ("a.csv", b"custom_id,answer\nQ1_sex_Female,1\n", "'response' is missing; found custom_id, answer"),
        ("a.csv", b"", "not a readable table"),
        ("a.jsonl", b'{"custom_id": "Q1_sex_Female"}\n', "line 1: it has no 'response'"),
        ("a.jsonl", b'{"response": "1"}\n', "line 1: it has no 'custom_id'"),
        ("a.jsonl", b'\n{"custom_id": "Q1_sex_Female", "resp', "line 2 is not JSON"),
        ("a.jsonl", b'{"custom_id": "Q1_sex_Female", "response": {"text": "1"}}\n', "neither text nor a batch result"),
        ("a.jsonl", b'{"custom_id": "Q1_sex_Female", "response": ' + b"9" * 5000 + b"}", "line 1 is not JSON"),
        ("a.jsonl", b'{"custom_id": "Q1_sex_Female", "response": ' + b"[" * 100_000, "line 1 is not JSON"),
        ("a.json", b"[" * 100_000, "not a JSON list"),
        ("a.jsonl", b"\xff\xfe\x00", "not a text file in UTF-8"),
        ("a.jsonl", b"3\n", "it has no 'custom_id'"),
        ("a.json", b'[{"custom_id": "Q1_sex_Female"', "not a JSON list"),
        ("a.json", b"[]", "it holds no outputs"),
        ("a.parquet", b"PAR1", "not a readable Parquet file"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_and_nothing_is_left(handmade, tmp_path, name, content, message):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(InputDataError, match=message):
        import_run(handmade, file, tmp_path / "run")
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_file_that_does_not_exist(handmade, tmp_path):
    with pytest.raises(InputDataError, match="does not exist"):
        import_run(handmade, tmp_path / "a.csv", tmp_path / "run")


def test_an_import_replaces_an_import_only_if_told_to_and_nothing_else(handmade, tmp_path):
    first = jsonl(tmp_path, [plain(f"Q1_{FEMALE}", "1")])
    import_run(handmade, first, tmp_path / "run")
    second = jsonl(tmp_path, [plain(f"Q1_{FEMALE}", "2")])
    with pytest.raises(UsageError, match=r"holds the run 'run', imported from outputs\.jsonl; .*overwrite"):
        import_run(handmade, second, tmp_path / "run")
    assert load_run(tmp_path / "run").responses["answer"].to_list() == [1]
    with pytest.raises(InputDataError, match="holds no outputs"):
        import_run(handmade, jsonl(tmp_path, [], "empty.jsonl"), tmp_path / "run", overwrite=True)
    assert load_run(tmp_path / "run").responses["answer"].to_list() == [1]
    import_run(handmade, second, tmp_path / "run", overwrite=True)
    assert load_run(tmp_path / "run").responses["answer"].to_list() == [2]
    with pytest.raises(InputDataError, match="kind 'imported'"):
        ask(handmade, Writes(), tmp_path / "run", elicitation="text")
    assert load_run(tmp_path / "run").responses["answer"].to_list() == [2]
    ask(handmade, Writes(), tmp_path / "asked", elicitation="text")
    with pytest.raises(InputDataError, match="asked and not imported"):
        import_run(handmade, first, tmp_path / "asked", overwrite=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes").write_text("mine")
    with pytest.raises(InputDataError, match="is not a run"):
        import_run(handmade, first, tmp_path / "other", overwrite=True)


ROWS = [("Q1", FEMALE, 1), ("Q1", "sex_Male", 2), ("Q182", FEMALE, 10), ("Q1", "sex_x_age_Female_16-24 years", 3)]
NAMED = {"Q1_sex_Female": 1, "Q1_sex_Male": 2, "Q182_sex_Female": 10, "Q1_sex_x_age_Female_16-24-years": 3}


def named(folder, form, columns=("QUESTION_ID", "PARTICIPANT_ID", "SCORE"), rows=ROWS):
    """A file with columns of its own names."""
    frame, file = pl.DataFrame(rows, schema=list(columns), orient="row"), folder / f"outputs.{form}"
    {"csv": frame.write_csv, "parquet": frame.write_parquet, "jsonl": frame.write_ndjson}[form](file)
    return file


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl"])
@pytest.mark.parametrize("ids", [("QUESTION_ID", "PARTICIPANT_ID"), ("PARTICIPANT_ID", "QUESTION_ID")])
def test_columns_are_named_by_the_caller(handmade, tmp_path, form, ids):
    import_run(handmade, named(tmp_path, form), tmp_path / "run", ids=ids, answer="SCORE")
    run = load_run(tmp_path / "run")
    assert dict(run.responses.select("pair_id", "answer").iter_rows()) == NAMED
    assert (run.meta["source"]["ids"], run.meta["source"]["answer"]) == (list(ids), "SCORE")


def test_one_column_may_hold_the_whole_id(handmade, tmp_path):
    file = named(tmp_path, "csv", ("PAIR", "SCORE"), [(f"Q1_{FEMALE}", "1"), ("Q1_sex_Male", "4.0")])
    import_run(handmade, file, tmp_path / "run", ids=["PAIR"], answer="SCORE")
    assert load_run(tmp_path / "run").responses["answer"].to_list() == [1, 4]


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl"])
@pytest.mark.parametrize(
    ("ids", "answer", "message"),
    [
        (("QUESTION_ID", "PARTICIPANT_ID"), "SCOR", r"'SCOR'.*found QUESTION_ID, PARTICIPANT_ID, SCORE\. Did you mean 'SCORE'\?"),
        (("QUESTIONID", "PARTICIPANT_ID"), "SCORE", "'QUESTIONID'.*Did you mean 'QUESTION_ID'"),
        (("custom_id",), "response", "'custom_id'.*found QUESTION_ID, PARTICIPANT_ID, SCORE. Name the columns with `ids=` and `answer=`"),
        (("PARTICIPANT_ID", "SCORE"), "SCORE", "no value of PARTICIPANT_ID or SCORE is an item .*'sex_Female'"),
        (("QUESTION_ID", "SCORE"), "SCORE", "no value of SCORE is a subgroup .*the first is '1'.*people="),
        (("SCORE",), "SCORE", "none of its 4 values of SCORE is a pair"),
    ],
)
def test_columns_that_do_not_fit_are_refused_with_what_was_found(handmade, tmp_path, form, ids, answer, message):
    with pytest.raises(InputDataError, match=message):
        import_run(handmade, named(tmp_path, form), tmp_path / "run", ids=ids, answer=answer)
    assert not (tmp_path / "run").exists()


def test_columns_must_be_named_once(handmade, tmp_path):
    for ids in ([], ["SCORE", "SCORE"]):
        with pytest.raises(UsageError, match="one or more different columns"):
            import_run(handmade, named(tmp_path, "csv"), tmp_path / "run", ids=ids)


def test_repeated_rows_are_counted_until_the_caller_says_what_they_are(handmade, tmp_path):
    file = jsonl(tmp_path, [plain(f"Q1_{FEMALE}", "1"), plain(f"Q1_{FEMALE}", "2"), plain("Q1_sex_Male", "1")])
    assert import_run(handmade, file, tmp_path / "unknown").repeated == 1
    assert "repeats" not in load_run(tmp_path / "unknown").meta
    assert import_run(handmade, file, tmp_path / "samples", repeats="samples").repeated == 0
    assert load_run(tmp_path / "samples").meta["repeats"] == "samples"
