"""The tables of importance: one sweep over sets of kept blocks, and what follows from the values of the sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.columns import with_interval
from resnet_probe.analyses.importance import IMPORTANCE, MOST_EXACT, PAIRS, SUBSETS, Parameters
from resnet_probe.statistics import games, two_way_mean

if TYPE_CHECKING:
    import numpy

    from resnet_probe.analyses.runtime import Runtime
    from resnet_probe.analyses.subject import Subject
    from resnet_probe.evaluate import Score
    from resnet_probe.tables import Result
    from resnet_probe.unraveled import Unit


def run(subject: Subject, parameters: Parameters = Parameters(), runtime: Runtime | None = None) -> list[Result]:
    """Shapley and Banzhaf values of the blocks, with what their single deletion does.

    Args:
        subject: network and labelled images.
        parameters: how many orders, where there are many blocks.
        runtime: where and how to compute; by default on the CPU, with nothing kept.

    Returns:
        Table `importance`, one row per measure and block; of at most 12 blocks the tables `importance_subsets` and
        `importance_pairs` too. The settings hold the value of all and of none of the blocks, and the saving: steps and
        block runs (residual branches) that were run, and those of a loop over the subsets.

    Raises:
        ValueError: fewer than two blocks to choose from.
    """
    from resnet_probe.analyses.runtime import Runtime  # noqa: PLC0415 - torch is needed to run, not to plot
    from resnet_probe.analyses.subject import require  # noqa: PLC0415
    from resnet_probe.evaluate import branches_in, saving  # noqa: PLC0415

    require(subject, parameters, Parameters)
    check(subject, parameters)
    runtime = runtime or Runtime()
    network = subject.network
    players = subject.network.blocks
    names = [unit.name for unit in players]
    everything = 2 ** len(players) - 1
    exact = len(players) <= MOST_EXACT
    if exact:
        orders: list[tuple[int, ...]] = []
        sets = list(range(everything, -1, -1))
    else:
        orders = games.draw_orders(len(players), parameters.draws, runtime.seed)
        singles = [everything ^ 1 << player for player in range(len(players))]
        sets = list(dict.fromkeys([everything, *singles, *(each for order in orders for each in games.chain(order))]))
    variants = {
        str(kept): network.delete(*(name for i, name in enumerate(names) if not kept >> i & 1)).steps for kept in sets
    }
    about = {"players": names} if exact else {"players": names, "draws": parameters.draws, "seed": runtime.seed}
    found = runtime.evaluate(subject, variants, "importance", about, task=subject.task_of_each)
    scores = {kept: found[str(kept)] for kept in sets}
    rows, pairs = [], []
    summary = {}
    for measure in ("loss", "accuracy"):
        known = {kept: _values(score, measure) for kept, score in scores.items()}
        summary[measure] = {"all": float(known[everything].mean()), "none": float(known[0].mean())}
        game = _Game(known, len(players), orders)
        shapley, banzhaf = game.values("shapley"), game.values("banzhaf")
        for i, unit in enumerate(players):
            lesion = (known[everything] - known[everything ^ 1 << i])[None]
            rows.append(
                {
                    **_place(subject, unit, measure),
                    "images": scores[everything].images,
                    "exact": exact,
                    "samples": len(orders) or len(sets),
                    **_estimate("shapley", shapley[:, i], exact=exact),
                    **_apart(shapley[:, i]),
                    **_estimate("banzhaf", banzhaf[:, i], exact=exact),
                    **_estimate("lesion", lesion, exact=True),
                }
            )
        if exact:
            pairs += _pairs(subject.name, names, measure, game)
    chains = list(variants.values())
    steps, looped = saving(chains, network.is_identity)
    runs, runs_looped = saving(chains, network.is_identity, branches_in(network))
    settings = {
        **subject.chance(), "players": names, "values": summary, "subsets": len(sets),
        "steps_run": steps, "steps_of_a_loop": looped, "block_runs": runs, "block_runs_of_a_loop": runs_looped,
    }  # fmt: skip
    tables = [IMPORTANCE.result(rows, **settings)]
    if exact:
        tables += [
            SUBSETS.result(_subsets(subject.name, names, scores), **settings),
            PAIRS.result(pairs, **settings),
        ]
    return tables


def check(subject: Subject, parameters: Parameters) -> None:
    """Whether there are blocks to choose from.

    Raises:
        ValueError: there are fewer than two.
    """
    if (count := len(subject.network.blocks)) < 2:
        raise ValueError(f"residual blocks of {subject.name}: {count}; importance takes two or more")


def _values(score: Score, measure: str) -> numpy.ndarray:
    """The value of a set for each image: minus its loss, or 100 where it is right, (images,).

    Of tasks where an image is not right or wrong, what it adds to these.
    """
    return -score.losses if measure == "loss" else 100.0 - score.errors


@dataclass(frozen=True)
class _Game:
    """The values that are known of sets of players, each (images,), and the orders that they come from, if any."""

    known: Mapping[int, numpy.ndarray]
    players: int
    orders: Sequence[tuple[int, ...]]

    def values(self, index: games.Index) -> numpy.ndarray:
        """Of the players, (draws, players, images); one draw where all sets are known."""
        if self.orders:
            return games.order_values(self.known, self.orders, index)
        return (games.values(self.players, index) @ self.lattice)[None]

    @property
    def lattice(self) -> numpy.ndarray:
        """Values of all sets in their order, (sets, images)."""
        import numpy as np  # noqa: PLC0415

        return np.stack([self.known[kept] for kept in range(2**self.players)])


def _place(subject: Subject, unit: Unit, measure: str) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(IMPORTANCE.keys)
    index = [block.name for block in subject.network.blocks].index(unit.name)
    row |= {"network": subject.name, "block": unit.name, "index": index, "measure": measure}
    return row | {"stage": unit.plan.stage, "resizes": unit.plan.resizes}


def _estimate(name: str, draws: numpy.ndarray, *, exact: bool) -> dict[str, float | None]:
    """Mean of (draws, images), with its interval over both."""
    found = two_way_mean(draws, population=len(draws) if exact else None)
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


def _apart(draws: numpy.ndarray) -> dict[str, float | None]:
    """Intervals of the mean of (draws, images) over each alone."""
    found: dict[str, float | None] = {}
    for name, means in (("images", draws.mean(0)), ("draws", draws.mean(1))):
        alone = two_way_mean(means[None], population=1)
        found |= {f"{name}_low": alone.low, f"{name}_high": alone.high}
    return found


def _pairs(network: str, names: Sequence[str], measure: str, game: _Game) -> list[dict[str, Any]]:
    shapley, banzhaf = (games.interactions(len(names), index) @ game.lattice for index in ("shapley", "banzhaf"))
    rows = []
    for number, (a, b) in enumerate(combinations(names, 2)):
        rows.append(
            {
                "network": network,
                "block_a": a,
                "block_b": b,
                "measure": measure,
                **_estimate("interaction", shapley[number][None], exact=True),
                "banzhaf": float(banzhaf[number].mean()),
            }
        )
    return rows


def _subsets(network: str, names: Sequence[str], scores: Mapping[int, Score]) -> list[dict[str, Any]]:
    """One row for each set, the intact network first, then by size."""
    rows = []
    for kept, score in sorted(scores.items(), key=lambda item: (-item[0].bit_count(), item[0])):
        rows.append(
            {
                "network": network,
                "kept": kept.bit_count(),
                "blocks": " ".join(name for i, name in enumerate(names) if kept >> i & 1) or None,
                **with_interval(score),
            }
        )
    return rows
