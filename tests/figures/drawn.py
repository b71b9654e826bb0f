"""Figures from the made-up tables, and where their texts are."""

from importlib import import_module

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.text import Text

from resnet_probe import figures
from resnet_probe.figures.saving import _arranged
from tests.figures.tables import FIGURES, TABLES


def draw(name, networks):
    """A figure by its name in `replot`, from made-up tables."""
    where, tables = FIGURES[name]
    module, function = where.split(":")
    return getattr(import_module(module), function)(*(TABLES[table](networks) for table in tables))


def looked_at(figure, dpi=100):
    """What `save` would draw: the figure as an array (height, width, 4) of numbers from 0 to 255, and every text in it.

    A text comes with its box in pixels.
    """
    with figures.style():
        FigureCanvasAgg(figure)
        figure.set_dpi(dpi)
        with _arranged(figure):
            wide, high = figure.canvas.get_width_height()
            recorder = _Recorder(wide, high, figure.dpi)
            figure.draw(recorder)
    of_several_lines = [text for text in figure.findobj(Text) if "\n" in text.get_text() and text.get_visible()]
    seen = [text for text in recorder.seen if text is not None] + of_several_lines  # which are drawn line by line
    texts = [(text.get_text(), text.get_window_extent()) for text in seen if text.get_text().strip()]
    return np.asarray(recorder.buffer_rgba()).copy(), texts


class _Recorder(RendererAgg):
    """Notes every text that is really drawn: ticks outside of the limits have labels too."""

    def __init__(self, *size):
        super().__init__(*size)
        self.seen = []

    def draw_text(self, gc, x, y, s, prop, angle, ismath=False, mtext=None):  # noqa: PLR0917
        self.seen.append(mtext)
        super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)
