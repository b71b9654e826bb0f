from pathlib import Path

import pytest

from resnet_probe.report.cells import sheet
from resnet_probe.tables import Result, SavedTable
from resnet_probe.tables.cells import written


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (True, "yes"), (False, "no"), (1234567, "1,234,567"), (-1234, "-1,234"), (2**54, "1.801e+16"),
     (0.123456, "0.1235"), (12345.6, "12,346"), (1e-9, "1e-09"), (float("nan"), "nan"), ("a", "a"), (0, "0")],
)  # fmt: skip
def test_values_are_written_for_people(value, text):
    assert written(value) == text


def test_columns_that_say_nothing_are_told_once_or_left_out():
    rows = [{"network": "a", "images": 10, "error": e, "empty": None, "block": b} for e, b in ((1.0, "x"), (2.5, "y"))]
    found = sheet(SavedTable(Path(), Result("lesion", tuple(rows[0]), tuple(rows), {})))
    assert found.headings == ("error, %", "block")
    assert found.same == "network a; images 10"
    assert [[cell.text for cell in row] for row in found.rows] == [["1", "x"], ["2.5", "y"]]
    assert [cell.number for cell in found.rows[0]] == [True, False]
    assert [row[0].sort for row in found.rows] == ["1.0", "2.5"]
    assert found.short
    one = sheet(SavedTable(Path(), Result("lesion", tuple(rows[0]), (rows[0],), {})))
    assert one.headings == ("network", "images", "error, %", "block")


def test_few_rows_of_many_columns_are_turned():
    rows = [{"network": name, **{f"value_{i}": 10 * i + k for i in range(12)}} for k, name in enumerate("ab")]
    found = sheet(SavedTable(Path(), Result("compare", tuple(rows[0]), tuple(rows), {})))
    assert found.turned
    assert found.headings == ("network", "a", "b")
    assert [[cell.text for cell in row] for row in found.rows] == [
        [f"value {i}", str(10 * i), str(10 * i + 1)] for i in range(12)
    ]
