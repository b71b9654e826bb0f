"""Which network has which colour, the same in every figure of a run.

- `network_colours`: colour, line style and marker of each network.
- `remembered`: a context in which the networks that were coloured before keep their looks.
- `noted`: the colours so far, as they are written into the settings of a table.

Nothing here needs matplotlib.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

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

# Family of networks -> colours to try, in order; then the others. What belongs to no family comes last to the
# first colour of each.
FAMILIES = {
    "vgg": ("vermillion", "orange"),
    "plain": ("green", "black"),
    "resnet": ("blue", "purple", "black"),  # sky beside blue is hard to tell in thin lines
}
_OTHERS = ("purple", "black", "orange", "sky", "green", "vermillion", "blue")
_LINES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1.2, 1, 1.2)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# Network -> name of its colour, in the order in which the networks were first seen; None outside of `remembered`.
_SEEN: ContextVar[dict[str, str] | None] = ContextVar("resnet_probe_colours", default=None)


@contextmanager
def remembered(known: Mapping[str, str] | None = None, *, share: bool = True) -> Iterator[None]:
    """For as long as the context lasts, a network keeps the colour that it first had.

    Args:
        known: network -> name of its colour in `PALETTE`, from an earlier figure: the setting `colours` of a table.
        share: with a context around this one: know its networks, and hand it those that are new. Without, this one
            begins with those that are known.
    """
    around = _SEEN.get() if share else None
    seen = {**(around or {})}
    for name, colour in _checked(known).items():
        seen.setdefault(name, colour)
    token = _SEEN.set(seen)
    try:
        yield
    finally:
        _SEEN.reset(token)
        if around is not None:
            around.update(seen)


def noted(networks: Iterable[str]) -> dict[str, str]:
    """The colours that `remembered` holds, for the settings of a table; empty if none of these networks has one.

    All of them, not only those of the table: the number of a network among them gives it its line and marker.
    """
    seen = _SEEN.get() or {}
    return dict(seen) if set(networks) & set(seen) else {}


def network_colours(names: Iterable[str], known: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    """Colour, line style and marker of each network, as keyword arguments for `Axes.plot`.

    The first residual network is always blue, the first VGG vermillion, the first plain network green, and
    line and marker differ as well, for readers who cannot use the colour. The same names in the same order
    give the same looks; what is known, or remembered in the context, keeps its look whatever stands beside it.

    Args:
        names: of the networks; repeated names count once.
        known: network -> name of its colour, as in the setting `colours` of a table. Colours that the palette does
            not have are passed over.

    Examples:
        >>> network_colours(["vgg16_half"])["vgg16_half"]["color"]
        '#D55E00'
    """
    names = list(dict.fromkeys(names))
    seen = _SEEN.get()
    assigned = _checked(known)
    for name, colour in (seen or {}).items():
        assigned.setdefault(name, colour)
    for name in names:
        if name not in assigned:
            assigned[name] = _next(name, list(assigned.values()))
    if seen is not None:
        for name, colour in assigned.items():
            seen.setdefault(name, colour)
    order = list(assigned)
    return {name: _look(assigned[name], order.index(name)) for name in names}


def _next(name: str, taken: list[str]) -> str:
    """The first colour of its family that is used the least; of more networks than colours, line and marker differ."""
    family = re.search("|".join(FAMILIES), name.lower())
    wanted = (*(FAMILIES[family.group()] if family else ()), *_OTHERS)
    return min(dict.fromkeys(wanted), key=taken.count)


def _look(colour: str, number: int) -> dict[str, Any]:
    return {
        "color": PALETTE[colour],
        "linestyle": _LINES[number % len(_LINES)],
        "marker": _MARKERS[number % len(_MARKERS)],
    }


def _checked(known: object) -> dict[str, str]:
    """What can be used of a setting that somebody may have edited."""
    if not isinstance(known, Mapping):
        return {}
    return {str(name): colour for name, colour in known.items() if isinstance(colour, str) and colour in PALETTE}
