"""Legends that fit: above the panels, in as many columns as the figure has room for."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.legend import Legend

_EDGE = 0.03  # inches that stay free on either side


def legend_above(
    figure: Figure,
    handles: Sequence[Any] | None = None,
    labels: Sequence[str] | None = None,
    *,
    most: int | None = None,
    **look: Any,
) -> Legend:
    """A legend above all panels in as many columns as fit, with rows as even as can be.

    The figure grows by the height of every row beyond the first, so that panels keep their size.

    Args:
        figure: with a constrained layout.
        handles, labels: as `Figure.legend` takes them; by default all that have a label.
        most: columns, where fewer than fit are wanted.
        look: handed to `Figure.legend`.
    """
    given: dict[str, Any] = {
        "loc": "outside upper center",
        "frameon": False,
        "borderpad": 0.15,
        "borderaxespad": 0.1,
        **look,
    }
    if handles is not None:
        given["handles"] = list(handles)
    if labels is not None:
        given["labels"] = list(labels)
    room = (figure.get_size_inches()[0] - 2 * _EDGE) * figure.dpi

    legend = figure.legend(ncols=1, **given)
    entries = max(len(legend.get_texts()), 1)
    legend.remove()
    heights = []
    for columns in sorted({-(-entries // rows) for rows in range(1, entries + 1)}, reverse=True):
        legend = figure.legend(ncols=columns, **given)
        box = legend.get_window_extent()
        heights.append(box.height)
        if columns == 1 or (box.width <= room and columns <= (most or columns)):
            break
        legend.remove()
    wide, high = figure.get_size_inches()
    figure.set_size_inches(wide, high + (heights[-1] - heights[0]) / figure.dpi)
    return legend
