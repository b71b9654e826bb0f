"""Tasks whose figures are no mean over examples, such as mean IoU or mean average precision."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from resnet_probe.tasks.score import Score
from resnet_probe.tasks.task import Quantity, Task

__all__ = ["Quantity", "Resampled", "ends"]


class Resampled(Task):
    """A task that works out its figures from what is kept of each example, for any weights of the examples.

    The weights of a resample are how often each example was drawn, so that the same function gives the figure and its
    bootstrap interval over examples, corrected for bias. Differences are of the same resamples of both networks.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapters 13 and 16.

    Attributes:
        units: of the quantities that have one, by name.
        classes: names of the classes of the data.
    """

    units: ClassVar[Mapping[str, str]] = {"error": "%"}

    def __init__(self) -> None:
        self.classes: tuple[str, ...] = ()

    @abstractmethod
    def quantities(self, kept: Mapping[str, Any], weights: np.ndarray) -> Mapping[Quantity, np.ndarray]:
        """What examples of such weights add up to.

        Args:
            kept: per column what each example has, as `Score.kept`.
            weights: `(resamples, examples)`.

        Returns:
            By quantity and class a value for each resample, NaN where it is not defined; `("error", "")` in percent,
            `("loss", "")`, and whatever else the task measures.
        """

    def check(self, outputs: Any, classes: tuple[str, ...], name: str) -> None:
        """Keep the classes."""
        self.classes = classes

    @property
    def flagged(self) -> bool:
        """No: the error is one of the quantities, whatever the columns are called."""
        return False

    def interval(self, score: Score) -> tuple[float | None, float | None]:
        """The error's interval."""
        return ends(score.error, score.resampled["error", ""])

    def against(self, intact: Score, score: Score, *, sequence: bool = False) -> dict[str, Any]:
        """The error's difference, and its interval over the same resamples of both.

        Raises:
            ValueError: a confidence sequence is asked for.
        """
        if sequence:
            raise ValueError(f"--until is for classification; {self.name} takes a fixed number of images")
        by = score.error - intact.error
        low, high = ends(by, score.resampled["error", ""] - intact.resampled["error", ""])
        found = {"increase": by, "increase_low": low, "increase_high": high}
        found |= {"difference": by, "difference_low": low, "difference_high": high}
        return dict.fromkeys(("newly_wrong", "newly_right", "p")) | found

    def rows(self, score: Score, intact: Score | None) -> list[dict[str, Any]]:
        """Every quantity with its interval, and its difference from that of the intact network, if there is one."""
        rows = []
        for (name, of), value in score.estimates.items():
            drawn, by = score.resampled[name, of], np.nan
            low, high = ends(value, drawn)
            row = {"measure": name, "class": of or None, "value": _number(value), "low": low, "high": high}
            row["unit"] = self.units.get(name, "")
            if intact:
                by, drawn = value - intact.estimates[name, of], drawn - intact.resampled[name, of]
            low, high = ends(by, drawn)
            rows.append(row | {"difference": _number(by), "difference_low": low, "difference_high": high})
        return rows


def ends(estimate: float, values: np.ndarray) -> tuple[float | None, float | None]:
    """The 95 % interval of an estimate, from its values on resamples; none where it is defined on none of them.

    Few images make a mean average precision too high, and a resample, with fewer different ones, makes it higher still.
    So the percentiles are moved by twice the bias that the resamples show: once to undo their own, once the estimate's.

    Source: Efron and Tibshirani 1993, section 10.3, for the bias.
    """
    if np.isnan(values).all() or np.isnan(estimate):
        return None, None
    low, high = np.nanquantile(values, [0.025, 0.975]) - 2 * (np.nanmean(values) - estimate)
    return float(low), float(high)


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
