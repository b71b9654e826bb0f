"""Learning curves of a grid, from made-up tables."""

import pytest

from resnet_probe import figures
from resnet_probe.analyses.grid.figure import plot, plot_grid
from resnet_probe.tables import Result


def curves(archs, epochs):
    rows = [
        {"cell": f"{arch}-seed0", "iteration": 23 * epoch, "train_error": 60 / epoch, "test_error": 70 / epoch + n,
         "arch": arch, "family": "resnet", "depth": 8, "variant": None, "style": "normal", "seed": 0}
        for n, arch in enumerate(archs) for epoch in range(1, epochs + 1)
    ]  # fmt: skip
    return Result("curves", tuple(rows[0]), tuple(rows), {})


def test_one_epoch_is_a_point_for_training_and_test_on_whole_iterations():
    (axes,) = (figure := plot(curves(["resnet8", "resnet8-C"], 1))).axes
    figure.draw_without_rendering()
    low, high = axes.get_xlim()
    assert low == 0
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert all(tick == int(tick) for tick in ticks)
    assert {line.get_marker() for line in axes.lines} == {"o"}
    for handle, text in zip(figure.legends[0].legend_handles, figure.legends[0].get_texts(), strict=True):
        if text.get_text() in ("training", "test"):
            assert (handle.get_markerfacecolor() == "white") == (text.get_text() == "training")


def test_networks_with_a_colour_each_share_a_panel():
    (axes,) = plot(curves([f"resnet8-gate{n}" for n in range(len(figures.PALETTE))], 3)).axes
    assert len({line.get_color() for line in axes.lines}) == len(figures.PALETTE)


def test_more_networks_than_colours_have_a_panel_each():
    names = [f"resnet8-gate{n}" for n in range(15)]
    figure = plot(curves(names, 3))
    assert [axes.get_title(loc="left") for axes in figure.axes] == names
    for number, axes in enumerate(figure.axes):
        solid = [
            line for line in axes.lines if line.get_color() == figures.PALETTE["blue"] and line.get_linestyle() == "-"
        ]
        assert [line.get_ydata()[-1] for line in solid] == [70 / 3 + number]
        assert len(axes.lines) == 16  # its training and test, and the test of fourteen others
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["test", "training"]


@pytest.mark.parametrize(("variants", "panels"), [(len(figures.PALETTE), 2), (9, 1)])
def test_colours_are_not_repeated_over_depths(variants, panels):
    rows = [
        {"cell": f"{n}-{depth}", "arch": f"resnet{depth}-gate{n}", "family": "resnet", "variant": f"gate{n}",
         "style": "normal", "depth": depth, "seed": 0, "train_error": 5.0 + n, "test_error": 8.0 + n}
        for depth in (20, 56) for n in range(variants)
    ]  # fmt: skip
    figure = plot_grid(Result("grid", tuple(rows[0]), tuple(rows), {}))
    assert len(figure.axes) == panels
    if panels == 2:
        named = [line for line in figure.axes[0].lines if not line.get_label().startswith("_")]
        assert len({line.get_color() for line in named}) == variants
    else:
        assert len(figure.axes[0].get_yticklabels()) == 2 * variants
