"""One page that tells the story of a run: a single HTML file that needs no network and no JavaScript.

- `build`: the page, from the tables of a run, the verdicts on them, and what draws their figures.
- `sections`: the analyses in the order of the page. `words`: a paragraph for each, from its numbers.
- `anatomy`: the picture of a network. `drawings`: figures as inline SVG. `cells`: tables. `missing`: what is not there.
- `page/`: the template, the style and the script.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_probe import __version__
from resnet_probe.report.anatomy import Network, Picture, collect, picture
from resnet_probe.report.cells import Sheet, sheet
from resnet_probe.report.drawings import Plots, figure_of, figures_of
from resnet_probe.report.missing import missing
from resnet_probe.report.sections import SECTIONS, Section, section
from resnet_probe.report.words import paragraph
from resnet_probe.tables import Result, Run, SavedTable

__all__ = ["build"]

PAGE = Path(__file__).parent / "page"
ATTACHED = {  # tables in the section of another
    "lesion_multi": ("lesion_multi_summary",),
    "responses": ("responses_channels",),
    "grid": ("grid_summary",),
}
NOT_SHOWN = ("responses_channels",)  # thousands of rows; the CSV has them


@dataclass(frozen=True)
class Shown:
    """A table as the page shows it."""

    table: SavedTable
    title: str
    words: str
    figures: tuple[str, ...]
    trouble: str
    sheet: Sheet | None


@dataclass(frozen=True)
class Part:
    """A section of the page: one kind of table, of one or several networks."""

    anchor: str
    about: Section
    shown: tuple[Shown, ...]


@dataclass(frozen=True)
class Drawn:
    """A network with its picture, and the script's data."""

    anchor: str
    network: Network
    picture: Picture
    labels: tuple[str, ...]
    data: Mapping[str, Any]


def build(run: Run, *, claims: Result, plots: Plots, claimed: Mapping[int, str] | None = None) -> str:
    """The page as text.

    Args:
        run: from `runs.read_run`.
        claims: the verdicts on it, the table `claims`.
        plots: name of a figure -> `module:function` that draws it, and the tables that it takes, the one that it
            belongs to first; for figures that were not saved.
        claimed: statement of each claim by its number, to name those that no table speaks to.

    Returns:
        HTML with its style, script and figures inside.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - not needed to import this
    from markupsafe import Markup  # noqa: PLC0415

    environment = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}  # numbers in the order of the analyses
    networks = run.networks()
    silent = [number for number in claims.settings.get("silent", []) if claimed and number in claimed]
    return environment.get_template("report.html").render(
        title=f"{_spell(networks)}: report" if networks else "Report",
        networks=networks,
        style=Markup((PAGE / "style.css").read_text(encoding="utf-8")),
        script=Markup((PAGE / "script.js").read_text(encoding="utf-8")),
        parts=_parts(run, plots),
        drawn=[_drawn(network, number) for number, network in enumerate(_networks(run, networks))],
        claims=claims.rows,
        counts=claims.settings.get("counts", {}),
        silent=[(number, (claimed or {})[number]) for number in silent],
        unusable=claims.settings.get("unusable", []),
        missing=missing(run),
        origins=[_origin(table) for table in run.tables],
        environments=_environments(run),
        version=__version__,
        safe=Markup,
    )


def _networks(run: Run, names: Sequence[str]) -> list[Network]:
    return [network for name in names if (network := collect(run, name)) is not None and network.units]


def _parts(run: Run, plots: Plots) -> list[Part]:
    """Sections in the order of `SECTIONS`, then tables of other names."""
    there = set(run.names())
    attached = {more for name, others in ATTACHED.items() if name in there for more in others}
    names = [name for name in (*SECTIONS, *sorted(there - set(SECTIONS))) if name in there - attached]
    parts = []
    number = 0
    for name in names:
        shown = []
        tables = [table for each in (name, *ATTACHED.get(name, ())) for table in _different(run.named(each))]
        for table in tables:
            title = _spell(table.networks) or table.folder.name
            if table.name != name:
                title = f"{title}: {section(table.name).title.lower()}"
            elif table.networks and len({_spell(each.networks) for each in run.named(name)}) < len(run.named(name)):
                title = f"{title} ({table.folder.name})"  # the same network twice, in different folders
            words, figures, trouble = paragraph(table), [], ""
            for figure in figures_of(table, plots):
                number += 1
                label = f"{section(table.name).title}, {title}. {words}"
                try:
                    figures.append(figure_of(table, figure, plots, f"f{number}-", label))
                except ValueError as error:
                    trouble = f"The figure {figure} could not be drawn: {error}."
            listed = None if table.name in NOT_SHOWN else sheet(table)
            shown.append(Shown(table, title, words, tuple(figures), trouble, listed))
        parts.append(Part(f"analysis-{_anchor(name)}", section(name), tuple(shown)))
    return parts


def _different(tables: Sequence[SavedTable]) -> list[SavedTable]:
    """Without tables whose rows all stand in another one too, as in that of a comparison."""
    kept: list[SavedTable] = []
    for table in sorted(tables, key=lambda table: -len(table.result.rows)):
        rows = {tuple(row.items()) for row in table.result.rows}
        if not any(rows <= {tuple(row.items()) for row in other.result.rows} for other in kept):
            kept.append(table)
    return [table for table in tables if table in kept]


def _drawn(network: Network, number: int) -> Drawn:
    labels = tuple(dict.fromkeys(label for unit in network.units for label in unit.numbers))
    data = {
        "network": network.name,
        "counts": [str(count) for count in network.counts],  # more digits than a number of JavaScript holds
        "units": {
            unit.name: {
                "block": unit.is_block,
                "stage": unit.stage,
                "what": _what(unit.kind, unit.shortcut, resizes=unit.resizes),
                "error": unit.error,
                "numbers": unit.numbers,
            }
            for unit in network.units
        },
        "intact": network.intact,
    }
    return Drawn(f"network-{number + 1}", network, picture(network), labels, data)


def _what(kind: str, shortcut: str, *, resizes: bool) -> str:
    what = {"block": "residual block", "layer": "layer", "parallel": "parallel branches"}.get(kind, "other unit")
    with_shortcut = f", shortcut {shortcut}" if shortcut else ""
    return f"{what}{with_shortcut}{', changes the shape' if resizes else ''}"


def _origin(table: SavedTable) -> dict[str, str]:
    """Where a table comes from, in the words of the page."""
    settings = table.result.settings
    described = settings.get("data_set")
    images = ""
    if settings.get("data_fingerprint"):
        many = f"{described['images']:,} " if isinstance(described, Mapping) and described.get("images") else ""
        prints = [part[:12] for part in str(settings["data_fingerprint"]).split(", ")]
        images = f"{many}images of {table.images()}, fingerprint {', '.join(prints)}"
    normalized = dict.fromkeys(str(table.about(name).get("normalization") or "–") for name in table.networks)
    hashes = re.findall(r"[0-9a-f]{64}", str(settings.get("checkpoint_sha256") or ""))
    return {
        "table": f"{table.folder.name}/{table.name}.csv",
        "command": str(settings.get("command") or "not recorded"),
        "checkpoint": ", ".join(each[:12] for each in hashes) or "–",
        "images": images or "–",
        "normalization": ", ".join(normalized) or "–",
        "device": str(settings.get("device") or "–"),
        "time": str(settings.get("time") or "not recorded").replace("T", " ").replace("+00:00", " UTC"),
    }


def _environments(run: Run) -> list[str]:
    """Versions and platforms that the tables were made with, each once."""
    found = []
    for table in run.tables:
        versions = table.result.settings.get("versions") or {}
        if versions:
            words = ", ".join(f"{package} {version}" for package, version in versions.items())
            found.append(f"{words}; {table.result.settings.get('platform', 'platform not recorded')}")
    return list(dict.fromkeys(found))


def _anchor(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _spell(names: Sequence[str]) -> str:
    if len(names) > 3:
        return f"{', '.join(names[:2])} and {len(names) - 2} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
