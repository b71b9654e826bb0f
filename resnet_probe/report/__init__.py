"""One page that tells the story of a run: a single HTML file that needs no network and no JavaScript.

- `build`: the page, from the tables of a run, the verdicts on them, and what draws their figures.
- The sections, their order, headings and figures are those of the declared analyses; the words are their facts.
- `anatomy`: the picture of a network. `drawings`: figures as inline SVG. `cells`: tables. `missing`: what is not there.
- `page/`: the template, the style and the script.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe import __version__
from resnet_probe.analyses.declaration import Table
from resnet_probe.analyses.registry import claims as claims_by_number
from resnet_probe.analyses.registry import declared, facts_of, tables
from resnet_probe.report.anatomy import Network, Picture, collect, picture
from resnet_probe.report.cells import Sheet, sheet
from resnet_probe.report.drawings import figure_of
from resnet_probe.report.missing import missing
from resnet_probe.statistics import METHODS, for_task
from resnet_probe.tables import Result, Run, SavedTable
from resnet_probe.tables.cells import visible
from resnet_probe.tables.runs import MALFORMED

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["build"]

PAGE = Path(__file__).parent / "page"
MOST_TOLD = 4  # networks that a section goes through one by one
Line = tuple[tuple[str, str], ...]  # labels and texts


@dataclass(frozen=True)
class Shown:
    """A table as the page shows it."""

    table: SavedTable
    title: str
    words: tuple[Line, ...]
    headlines: tuple[tuple[str, str], ...]
    figures: tuple[str, ...]
    trouble: str
    sheet: Sheet | None
    methods: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """A section of the page: one kind of table, of one or several networks."""

    anchor: str
    about: Table
    shown: tuple[Shown, ...]


@dataclass(frozen=True)
class Drawn:
    """A network with its picture, and the script's data."""

    anchor: str
    network: Network
    picture: Picture
    labels: tuple[str, ...]
    data: Mapping[str, Any]


def build(run: Run, *, claims: Result) -> str:
    """The page as text.

    Args:
        run: from `tables.read_run`.
        claims: the verdicts on it, the table `claims`.

    Returns:
        HTML with its style, script and figures inside. Tables that have other columns or values than their names say,
        as those that were changed by hand, are named as broken.
    """
    for together in (False, True):  # tables that can each be shown are tried side by side too
        try:
            return _page(run, claims)
        except MALFORMED:
            run = _sound(run, claims, together=together)
    return _page(run, claims)


def _sound(run: Run, claims: Result, *, together: bool) -> Run:
    """The run without the tables that cannot be shown, alone or together with those before them."""
    kept: tuple[SavedTable, ...] = ()
    broken = run.broken
    for table in run.tables:
        try:
            _page(replace(run, tables=(*kept, table) if together else (table,)), claims)
        except MALFORMED as error:
            reason = f"{table.path} cannot be shown ({type(error).__name__}: {error}); make the table again"
            broken = (*broken, (table.path, reason))
        else:
            kept = (*kept, table)
    return replace(run, tables=kept, broken=broken)


@cache  # to compile it takes longer than to fill it in
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - not needed to import this

    environment = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}  # numbers in the order of the analyses
    return environment.get_template("report.html")


def _page(run: Run, claims: Result) -> str:
    from markupsafe import Markup  # noqa: PLC0415 - not needed to import this

    script = f"\n{(PAGE / 'script.js').read_text(encoding='utf-8')}\n"
    networks = run.networks()
    found = [network for name in networks if (network := collect(run, name)) is not None and network.units]
    known = claims_by_number()
    judged = {number: [key for key in each[0].methods if key in METHODS] for number, each in known.items()}
    silent = [number for number in claims.settings.get("silent", []) if number in known]
    page = _template().render(
        title=f"{_spell(networks)}: report" if networks else "Report",
        networks=networks,
        edited=_edited(run),
        style=Markup((PAGE / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        allowed=f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}",
        sections=(sections := _sections(run)),
        judged=judged,
        methods={
            key: method
            for key, method in METHODS.items()
            if any(key in shown.methods for part in sections for shown in part.shown)
            or any(key in judged.get(row["claim"], ()) for row in claims.rows)
        },
        short=[
            (part.anchor, part.about.title, part.shown[0].headlines) for part in sections if part.shown[0].headlines
        ],
        drawn=[_drawn(network, number) for number, network in enumerate(found)],
        claims=claims.rows,
        counts=claims.settings.get("counts", {}),
        silent=[(number, known[number][0].statement) for number in silent],
        unusable=claims.settings.get("unusable", []),
        missing=missing(run),
        origins=[_origin(table) for table in run.tables],
        environments=_environments(run),
        version=__version__,
        safe=Markup,
    )
    return visible(page)  # names of folders and files are in it


def _sections(run: Run) -> list[Section]:
    """Sections in the order of the declared tables, then tables that nobody declares."""
    present, known = set(run.names()), tables()
    children = {name: table.parent for name, table in known.items() if table.parent in present}
    names = [name for name in (*known, *sorted(present - set(known))) if name in present and name not in children]
    sections, number = [], 0
    for name in names:
        shown = []
        within = [child for child, parent in children.items() if parent == name and child in present]
        for table in [table for each in (name, *within) for table in _different(run.named(each))]:
            about = declared(table.name)
            title = _spell(table.networks) or table.folder.name
            if table.name != name:
                title = f"{title}: {about.title.lower()}"
            elif table.networks and len({_spell(each.networks) for each in run.named(name)}) < len(run.named(name)):
                title = f"{title} ({table.folder.name})"  # the same network twice, in different folders
            words, figures, trouble = _words(table), [], ""
            for plot in about.plots:
                number += 1
                told = " ".join(f"{label}: {text}." for line in words for label, text in line)
                label = f"{about.title}, {title}. {told}"
                try:
                    figures.append(figure_of(table, plot, f"f{number}-", label))
                except ValueError as error:
                    trouble = f"The figure {plot.name} could not be drawn: {error}."
            listed = sheet(table) if about.listed else None
            used = [column.method for column in about.columns if column.key in table.result.columns]
            task = next((str(t) for network in table.networks if (t := table.about(network).get("task"))), "")
            methods = for_task((*used, *about.methods), task)
            shown.append(Shown(table, title, words, _headlines(table), tuple(figures), trouble, listed, methods))
        sections.append(Section(f"analysis-{_anchor(name)}", declared(name), tuple(shown)))
    return sections


def _words(table: SavedTable) -> tuple[Line, ...]:
    """What the table says, a line for each network: label and text of its facts; where there are none, how much it is.

    The first label of a line has the network's name where there are several.
    """
    found = facts_of(table.result)
    lines = [
        tuple(
            (f"{name}, {fact.label}" if len(found) > 1 and not place else fact.label.capitalize(), fact.text)
            for place, fact in enumerate(facts)
        )
        for name, facts in list(found.items())[:MOST_TOLD]
        if facts
    ]
    if (more := len(found) - MOST_TOLD) > 0:
        lines.append((("More", f"the numbers of {more} more networks are in the table"),))
    return tuple(lines) or ((("Rows", f"{len(table.result.rows):,}"),),)


def _headlines(table: SavedTable) -> tuple[tuple[str, str], ...]:
    """The one fact of each network that a summary tells, with the network's name."""
    wanted = declared(table.name).headline
    found = [(name, facts) for name, facts in facts_of(table.result).items() if facts][:MOST_TOLD]
    chosen = [(name, next((fact for fact in facts if fact.label == wanted), facts[0])) for name, facts in found]
    return tuple((name, f"{fact.label}: {fact.text}") for name, fact in chosen)


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
    images: dict[str, None] = {}
    for name in table.networks or [""]:
        about = table.about(name)
        described = about.get("data_set")
        if about.get("data_fingerprint"):
            many = f"{described['images']:,} " if isinstance(described, Mapping) and described.get("images") else ""
            prints = [part[:12] for part in str(about["data_fingerprint"]).split(", ")]
            images[f"{many}images of {table.images(name)}, fingerprint {', '.join(prints)}"] = None
    normalized = dict.fromkeys(str(table.about(name).get("normalization") or "–") for name in table.networks)
    hashes = re.findall(r"[0-9a-f]{64}", str(settings.get("checkpoint_sha256") or ""))
    return {
        "table": f"{table.folder.name}/{table.name}.csv",
        "command": str(settings.get("command") or "not recorded"),
        "checkpoint": ", ".join(each[:12] for each in hashes) or "–",
        "images": "; ".join(images) or "–",
        "normalization": ", ".join(normalized) or "–",
        "device": str(settings.get("device") or "–"),
        "time": str(settings.get("time") or "not recorded").replace("T", " ").replace("+00:00", " UTC"),
    }


def _edited(run: Run) -> dict[str, str]:
    """Of each network that was edited before it was measured, what was done to it."""
    found = {}
    for table in run.tables:
        for name in table.networks:
            about = table.about(name)
            if about.get("edits"):
                notes = (str(note) for note in about.get("notes") or ())
                found[name] = next((note for note in notes if note.startswith("an edited ")), "an edited network")
    return found


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
