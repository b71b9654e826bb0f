"""What a task found out about one network on a data set."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from resnet_probe.tasks.task import Quantity, Task

RESAMPLES = 1000
AT_ONCE = 500_000  # weights of examples


@dataclass(frozen=True)
class Score:
    """A variant's result over a data set, by the columns of the task.

    Attributes:
        images: how many examples were evaluated.
        sums: per column the sum over them; of flags how many are true.
        kept: per column of flags or values what each example has, `(images,)`, in the order of the data; of records a
            list of arrays.
        task: what was measured.

    Those of classification have names of their own: `wrong`, `changed`, `loss`, `error`, `flags`.
    """

    images: int
    sums: Mapping[str, float]
    kept: Mapping[str, Any] = field(repr=False, compare=False)
    task: Task = field(repr=False, compare=False)

    def mean(self, column: str) -> float:
        """Mean of a column over the examples; of flags, the share of those that are true."""
        return self.sums[column] / self.images if self.images else math.nan

    @property
    def wrong(self) -> Any:
        """How many images were classified wrongly; None in a task where an image is not right or wrong."""
        return int(self.sums["wrong"]) if self.flagged else None

    @property
    def changed(self) -> Any:
        """How many predictions differ from the first variant's; None as for `wrong`."""
        return int(self.sums["changed"]) if "changed" in self.sums else None

    @property
    def loss(self) -> float:
        """Mean loss; of classification the cross-entropy, in nats."""
        return self.mean("loss") if self.flagged else self.estimates["loss", ""]

    @property
    def error(self) -> float:
        """The error in percent; of classification the share of wrong predictions."""
        return 100.0 * self.wrong / self.images if self.flagged else self.estimates["error", ""]

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """The error's 95 % interval over examples."""
        return self.task.interval(self)

    @property
    def errors(self) -> np.ndarray:
        """What each example adds to the error, `(images,)`, in percent; the error is their mean."""
        return 100.0 * self.flags if self.flagged else self.contributions["error", ""]

    @property
    def losses(self) -> np.ndarray:
        """What each example adds to the loss, `(images,)`; of classification where it is kept of each."""
        return np.asarray(self.kept["loss"]) if self.flagged else self.contributions["loss", ""]

    def against(self, intact: Score, *, sequence: bool = False) -> dict[str, Any]:
        """The difference of the error from the intact network's on the same examples, see `Task.against`."""
        return self.task.against(intact, self, sequence=sequence)

    @property
    def flagged(self) -> bool:
        """Whether each image is right or wrong."""
        return self.task.flagged

    @property
    def flags(self) -> Any:
        """Whether each image was classified wrongly, bool `(images,)`."""
        return self.kept["wrong"]

    # -- of tasks that are no mean over examples, by quantity and class ------------------------------------------------

    @cached_property
    def estimates(self) -> Mapping[Quantity, float]:
        """The quantities of all examples."""
        return {
            key: float(values[0]) for key, values in self._worked_out(1, lambda rows: np.ones((1, self.images))).items()
        }

    @cached_property
    def resampled(self) -> Mapping[Quantity, np.ndarray]:
        """The quantities on 1,000 resamples, the same ones for every network on as many examples.

        One example says nothing of others: all are NaN.
        """
        known = 1.0 if self.images > 1 else np.nan
        found = self._worked_out(RESAMPLES, lambda rows: _resamples(self.images)[rows])
        return {key: known * values for key, values in found.items()}

    @cached_property
    def contributions(self) -> Mapping[Quantity, np.ndarray]:
        """What each example adds to the quantities, so that these are the means: from the figures without each of them.

        Source: the jackknife; Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 11.
        """
        count = self.images
        if count < 2:
            return {key: np.array([value]) for key, value in self.estimates.items()}
        found = {}
        for key, values in self._worked_out(count, lambda rows: rows[:, None] != np.arange(count)).items():
            without = np.where(np.isnan(values), self.estimates[key], values)  # the only example of its class
            found[key] = self.estimates[key] + (count - 1) * (without.mean() - without)
        return found

    def _worked_out(self, count: int, weights: Callable[[np.ndarray], np.ndarray]) -> dict[Quantity, np.ndarray]:
        """The quantities for so many rows of weights, a few at a time; `weights` makes those of some numbers."""
        cuts = np.array_split(np.arange(count), -(-count * self.images // AT_ONCE))
        parts = [self.task.quantities(self.kept, weights(rows).astype(np.float64)) for rows in cuts]
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


@lru_cache(maxsize=2)
def _resamples(examples: int) -> np.ndarray:
    """How often each example is drawn, `(resamples, examples)`."""
    drawn = np.random.default_rng(0).integers(0, examples, (RESAMPLES, examples))
    return np.stack([np.bincount(row, minlength=examples) for row in drawn]).astype(np.uint16)
