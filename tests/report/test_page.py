import json
import re

import pytest

from resnet_probe.analyses.registry import facts_of
from resnet_probe.tables import Result, read
from tests.report.pages import SETTINGS, Reader, page, save_inspect, save_lesion, save_paths


@pytest.fixture
def run(tmp_path):
    save_inspect(tmp_path / "net")
    save_lesion(tmp_path / "net")
    save_paths(tmp_path / "net")
    return tmp_path


def test_the_page_has_everything_inside_and_fetches_nothing(run):
    text = page(run)
    read = Reader(text)
    links = [found.get("href", "") for _, found in read.elements] + [found.get("src", "") for _, found in read.elements]
    assert {link[0] for link in links if link} <= {"#", "d"}  # places on the page, and the empty icon as data
    assert "data:," in links
    assert not re.search(r"https?://|@import|url\((?!#)", text)
    for link in links:
        if link.startswith("#"):
            assert link[1:] in read.ids
    assert len(set(read.ids)) == len(read.ids)


def test_every_figure_is_there_with_words_for_those_who_cannot_see_it(run):
    read = Reader(page(run))
    figures = [found for found in read.all("svg") if found.get("class") == "plot"]
    assert len(figures) == len(read.all("figure")) == 2
    assert all(found["role"] == "img" and len(found["aria-label"]) > 40 for found in figures)
    used = {found["href"][1:] for found in read.all("use")}
    assert used <= set(read.ids)
    assert len(used) > 20


def test_paragraphs_and_claims_are_made_from_the_numbers(run):
    text = Reader(page(run)).text
    for name in ("lesion", "paths", "inspect"):
        for fact in facts_of(read(run / "net", name))["net"]:
            assert f"{fact.label.capitalize()} : {fact.text}." in text
    assert "30 % (b, which resizes)" in text
    assert "2^3 = 8" in text
    assert "37,146" in text
    assert "these are 100 images of digits" not in text  # nothing is published of a ResNet-8
    assert "the claim is about 54 blocks and this network has 3 blocks" in text


def test_a_paragraph_goes_through_few_networks(tmp_path):
    for name in "abcdef":
        save_lesion(tmp_path / name, network=name)
    rows = [row for name in "abcdef" for row in read(tmp_path / name, "lesion").rows]
    Result("lesion", tuple(rows[0]), tuple(rows), SETTINGS).save(tmp_path)
    read_page = Reader(page(tmp_path))
    text = read_page.text
    assert len(read_page.all("span", **{"class": "line"})) == 5  # one for each network, and the last
    assert text.count("wrong of 100 images") == 4
    assert "the numbers of 2 more networks are in the table." in text
    assert "a, b, c, d and 2 more" in re.sub(r" +,", ",", text)


def test_every_method_that_is_linked_is_explained_and_no_other(run):
    text = page(run)
    linked = set(re.findall(r'href="#method-(\w+)"', text))
    assert linked == set(re.findall(r'id="method-(\w+)"', text))
    assert "wilson" in linked
    assert "mcnemar" not in linked  # the table has no column `p`
    assert "trainings" not in linked  # no table of trainings is in this run


def test_origin_is_told(run):
    text = Reader(page(run)).text
    for words in (
        "resnet-probe lesion --ckpt net.pt",
        "ab" * 6,
        "cd" * 6,
        "torch 2.9; Linux",
        "2026-01-02 03:04:05 UTC",
    ):
        assert words in text


def test_the_anatomy_has_the_units_and_the_script_their_numbers(run):
    text = page(run)
    read = Reader(text)
    units = [found for found in read.all("g") if found.get("class", "").startswith("unit")]
    assert [found["data-unit"] for found in units] == ["conv1", "a", "b", "c", "fc"]
    assert [("resizes" in found["class"], "block" in found["class"]) for found in units[:4]] == [
        (False, False), (False, True), (True, True), (False, True),
    ]  # fmt: skip
    (data,) = re.findall(r'<script type="application/json" class="data">(.*?)</script>', text, re.DOTALL)
    about = json.loads(data)
    assert about["counts"] == ["1", "3", "3", "1"]
    assert about["units"]["b"]["numbers"]["added error"] == "+25 points"
    assert about["units"]["b"]["error"] == 30


def test_what_stands_in_a_table_cannot_break_out_of_the_page(tmp_path):
    name = '"><script>alert(1)</script>&</script>'
    save_lesion(tmp_path, network=name, command=name)
    save_inspect(tmp_path, network=name)
    text = page(tmp_path)
    assert "<script>alert" not in text
    assert name in Reader(text).text


def test_a_partial_run_says_what_is_missing_with_the_command(run):
    (run / "net" / "reorder.journal").write_bytes(b"")
    (run / "net" / "bad.csv").write_text("x\n", encoding="utf-8")
    read = Reader(page(run))
    text = read.text
    assert "This run is not complete" in text
    assert "the sweep was interrupted; what it has finished is kept" in text
    out = f"--out {run / 'net'}"
    assert f"resnet-probe reorder --ckpt 'my net.pt' --data digits --limit 100 {out}" in text
    assert text.count("resnet-probe reorder --ckpt") == 1  # interrupted, and not also "has not been run"
    assert f"resnet-probe lesion --multi 1:20 --ckpt 'my net.pt' --data digits --limit 100 {out}" in text
    assert f"resnet-probe iterative --ckpt 'my net.pt' --data digits --limit 100 {out}" in text
    assert f"resnet-probe paths --ckpt 'my net.pt' --data digits --limit 100 {out}" in text
    assert "bad.csv" in text


def test_the_page_begins_with_what_each_table_says(run):
    text = Reader(page(run)).text
    short = text[text.index("In short") : text.index("Claims of the papers", text.index("In short"))]
    for table, label in (("lesion", "median lesion"), ("paths", "paths")):
        (fact,) = [each for each in facts_of(read(run / "net", table))["net"] if each.label == label]
        assert f"{label}: {fact.text}" in short


def test_a_table_that_was_changed_is_told(run):
    path = run / "net" / "lesion.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",5.0,", ",6.0,", 1), encoding="utf-8")
    assert "lesion.csv in" in (text := Reader(page(run)).text)
    assert "not the table that was written" in text


def test_a_step_that_failed_says_why(run):
    step = {"table": "iterative", "network": "net", "state": "failed", "reason": "out of memory"}
    (run / "study.json").write_text(json.dumps({"steps": [step]}), encoding="utf-8")
    assert "Iterative inference of net : out of memory." in Reader(page(run)).text


def test_an_interrupted_sweep_alone_makes_a_page(tmp_path):
    (tmp_path / "lesion.journal").write_bytes(b"")
    text = Reader(page(tmp_path)).text
    assert "the sweep was interrupted" in text
    assert "None of the published claims can be tested" in text


def test_a_network_without_blocks_does_not_miss_what_it_cannot_have(tmp_path):
    rows = [{"network": "vgg", "unit": "features.0", "kind": "layer", "stage": 1, "out_shape": "8", "in_shape": "3x8x8",
             "parameters": 1, "multiply_adds": 1, "resizes": False, "paths": 1}]  # fmt: skip
    Result("inspect", tuple(rows[0]), tuple(rows), SETTINGS).save(tmp_path)
    text = Reader(page(tmp_path)).text
    assert "Layer responses of vgg" in text
    assert "Changing the order of vgg" not in text


def test_the_networks_of_a_grid_do_not_miss_what_a_grid_does_not_measure(tmp_path):
    save_lesion(tmp_path, network="net-seed0")
    row = {"cell": "net-seed0", "arch": "plain8", "seed": 0, "test_error": 2.0}
    Result("grid", tuple(row), (row,), SETTINGS).save(tmp_path)
    Result("grid_summary", ("arch", "test_error"), ({"arch": "plain8", "test_error": 2.0},), SETTINGS).save(tmp_path)
    read = Reader(page(tmp_path))
    assert "This run is not complete" not in read.text
    assert "2 % (plain8, seed 0)" in read.text
    assert "means over seeds" in read.text
    assert [each for each in read.ids if each.startswith("analysis")].count("analysis-grid-summary") == 0


def test_tables_that_stand_in_a_comparison_too_are_shown_once(run):
    save_paths(run / "other", network="net")
    save_paths(run / "third", blocks=2, network="more")
    read = Reader(page(run))
    assert len(read.all("figure")) == 3  # lesion; paths of net and of more


def test_a_table_that_cannot_be_drawn_says_so_and_the_rest_stands(run):
    Result("reorder", ("network", "error"), ({"network": "net", "error": 1.0},), {}).save(run / "net")
    text = Reader(page(run)).text
    assert "The figure reorder could not be drawn" in text
    assert "Rows : 1." in text
    assert "5 % error, 5 wrong of 100 images" in text


def test_long_tables_are_folded_and_very_long_ones_cut(tmp_path):
    rows = tuple({"network": "net", "unit": "module", "length": k, "count": 10**k, "fraction": 0.5} for k in range(400))
    Result("paths", tuple(rows[0]), rows, {}).save(tmp_path)
    read = Reader(page(tmp_path))
    assert "100 more rows are in paths.csv." in read.text
    assert all("open" not in found for found in read.all("details"))
    assert "1.000e+20" in read.text
    assert len(read.all("td")) > 600
    assert str(10**20) in {found.get("data-sort") for found in read.all("td")}


def test_an_error_that_is_no_number_has_no_colour_and_does_not_break_the_script(run):
    found = read(run / "net", "lesion")
    rows = tuple({**row, "error": float("nan")} if row["block"] == "c" else row for row in found.rows)
    Result("lesion", found.columns, rows, found.settings).save(run / "net")
    text = page(run)
    data = re.search(r'<script type="application/json" class="data">(.*?)</script>', text, re.DOTALL).group(1)
    assert json.loads(data, parse_constant=pytest.fail)["units"]["c"]["error"] is None


def test_the_times_of_small_batches_say_that_backward_is_both(tmp_path):
    row = {"network": "net", "parameters": 5, "units": 3, "forward_ms_16": 1.5, "backward_ms_16": 4.5}
    Result("compare", tuple(row), (row,), SETTINGS).save(tmp_path)
    assert "batches of 16: forward and backward, ms" in Reader(page(tmp_path)).text


def test_two_checkpoints_of_one_name_are_two_networks(tmp_path):
    for folder, digit in (("A", "cd"), ("B", "ab")):
        save_lesion(tmp_path / folder, network="model", checkpoint_sha256=digit * 32)
    save_inspect(tmp_path / "B", network="model")
    read = Reader(page(tmp_path / "A", tmp_path / "B"))
    assert "model (A)" in read.text
    assert "model (B)" in read.text
    assert "conv1" in str(read.elements)
    assert sum("data-network" in found for _, found in read.elements) == 2
    assert sum(found.get("data-unit") == "conv1" for _, found in read.elements) == 1  # A's table has no such unit


def test_the_numbers_of_a_unit_stand_in_the_order_of_the_analyses(run):
    data = re.search(r'<script type="application/json" class="data">(.*?)</script>', page(run), re.DOTALL).group(1)
    labels = list(json.loads(data)["units"]["a"]["numbers"])
    assert labels == ["parameters", "output", "error without it", "added error"]
