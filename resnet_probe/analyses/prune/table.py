"""The tables of pruning: orders from the images that choose, the frontier on those that report."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from resnet_probe.analyses.columns import with_interval
from resnet_probe.analyses.prune import BRANCHES, INTACT, MOST_EXHAUSTIVE, PRUNE, STABILITY, UPDATES, Parameters

if TYPE_CHECKING:
    from resnet_probe.analyses.prune.sets import Sets
    from resnet_probe.analyses.runtime import Runtime
    from resnet_probe.analyses.subject import Subject
    from resnet_probe.data import Data
    from resnet_probe.evaluate import Score
    from resnet_probe.tables import Result


def run(subject: Subject, parameters: Parameters = Parameters(), runtime: Runtime | None = None) -> list[Result]:
    """Remove blocks in several orders, chosen on some images and measured on others.

    Args:
        subject: network and labelled images, and where others are found.
        parameters: which orders, and which images choose and report.
        runtime: where and how to compute; by default on the CPU, with nothing kept.

    Returns:
        Table `prune`: the intact network, then per order one row for each number of removed blocks; and table
        `prune_stability`; with the order `runs` also table `prune_runs`. The settings hold what each order cost, in
        block runs (residual branches computed for an image), beside what a loop over the same sets would cost.

    Raises:
        ValueError: fewer than two blocks to remove, an order that does not fit their number, or images that would
            choose and report.
    """
    from resnet_probe.analyses.prune import runs  # noqa: PLC0415 - torch is needed to run, not to plot
    from resnet_probe.analyses.prune.costs import costs_of  # noqa: PLC0415
    from resnet_probe.analyses.prune.sets import Sets, chain_of  # noqa: PLC0415
    from resnet_probe.analyses.prune.times import times  # noqa: PLC0415
    from resnet_probe.analyses.runtime import Runtime  # noqa: PLC0415
    from resnet_probe.analyses.subject import Subject, require  # noqa: PLC0415

    require(subject, parameters, Parameters)
    check(subject, parameters)
    runtime = runtime or Runtime()
    network, names = subject.network, _names(subject, parameters)
    parameters = _fitting(subject, parameters, runtime.say)
    chooses, reports = _images(subject, parameters)
    about: dict[str, Any] = {"checkpoint": subject.checkpoint, "task": subject.task}
    sets = Sets(Subject(subject.name, network, chooses, **about), names, runtime)
    found, stability = _chosen(sets, parameters)
    kept = dict.fromkeys([sets.all, *(each for paths in found.values() for path in paths for each in path)])
    kept |= dict.fromkeys(runs.spans(sets).values() if "runs" in parameters.orders else ())
    chains = {str(each): chain_of(network, names, each) for each in kept}
    target = Subject(subject.name, network, reports, images=subject.images, **about)
    scores = runtime.evaluate(target, chains, "prune", {"players": names, "seed": runtime.seed})
    total, first = costs_of(network), parameters.orders[0]
    greedy = found.get("greedy", [[]])[0]
    timed = parameters.time and runtime.workers.rank == 0
    taken, about_times = times(target, chains, runtime) if timed else ({}, {})

    def row(
        order: str,
        path: Sequence[int],
        removed: int,
        draw: int | None = None,
        again: tuple[str, Score | None] = ("", None),
    ) -> dict[str, Any]:
        each, (healing, score) = path[removed], again
        cut = score is None  # of a healed network only what it is made of is that of the cut one
        parameters_left, flops = total(chains[str(each)])
        return {
            "network": subject.name,
            "order": order,
            "removed": removed,
            "blocks": " ".join(names[i] for i in _sequence(path[: removed + 1], len(names))) or None,
            "parameters": parameters_left,
            "flops": flops,
            "choose_images": len(chooses),
            "draw": draw,
            "healing": healing or None,
            **_measured(score or scores[str(each)], scores[str(sets.all)], intact=each == sets.all),
            **_over(scores, each, greedy[removed] if greedy and cut and order not in ("greedy", INTACT) else None),
            "chosen_error": 100 * float(sets.wrong[each].mean()) if cut and each in sets.wrong else None,
            "chosen_loss": float(sets.losses[each].mean()) if cut and each in sets.losses else None,
            **dict(zip(("time_1", "time_best"), taken.get(str(each), (None, None)), strict=True)),
        }

    rows = [row(INTACT, [sets.all], 0)]
    for order, paths in found.items():
        for number, path in enumerate(paths):
            draw = number if order == "random" else None
            rows += [row(order, path, removed, draw) for removed in range(1, len(path))]
    rows += [
        row(first, found[first][0], removed, again=again)
        for removed, healings in _healed(target, parameters, runtime, found[first][0], names).items()
        for again in healings.items()
    ]
    settings = {
        **{key: value for key, value in target.provenance().items() if key.startswith("data_")},
        "players": names, "seed": runtime.seed, **subject.chance(),
        "index": [[block.name for block in network.blocks].index(name) for name in names],
        "stages": [network.unit(name).plan.stage for name in names],
        "choose": _about(chooses), "report": _about(reports), "same_images": _same(chooses, reports),
        "costs": {name: vars(cost) for name, cost in sets.costs.items()}, **about_times,
    }  # fmt: skip
    whose = {"network": subject.name, "images": len(chooses)}
    tables = [PRUNE.result(rows, **settings), STABILITY.result([{**whose, **each} for each in stability], **settings)]
    return [*tables, runs.table(sets, scores, settings)] if "runs" in parameters.orders else tables


def check(subject: Subject, parameters: Parameters) -> None:
    """Whether there are blocks to remove, and images of their own to choose them.

    Raises:
        ValueError: there are not.
    """
    count = len(_names(subject, parameters))
    if count < 2:
        more = "" if parameters.resizing else "; those that resize count only with --resizing"
        raise ValueError(f"{subject.name} has {count} residual blocks to remove, and it takes two{more}")
    if "exhaustive" in parameters.orders and count > MOST_EXHAUSTIVE:
        raise ValueError(
            f"the order exhaustive runs all sets, and {subject.name} has {count} blocks, more than {MOST_EXHAUSTIVE}; "
            "give --orders without it"
        )
    if parameters.save and parameters.save > count:
        raise ValueError(f"--save {parameters.save}: {subject.name} has {count} blocks that can go; give at most that")
    if subject.task.name != "classification" and (parameters.heal is not None or parameters.save or parameters.time):
        raise ValueError(f"--heal, --save and --time are for classification, not {subject.task.name}; leave them out")
    fitting = _fitting(subject, parameters).orders
    if not fitting:
        raise ValueError(
            f"blocks of {subject.name} lie inside units, where {', '.join(BRANCHES)} are not seen; give others"
        )
    if fitting[0] == "random" and (parameters.heal or parameters.save):
        raise ValueError("--heal and --save take the first of --orders, and random is many; put another one first")
    if subject.has_data and not parameters.same_images:
        _refuse_same(parameters.choose_split, parameters.report_split or subject.data.split)


def _names(subject: Subject, parameters: Parameters) -> list[str]:
    return [unit.name for unit in subject.network.blocks if parameters.resizing or not unit.plan.resizes]


def _fitting(subject: Subject, parameters: Parameters, say: Callable[[str], None] = lambda text: None) -> Parameters:
    """Orders for which a branch has to stand alone are left out where blocks lie inside units.

    Those by what a block adds to its input are for classification.
    """
    if subject.task.name != "classification" and (out := [each for each in parameters.orders if each in UPDATES]):
        say(f"note: left out, as they are for classification: {', '.join(out)}")
        parameters = replace(parameters, orders=tuple(each for each in parameters.orders if each not in UPDATES))
    inside = [name for name in _names(subject, parameters) if subject.network.unit(name).plan.inside]
    left = tuple(order for order in parameters.orders if not (inside and order in BRANCHES))
    if left == parameters.orders:
        return parameters
    gone = ", ".join(order for order in parameters.orders if order in BRANCHES)
    say(f"note: {len(inside)} blocks lie inside units of the chain, where these orders are left out: {gone}")
    return replace(parameters, orders=left)


def _refuse_same(chooses: str, reports: str) -> None:
    if chooses == reports:
        raise ValueError(
            f"the images of split {reports!r} would choose blocks and report on them, so errors would be too low; give "
            "another --choose-split, or --same-images to have it so"
        )


def _images(subject: Subject, parameters: Parameters) -> tuple[Data, Data]:
    """The images that choose, and those that report.

    Raises:
        ValueError: they are the same, and that was not asked for.
    """
    reports = subject.images(split=parameters.report_split) if parameters.report_split else subject.data
    if parameters.same_images and parameters.choose_split == reports.split:
        return reports, reports
    chooses = subject.images(split=parameters.choose_split, limit=parameters.choose_limit)
    if _same(chooses, reports) and not parameters.same_images:
        _refuse_same(reports.split, reports.split)
    return chooses, reports


def _same(chooses: Data, reports: Data) -> bool:
    return chooses.split == reports.split or chooses.fingerprint == reports.fingerprint


def _about(data: Data) -> dict[str, Any]:
    return {"name": data.name, "split": data.split, "images": len(data), "data_fingerprint": data.fingerprint}


def _chosen(sets: Sets, parameters: Parameters) -> tuple[dict[str, list[list[int]]], list[dict[str, Any]]]:
    """Per order its paths (one, but for random orders): the kept set for every number of removed blocks; and rows."""
    from resnet_probe.analyses.prune import searches, stability  # noqa: PLC0415
    from resnet_probe.analyses.prune.scores import order_by, scores  # noqa: PLC0415

    wanted, seed, blocks = parameters.orders, sets.runtime.seed, len(sets.names)
    everything = np.arange(sets.images)
    found: dict[str, list[list[int]]] = {}
    rows: list[dict[str, Any]] = []
    for name, score in scores(sets, wanted, draws=parameters.draws).items():
        found[name] = [_path(sets, order_by(score))]
        if len(score) > 1:
            again = stability.of_score(partial(order_by, score), sets.images, seed)
            rows += [{"order": name, **each} for each in again]
    if "greedy" in wanted:
        path, *parts = searches.beam(sets, 1, [everything, *stability.halves(sets.images, seed)], "greedy")
        found["greedy"] = [path]
        once = stability.compared([tuple(_sequence(part, blocks) for part in parts)])
        rows.append({"order": "greedy", "compared": "halves", **once})
    if "beam" in wanted:
        found["beam"] = searches.beam(sets, parameters.beam_width, [everything], "beam")
    if "exhaustive" in wanted:
        found["exhaustive"] = [searches.exhaustive(sets)]
    if "runs" in wanted:
        found["runs"] = [searches.best_runs(sets)]
    if "random" in wanted:
        generator = random.Random(seed)
        found["random"] = [_path(sets, generator.sample(range(blocks), blocks)) for _ in range(parameters.draws)]
    return {name: found[name] for name in wanted}, rows


def _path(sets: Sets, order: Sequence[int]) -> list[int]:
    """What is kept as blocks go in this order."""
    return [sets.without(*order[:removed]) for removed in range(len(order) + 1)]


def _sequence(path: Sequence[int], blocks: int) -> list[int]:
    """The blocks that the last set of a path lacks, in the order in which they go for good; ties as they stand."""
    gone = [i for i in range(blocks) if not path[-1] >> i & 1]

    def step(block: int) -> int:
        """Since when it is gone for good."""
        return max((number for number, kept in enumerate(path) if kept >> block & 1), default=-1)

    return sorted(gone, key=lambda block: (step(block), block))


def _healed(
    subject: Subject, parameters: Parameters, runtime: Runtime, path: Sequence[int], names: Sequence[str]
) -> dict[int, dict[str, Score]]:
    """Networks cut along a path: healed, where that is asked for, and kept. Number removed -> healing -> score."""
    from resnet_probe.analyses.prune import heal  # noqa: PLC0415
    from resnet_probe.analyses.prune.sets import chain_of  # noqa: PLC0415

    if runtime.workers.rank > 0:
        return {}
    network, blocks, folder = subject.network, len(names), runtime.folder

    def gone(removed: int) -> list[str]:
        return [names[i] for i in _sequence(path[: removed + 1], blocks)]

    if parameters.save and folder:
        heal.keep(subject, gone(parameters.save), folder)
    found: dict[int, dict[str, Score]] = {}
    if parameters.heal is None:
        return found
    recipe = heal.recipe_of(parameters.heal, runtime.seed)
    train = subject.images(split=parameters.choose_split, limit=None)
    for removed in dict.fromkeys([*heal.where(blocks), *([parameters.save] if parameters.save else [])]):
        chain = chain_of(network, names, path[removed])
        model, found[removed] = heal.healed(subject, gone(removed), chain, train, runtime, recipe=recipe)
        if folder and subject.checkpoint is not None:
            heal.keep(subject, gone(removed), folder, (model, recipe))
    if folder:
        for removed in found:
            shutil.rmtree(heal.states(folder, subject, removed))
    return found


def _measured(score: Score, against: Score, *, intact: bool) -> dict[str, Any]:
    found = with_interval(score)
    names = ("newly_wrong", "newly_right", "difference", "difference_low", "difference_high", "p")
    if intact:
        return found | dict.fromkeys(names)
    compared = score.against(against)
    return found | {name: compared[name] for name in names}


def _over(scores: Mapping[str, Score], kept: int, greedy: int | None) -> dict[str, float | None]:
    names = ("over_greedy", "over_greedy_low", "over_greedy_high")
    if greedy is None:
        return dict.fromkeys(names)
    against = scores[str(kept)].against(scores[str(greedy)])
    return dict(zip(names, (against[key] for key in ("increase", "increase_low", "increase_high")), strict=True))
