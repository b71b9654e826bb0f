"""Names of axes and titles that are wider than their panel: broken into two lines."""

from matplotlib.figure import Figure
from matplotlib.text import Text


def break_long_texts(figure: Figure) -> None:
    """Break what would stand out of the figure or in a neighbour's place.

    The name of an axis may stand out of its panel by half of the gap to the next one, or as far as the figure goes.
    """
    figure.draw_without_rendering()  # lays it out
    if _pass_over(figure):
        for _ in range(3):  # a broken text moves the panels, and their other texts with them
            figure.draw_without_rendering()
            _pass_over(figure)


def _pass_over(figure: Figure) -> bool:
    """Break what is too long where it stands now; whether anything was."""
    broken = False
    wide, high = figure.get_size_inches() * figure.dpi
    boxes = [(axes, axes.get_window_extent()) for axes in figure.axes if axes.get_visible()]
    for text in figure.texts:
        broken |= _break(text, wide - text.get_window_extent().x0)
    for axes, box in boxes:
        others = [other for _, other in boxes if other is not box]
        beside = [(other.x0, other.x1) for other in others if other.y0 < box.y1 and other.y1 > box.y0]
        above = [(other.y0, other.y1) for other in others if other.x0 < box.x1 and other.x1 > box.x0]
        for one in (axes, *axes.child_axes):  # a second scale at the top is a child
            broken |= _break(one.xaxis.label, _room(box.x0, box.x1, beside, wide))
        broken |= _break(
            axes.yaxis.label, 1.03 * box.height if above else _room(box.y0, box.y1, [], high), upright=True
        )
        right = min((low for low, _ in beside if low > box.x1), default=wide)
        for title in (child for child in axes.get_children() if isinstance(child, Text) and child not in axes.texts):
            broken |= _break(title, right - box.x0)
    return broken


def _room(low: float, high: float, others: list[tuple[float, float]], end: float) -> float:
    """How long a text in the middle of a panel may be."""
    before = max((last for _, last in others if last <= low), default=None)
    after = min((first for first, _ in others if first >= high), default=None)
    gaps = (low if before is None else (low - before) / 2, end - high if after is None else (after - high) / 2)
    return high - low + 2 * min(gaps)


def _break(text: Text, room: float, *, upright: bool = False) -> bool:
    words = text.get_text()
    if not words.strip() or "\n" in words:
        return False
    box = text.get_window_extent()
    if (box.height if upright else box.width) <= room:
        return False
    gaps = [place for place, letter in enumerate(words) if letter == " " and words[:place].count("$") % 2 == 0]
    if not gaps:
        return False
    place = min(gaps, key=lambda gap: abs(2 * gap - len(words)))
    text.set_text(f"{words[:place]}\n{words[place + 1 :]}")
    return True
