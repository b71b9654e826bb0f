"""The look of figures, empty figures of exact size, and names as text."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from resnet_probe.figures.fitting import break_long_texts
from resnet_probe.figures.looks import COLUMN_MM, PAGE_MM, current

INK = "#262626"  # text and axes
GREY = "#8C8C8C"  # context that should stand back


# Printed at its own width, text is 7 to 8 pt, which is what journals ask for.
_LOOK: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "axes.titlesize": 8.0,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "axes.linewidth": 0.6,
    "axes.titlepad": 4.0,
    "axes.labelpad": 2.5,
    "grid.linewidth": 0.4,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.2,
    "patch.linewidth": 0.6,
    "hatch.linewidth": 0.5,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.pad": 2.0,
    "ytick.major.pad": 2.0,
    "text.usetex": False,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": "#DDDDDD",
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "figure.constrained_layout.h_pad": 0.02,
    "figure.constrained_layout.w_pad": 0.02,
    "pdf.fonttype": 42,  # TrueType, as publishers ask for; the default Type 3 cannot be edited
    "svg.fonttype": "path",  # the same outlines on a machine without the font
    "svg.hashsalt": "resnet-probe",  # ids that do not change from run to run
}


NARROWEST_PANEL_MM = 45.0  # below that, panels stand below one another


_MADE: ContextVar[list[Figure] | None] = ContextVar("resnet_probe_made", default=None)


class _Drawing(Figure):
    """A figure that is drawn as on paper, and saved so many times larger."""

    scale = 1.0


@contextmanager
def style() -> Iterator[None]:
    """The look of the figures, for as long as the context lasts; the user's own settings do not mix in.

    At its end, names of axes and titles that do not fit the figures made in it are broken into two lines.
    """
    made: list[Figure] = []
    token = _MADE.set(made)
    try:
        with matplotlib.rc_context(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph ")  # that the font lacks: a box stands for it in a name
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(_LOOK | current().fonts())
            yield
            for figure in made:
                break_long_texts(figure)
    finally:
        _MADE.reset(token)


def new_figure(
    width: str | float = "column",
    *,
    height: float | None = None,
    aspect: float = 0.62,
    rows: int = 1,
    cols: int = 1,
    **subplots: Any,
) -> tuple[Figure, Any]:
    """An empty figure of exact size. Call it, and draw in it, inside `style()`.

    The `look` that holds may ask for another width. Where panels would then be narrower than 45 mm they stand below
    one another, and the figure grows in height. For talks and posters a figure is drawn as on paper and enlarged by
    `save`, so that text, lines and marks keep their proportions.

    Args:
        width: "column" (85 mm), "page" (178 mm) or a number of millimetres, on paper.
        height: in millimetres; without it, `aspect` times the width.
        aspect: height divided by width.
        rows, cols: of the grid of panels.
        subplots: handed to `Figure.subplots`, such as `sharex`.

    Returns:
        The figure, and its axes as `Figure.subplots` gives them: one Axes, or an array of them.

    Raises:
        LookupError: an unknown name of a width.
        ValueError: a size that is not positive.
    """
    named = {"column": COLUMN_MM, "page": PAGE_MM}
    if isinstance(width, str) and width not in named:
        raise LookupError(f"no figure width {width!r}; give 'column', 'page' or millimetres")
    designed = named[width] if isinstance(width, str) else float(width)
    scale = current().scale
    wide = current().millimetres(width) / scale
    high = aspect * min(wide, max(designed, COLUMN_MM)) if height is None else float(height)
    if designed <= 0 or high <= 0:
        raise ValueError(f"a figure of {designed:g} x {high:g} mm; both sides must be positive")
    across = cols
    if wide < designed:
        across = next(n for n in range(cols, 0, -1) if cols % n == 0 and (n == 1 or wide / n >= NARROWEST_PANEL_MM))
    if across < cols:
        if height is None:
            high = aspect * designed  # of the panels as they were designed
        high *= cols // across
        subplots = {key: value for key, value in subplots.items() if key not in ("gridspec_kw", "width_ratios")}
    figure = _Drawing(figsize=(wide / 25.4, high / 25.4), layout="constrained")
    figure.scale = scale
    made = _MADE.get()
    if made is not None:
        made.append(figure)
    if across == cols:
        return figure, figure.subplots(rows, cols, **subplots)
    axes = figure.subplots(rows * cols // across, across, **{**subplots, "squeeze": False}).reshape(rows, cols)
    return figure, axes.squeeze() if subplots.get("squeeze", True) else axes


def scale_of(figure: Figure) -> float:
    """How much larger a figure is saved than it is drawn: 1 on paper."""
    return figure.scale if isinstance(figure, _Drawing) else 1.0


def label(name: str, longest: int = 34) -> str:
    """A network's name as text for a figure: long names lose their middle, and matplotlib reads no math in it."""
    if len(name) > longest:
        name = f"{name[: longest // 2]}…{name[1 - longest // 2 :]}"
    spelled = name.replace("$", r"\$")
    return f" {spelled}" if spelled.startswith("_") else spelled  # legends leave out what starts with _
