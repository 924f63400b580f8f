"""Small survey files, their codebook, and checks of refusals."""

import pytest
import xlsxwriter

from valuestrata.errors import InputDataError
from valuestrata.survey import read_survey
from valuestrata.survey.formats.source import open_file

CODEBOOK = """
survey: mine
title: Mine
weight: wt
missing: {dont_know: {codes: [-1], labels: [Don't know]}}
items:
  - {id: Q1, topic: Life, codes: [1, 2], labels: [Agree, Disagree], question: "One?"}
  - {id: Q2, topic: Life, codes: [1, 2], labels: [Agree, Disagree], question: "Two?"}
attributes:
  - {name: sex, column: sex, levels: [{label: Male, code: 1}, {label: Female, code: 2}]}
"""
COLUMNS = {"Q1": [1, 2, 1, 2], "Q2": [2, 2, 1, 1], "sex": [1, 2, 1, 2], "wt": [0.5, 1.5, 1, 1], "other": ["a", "b", "c", "d"]}


def csv_text(**changed):
    columns = {**COLUMNS, **changed}
    rows = [columns, *zip(*columns.values(), strict=True)]
    return "\n".join(",".join(map(str, row)) for row in rows) + "\n"


def read_all(path, **options):
    with open_file(path, **options) as raw:
        raw.read(range(len(raw.header.names)))
        raw.notes(range(len(raw.header.names)))


def refused(path, expected, survey=None, **options):
    with pytest.raises(InputDataError) as error:
        read_all(path, **options) if survey is None else read_survey(path, survey, **options)
    message = str(error.value)
    assert expected in message, message
    assert message.isprintable(), message
    return message


def cells(path, name, **options):
    with open_file(path, **options) as raw:
        return raw.read([raw.header.find(name)])[0].to_list()


def workbook(path, sheets, *, hidden=(), formulas=(), merged=()):
    book = xlsxwriter.Workbook(path)
    for name, rows in sheets.items():
        sheet = book.add_worksheet(name)
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)
        if name in hidden:
            sheet.hide()
        else:
            sheet.activate()
        for place, formula, value in formulas:
            sheet.write_formula(place, formula, None, value)
        for place in merged:
            sheet.merge_range(place, 1)
    book.close()
    return path


DATA = [list(COLUMNS), *map(list, zip(*COLUMNS.values(), strict=True))]
