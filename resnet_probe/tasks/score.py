"""What a task found out about one network on a data set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from resnet_probe.tasks.task import Task


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

    @cached_property
    def estimates(self) -> Mapping[str, float]:
        """What the task makes of the examples: `error` in percent, `loss`, and quantities of its own."""
        return self.task.estimates(self)

    @property
    def loss(self) -> float:
        """Mean loss; of classification the cross-entropy, in nats."""
        return self.mean("loss") if self.flagged else self.estimates["loss"]

    @property
    def error(self) -> float:
        """The error in percent; of classification the share of wrong predictions."""
        return 100.0 * self.wrong / self.images if self.flagged else self.estimates["error"]

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """The error's 95 % interval over examples."""
        return self.task.interval(self)

    @cached_property
    def resampled(self) -> Mapping[tuple[str, str], np.ndarray]:
        """Of a task that is not right or wrong for each image, its quantities on resamples of the images."""
        return self.task.resampled(self)

    @cached_property
    def errors(self) -> np.ndarray:
        """What each example adds to the error, `(images,)`, in percent; the error is their mean."""
        return 100.0 * self.flags if self.flagged else self.task.contributions(self)["error", ""]

    @cached_property
    def losses(self) -> np.ndarray:
        """What each example adds to the loss, `(images,)`; of classification where it is kept of each."""
        return np.asarray(self.kept["loss"]) if self.flagged else self.task.contributions(self)["loss", ""]

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
