"""A network keeps its colour, line and marker, whatever stands beside it."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb

from resnet_probe import figures
from resnet_probe.cli import main
from resnet_probe.figures import network_colours, noted, remembered
from resnet_probe.tables import read
from tests.figures.drawn import draw
from tests.figures.tables import FIGURES, SEVERAL, TABLES

MANY = ["resnet20", "resnet56", "resnet110", "vgg16", "plain56"]


def test_looks_last_as_long_as_the_context():
    with remembered():
        first = network_colours(MANY)
        for name in MANY:
            assert network_colours([name])[name] == first[name]
        assert network_colours(reversed(MANY)) == first
    assert network_colours(["resnet110"])["resnet110"]["color"] == figures.PALETTE["blue"]


def test_what_a_table_notes_gives_the_same_looks_later():
    with remembered():
        first = network_colours(MANY)
        note = noted(["vgg16"])
        assert noted(["other"]) == {}
    assert list(note) == MANY
    for name in MANY:
        assert network_colours([name], note)[name] == first[name]
    with remembered(note):
        assert network_colours(["new"])["new"]["color"] not in {look["color"] for look in first.values()}


def test_a_context_within_knows_and_tells_those_around():
    with remembered():
        first = network_colours(MANY[:2])
        with remembered({"resnet56": "green", "vgg16": "purple"}):  # the one around was first
            inner = network_colours(MANY)
        assert {name: inner[name] for name in MANY[:2]} == first
        assert inner["vgg16"]["color"] == figures.PALETTE["purple"]
        assert network_colours(MANY) == inner
        with remembered(share=False):
            network_colours(["apart"])
        assert "apart" not in noted(MANY)


def test_two_residual_networks_are_not_two_blues():
    blue, other = (np.array(to_rgb(look["color"])) for look in network_colours(["resnet20", "resnet56"]).values())
    assert np.linalg.norm(blue - other) > 0.8


@pytest.mark.parametrize("note", [None, [], "blue", {"resnet56": "#fff"}, {"resnet56": 3}])
def test_a_setting_that_is_none_is_passed_over(note):
    assert network_colours(["resnet56"], note) == network_colours(["resnet56"])


def drawn_in(figure):
    """The colours of all lines."""
    return {to_hex(line.get_color()).upper() for axes in figure.axes for line in axes.lines}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lesion", "lesion_multi", "reorder", "responses", "gradients", "survival"])
def test_figures_take_the_colours_from_the_table(name):
    table = TABLES[name](SEVERAL[:1])
    module, function = FIGURES[name][0].split(":")
    plot = getattr(import_module(module), function)
    orange, blue = (figures.PALETTE[colour] for colour in ("orange", "blue"))
    assert orange not in drawn_in(plot(table))
    noted_table = table.with_settings({"colours": {SEVERAL[0]: "orange"}})
    assert orange in drawn_in(plot(noted_table))
    assert blue not in drawn_in(plot(noted_table))


def test_views_of_a_network_do_not_take_the_colours_of_others():
    with remembered():
        draw("evaluate_classes", SEVERAL)
        assert list(noted(SEVERAL)) == list(SEVERAL)


def test_commands_in_one_folder_agree_and_replot_repeats_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["paths", "--depth", "20", "--out", "run", "--format", "svg", "--quiet"]) == 0
    assert read(Path("run"), "paths").settings["colours"] == {"resnet20": "blue"}
    blue = figures.PALETTE["blue"].lower()
    assert blue in Path("run/paths.svg").read_text()
    # another network, in the same folder: the first keeps its colour, so this one has the next
    words = ["responses", "--arch", "resnet8-w4", "--data", "fake", "--limit", "10"]
    assert main([*words, "--out", "run", "--format", "svg", "--quiet"]) == 0
    assert read(Path("run"), "responses").settings["colours"] == {"resnet20": "blue", "resnet8-w4": "purple"}
    before = Path("run/responses.svg").read_bytes()
    assert blue.encode() not in before
    assert main(["replot", "--run", "run", "--out", "again", "--format", "svg", "--quiet"]) == 0
    assert Path("again/responses.svg").read_bytes() == before
