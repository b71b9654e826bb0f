"""Tasks whose figures are no mean over examples, such as mean IoU or mean average precision."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from resnet_probe.tasks.score import Score
from resnet_probe.tasks.task import Task

__all__ = ["Quantity", "Resampled", "ends"]

RESAMPLES = 1000
AT_ONCE = 100  # resamples that are worked out together

# A quantity and what it is of: a class, or nothing for all together.
Quantity = tuple[str, str]


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

    def estimates(self, score: Score) -> Mapping[str, float]:
        """The quantities of all classes together."""
        found = self.quantities(score.kept, np.ones((1, score.images)))
        return {name: float(value[0]) for (name, of), value in found.items() if not of}

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
        mine = self.quantities(score.kept, np.ones((1, score.images)))
        drawn = score.resampled
        theirs = self.quantities(intact.kept, np.ones((1, score.images))) if intact else {}
        other = intact.resampled if intact else {}
        rows = []
        for (name, of), value in mine.items():
            low, high = ends(value[0], drawn[name, of])
            row = {"measure": name, "class": of or None, "value": _number(value[0]), "low": low, "high": high}
            row["unit"] = self.units.get(name, "")
            by = value[0] - theirs[name, of][0] if intact else np.nan
            low, high = ends(by, drawn[name, of] - other[name, of]) if intact else (None, None)
            difference = _number(by)
            rows.append(row | {"difference": difference, "difference_low": low, "difference_high": high})
        return rows

    def resampled(self, score: Score) -> Mapping[Quantity, np.ndarray]:
        """The quantities of 1,000 resamples, the same ones for every network on as many examples.

        One example says nothing of others: all are NaN.
        """
        weights = _resamples(score.images)
        parts = [
            self.quantities(score.kept, weights[start : start + AT_ONCE].astype(np.float64))
            for start in range(0, RESAMPLES, AT_ONCE)
        ]
        known = 1.0 if score.images > 1 else np.nan
        return {key: known * np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def contributions(self, score: Score) -> Mapping[Quantity, np.ndarray]:
        """What each example adds to the quantities, so that these are the means: from the figures without each of them.

        Source: the jackknife; Efron and Tibshirani 1993, chapter 11.
        """
        count = score.images
        whole = self.quantities(score.kept, np.ones((1, count)))
        if count < 2:
            return whole
        parts = []
        for start in range(0, count, AT_ONCE):
            weights = np.ones((min(AT_ONCE, count - start), count))
            weights[np.arange(len(weights)), np.arange(start, start + len(weights))] = 0
            parts.append(self.quantities(score.kept, weights))
        found = {}
        for key, value in whole.items():
            without = np.concatenate([part[key] for part in parts])
            without = np.where(np.isnan(without), value, without)  # the only example of its class
            found[key] = value + (count - 1) * (without.mean() - without)
        return found


@lru_cache(maxsize=2)
def _resamples(examples: int) -> np.ndarray:
    """How often each example is drawn, `(resamples, examples)`."""
    generator = np.random.default_rng(0)
    drawn = generator.integers(0, examples, (RESAMPLES, examples))
    return np.stack([np.bincount(row, minlength=examples) for row in drawn]).astype(np.uint16)


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
