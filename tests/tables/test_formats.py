"""Tables in other forms: read back by pandas and compared with the rows."""

import re

import pandas
import pytest

from resnet_probe.tables import Result
from resnet_probe.tables.formats import Layout, latex, markdown, write

ROWS = [
    {"network": "a_b", "block": "layer1.0", "images": 1000, "error": 8.51234567, "error_low": 7.0, "error_high": 10.25,
     "p": 1.25e-7, "note": None, "count": 2**70, "resizes": True},
    {"network": "a_b", "block": "layer1.1 | 50 %", "images": 1000, "error": -12.0, "error_low": None,
     "error_high": None, "p": None, "note": None, "count": 3, "resizes": False},
]  # fmt: skip
TABLE = Result("lesion", tuple(ROWS[0]), tuple(ROWS), {})


def test_markdown_is_the_table():
    head, rule, *lines, blank, same = markdown(
        TABLE, Layout({"error": "error, %"}, intervals={"error_low"})
    ).splitlines()
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in (head, rule, *lines)]
    assert cells[0] == ["block", "error, %", "error, 95 % interval", "p", "count", "resizes"]
    assert cells[1] == ["---", "---:", "---", "---:", "---:", "---"]
    assert cells[2] == ["layer1.0", "8.512", "7 to 10.25", "1.25e-07", "1.181e+21", "yes"]
    assert cells[3] == [r"layer1.1 \| 50 %", "-12", "–", "–", "3", "no"]
    assert (blank, same) == ("", "network: a_b; images: 1,000")


def test_latex_is_the_table():
    text = latex(TABLE, Layout({"error": "error, %"}, intervals={"error_low"}))
    assert text.splitlines()[0] == "% network: a_b; images: 1,000"
    assert r"\begin{tabular}{lS[table-format=-2.3]lS[table-format=1.2e-1]S[table-format=22.0]l}" in text
    assert re.findall(r"\\\w+rule", text) == [r"\toprule", r"\midrule", r"\bottomrule"]
    body = [line.removesuffix(r"\\").split(" & ") for line in text.splitlines() if line.endswith(r"\\")]
    assert [cell.strip("{} ") for cell in body[0]] == [
        "block", r"error, \%", r"error, 95 \% interval", "p", "count", "resizes"
    ]  # fmt: skip
    assert [cell.strip() for cell in body[1]] == ["layer1.0", "8.512", "7 to 10.25", "1.25e-07", str(2**70), "yes"]
    assert [cell.strip() for cell in body[2]] == [r"layer1.1 | 50 \%", "-12", "{--}", "{--}", "3", "no"]


def test_chosen_columns_come_with_their_intervals():
    head = markdown(TABLE, Layout(keys=("block", "error"), intervals={"error_low"})).splitlines()[0]
    assert head == "| block | error | error, 95 % interval |"
    assert "| 7 to 10.25 |" in markdown(TABLE, Layout(keys=("error_low", "error_high"), intervals={"error_low"}))
    one = Result("x", ("a", "low", "high"), ({"a": 1, "low": 2, "high": 3.5}, {"a": 2, "low": 2, "high": 3}), {})
    assert markdown(one, Layout(intervals={"low"})).splitlines()[::2] == ["| a | 95 % interval |", "| 1 | 2 to 3.5 |"]


def test_what_is_no_interval_is_not_called_one():
    quartiles = Result("x", ("quartile_low", "quartile_high"), ({"quartile_low": 2, "quartile_high": 3.5},), {})
    assert markdown(quartiles, Layout(intervals={"error_low"})).splitlines()[0] == "| quartile low | quartile high |"


def test_parquet_is_the_whole_table(tmp_path):
    pytest.importorskip("pyarrow")
    (path,) = write(TABLE, tmp_path, ["parquet"])
    found = pandas.read_parquet(path)
    assert list(found.columns) == list(TABLE.columns)
    assert found["count"].tolist() == [str(2**70), "3"]
    assert found["error"].tolist() == [row["error"] for row in ROWS]
    assert found["resizes"].tolist() == [True, False]


def test_an_unknown_kind_is_one_line(tmp_path):
    with pytest.raises(LookupError, match="no tables of kind 'xlsx'; choose from tex, md, parquet"):
        write(TABLE, tmp_path, ["xlsx"])
