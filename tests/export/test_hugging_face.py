"""The folder for Hugging Face: its card, fields and rows."""

import re
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest
import yaml

from valuestrata.dataset.tables import GOLD, ITEMS, SUBGROUPS
from valuestrata.errors import InputDataError, MissingExtraError
from valuestrata.export.export import ExportOptions, export_dataset
from valuestrata.export.hugging_face.about import describe
from valuestrata.export.hugging_face.card import card_header, card_text, size_category
from valuestrata.export.hugging_face.contents import PARQUET, ExportedFile, type_name
from valuestrata.export.hugging_face.fields import answer_fields, chat_fields, gold_fields, subgroup_fields
from valuestrata.export.hugging_face.rows import chat_rows, gold_rows, rounded
from valuestrata.export.hugging_face.subtraction import Remainders
from valuestrata.markdown import with_code
from valuestrata.respondents.model_paths import without_folders

ROOT = Path(__file__).resolve().parents[2]
FILES = [ExportedFile("gold", part, f"gold/{part}.parquet", rows, 1, "0" * 64, PARQUET) for part, rows in (("train", 600), ("test", 500))]
FILES += [ExportedFile("chat", "train", "chat/train.parquet", 600, 1, "0" * 64, PARQUET)]
FILES += [ExportedFile(None, "train", "chat/train.jsonl", 600, 1, "0" * 64, "application/jsonlines")]


def described(dataset, **changes):
    return describe(dataset, ExportOptions(today=date(2026, 11, 28), **changes), Remainders(0, 0, None))


def header_of(text: str):
    return yaml.safe_load(text.split("---\n")[1])


# --- rows -----------------------------------------------------------------------------------------------------------


def test_parts_hold_their_own_pairs_and_the_rest_is_unassigned(handmade):
    parts = dict(gold_rows(handmade, "paper", None))
    assert list(parts) == ["train", "test", "unassigned"]
    for name in ("train", "test"):
        assert set(parts[name]["pair_id"]) == set(handmade.part("paper", name)["pair_id"])
    assert set(parts["unassigned"]["subgroup"]) == {"all"}
    assert list(parts["test"].columns) == list(gold_fields(handmade.meta["attributes"]).columns)


def test_a_row_holds_the_question_the_subgroup_and_its_gold(handmade):
    test = dict(gold_rows(handmade, "paper", None))["test"]
    row = test.row(by_predicate=pl.col("pair_id") == "Q182_age_x_ethnicity_16-24-years_SG:-Malay", named=True)
    assert row["question"] == "Where would you place divorce, from never to always justifiable?"
    assert (row["stratum"], row["sex"], row["age_group"], row["ethnicity"]) == ("age_x_ethnicity", None, "16-24 years", "SG: Malay")
    assert row["shares"] == [0.6667, 0.3333, *[0.0] * 8]
    assert (row["n"], row["mode"], row["mode_label"], row["mode_share"]) == (60, 1, "Never justifiable", 0.6667)


def test_the_test_gold_is_in_no_training_chat(handmade):
    chats = dict(chat_rows(handmade, "paper", None, "default"))
    ids = {part: {row["pair_id"] for row in rows} for part, rows in chats.items()}
    assert ids["test"] == set(handmade.part("paper", "test")["pair_id"])
    assert ids["train"] == set(handmade.part("paper", "train")["pair_id"])
    row = next(row for row in chats["test"] if row["pair_id"] == "spend_age_x_ethnicity_16-24-years_SG:-Malay")
    assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
    assert "16-24 years" in row["messages"][0]["content"]
    assert row["messages"][1]["content"] == "Answer: 1"  # negative codes are shown by their position


def test_rounded_shares_sum_to_one_and_keep_zeros():
    frame = pl.DataFrame({"shares": [[1 / 3, 1 / 3, 1 / 3], [0.0, 0.12345, 0.87655], None], "n_eff": [31.123456, 2.0, None]})
    got = rounded(frame)
    assert got["shares"].to_list() == [[0.3334, 0.3333, 0.3333], [0.0, 0.1235, 0.8765], None]
    assert [sum(shares) for shares in got["shares"].to_list()[:2]] == pytest.approx([1.0, 1.0], abs=1e-12)
    assert got["n_eff"].to_list() == [31.1235, 2.0, None]


# --- fields -----------------------------------------------------------------------------------------------------------


def test_meanings_are_those_of_the_data_set(handmade):
    fields = gold_fields(handmade.meta["attributes"]).columns
    for name in fields.keys() & GOLD.columns.keys():
        assert fields[name] == GOLD.columns[name]
    assert fields["labels"] == ITEMS.columns["labels"]
    assert fields["stratum"] == SUBGROUPS.columns["stratum"]
    assert set(GOLD.columns) - set(fields) == {"counts_raw", "counts_weighted", "missing"}
    assert {"missing_dont_know", "missing_not_asked"} <= set(fields)
    assert "Ethnic group" in subgroup_fields(handmade.meta["attributes"]).columns["ethnicity"].meaning


def test_an_attribute_cannot_have_the_name_of_a_column():
    with pytest.raises(InputDataError, match="'level' has the name of another column"):
        gold_fields([{"name": "sex"}, {"name": "level"}])


def test_answers_have_no_costs_errors_or_texts_unless_asked():
    columns = set(answer_fields(raw_texts=False).columns)
    assert not {"text", "reasoning", "error", "cost", "latency", "prompt_tokens"} & columns
    assert {"run", "pair_id", "answer", "option_probs"} <= columns
    assert set(answer_fields(raw_texts=True).columns) - columns == {"text", "reasoning"}


def test_types_in_words():
    assert type_name(pl.String) == "text"
    assert type_name(pl.List(pl.Float64)) == "list of numbers"
    assert type_name(pl.List(pl.Int32)) == "list of integers"
    assert type_name(chat_fields().columns["messages"].dtype) == "list of structures of role and content"


# --- card -------------------------------------------------------------------------------------------------------------


def test_the_header_names_the_files_of_each_configuration(handmade):
    header = yaml.safe_load(card_header(described(handmade), FILES, "en"))
    assert header["configs"] == [
        {
            "config_name": "gold",
            "default": True,
            "data_files": [{"split": "train", "path": "gold/train.parquet"}, {"split": "test", "path": "gold/test.parquet"}],
        },
        {"config_name": "chat", "data_files": [{"split": "train", "path": "chat/train.parquet"}]},
    ]
    assert header["size_categories"] == ["1K<n<10K"]
    assert header["language"] == ["en"]


def test_a_licence_is_left_to_the_user(handmade):
    text = card_header(described(handmade), FILES, "en")
    assert "license" not in yaml.safe_load(text)
    assert "# license:" in text
    known = yaml.safe_load(card_header(described(handmade, license="cc-by-4.0"), FILES, "en"))
    assert known["license"] == "cc-by-4.0"
    other = yaml.safe_load(card_header(described(handmade, license="Terms of my survey"), FILES, "en"))
    assert (other["license"], other["license_name"]) == ("other", "Terms of my survey")


def test_the_card_has_every_section_and_every_field(handmade):
    fields = {"gold": gold_fields(handmade.meta["attributes"]), "chat": chat_fields()}
    card = card_text(described(handmade), FILES, fields, "en")
    assert header_of(card)["pretty_name"] == "Handmade, Singapore: answers of subgroups"
    headings = re.findall(r"^## (.+)$", card, re.MULTILINE)
    for wanted in (
        "Licence",
        "Fields",
        "Survey, weights and design",
        "Subgroups",
        "Missing answers",
        "Minimum cell and disclosure",
        "Splits",
        "Intended use",
        "Misuse",
        "Limitations and biases",
        "Personal and sensitive information",
        "Versions",
        "Citation",
    ):
        assert wanted in headings
    for name in gold_fields(handmade.meta["attributes"]).columns:
        assert f"\n| {name} | " in card
    assert handmade.fingerprint in card
    assert "16-24 years, 35-44 years" in card


def test_the_card_cites_what_the_citation_file_cites(handmade):
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    paper = cited["references"][0]
    about = described(handmade)
    assert about.paper == paper["url"]
    assert paper["title"].split("?")[0] in about.citations[-1]
    assert paper["authors"][0]["family-names"] in about.citations[-1]
    assert f"<{paper['url']}>" in card_text(about, FILES, {}, "en")


def test_texts_of_a_data_set_cannot_change_the_card(handmade):
    survey = {**handmade.meta["survey"], "title": "A\n---\n# Title | <script>alert(1)</script>", "citation": "[me](javascript:x)"}
    card = card_text(described(replace(handmade, meta={**handmade.meta, "survey": survey})), FILES, {}, "en")
    assert header_of(card)["pretty_name"].startswith("A --- # Title")
    body = card.split("\n---\n", 2)[-1]
    assert "<script>" not in body
    assert "[me](" not in body
    assert "\n# Title" not in body


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("the part `train` of <b>", "the part `train` of &lt;b&gt;"),
        ("`a|b` and *c*", "\\`a\\|b\\` and \\*c\\*"),
        ("two\nlines `x", "two lines \\`x"),
    ],
)
def test_code_is_kept_and_the_rest_escaped(value, expected):
    assert with_code(value) == expected


def test_size_categories():
    assert [size_category(rows) for rows in (0, 999, 1_000, 99_999, 10**7)] == ["n<1K", "n<1K", "1K<n<10K", "10K<n<100K", "n>10M"]


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("hf:/home/me/models/mine", "hf:mine"),
        ("hf:Qwen/Qwen2.5-7B-Instruct", "hf:Qwen/Qwen2.5-7B-Instruct"),
        ("control:shuffled-persona@hf:~/models/a+../adapters/b", "control:shuffled-persona@hf:a+b"),
        ("hf:org/name+runs/adapters/mine", "hf:org/name+mine"),
        ("gguf:C:\\models\\mine.gguf", "gguf:mine.gguf"),
        ("hf:/data/me@work/models/mine", "hf:mine"),
        ("hf:/data/user=me/mine@main+/data/me:2/adapter", "hf:mine@main+adapter"),
        ("openai/gpt-4.1-mini", "openai/gpt-4.1-mini"),
        ("embedded", "embedded"),
    ],
)
def test_names_of_models_lose_their_folders(name, published):
    assert without_folders(name) == published


def test_a_missing_extra_is_named_before_anything_is_written(handmade, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlcroissant", None)
    with pytest.raises(MissingExtraError, match=r'pip install "valuestrata\[hf\]"'):
        export_dataset(handmade, tmp_path / "out", to="hf")
    assert not (tmp_path / "out").exists()
