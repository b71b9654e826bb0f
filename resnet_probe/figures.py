"""One look for every figure, and saving with provenance.

- `style`: a context in which figures are made; nothing of it remains afterwards.
- `new_figure`: a figure as wide as a column or a page of a paper.
- `network_colours`, `label`: colour, line and marker of each network, and its name as text.
- `save`: PDF, SVG and PNG that say where they come from and are the same bytes every time.

Figures are drawn without pyplot, so no window system, no global list of figures and no LaTeX are needed.
The font is the one that comes with matplotlib: a figure looks the same on every machine.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib
from matplotlib.figure import Figure

COLUMN_MM = 85.0
PAGE_MM = 178.0
FORMATS = ("pdf", "svg", "png")
PNG_DPI = 300

# Source: M. Okabe and K. Ito, "Color Universal Design", 2008: told apart with every common colour vision.
PALETTE = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "orange": "#E69F00",
    "black": "#000000",
}
INK = "#262626"  # text and axes
GREY = "#8C8C8C"  # context that should stand back

# Family of networks -> colours to try, in order; then the others. What belongs to no family comes last to the
# first colour of each.
FAMILIES = {
    "vgg": ("vermillion", "orange"),
    "plain": ("green", "black"),
    "resnet": ("blue", "sky", "purple"),
}
_OTHERS = ("purple", "black", "orange", "sky", "green", "vermillion", "blue")
_LINES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1.2, 1, 1.2)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

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


@contextmanager
def style() -> Iterator[None]:
    """The look of the figures, for as long as the context lasts; the user's own settings do not mix in."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_LOOK)
        yield


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

    Args:
        width: "column" (85 mm), "page" (178 mm) or a number of millimetres.
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
    wide = named[width] if isinstance(width, str) else float(width)
    high = wide * aspect if height is None else float(height)
    if wide <= 0 or high <= 0:
        raise ValueError(f"a figure of {wide:g} x {high:g} mm; both sides must be positive")
    figure = Figure(figsize=(wide / 25.4, high / 25.4), layout="constrained")
    return figure, figure.subplots(rows, cols, **subplots)


def network_colours(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour, line style and marker of each network, as keyword arguments for `Axes.plot`.

    The first residual network is always blue, the first VGG vermillion, the first plain network green, and
    line and marker differ as well, for readers who cannot use the colour. The same names in the same order
    give the same looks: hand all networks of a study to each of its figures.

    Args:
        names: of the networks; repeated names count once.

    Example:
        >>> network_colours(["vgg16_half"])["vgg16_half"]["color"]
        '#D55E00'
    """
    looks: dict[str, dict[str, Any]] = {}
    taken: set[str] = set()
    for name in dict.fromkeys(names):
        family = re.search("|".join(FAMILIES), name.lower())
        wanted = (*(FAMILIES[family.group()] if family else ()), *_OTHERS)
        if taken >= set(PALETTE):
            taken.clear()  # more networks than colours: line and marker still differ
        colour = next(candidate for candidate in wanted if candidate not in taken)
        taken.add(colour)
        number = len(looks)
        looks[name] = {
            "color": PALETTE[colour],
            "linestyle": _LINES[number % len(_LINES)],
            "marker": _MARKERS[number % len(_MARKERS)],
        }
    return looks


def label(name: str, longest: int = 34) -> str:
    """A network's name as text for a figure: long names lose their middle, and matplotlib reads no math in it."""
    if len(name) > longest:
        name = f"{name[: longest // 2]}…{name[1 - longest // 2 :]}"
    spelled = name.replace("$", r"\$")
    return f" {spelled}" if spelled.startswith("_") else spelled  # legends leave out what starts with _


def save(
    figure: Figure,
    folder: Path,
    name: str,
    formats: Iterable[str] = FORMATS,
    metadata: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write a figure as `<name>.<format>`, with its origin in the file.

    The same figure and metadata give the same bytes: no date is written, and fonts are embedded as TrueType
    (PDF) or outlines (SVG). All formats are drawn before the first file appears.

    Args:
        figure: from `new_figure`.
        folder: made if it is missing.
        name: file stem.
        formats: any of "pdf", "svg", "png".
        metadata: such as the command, the checkpoint's SHA-256 and the version: `Result.origin()`.

    Returns:
        The paths of the files, in the order of the formats.

    Raises:
        LookupError: an unknown format.
        OSError: the folder cannot be written to.
    """
    formats = tuple(formats)
    for wrong in set(formats) - set(FORMATS):
        raise LookupError(f"no figure format {wrong!r}; choose from {', '.join(FORMATS)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{ending}" for ending in formats]
    with TemporaryDirectory(dir=folder, prefix=f".{name}-") as scratch, style():
        drawn = [Path(scratch) / path.name for path in paths]
        with _arranged(figure):
            for ending, path in zip(formats, drawn, strict=True):
                described = _described(ending, name, dict(metadata or {}))
                figure.savefig(path, format=ending, dpi=PNG_DPI, metadata=described)
        for path, target in zip(drawn, paths, strict=True):
            path.replace(target)
    return paths


@contextmanager
def _arranged(figure: Figure) -> Iterator[None]:
    """Lay the figure out once for all formats, or each would depend a little on those saved before it.

    Without an engine, saving does not draw everything once more to lay it out either.
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    figure.set_layout_engine(None)  # inside `style`, where no engine is the default
    try:
        yield
    finally:
        figure.set_layout_engine(engine)


def _described(ending: str, name: str, metadata: dict[str, str]) -> dict[str, Any]:
    """The metadata under the keys that the file format knows."""
    origin = "; ".join(f"{key}: {value}" for key, value in metadata.items())
    creator = f"resnet-probe {metadata.get('version', '')}".strip()
    if ending == "pdf":
        return {"Title": name, "Subject": origin, "Creator": creator, "CreationDate": None}
    if ending == "svg":
        return {"Title": name, "Description": origin, "Creator": creator, "Date": None}
    return {"Title": name, **metadata}
