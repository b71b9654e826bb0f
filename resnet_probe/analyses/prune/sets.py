"""Sets of kept blocks on the images that choose: each is measured once, whoever asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from resnet_probe.analyses.runtime import Runtime
from resnet_probe.analyses.subject import Subject
from resnet_probe.evaluate import branches_in, saving
from resnet_probe.unraveled import Step, UnraveledNetwork


@dataclass(frozen=True)
class Cost:
    """What sweeps ran, and what a loop over their sets would have run.

    Attributes:
        sets: how many were measured.
        block_runs: residual branches that were computed for an image.
        block_runs_of_a_loop: the same for one forward pass after another.
    """

    sets: int = 0
    block_runs: int = 0
    block_runs_of_a_loop: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.sets + other.sets,
            self.block_runs + other.block_runs,
            self.block_runs_of_a_loop + other.block_runs_of_a_loop,
        )


def chain_of(network: UnraveledNetwork, names: Sequence[str], kept: int) -> tuple[Step, ...]:
    """The steps of the network with those of the named blocks kept whose bit is set."""
    return network.delete(*(name for i, name in enumerate(names) if not kept >> i & 1)).steps


class Sets:
    """Losses and wrong flags of sets of kept blocks, image by image.

    A set is a whole number whose bit `i` says whether block `i` of `names` is kept.

    Args:
        subject: network with the images that choose.
        names: of the blocks that may be removed, from the input.
        runtime: where and how to compute; sweeps are kept in journals `prune.<name>`.
    """

    def __init__(self, subject: Subject, names: Sequence[str], runtime: Runtime) -> None:
        self.subject, self.names, self.runtime = subject, tuple(names), runtime
        self.images = len(subject.data)
        self.losses: dict[int, np.ndarray] = {}  # (images,), nats
        self.wrong: dict[int, np.ndarray] = {}  # (images,), flags; of other tasks shares of the error
        self.costs: dict[str, Cost] = {}

    @property
    def all(self) -> int:
        """The set of all blocks."""
        return 2 ** len(self.names) - 1

    def without(self, *blocks: int) -> int:
        """The set of all blocks but these."""
        return self.all & ~sum(1 << block for block in blocks)

    def measure(self, sets: Iterable[int], name: str, part: str = "") -> None:
        """Measure those that are not known yet, in one sweep.

        Args:
            sets: what is wanted.
            name: what the cost is put down to.
            part: of its journal's name, where there are several sweeps.
        """
        network = self.subject.network
        chains = {str(kept): chain_of(network, self.names, kept) for kept in sets if kept not in self.losses}
        if not chains:
            return
        about = {"players": list(self.names)}
        found = self.runtime.evaluate(
            self.subject, chains, f"prune.{name}{part}", about, task=self.subject.task_of_each
        )
        for kept, score in found.items():
            self.losses[int(kept)] = score.losses
            self.wrong[int(kept)] = score.flags if score.flagged else score.errors / 100
        runs = saving(list(chains.values()), network.is_identity, branches_in(network))
        self.costs[name] = self.costs.get(name, Cost()) + Cost(len(chains), *runs)
