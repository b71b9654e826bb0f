"""How figures look for where they are shown: sizes of text, and widths in millimetres.

- `look`: a context in which figures are made for paper, talk or poster, at a width, for a venue.
- `current`: the look that holds.

Nothing here needs matplotlib.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

FORMATS = ("pdf", "svg", "png")
COLUMN_MM = 85.0
PAGE_MM = 178.0
WIDTHS = ("column", "page")
NARROWEST_MM, WIDEST_MM = 40.0, 2000.0
DASHED = (0, (4, 2))  # the line of an intact network


@dataclass(frozen=True)
class Style:
    """How much larger text, lines and marks are than on paper, and the two widths in millimetres."""

    scale: float
    column: float
    page: float


# Scales are those of seaborn's contexts relative to its "paper". Widths grow a little less, so that text takes more
# of a figure that is seen from far away: half a 16:9 slide (339 mm) or the whole of it, half a column of an A0 poster
# or the whole of it.
STYLES = {
    "paper": Style(1.0, COLUMN_MM, PAGE_MM),
    "talk": Style(1.5 / 0.8, 140.0, 290.0),
    "poster": Style(2.0 / 0.8, 185.0, 380.0),
}
# What a conference's author kit sets, by the names in tueplots.
VENUES = (
    *("aaai2024", "aistats2025", "colm2026", "cvpr2024", "eccv2024", "iclr2024", "icml2024", "jmlr2001"),
    *("neurips2024", "tmlr2023", "uai2023"),
)


@dataclass(frozen=True)
class Look:
    """For where figures are made.

    Attributes:
        style: a key of `STYLES`.
        width: "column", "page" or millimetres, for all figures; None leaves each figure its own.
        venue: one of `VENUES`, or None.
    """

    style: str = "paper"
    width: str | float | None = None
    venue: str | None = None

    @property
    def scale(self) -> float:
        """How much larger text, lines and marks are than on paper."""
        return STYLES[self.style].scale

    def millimetres(self, width: str | float) -> float:
        """The width of a figure that wants to be this wide on paper."""
        wanted = self.width if self.width is not None else width
        if isinstance(wanted, str):
            return self._named()[wanted]
        return float(wanted) if self.width is not None else float(wanted) * self.scale

    def fonts(self) -> dict[str, Any]:
        """Settings of matplotlib for the sizes of text that the venue asks for, in points."""
        if self.venue is None:
            return {}
        from tueplots import fontsizes  # noqa: PLC0415 - only where it is asked for

        return dict(getattr(fontsizes, self.venue)())

    def _named(self) -> Mapping[str, float]:
        if self.venue is None:
            return {"column": STYLES[self.style].column, "page": STYLES[self.style].page}
        from tueplots import figsizes  # noqa: PLC0415

        full = getattr(figsizes, self.venue, None) or getattr(figsizes, f"{self.venue}_full")
        half = getattr(figsizes, f"{self.venue}_half", None)
        page = 25.4 * full()["figure.figsize"][0]
        # In one column of text a figure has half of it, so that two stand side by side.
        column = 25.4 * half()["figure.figsize"][0] if half else 0.49 * page
        return {"column": self.scale * column, "page": self.scale * page}


_LOOK: ContextVar[Look | None] = ContextVar("resnet_probe_look", default=None)


def current() -> Look:
    """The look that holds here."""
    return _LOOK.get() or Look()


@contextmanager
def look(*, style: str | None = None, width: str | float | None = None, venue: str | None = None) -> Iterator[None]:
    """For as long as the context lasts, figures are made for this use; what is None stays as it was.

    Args:
        style: "paper", "talk" or "poster": size of text, lines and marks, 1, 1.9 and 2.5 times those on paper.
        width: "column", "page" or millimetres: the width of every figure. Without it each has its own: a column, or a
            page where there are several panels. In a narrow figure panels stand below one another.
        venue: a conference or journal whose widths and sizes of text are taken, such as "neurips2024".

    Raises:
        LookupError: a name that is not known.
        ValueError: a width that cannot be used.

    Examples:
        >>> with look(style="talk", width="page"):
        ...     current().scale
        1.875
    """
    if style is not None and style not in STYLES:
        raise LookupError(f"no style {style!r}; choose from {', '.join(STYLES)}")
    if venue is not None and venue not in VENUES:
        close = get_close_matches(venue.lower(), VENUES, n=1)
        hint = f"did you mean {close[0]}? Known are" if close else "choose from"
        raise LookupError(f"no venue {venue!r}; {hint} {', '.join(VENUES)}")
    changes = {"style": style, "width": None if width is None else as_width(width), "venue": venue}
    given: dict[str, Any] = {key: value for key, value in changes.items() if value is not None}
    token = _LOOK.set(replace(current(), **given))
    try:
        yield
    finally:
        _LOOK.reset(token)


def as_width(width: str | float) -> str | float:
    """A width as "column", "page" or a number of millimetres, also from text.

    Raises:
        LookupError: an unknown name.
        ValueError: fewer than 40 or more than 2,000 mm.
    """
    if isinstance(width, str) and width in WIDTHS:
        return width
    try:
        millimetres = float(width)
    except ValueError:
        raise LookupError(f"no figure width {width!r}; give 'column', 'page' or millimetres") from None
    if not math.isfinite(millimetres) or not NARROWEST_MM <= millimetres <= WIDEST_MM:
        raise ValueError(f"a figure {millimetres:g} mm wide; give {NARROWEST_MM:g} to {WIDEST_MM:g} mm")
    return millimetres
