"""Figures as files that say where they come from and are the same bytes every time."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from matplotlib.figure import Figure

from resnet_probe.figures.drawing import scale_of, style
from resnet_probe.figures.looks import FORMATS

PNG_DPI = 300


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
                _draw(figure, path, ending, described)
        for path, target in zip(drawn, paths, strict=True):
            path.replace(target)
    return paths


def _draw(figure: Figure, path: Path, ending: str, described: dict[str, Any]) -> None:
    """One file, enlarged by the figure's scale: in pixels, by the size of the SVG, by the PDF's coordinates."""
    scale = scale_of(figure)
    if ending == "png":
        resolution = {"dpi": (PNG_DPI, PNG_DPI)}
        figure.savefig(path, format="png", dpi=PNG_DPI * scale, metadata=described, pil_kwargs=resolution)
    elif ending == "pdf" and scale != 1:
        from resnet_probe.figures.enlarged import EnlargedPages  # noqa: PLC0415  # only where a PDF is wanted

        with EnlargedPages(path, scale, described) as pages:
            figure.savefig(pages, format="pdf", dpi=PNG_DPI)
    else:
        figure.savefig(path, format=ending, dpi=PNG_DPI, metadata=described)
        if scale != 1:
            path.write_text(_enlarged(path.read_text(encoding="utf-8"), scale), encoding="utf-8")


def _enlarged(svg: str, scale: float) -> str:
    """The size in the first element changes; the coordinates (`viewBox`) stay."""
    size = re.compile(r'(<svg\b[^>]*?) width="([\d.]+)pt" height="([\d.]+)pt"')

    def larger(found: re.Match[str]) -> str:
        wide, high = (scale * float(found.group(n)) for n in (2, 3))
        return f'{found.group(1)} width="{wide:g}pt" height="{high:g}pt"'

    svg, changed = size.subn(larger, svg, count=1)
    assert changed, "matplotlib writes the size of an SVG in another way"
    return svg


@contextmanager
def _arranged(figure: Figure) -> Iterator[None]:
    """Lay the figure out once for all formats, or each would depend a little on those saved before it.

    Without an engine, saving does not draw everything once more to lay it out either.
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        engine.execute(figure)  # with the ticks that go with the sizes found first
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
