"""YAML files: what is refused, and the line and column that messages name."""

import textwrap

import pytest

from valuestrata.dataset.subgroups import merge_levels
from valuestrata.errors import InputDataError
from valuestrata.survey.codebook import builtin_codebooks, load_codebook
from valuestrata.survey.label_overrides import read_label_overrides
from valuestrata.survey.read import read_survey
from valuestrata.yaml_files import parse_yaml, read_yaml

CODEBOOK = """\
survey: tiny
title: A tiny survey
missing:
  dont_know: {codes: [-1], labels: [Don't know]}
  no_answer: {codes: [-2]}
scales:
  agree: {codes: [1, 2, 3], labels: [Agree, Neither, Disagree]}
items:
  - {id: A, topic: T, question: "Do you?", scale: agree}
  - id: B
    topic: T
    question: How much?
    range: [1, 10]
    ends: [Never, Always]
attributes:
  - name: sex
    column: sex
    levels: [{label: Male, code: 1}, {label: Female, code: 2}]
  - name: age
    column: age
    levels:
      - {label: Young, band: [null, 29]}
      - {label: Middle, band: [30, 59]}
      - {label: Old, band: [60, .inf]}
"""

WRONG = [
    ("title: A tiny survey", "title: A\ntitle: B", 3, 1, "the key 'title' is given twice, first in line 2"),
    ("id: A,", "id: A, id: C,", 9, 13, "the key 'id' is given twice"),
    ("code: 2}", "code: 1}", 18, 38, "the code 1 belongs to two levels, 'Male' and 'Female'"),
    ("code: 2}", "codes: [2, 1]}", 18, 38, "the code 1 belongs to two levels"),
    ("[Agree, Neither, Disagree]", "[Agree, Neither,  agree]", 7, 55, "two options have the label 'agree'"),
    ("[1, 2, 3]", "[1, 2, 2]", 7, 25, "the code 2 is given twice"),
    ("[1, 2, 3]", "[1, 2]", 7, 26, "2 codes and 3 labels"),
    ("codes: [-2]", "codes: [-3, -1]", 5, 27, "the code -1 belongs to two classes, dont_know and no_answer"),
    ("codes: [-2]", "codes: [-2, 2]", 9, 5, "the code 2 is an answer of the item 'A', but missing under `missing.no_answer`"),
    ("[30, 59]", "[29, 59]", 23, 25, "the bands of 'Young' and 'Middle' overlap"),
    ("[30, 59]", "[30, 60]", 24, 22, "the bands of 'Middle' and 'Old' overlap"),
    ("[30, 59]", "[59, 30]", 23, 25, "found [59, 30]; write the lower end first"),
    ("[30, 59]", "[30, .nan]", 23, 36, "finite number"),
    ("code: 1}", "code: true}", 18, 28, "expected a whole number (found True)"),
    ("code: 1}", "code: 3000000000}", 18, 28, "less than 2147483648"),
    ("code: 1}", "code: -9e99}", 18, 28, "integer"),
    ("code: 1}", f"code: {'9' * 5000}}}", 18, 28, "integer"),
    ("label: Male", 'label: ""', 18, 15, "expected text, found an empty one"),
    ("label: Male", "label: ", 18, 15, "valid string (found None)"),
    ("label: Male", 'label: "Ma\\0le"', 18, 22, "control character U+0000"),
    ("[Agree, Neither", "[Agree, ' '", 7, 45, "expected text, found an empty one"),
    ("range: [1, 10]", "range: [1, 1000000000]", 13, 5, "has 1,000,000,000 codes; at most 100"),
    ("range: [1, 10]", "range: [10, 1]", 13, 5, "write the lower end first"),
    ("column: age\n", "colunm: age\n", 20, 5, "the key 'attributes.1.colunm' is not known. Did you mean 'column'"),
    ("- {id: A,", "- {id: B,", 10, 5, "'B' appears 2 times"),
    ("label: Middle", "label: young", 23, 9, "two levels have the label 'young'"),
    ("scales:\n", "scales: &s\n  x: *s\n", 6, 9, "an alias is used inside what it stands for"),
    ("title: A tiny survey", "title: " + "[" * 150 + "]" * 150, 2, 107, "nested more than 100 levels deep"),
    ("title: A tiny survey", "? [a, b]\n: 1", 2, 3, "a key must be a text or a number"),
]


@pytest.mark.parametrize(("right", "wrong", "line", "column", "why"), WRONG)
def test_a_wrong_codebook_is_refused_with_line_and_column(tmp_path, right, wrong, line, column, why):
    file = tmp_path / "mine.yaml"
    assert CODEBOOK.count(right) >= 1
    file.write_text(CODEBOOK.replace(right, wrong, 1))
    with pytest.raises(InputDataError) as caught:
        load_codebook(file)
    message = str(caught.value)
    assert message.startswith(f"{file}, line {line}, column {column}: ")
    assert why in message
    assert len(message) < 400


@pytest.mark.slow
def test_a_right_codebook_and_the_built_in_ones_are_read(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(CODEBOOK)
    book = load_codebook(file)
    assert [(level.low, level.high) for level in book.attributes[1].levels] == [(None, 29), (30, 59), (60, None)]
    assert book.items[1].codes == tuple(range(1, 11))
    for name in builtin_codebooks():
        assert load_codebook(name).items


@pytest.mark.parametrize(
    "text", ["null", "[]", "3", "text", "2020-13-45", "", "!!timestamp 2020-13-45", "!!python/object:os.system {}", "a: &a [*a]"]
)
def test_what_is_no_codebook_is_refused(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputDataError, match=r"mine\.yaml"):
        load_codebook(tmp_path / "mine.yaml")


def test_a_codebook_that_is_not_utf8_is_refused_with_its_line(tmp_path):
    (tmp_path / "mine.yaml").write_bytes(CODEBOOK.replace("Male", "Männlich").encode("latin-1"))
    with pytest.raises(InputDataError, match=r"mine\.yaml, line 18: not a UTF-8 text file: found the byte 0xe4\. Save the file as UTF-8"):
        load_codebook(tmp_path / "mine.yaml")
    (tmp_path / "mine.yaml").write_bytes(b"\xef\xbb\xbf" + CODEBOOK.encode())
    assert load_codebook(tmp_path / "mine.yaml").survey == "tiny"


def test_dates_and_times_stay_text(tmp_path):
    read = parse_yaml("{a: 2001-09-11, b: 12:30:00, c: 010, d: 10, e: No, f: 1.5, 2020-01-01: x}", "file").document
    assert read == {"a": "2001-09-11", "b": "12:30:00", "c": "010", "d": 10, "e": "No", "f": 1.5, "2020-01-01": "x"}


def test_aliases_are_counted_before_they_are_expanded():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(InputDataError, match=r"with its aliases expanded, the file has more than 1,000,000 values"):
        parse_yaml("\n".join(lines), "file")
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, x: 2, y: *a}", "file").document == {"a": {"x": 1}, "b": {"x": 2, "y": {"x": 1}}}


def test_a_file_that_is_too_large_or_no_file_is_refused(tmp_path):
    large = tmp_path / "large.yaml"
    with large.open("wb") as file:
        file.truncate(20 << 20)
    for path, why in (
        (large, "larger than 16 MiB"),
        (tmp_path, "this is a folder"),
        (tmp_path / "absent", "does not exist"),
        ("a\0b", "cannot hold a NUL"),
    ):
        with pytest.raises(InputDataError, match=why):
            read_yaml(path)


LEVELS = [
    ("area: ", "line 1, column 1: area: "),
    ("area: [a]", "line 1, column 1: area: "),
    ("area: {New: }", "line 1, column 8: area.New: "),
    ("area: {New: []}", "at least 1 item"),
    ("area: {New: [North, null]}", "has no level 'null'"),
    ("area: {New: [Nroth]}", "line 1, column 8: attribute area has no level 'Nroth'. Did you mean 'North'?"),
    ("area: {New: [North], Newer: [North]}", "line 1, column 22: level 'North' of area is merged twice"),
    ("area: {South: [North, East]}", "line 1, column 8: area already has a level 'South', which would be merged too"),
    ("area: {New: [North], New: [South]}", "the key 'New' is given twice"),
    ("area: {New: {levels: [North], phrase: ''}}", "expected text, found an empty one"),
    ("area: {New: {levles: [North]}}", "the key 'area.New.levles' is not known. Did you mean 'levels'"),
    ("null", "expected a mapping of keys to values"),
    ("3: {New: [North]}", "unknown attribute '3'"),
]


@pytest.fixture(scope="module")
def areas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("areas")
    book = """\
        survey: areas
        title: Areas
        missing: {}
        items: [{id: A, topic: T, question: "Yes?", codes: [1, 2], labels: [Yes, No]}]
        attributes:
          - name: area
            column: area
            levels: [{label: North, code: 1}, {label: South, code: 2}, {label: East, code: 3}, {label: "4", code: 4}]
    """
    (folder / "book.yaml").write_text(textwrap.dedent(book))
    (folder / "data.csv").write_text("A,area\n" + "".join(f"{1 + n % 2},{1 + n % 4}\n" for n in range(40)))
    return read_survey(folder / "data.csv", folder / "book.yaml")


@pytest.mark.parametrize(("text", "why"), LEVELS)
def test_a_wrong_levels_file_is_refused(tmp_path, areas, text, why):
    (tmp_path / "levels.yaml").write_text(text)
    with pytest.raises(Exception, match=r"levels\.yaml") as caught:
        merge_levels(areas, tmp_path / "levels.yaml")
    assert isinstance(caught.value, InputDataError) or type(caught.value).__name__ == "UsageError"
    assert why in str(caught.value)


def test_levels_may_be_merged_into_one_of_them_and_swapped(tmp_path, areas):
    (tmp_path / "levels.yaml").write_text("area: {South: [South, North], East: {levels: [4], phrase: far}, West: [East]}")
    merged = merge_levels(areas, tmp_path / "levels.yaml")
    assert [level.label for level in merged.attributes[0].levels] == ["South", "West", "East"]
    assert merged.levels[:4, 0].tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("A: {Maybe: }", "line 1, column 5: A: 'Maybe': expected a code, a level or a class of missing, found None"),
        ("A: ", "line 1, column 1: A: expected a mapping of labels to codes"),
        ("A: {Maybe: 7}", "line 1, column 5: A: '7' is neither a scale code"),
        ("null", "expected a mapping at the top of the file"),
        ("A: {Maybe: 1, Maybe: 2}", "the key 'Maybe' is given twice"),
    ],
)
def test_a_wrong_labels_file_is_refused(tmp_path, areas, text, why):
    (tmp_path / "labels.yaml").write_text(text)
    with pytest.raises(InputDataError, match=r"labels\.yaml") as caught:
        read_label_overrides(tmp_path / "labels.yaml", areas.codebook)
    assert why in str(caught.value)
