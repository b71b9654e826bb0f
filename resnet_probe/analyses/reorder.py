"""Shuffle blocks and watch the error rise (Veit et al. 2016, section 4.3 and Fig. 5b).

Random pairs of blocks of equal shape are swapped; how far the order has gone from the trained one is Kendall's tau.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses import columns as c
from resnet_probe.analyses.averages import over_images
from resnet_probe.analyses.declaration import Analysis, Claim, Column, Fact, Needs, Plot, StudyStep, Table, option
from resnet_probe.analyses.facts import rank_correlation
from resnet_probe.analyses.parsing import numbers, written_numbers
from resnet_probe.figures.looks import DASHED
from resnet_probe.statistics import bootstrap_mean, spearman

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from resnet_probe.analyses.runtime import Runtime
    from resnet_probe.analyses.subject import Subject
    from resnet_probe.evaluate import Score
    from resnet_probe.tables import Result
    from resnet_probe.unraveled import UnraveledNetwork

__all__ = ["ANALYSIS", "REORDER", "Parameters", "draw_orders", "facts", "plot", "run"]

TRIES = 50  # per draw, to find an order that was not drawn before


@dataclass(frozen=True)
class Parameters:
    """How many swaps, and how many orders of each."""

    swaps: range = option(
        range(1, 21), "Swaps of two blocks of equal shape.", metavar="K:K", parse=numbers, write=written_numbers
    )
    draws: int = option(20, "Random orders for each K.", least=1)


REORDER = Table(
    "reorder",
    "Changing the order",
    (
        c.NETWORK,
        Column("swaps", int, "random swaps that were made, one after another"),
        Column("draw", int, "number of the order among those, from 0"),
        Column("kendall_tau", float, "Kendall's tau with the trained order: 1 for that order", heading="Kendall's tau"),
        Column("order", str, "indices of all blocks as they stand"),
        *(c.IMAGES, c.WRONG, c.ERROR, c.LOSS, c.CHANGED, c.ERROR_LOW, c.ERROR_HIGH, *c.PAIRED),
        Column("distance", int, "fewest swaps that lead to the order (Cayley's distance); swaps can undo each other"),
        *c.DIFFERENCE,
        Column("again", bool, "whether the order stands in a row above, where other swaps led to it"),
    ),
    question="How does the error rise as blocks change places?",
    source="Veit et al. 2016, Fig. 5b",
    plots=(Plot("reorder", "resnet_probe.analyses.reorder:plot"),),
    facts="resnet_probe.analyses.reorder:facts",
    methods=("rank", "images", "draws", "both"),
    headline="rank correlation",
    claims=(
        Claim(
            9, "The error rises smoothly as the order of the blocks is shuffled", "error rises as Kendall's tau falls",
            "Veit et al. 2016 (arXiv 1605.06431), section 4.3 and Fig. 5b", "resnet_probe.claims.lesions:orders",
            methods=("rank",),
        ),
    ),
    blocks=True,
)  # fmt: skip

ANALYSIS = Analysis(
    "reorder",
    help="Swap blocks and measure the error.",
    description="""Swap residual blocks of equal shape and measure the error (Veit et al. 2016, Fig. 5b).

    Writes reorder.csv, reorder.json and the figure. Finished work is kept in reorder.journal: an interrupted run goes
    on where it stopped, --fresh starts over.""",
    parameters=Parameters,
    needs=Needs(sweep=True, blocks=True, tasks=True),
    run="resnet_probe.analyses.reorder:run",
    check="resnet_probe.analyses.reorder:check",
    tables=(REORDER,),
    study=(
        StudyStep(
            "Orders of {network}",
            "reorder",
            lambda amount, census: (
                {"swaps": range(1, amount.swaps + 1), "draws": amount.draws} if census.keeping > 1 else None
            ),
        ),
    ),
)


def run(subject: Subject, parameters: Parameters = Parameters(), runtime: Runtime | None = None) -> list[Result]:
    """Swap random pairs of blocks of equal shape and measure the error.

    Args:
        subject: network and labelled images.
        parameters: how many swaps, and how many orders of each.
        runtime: where and how to compute; by default on the CPU, with nothing kept.

    Returns:
        Table `reorder`, the trained order first. The settings hold Spearman's rank correlation of disorder (1 - tau)
        and error, bootstrapped over draws, and the mean error of each number of swaps with separate bootstrap intervals
        over images and over draws.

    Raises:
        ValueError: no two blocks have the same shape, or a number of swaps or draws below 1.
    """
    from scipy.stats import kendalltau  # noqa: PLC0415

    from resnet_probe.analyses.runtime import Runtime  # noqa: PLC0415 - torch is needed to run, not to plot
    from resnet_probe.analyses.subject import require  # noqa: PLC0415

    require(subject, parameters, Parameters)
    check(subject, parameters)
    runtime = runtime or Runtime()
    network, draws, seed = subject.network, parameters.draws, runtime.seed
    names = [unit.name for unit in network.links]
    subject.tell_inside(runtime.say, "reordered")
    orders = draw_orders(_groups(network), len(names), list(parameters.swaps), draws, seed)
    trained = tuple(range(len(names)))
    listed = [(0, trained), *orders]
    variants = {_key(order): network.reorder([names[i] for i in order]).steps for _, order in listed}
    about = {"swaps": list(parameters.swaps), "draws": draws, "seed": seed}
    scores = runtime.evaluate(subject, variants, "reorder", about)
    rows: list[dict[str, Any]] = []
    counts: dict[int, int] = {}
    for number, order in listed:
        score = scores[_key(order)]
        rows.append(
            {
                "network": subject.name,
                "swaps": number,
                "draw": counts.get(number, 0),
                "kendall_tau": float(kendalltau(trained, order).statistic) if len(order) > 1 else 1.0,
                "order": _key(order),
                **c.with_interval(score),
                "changed": score.changed,
                "distance": distance(order),
                **c.against_intact(scores[_key(trained)] if number else None, score),
                "again": any(row["order"] == _key(order) for row in rows),
            }
        )
        counts[number] = counts.get(number, 0) + 1
    drawn = distinct(rows)
    ordered = spearman([1 - row["kendall_tau"] for row in drawn], [row["error"] for row in drawn], seed)
    by_swaps = _by_swaps(rows, scores, seed)
    settings = subject.chance() | {"blocks": names, "by_swaps": by_swaps, **asdict(ordered)}
    return [REORDER.result(rows, **settings)]


def distinct(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Each order once, without the trained one: swaps that lead to the same order are no second draw of it."""
    first = {row["order"]: row for row in reversed(rows)}
    return [row for row in rows[1:] if row is first[row["order"]]]


def facts(table: Result, network: str) -> list[Fact]:
    """The error in the trained order and after some numbers of swaps, and its rank correlation with disorder."""
    trained, *orders = table.of(network)
    sizes = list(dict.fromkeys(row["swaps"] for row in orders))
    shown = sizes if len(sizes) <= 8 else [sizes[i] for i in (0, len(sizes) // 2, -1)]
    told = [Fact("trained order", f"{trained['error']:.4g} % error", trained["error"], unit="%")]
    for swaps in shown:
        errors, taus = ([row[key] for row in orders if row["swaps"] == swaps] for key in ("error", "kendall_tau"))
        mean, tau = sum(errors) / len(errors), sum(taus) / len(taus)
        many = f"{len(errors)} order{'s' * (len(errors) > 1)}"
        text = f"{mean:.4g} % error, the mean of {many}, at a mean Kendall's tau of {tau:.3f}"
        nearer = sum(row["swaps"] == swaps and row.get("distance", swaps) < swaps for row in orders)
        text += f"; {nearer} of them fewer swaps away" if nearer else ""
        told.append(Fact(f"{swaps} swap{'s' if swaps > 1 else ''}", text, mean, unit="%"))
    worst = max(orders, key=lambda row: row["error"])
    text = f"{worst['error']:.4g} % error, at a Kendall's tau of {worst['kendall_tau']:.3f}"
    told.append(Fact("worst order", text, worst["error"], unit="%"))
    return [*told, *rank_correlation(table, network, "disorder (1 - Kendall's tau) and error")]


def distance(order: Sequence[int]) -> int:
    """Fewest swaps of two places that lead from the trained order to this one: places less cycles.

    Source: Cayley 1849, "A note on the theory of permutations".
    """
    left, cycles = set(range(len(order))), 0
    while left:
        place = left.pop()
        while order[place] in left:
            place = order[place]
            left.remove(place)
        cycles += 1
    return len(order) - cycles


def draw_orders(
    groups: Sequence[Sequence[int]], count: int, swaps: Sequence[int], draws: int, seed: int
) -> list[tuple[int, tuple[int, ...]]]:
    """Random orders of `count` blocks, each made by swaps of two places of one group.

    The orders of one number of swaps all differ; there are fewer than `draws` where no more were found. Swaps can undo
    each other, so an order of several swaps may be one of fewer, or the trained one.

    Raises:
        ValueError: no group has two places, or a number of swaps or draws below 1.
    """
    import random  # noqa: PLC0415

    pairs = _swappable(groups)
    if draws < 1 or min(swaps, default=0) < 1:
        raise ValueError("give at least one draw and numbers of swaps from 1 on")
    generator = random.Random(seed)
    orders = []
    for number in swaps:
        found: dict[tuple[int, ...], None] = {}
        for _ in range(TRIES * draws):
            order = list(range(count))
            for _ in range(number):
                a, b = generator.choice(pairs)
                order[a], order[b] = order[b], order[a]
            found[tuple(order)] = None
            if len(found) == draws:
                break
        orders += [(number, order) for order in found]
    return orders


def check(subject: Subject, parameters: Parameters) -> None:
    """Whether there are blocks that can be swapped.

    Raises:
        ValueError: there are none.
    """
    if not subject.network.links:
        raise ValueError(f"{subject.name} has no residual blocks along its chain, so there is nothing to reorder")
    _swappable(_groups(subject.network))


def _swappable(groups: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """All pairs of places that can be swapped."""
    pairs = [pair for group in groups for pair in combinations(group, 2)]
    if not pairs:
        raise ValueError("no two residual blocks have the same shape, so none can be swapped")
    return pairs


def _groups(network: UnraveledNetwork) -> list[list[int]]:
    """Places of blocks that can stand for each other."""
    groups: dict[Any, list[int]] = {}
    for i, unit in enumerate(network.links):
        groups.setdefault((unit.plan.in_shape, unit.plan.out_shape), []).append(i)
    return list(groups.values())


def _key(order: Sequence[int]) -> str:
    return " ".join(map(str, order))


def _by_swaps(rows: Sequence[Mapping[str, Any]], scores: Mapping[str, Score], seed: int) -> list[dict[str, Any]]:
    """Per number of swaps the mean error, with bootstrap intervals over images and over draws."""
    import numpy as np  # noqa: PLC0415

    summary = []
    for number in dict.fromkeys(row["swaps"] for row in rows):
        mine = [row for row in rows if row["swaps"] == number]
        error, images, both = over_images([scores[row["order"]] for row in mine], None, seed)
        draws = bootstrap_mean([row["error"] for row in mine], seed)
        mean: dict[str, Any] = {"swaps": number, "draws": len(mine), "error": error}
        mean["kendall_tau"] = float(np.mean([row["kendall_tau"] for row in mine]))
        summary.append(mean | {"over_images": list(images), "over_draws": list(draws), "over_both": list(both)})
    return summary


def plot(result: Result) -> Figure:
    """Error against Kendall's tau, with the mean over bins of tau (Veit et al. 2016, Fig. 5b).

    One point for all orders of one tau and error, its area their number. The trained order is the dashed line, and no
    point, even where swaps led back to it.
    """
    from collections import Counter  # noqa: PLC0415

    import numpy as np  # noqa: PLC0415

    from resnet_probe.figures import INK, label, legend_above, network_colours, new_figure, style  # noqa: PLC0415

    networks = list(dict.fromkeys(row["network"] for row in result.rows))
    looks = network_colours(networks, result.settings.get("colours"))
    with style():
        figure, axes = new_figure("column", aspect=0.68)
        for network in networks:
            rows = [row for row in result.rows if row["network"] == network]
            colour, marker = looks[network]["color"], looks[network]["marker"]
            drawn = [(row["kendall_tau"], row["error"]) for row in distinct(rows)]
            found = Counter(drawn)
            tau, error = np.array(list(found)).reshape(-1, 2).T
            sizes = [6 * count for count in found.values()]
            axes.scatter(tau, error, s=sizes, color=colour, alpha=0.5, linewidths=0)
            most = max(found.values(), default=1)
            orders = f"{label(network)} (area: 1 to {most} orders)" if most > 1 else label(network)
            axes.scatter([], [], s=6, color=colour, alpha=0.5, linewidths=0, label=orders)
            tau, error = np.array([point for point in drawn if point[0] < 1]).reshape(-1, 2).T
            edges = np.histogram_bin_edges(tau, bins=min(12, max(3, len(rows) // 20)))
            bins = np.clip(np.digitize(tau, edges[1:-1]), 0, len(edges) - 2)
            used = [b for b in range(len(edges) - 1) if (bins == b).sum() >= 2]
            means = [(tau[bins == b].mean(), error[bins == b].mean()) for b in used]
            if means:
                axes.plot(*np.array(means).T, color=colour, marker=marker, markersize=3, linewidth=1)
            axes.axhline(rows[0]["error"], color=colour, linewidth=0.8, linestyle=DASHED)
        ink = looks[networks[0]]["color"] if len(networks) == 1 else INK
        if len(axes.lines) > len(networks):  # more than the trained orders
            axes.plot([], [], color=ink, marker="o", markersize=3, linewidth=1, label="mean in bins of tau")
        axes.plot([], [], color=ink, linewidth=0.8, linestyle=DASHED, label="trained order")
        axes.invert_xaxis()
        axes.set_ylim(bottom=0)
        axes.set_xlabel("Kendall's tau with the trained order")
        axes.set_ylabel("error (%)")
        legend_above(figure)
    return figure
