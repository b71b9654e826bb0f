"""Figures from the made-up tables, and where their texts are."""

from importlib import import_module

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.text import Text

from resnet_probe import figures
from tests.figures.tables import FIGURES, TABLES


def draw(name, networks):
    """A figure by its name in `replot`, from made-up tables."""
    where, tables = FIGURES[name]
    module, function = where.split(":")
    return getattr(import_module(module), function)(*(TABLES[table](networks) for table in tables))


def pixels(figure, dpi=100):
    """The figure as an array (height, width, 4) of numbers from 0 to 255."""
    with figures.style():
        figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        canvas.draw()  # with the ticks that go with the sizes found first, as in `save`
        return np.asarray(canvas.buffer_rgba()).copy()


class _Recorder(RendererAgg):
    """Notes every text that is really drawn: ticks outside of the limits have labels too."""

    def __init__(self, *size):
        super().__init__(*size)
        self.seen = []

    def draw_text(self, gc, x, y, s, prop, angle, ismath=False, mtext=None):  # noqa: PLR0917
        self.seen.append(mtext)


def texts(figure):
    """Every text that is drawn, with its box in pixels; lay the figure out first, by `pixels`."""
    wide, high = figure.canvas.get_width_height()
    recorder = _Recorder(wide, high, figure.dpi)
    with figures.style():
        figure.draw(recorder)
    of_several_lines = [text for text in figure.findobj(Text) if "\n" in text.get_text() and text.get_visible()]
    seen = [text for text in recorder.seen if text is not None] + of_several_lines  # which are drawn line by line
    return [(text.get_text(), text.get_window_extent()) for text in seen if text.get_text().strip()]
