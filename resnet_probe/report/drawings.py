"""Figures as SVG that can stand in a page beside others: ids of their own, nothing that runs or fetches.

The saved figure is taken if it is not older than its table, else the figure is drawn again from the table.
"""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from resnet_probe.analyses.declaration import Plot
from resnet_probe.files import regular
from resnet_probe.lazy import named
from resnet_probe.tables import SavedTable, read
from resnet_probe.tables.runs import MALFORMED

# What matplotlib writes; anything else, such as a script, is left out.
TAGS = {
    *("svg", "g", "path", "use", "defs", "clipPath", "rect", "circle", "ellipse", "line", "polyline", "polygon"),
    *("image", "linearGradient", "radialGradient", "stop", "pattern", "text", "tspan", "mask", "symbol", "marker"),
}
_REFERENCE = re.compile(r"url\(\s*['\"]?#([^)'\"]+)['\"]?\s*\)")
# A backslash hides letters; of functions only those that matplotlib writes.
_HARMLESS = re.compile(r"(?:[^\\(@]|(?:rgb|rgba|matrix|translate|scale|rotate|skewX|skewY)\(|url\(\s*['\"]?#)*", re.I)
PROPERTIES = {  # of style attributes
    *("fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray"),
    *(
        "stroke-dashoffset",
        "stroke-linecap",
        "stroke-linejoin",
        "stroke-miterlimit",
        "opacity",
        "clip-path",
        "clip-rule",
    ),
    *(
        "image-rendering",
        "font",
        "font-family",
        "font-size",
        "font-style",
        "font-weight",
        "text-anchor",
        "stop-color",
        "stop-opacity",
    ),
}


def figure_of(table: SavedTable, plot: Plot, prefix: str, label: str) -> str:
    """A figure of a table as inline SVG.

    Args:
        table: with the folder that the saved figure may be in.
        plot: what draws it; the further tables that it takes need not be there.
        prefix: of all ids, different for every figure of a page.
        label: what it shows, for those who cannot see it.

    Raises:
        ValueError: neither the saved figure nor the table can be drawn.
    """
    saved = table.folder / f"{plot.name}.svg"
    if saved.is_file() and saved.stat().st_mtime >= table.path.stat().st_mtime:
        try:
            return inline(regular(saved).read_text(encoding="utf-8"), prefix, label)
        except (ElementTree.ParseError, ValueError):
            pass  # a damaged file; the table is there to draw it again
    from resnet_probe.figures import save  # noqa: PLC0415 - matplotlib is slow to import, and often not needed

    try:
        others = [read(table.folder, n) if (table.folder / f"{n}.csv").is_file() else None for n in plot.takes]
        figure = named(plot.draw)(table.saved or table.result, *others)
    except MALFORMED as error:
        raise ValueError(f"{table.path} cannot be drawn ({type(error).__name__}: {error})") from error
    with TemporaryDirectory() as scratch:
        (path,) = save(figure, Path(scratch), plot.name, ["svg"], metadata=table.result.origin())
        return inline(path.read_text(encoding="utf-8"), prefix, label)


def inline(text: str, prefix: str, label: str) -> str:
    """An SVG file's text as an element of a page.

    Raises:
        ElementTree.ParseError: it is no SVG.
    """
    root = ElementTree.fromstring(text)
    if _local(root.tag) != "svg":
        raise ElementTree.ParseError(f"the root is {_local(root.tag)}, not svg")
    _clean(root, prefix)
    wide, high = _size(root)
    root.attrib = {
        "viewBox": root.get("viewBox") or f"0 0 {wide:g} {high:g}",
        "class": "plot",
        "role": "img",
        "aria-label": label,
        "style": f"--wide: {wide / 72:.2f}in",
        "stroke-linejoin": "round",  # matplotlib says this in a style sheet, which would reach the whole page
        "stroke-linecap": "butt",
    }
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def _clean(element: ElementTree.Element, prefix: str) -> None:
    element.tag = _local(element.tag)
    for name, value in list(element.attrib.items()):
        del element.attrib[name]
        local = _local(name)
        if local == "id":
            element.set("id", prefix + value)
        elif local == "href":
            if value.startswith("#"):
                element.set("href", f"#{prefix}{value[1:]}")
            elif value.startswith("data:image/png;base64,"):
                element.set("href", value)
        elif local == "style":
            kept = [each for each in value.split(";") if each.partition(":")[0].strip() in PROPERTIES]
            element.set("style", _renamed(";".join(each for each in kept if _HARMLESS.fullmatch(each)), prefix))
        elif not local.lower().startswith("on") and (local == "d" or _HARMLESS.fullmatch(value)):
            element.set(local, _renamed(value, prefix))
    for child in list(element):
        if not isinstance(child.tag, str) or _local(child.tag) not in TAGS:
            element.remove(child)
            continue
        _clean(child, prefix)
    if element.tag not in ("text", "tspan"):
        element.text = element.tail = None  # line breaks between elements, a tenth of the file
    else:
        element.tail = None


def _renamed(value: str, prefix: str) -> str:
    return _REFERENCE.sub(lambda found: f"url(#{prefix}{found.group(1)})", value)


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _size(root: ElementTree.Element) -> tuple[float, float]:
    """Width and height in points."""
    try:
        box = [float(number) for number in (root.get("viewBox") or "").replace(",", " ").split()]
    except ValueError:
        box = []
    return (box[2], box[3]) if len(box) == 4 and 0 < box[2] < 1e6 and 0 < box[3] < 1e6 else (241.0, 164.0)
