"""Every figure of `replot` from made-up tables: nothing is cut, covered, lost or surrounded by empty paper.

The pictures in `baseline/` are made anew, and should then be looked at, with

    python -m pytest tests/figures/test_pictures.py -k baseline --mpl-generate-path=tests/figures/baseline
"""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.legend import Legend
from matplotlib.testing.compare import calculate_rms
from matplotlib.transforms import Bbox

from resnet_probe import figures
from resnet_probe.analyses.grid import figure as grid
from resnet_probe.analyses.lesion import single
from tests.figures.drawn import draw, looked_at
from tests.figures.tables import FIGURES, ONE, SEVERAL, TABLES

DPI = 60
MOST = 2.0  # root mean square over the picture, of 255
ALL = pytest.mark.parametrize("name", FIGURES)


def faults(figure):
    """What a reader could not read or would miss: texts out of the figure, texts on one another, wide empty margins."""
    picture, found = looked_at(figure)
    high, wide = picture.shape[:2]
    cut = [text for text, box in found if min(box.x0, box.y0, wide - box.x1, high - box.y1) < -1]
    covered = []
    for (one, a), (other, b) in combinations(found, 2):
        common = Bbox.intersection(a, b)
        if common is not None and min(common.width, common.height) > 1.5:
            covered.append(f"{one} / {other}")
    ink = np.argwhere((picture[:, :, :3] < 250).any(axis=2))
    (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0)
    edges = {"top": top, "left": left, "bottom": high - 1 - bottom, "right": wide - 1 - right}
    millimetres = {side: 25.4 * edge / figure.dpi for side, edge in edges.items()}
    return cut + covered + [f"empty at the {side}" for side, size in millimetres.items() if size > 2]


@pytest.mark.slow
@ALL
def test_texts_lie_inside_and_apart_and_no_paper_is_wasted(name):
    assert faults(draw(name, ONE)) == []


@pytest.mark.slow
@ALL
def test_nor_with_several_networks_and_what_goes_missing_is_seen(name):
    figure = draw(name, SEVERAL)
    assert faults(figure) == []
    whole = looked_at(figure, DPI)[0][:, :, :3].astype(int)
    figure.set_layout_engine(None)  # what is left stays in its place
    axes = figure.axes[0]
    parts = [axes.xaxis.label, axes.yaxis.label, *figure.texts, *figure.legends, *axes.images]
    parts += [line for line in axes.lines if line.get_linewidth() >= 0.9]  # thinner ones only guide the eye
    parts = [part for part in parts if part.get_visible() and getattr(part, "get_text", lambda: "x")()]
    big = [part for part in parts if min(part.get_window_extent().size) + max(part.get_window_extent().size) > 30]
    big = [mesh for mesh in axes.collections if isinstance(mesh, QuadMesh)] + big
    assert big
    for part in big[:4]:
        part.set_visible(False)
        assert calculate_rms(whole, looked_at(figure, DPI)[0][:, :, :3].astype(int)) > MOST, part
        part.set_visible(True)


LOOKS = {
    "talk": {"style": "talk"},
    "poster in a column": {"style": "poster", "width": "column"},
    "column": {"width": "column"},
    "neurips": {"venue": "neurips2024"},
    "icml in a page": {"venue": "icml2024", "width": "page"},
}


@pytest.mark.slow
@pytest.mark.parametrize("look", LOOKS)
@ALL
def test_texts_lie_inside_and_apart_in_every_look(name, look):
    with figures.look(**LOOKS[look]):
        assert faults(draw(name, SEVERAL)) == []


def test_faults_are_seen():
    figure = draw("lesion", ONE)
    (axes,) = figure.axes
    axes.text(0.5, 0.5, "here", transform=axes.transAxes)
    axes.text(0.5, 0.5, "there", transform=axes.transAxes)
    figure.text(0.97, 0.5, "too far")
    assert faults(figure) == ["too far", "here / there"]
    figure.set_layout_engine(None)
    axes.set_position([0.3, 0.3, 0.4, 0.4])
    assert "empty at the bottom" in faults(figure)


def words(figure):
    """Every entry of its legends."""
    return [text.get_text() for legend in figure.findobj(Legend) for text in legend.get_texts()]


@pytest.mark.parametrize("networks", [ONE, SEVERAL], ids=["one", "several"])
def test_bands_are_named(networks):
    assert [word for word in words(draw("gradients", networks)) if word.startswith("95 % interval of the mean")]
    curves = TABLES["curves"](networks)
    one = replace(curves, rows=tuple(row for row in curves.rows if row["seed"] == 0))
    assert ["test, range over seeds" in words(grid.plot(each)) for each in (curves, one)] == [True, False]


def test_there_are_no_accuracies_above_100_and_no_halves_of_blocks():
    (exits,) = [axes for axes in draw("iterative", ONE).axes if axes.get_ylabel() == "accuracy (%)"]
    assert max(exits.get_yticks()) == 100
    lesions = TABLES["lesion"](ONE)
    (axes,) = single.plot(replace(lesions, rows=lesions.rows[:5])).axes
    assert all(tick == round(tick) for tick in axes.get_xticks())


FIRST = {"lesion", "responses", "paths"}  # that the quick tests compare, one for each kind of axis


@pytest.mark.mpl_image_compare(baseline_dir="baseline", tolerance=MOST, style="default", savefig_kwargs={"dpi": DPI})
@pytest.mark.parametrize(
    "name", [name if name in FIRST else pytest.param(name, marks=pytest.mark.slow) for name in FIGURES]
)
def test_baseline(name):
    figure = draw(name, SEVERAL)
    looked_at(figure, DPI)  # makes the ticks in our style, before pytest-mpl saves the figure in another
    return figure
