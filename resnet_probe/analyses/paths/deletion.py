"""What deleting blocks does to the paths: which are gone, by length."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.paths import SURVIVAL
from resnet_probe.analyses.paths.effective import survivors
from resnet_probe.analyses.paths.lengths import Polynomial, known_unit, multiply

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from resnet_probe.tables import Result
    from resnet_probe.unraveled import UnraveledNetwork


def chain_polynomials(network: UnraveledNetwork) -> dict[str, tuple[Polynomial, ...]]:
    """The polynomials of every step of a chain, by unit of length; of a deleted block the shortcut alone counts.

    Args:
        network: the chain as it stands, after edits.

    Returns:
        "module" and "layer", each with one polynomial per step.
    """
    found: dict[str, list[Polynomial]] = {"module": [], "layer": []}
    for step in network.steps:
        modules, layers = network.polynomials(step)
        found["module"].append(modules)
        found["layer"].append(layers)
    return {unit: tuple(polynomials) for unit, polynomials in found.items()}


def run_survival(
    before: Mapping[str, Iterable[Sequence[int]]],
    after: Mapping[str, Iterable[Sequence[int]]],
    *,
    name: str,
    blocks: int,
    deleted: int,
) -> Result:
    """How many paths of each length survive when blocks are deleted.

    Args:
        before, after: for "module", "layer" or both, the polynomials of the steps, intact and with blocks deleted.
        blocks: residual blocks of the intact network.
        deleted: how many of them were deleted.

    Returns:
        Table `survival`: `count` paths before, `surviving` after, both exact, and their ratio `share`. `expected` is
        C(n-d, x) / C(n, x), in modules only; it holds for any choice of d blocks as long as a path counts one for
        every branch it takes.

    Raises:
        LookupError, ValueError: as `multiply`, and an unknown unit.
    """
    rows: list[dict[str, Any]] = []
    for unit, polynomials in before.items():
        counts, left = multiply(polynomials), multiply(after[known_unit(unit)])
        for length, count in enumerate(counts):
            if not count:
                continue
            surviving = left[length] if length < len(left) else 0
            expected = float(survivors(blocks, deleted, length)) if unit == "module" and length <= blocks else None
            rows.append(
                {
                    "network": name,
                    "unit": unit,
                    "length": length,
                    "count": count,
                    "surviving": surviving,
                    "share": surviving / count,
                    "expected": expected,
                    "blocks": blocks,
                    "deleted": deleted,
                }
            )
    return SURVIVAL.result(rows)


def plot_survival(result: Result) -> Figure:
    """Share of the paths of each length, in modules, that survives; one column (85 mm) wide.

    Dots are the paths counted, the line is C(n-d, x) / C(n, x).

    Raises:
        ValueError: the table has no paths counted in modules.
    """
    from resnet_probe.figures import label, legend_above, network_colours, new_figure, style  # noqa: PLC0415

    names = list(dict.fromkeys(str(row["network"]) for row in result.rows))
    looks = network_colours(names, result.settings.get("colours"))
    with style():
        figure, axes = new_figure("column", height=52)
        for name in names:
            rows = [row for row in result.rows if row["network"] == name and row["unit"] == "module"]
            if not rows:
                raise ValueError(f"table {result.name} has no paths of {name} counted in modules, so nothing to draw")
            lengths = [row["length"] for row in rows]
            first = rows[0]
            what = f"{first['deleted']} of {first['blocks']} blocks deleted"
            look = {"color": looks[name]["color"]}
            axes.plot(lengths, [100 * row["share"] for row in rows], looks[name]["marker"], **look,
                      label=f"counted: {what}" if len(names) == 1 else f"{label(name, 22)}: {what}")  # fmt: skip
            formula = [100 * (row["expected"] or 0.0) for row in rows]
            last = name == names[-1]
            axes.plot(lengths, formula, linewidth=0.8, **look, label="$C(n-d, x)\\,/\\,C(n, x)$" if last else None)
        if len(names) == 1:
            axes.set_title(label(names[0]))
        axes.set(xlabel="path length $x$ in modules (residual branches taken)", ylabel="surviving paths (%)")
        axes.set_ylim(-3, 103)
        legend_above(figure)
    return figure
