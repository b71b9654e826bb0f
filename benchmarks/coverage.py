"""How often the intervals and tests of `resnet_probe.statistics`, and those that tables and claims print, are right.

    python benchmarks/coverage.py            # writes the tables into docs/statistics.md: a quarter of an hour on a core
    python benchmarks/coverage.py --quick    # fewer repetitions and no large samples, prints only

Each study draws samples from a world whose true value is known and counts how often the interval holds it. Where a
function of the package is quick it is called itself; bootstraps are replaced by draws with the same distribution (the
number of resampled wrong images is binomial). A cell outside
93 to 97 % is set in bold and has its reason beneath the table; any other would be a fault.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import ndtr, ndtri, stdtrit

from resnet_probe.analyses.paths.effective import decay
from resnet_probe.analyses.prune.runs import late_against_early
from resnet_probe.claims import iterative, pruning, sizes, training
from resnet_probe.claims import lesions as rules
from resnet_probe.claims.paths import gradients
from resnet_probe.claims.responses import responses
from resnet_probe.claims.verdicts import CANNOT_SAY, DOES_NOT_HOLD, HOLDS
from resnet_probe.probes import ImageMoments
from resnet_probe.statistics import (
    bonferroni,
    bootstrap_mean,
    confidence_sequence,
    false_discovery,
    mcnemar,
    over_seeds,
    paired,
    paired_difference,
    ratio_of_means,
    replication,
    spearman,
    two_way,
    wilson,
)
from resnet_probe.tables import Result, Run, SavedTable

PAGE = Path(__file__).parents[1] / "docs" / "statistics.md"
START, END = "<!-- coverage -->", "<!-- end -->"
RATES = (0.005, 0.02, 0.1, 0.5)
IMAGES = (100, 500, 10_000)
NORMAL = float(ndtri(0.975))
RESAMPLES = 2000


@dataclass
class Study:
    """A table of percentages: how often an interval holds the truth, or how often a test errs.

    Attributes:
        bounds: percentages between which a cell counts as right.
        excused: cells (row, column) that may lie outside, with `why`.
        beside: columns that are there to compare with, and not judged.
    """

    title: str
    world: str
    corner: str
    columns: tuple[str, ...]
    repetitions: int
    bounds: tuple[float, float] = (93.0, 97.0)
    why: str = ""
    rows: dict[str, list[float]] = field(default_factory=dict)
    excused: set[tuple[str, str]] = field(default_factory=set)
    beside: tuple[str, ...] = ()

    def cells(self) -> Iterator[tuple[str, str, float]]:
        for row, values in self.rows.items():
            pairs = zip(self.columns, values, strict=True)
            yield from ((row, column, value) for column, value in pairs if not math.isnan(value))

    def outside(self, deviations: float = 0.0) -> list[tuple[str, str, float]]:
        """Cells outside the bounds by more than so many Monte-Carlo standard errors."""
        low, high = self.bounds
        found = []
        for row, column, value in self.cells():
            nearest = min(max(value, low), high) / 100
            slack = deviations * 100 * math.sqrt(max(nearest * (1 - nearest), 0) / self.repetitions)
            if not low - slack <= value <= high + slack:
                found.append((row, column, value))
        return found

    def faults(self, deviations: float = 3.0) -> list[tuple[str, str, float]]:
        judged = (cell for cell in self.outside(deviations) if cell[1] not in self.beside)
        return [cell for cell in judged if cell[:2] not in self.excused]


def holds(ends: Any, truth: float | np.ndarray) -> float:
    low, high = np.asarray(ends, dtype=float).T
    return 100 * float(np.mean((low <= truth) & (truth <= high)))


def percent(share: float) -> str:
    return f"{100 * share:g} %"


# of an error and of a difference of errors


def of_an_error(generator: np.random.Generator, m: int, images: tuple[int, ...]) -> Study:
    study = Study(
        "Error over images (Wilson)",
        "Independent images, each wrong at the rate of the column.",
        "images", tuple(map(percent, RATES)), m,
        why="with two wrong images expected or fewer the count takes only a handful of values, and the coverage jumps "
        "from one true rate to the next",
    )  # fmt: skip
    interval = lru_cache(None)(wilson)
    for n in images:
        counts = (generator.binomial(n, rate, m).tolist() for rate in RATES)
        found = zip(RATES, counts, strict=True)
        study.rows[f"{n:,}"] = [holds([interval(wrong, n) for wrong in each], 100 * rate) for rate, each in found]
        study.excused |= {(f"{n:,}", percent(rate)) for rate in RATES if n * rate <= 2.5}
    return study


def of_a_bootstrap_over_images(generator: np.random.Generator, m: int, images: tuple[int, ...]) -> Study:
    study = Study(
        "Mean error over images (percentile bootstrap)",
        "As above, for one draw: flags of independent images. The mean of several draws per image behaves alike.",
        "images", tuple(map(percent, RATES)), m,
        why="with fewer than about 20 wrong images expected the bootstrap is too narrow, and where none is wrong it "
        "has no width at all; Wilson's interval is the right one for a single error",
    )  # fmt: skip
    for n in images:
        study.rows[f"{n:,}"] = []
        for rate in RATES:
            wrong = generator.binomial(n, rate, m)
            study.rows[f"{n:,}"].append(holds(bootstrap_of_flags(generator, wrong, n), 100 * rate))
            if n * rate < 20:
                study.excused.add((f"{n:,}", percent(rate)))
    return study


def bootstrap_of_flags(generator: np.random.Generator, wrong: np.ndarray, images: int) -> np.ndarray:
    """As `bootstrap_mean` of 100 times the flags: (m,) -> (m, 2)."""
    resampled = 100 * generator.binomial(images, wrong[:, None] / images, (len(wrong), RESAMPLES)) / images
    return np.quantile(resampled, [0.025, 0.975], axis=1).T


Interval = Callable[[np.ndarray, int], np.ndarray]
DISAGREEING = (
    "Images newly wrong at the rate of the column, newly right at a quarter of it (at most 1 %); both wrong, with "
    "another wrong class, at half the rate (at most 3 %)."
)
BEFORE = (
    "Before: the variance bounded by the number of changed predictions; its width in percent of that of the score "
    "interval."
)


def newly_right(rate: float) -> float:
    return min(rate / 4, 0.01)


def of_a_difference(
    generator: np.random.Generator, m: int, images: tuple[int, ...], name: str, intervals: dict[str, Interval],
    *, why: str, fewest: float,
) -> Study:  # fmt: skip
    """Intervals by name, of which the first is judged; where there are two, the ratio of their mean widths as well."""
    ways = [*intervals, *(["width"] if len(intervals) == 2 else [])]
    study = Study(
        f"Difference of two errors on the same images ({name})",
        DISAGREEING if len(intervals) == 1 else f"{DISAGREEING} {BEFORE}",
        "images", tuple(f"{percent(rate)}{f', {way}' if way else ''}" for way in ways for rate in RATES), m, why=why,
    )  # fmt: skip
    study.beside = study.columns[len(RATES) :]
    for n in images:
        found = []
        for rate in RATES:
            shares = [rate, newly_right(rate), min(rate / 2, 0.03)]
            counts = generator.multinomial(n, [*shares, 1 - sum(shares)], m)
            ends = [interval(counts, n) for interval in intervals.values()]
            widths = [float((each[:, 1] - each[:, 0]).mean()) for each in ends]
            ratio = [100 * widths[1] / widths[0]] if len(ends) == 2 else []
            found.append([*(holds(each, 100 * (rate - newly_right(rate))) for each in ends), *ratio])
            if n * rate <= fewest:
                study.excused.add((f"{n:,}", percent(rate)))
        study.rows[f"{n:,}"] = [value for way in zip(*found, strict=True) for value in way]
    return study


def score(counts: np.ndarray, images: int) -> np.ndarray:
    pairs, where = np.unique(counts[:, :2], axis=0, return_inverse=True)
    return np.array([paired_difference(b, c, images)[1:] for b, c in pairs.tolist()])[where]


def by_changed(counts: np.ndarray, images: int) -> np.ndarray:
    """The variance bounded by the number of changed predictions, normal: what claim 7 printed before."""
    difference = (counts[:, 0] - counts[:, 1]) / images
    changed = counts[:, :3].sum(1)
    reach = NORMAL * np.sqrt(((changed + 1) / images - difference**2) / images)
    return 100 * np.stack([difference - reach, difference + reach], 1)


def by_normal(counts: np.ndarray, images: int) -> np.ndarray:
    """Mean and standard deviation of the differences per image, normal: the interval of an interaction."""
    difference = (counts[:, 0] - counts[:, 1]) / images
    variance = ((counts[:, 0] + counts[:, 1]) / images - difference**2) / (images - 1)
    return 100 * np.stack([difference - NORMAL * np.sqrt(variance), difference + NORMAL * np.sqrt(variance)], 1)


def of_mcnemar(generator: np.random.Generator, m: int, images: tuple[int, ...]) -> Study:
    study = Study(
        "False alarms of McNemar's exact test at 5 %",
        "Images newly wrong and newly right at half the rate of the column each: there is no difference.",
        "images", tuple(map(percent, RATES)), m, bounds=(0, 5),
    )  # fmt: skip
    test = lru_cache(None)(mcnemar)
    for n in images:
        study.rows[f"{n:,}"] = []
        for rate in RATES:
            counts = generator.multinomial(n, [rate / 2, rate / 2, 1 - rate], m)[:, :2].tolist()
            study.rows[f"{n:,}"].append(100 * float(np.mean([test(b, c) < 0.05 for b, c in counts])))
    return study


def of_a_sequence(generator: np.random.Generator, m: int, images: tuple[int, ...]) -> Study:
    rates, step = (0.005, 0.02, 0.1, 0.3), 250
    study = Study(
        "Difference of two errors, looked at again and again (confidence sequence)",
        f"The two networks disagree on the share of images of the column; of these three in four are newly wrong. How "
        f"many runs ever leave out the true difference, in per cent, if the interval is looked at after every {step} "
        "images up to the row's number. Beside it Tango's interval, which is for a fixed number of images.",
        "images", (*map(percent, rates), *(f"{percent(rate)}, Tango" for rate in rates)), m, bounds=(0, 5),
        beside=tuple(f"{percent(rate)}, Tango" for rate in rates),
    )  # fmt: skip
    looks = np.arange(step, max(images) + 1, step)
    lost = {}
    # nearer to the truth than so many standard deviations no interval leaves it out
    for name, interval, nearest in (("", confidence_sequence, 2.3), (", Tango", paired_difference, 1.6)):
        cached = lru_cache(None)(interval)
        for rate in rates:
            shares = [0.75 * rate, 0.25 * rate, 1 - rate]
            counts = generator.multinomial(step, shares, (m, len(looks)))[:, :, :2].cumsum(1)
            away = np.abs(counts[..., 0] - counts[..., 1] - looks * rate / 2) / np.sqrt(looks * (rate - rate**2 / 4))
            out = np.zeros(away.shape, dtype=bool)
            for run, look in np.argwhere(away > nearest):
                _, low, high = cached(*counts[run, look].tolist(), int(looks[look]))
                out[run, look] = not low <= 50 * rate <= high
            lost[f"{percent(rate)}{name}"] = out
    for n in images:
        study.rows[f"{n:,}"] = [100 * float(lost[column][:, looks <= n].any(1).mean()) for column in study.columns]
    return study


# of means over draws


WORLDS = {"images 1.5, draws 0.1": (1.5, 0.1), "images 1.5, draws 0.3": (1.5, 0.3), "images 1, draws 1": (1.0, 1.0),
          "images 0.3, draws 1": (0.3, 1.0)}  # fmt: skip


def of_both(generator: np.random.Generator, m: int, sizes: tuple[tuple[int, int], ...], rate: float) -> Study:
    alone = ("over images alone", "over draws alone")
    study = Study(
        f"Mean over draws and images, error {percent(rate)}",
        "An image is wrong where a normal value of its own, one of the draw and one of the pair (of standard deviation "
        "1) sum to below a threshold. A row names the first two standard deviations: draws of 0.1 or 0.3 are like "
        "random deletions of some blocks, 1 is extreme (errors of single draws from near 0 to near 100 %). The last "
        "columns are intervals over one source alone, which are not made for other draws on other images.",
        "standard deviations", (*(f"{d} x {n:,}" for d, n in sizes), *(f"{sizes[0][0]} x {sizes[0][1]:,}, {each}"
        for each in alone)), m,
        why="few draws of a skewed distribution: the draws that would raise the mean are mostly not among them",
    )  # fmt: skip
    study.beside = study.columns[len(sizes) :]
    for world, (of_images, of_draws) in WORLDS.items():
        threshold = ndtri(rate) * math.sqrt(1 + of_images**2 + of_draws**2)
        found: list[float] = []
        compared: list[float] = []
        for d, n in sizes:
            ends, sides = [], []
            for _ in range(m):
                values = generator.standard_normal((d, n), dtype=np.float32)
                values += (of_draws * generator.normal(size=(d, 1))).astype(np.float32)
                values += (of_images * generator.normal(size=n)).astype(np.float32)
                both = two_way(values < threshold)
                ends.append((both.low, both.high))
                sides.append((both.mean, both.over_images, both.over_draws))
            found.append(holds(ends, 100 * rate))
            if not compared:
                middle, *errors = np.array(sides, dtype=float).T
                compared = [holds(np.stack([middle - NORMAL * e, middle + NORMAL * e], 1), 100 * rate) for e in errors]
            if of_draws == 1 and d <= 20:
                study.excused.add((world, f"{d} x {n:,}"))
        study.rows[world] = [*found, *compared]
    return study


def of_all_draws(generator: np.random.Generator, m: int) -> Study:
    """Draws without repetition out of few: the mean of all of them on all images."""
    study = Study(
        "Mean over draws and images, where there are only 25 different draws",
        "As above, 10 % error, 500 images, images 1.5 and draws 0.3; the truth is the mean over all 25 draws.",
        "draws", ("with their number", "without"), m, beside=("without",),
    )  # fmt: skip
    of_images, of_draws, population = 1.5, 0.3, 25
    threshold = ndtri(0.1) * math.sqrt(1 + of_images**2 + of_draws**2)
    for draws in (10, 20, 25):
        ends: list[list[tuple[float | None, float | None]]] = [[], []]
        truths = []
        for _ in range(m):
            effects = of_draws * generator.normal(size=population)
            truths.append(100 * float(ndtr((threshold - effects) / math.sqrt(1 + of_images**2)).mean()))
            values = generator.normal(size=(draws, 500)) + of_images * generator.normal(size=500)
            wrong = values + effects[:draws, None] < threshold
            for kept, known in zip(ends, (population, None), strict=True):
                both = two_way(wrong, known)
                kept.append((both.low, both.high))
        study.rows[str(draws)] = [holds(each, np.array(truths)) for each in ends]
    return study


def of_a_bootstrap_over_draws(generator: np.random.Generator, m: int) -> Study:
    worlds = {"error 30 %, deviation 9": (7.5, 17.5), "error 10 %, deviation 9 (skewed)": (1.01, 9.09)}
    study = Study(
        "Mean over draws, the images fixed (percentile bootstrap)",
        "Errors of independent draws from a beta distribution. Student's interval is there to compare.",
        "draws", tuple(f"{name}{way}" for name in worlds for way in ("", ", Student")), m,
        why="the percentile bootstrap of few values is too narrow, by the factor sqrt((d - 1) / d) and for want of "
        "Student's quantile; skewness adds to it",
    )  # fmt: skip
    study.beside = tuple(column for column in study.columns if column.endswith("Student"))
    for draws in (5, 10, 20, 100):
        study.rows[str(draws)] = []
        for name, (a, b) in worlds.items():
            samples = 100 * generator.beta(a, b, (m, draws))
            ends = [bootstrap_mean(each, seed) for seed, each in enumerate(samples)]
            student = [over_seeds(each.tolist()) for each in samples]
            truth = 100 * a / (a + b)
            study.rows[str(draws)] += [holds(ends, truth), holds([(s.low, s.high) for s in student], truth)]
            if draws <= 20:
                study.excused.add((str(draws), name))
    return study


# over trainings


def of_seeds(generator: np.random.Generator, m: int) -> Study:
    study = Study(
        "Mean and difference of means over trainings",
        "Normal errors. Student: one mean, or differences paired by seed. Welch: two means of as many trainings, with "
        "equal standard deviations, and with one three times the other.",
        "trainings", ("Student", "Welch", "Welch, 1 : 3"), m,
        why="Welch's interval is too wide for two or three trainings",
    )  # fmt: skip
    for n in (2, 3, 5, 10):
        one = generator.normal(size=(m, n))
        student = [over_seeds(each) for each in one.tolist()]
        row = [holds([(s.low, s.high) for s in student], 0.0)]
        for ratio in (1, 3):
            other = ratio * generator.normal(size=(m, n))
            parts = np.stack([one.var(1, ddof=1), other.var(1, ddof=1)]) / n
            freedom = parts.sum(0) ** 2 / ((parts**2).sum(0) / (n - 1))
            reach = stdtrit(freedom, 0.975) * np.sqrt(parts.sum(0))
            middle = other.mean(1) - one.mean(1)
            row.append(holds(np.stack([middle - reach, middle + reach], 1), 0.0))
            if n <= 3:
                study.excused.add((str(n), "Welch" if ratio == 1 else "Welch, 1 : 3"))
        study.rows[str(n)] = row
    return study


PUBLISHED = 5
COUNTS = (1, 3, 5, 10, 20)


def _verdicts(
    generator: np.random.Generator, m: int, count: int, *, apart: float, std: float, known: bool, ratio: float = 1.0
) -> dict[str, float]:
    """Shares of verdicts in percent, on the median (or the mean with its spread) of five published runs."""
    theirs, ours = std * generator.normal(size=(m, PUBLISHED)), apart + ratio * std * generator.normal(size=(m, count))
    values = theirs.mean(1) if known else np.median(theirs, axis=1)
    spreads = theirs.std(1, ddof=1).tolist() if known else [None] * m
    of = "mean" if known else "median"
    found = [
        replication(each, value, PUBLISHED, std=spread, of=of).verdict  # type: ignore[arg-type]
        for each, value, spread in zip(ours.tolist(), values.tolist(), spreads, strict=True)
    ]
    return {verdict: 100 * found.count(verdict) / m for verdict in ("holds", "does not hold", "cannot say")}


def of_false_refutations(generator: np.random.Generator, m: int) -> Study:
    study = Study(
        "True replications called false",
        "Our trainings and the five published runs are drawn alike, with a standard deviation of 0.2 or 0.6 points. "
        "Before: the published value, a median, was a constant that had to lie in Student's interval.",
        "trainings", ("before", "median, 0.2", "median, 0.6", "mean and std, 0.2", "mean and std, 0.6",
        "mean and std, 0.2, ours 0.4"), m, bounds=(0, 5), beside=("before",),
        why="a single training with twice the published spread has nothing to show that with",
    )  # fmt: skip
    study.excused = {("1", "mean and std, 0.2, ours 0.4")}
    for count in COUNTS:
        before = math.nan
        if count > 1:
            ours = generator.normal(size=(m, count))
            median = np.median(generator.normal(size=(m, PUBLISHED)), axis=1)
            reach = stdtrit(count - 1, 0.975) * ours.std(1, ddof=1) / math.sqrt(count)
            before = 100 - holds(np.stack([ours.mean(1) - reach, ours.mean(1) + reach], 1), median)
        settings = ((0.2, False, 1), (0.6, False, 1), (0.2, True, 1), (0.6, True, 1), (0.2, True, 2))
        found = [
            _verdicts(generator, m, count, apart=0.0, std=std, known=known, ratio=ratio)["does not hold"]
            if known or count > 1 else math.nan
            for std, known, ratio in settings
        ]  # fmt: skip
        study.rows[str(count)] = [before, *found]
    return study


def of_replications(generator: np.random.Generator, m: int) -> Study:
    cases = {
        "0: holds": (0.0, "holds"), "0.25: does not hold": (0.25, "does not hold"),
        "0.5: holds": (0.5, "holds"), "0.5: does not hold": (0.5, "does not hold"),
        "1: does not hold": (1.0, "does not hold"),
    }  # fmt: skip
    kinds = (("median", False), ("mean and std", True))
    study = Study(
        "Verdicts on a published value, margin 0.5 points",
        "Standard deviation 0.2 points, five published runs; columns give the true difference in points and the "
        "verdict. Not a coverage, so nothing is bold.",
        "published, trainings", tuple(cases), m, bounds=(0, 100),
    )  # fmt: skip
    for name, known in kinds:
        for count in COUNTS:
            if known or count > 1:
                study.rows[f"{name}, {count}"] = [
                    _verdicts(generator, m, count, apart=apart, std=0.2, known=known)[verdict]
                    for apart, verdict in cases.values()
                ]
    return study


# ranks


def of_spearman(generator: np.random.Generator, m: int) -> Study:
    study = Study(
        "Spearman's rank correlation (percentile bootstrap over pairs)",
        "Pairs from a normal distribution with the correlation of the column. Last row: the design of `lesion "
        "--multi`, 20 sizes of 5 draws each, whose error rises with the size and saturates, with noise that gives "
        "about the correlation of the column.",
        "pairs", ("0", "0.5", "0.9"), m,
        why="with few pairs the bootstrap is off, and near 1 it is skewed. Where sizes are fixed by design the "
        "bootstrap, which draws them too, is too wide if the correlation is strong",
    )  # fmt: skip
    for pairs in (9, 27, 54, 100):
        study.rows[str(pairs)] = []
        for column, correlation in zip(study.columns, (0.0, 0.5, 0.9), strict=True):
            truth, hits = 6 / math.pi * math.asin(correlation / 2), 0
            for _ in range(m):
                a = generator.normal(size=pairs)
                b = correlation * a + math.sqrt(1 - correlation**2) * generator.normal(size=pairs)
                low, high = rank_bootstrap(generator, a, b)
                hits += low <= truth <= high
            study.rows[str(pairs)].append(100 * hits / m)
            if pairs <= 27 or correlation == 0.9:
                study.excused.add((str(pairs), column))
    sizes = np.repeat(np.arange(1.0, 21), 5)
    study.rows["20 x 5"] = []
    for column, noise in zip(study.columns, (None, 50.0, 9.0), strict=True):

        def draw(x: np.ndarray, noise: float | None = noise) -> np.ndarray:
            rise = 0 if noise is None else 80 * np.tanh(x / 12)
            return rise + (noise or 1.0) * generator.normal(size=len(x))

        many = np.repeat(np.arange(1.0, 21), 50_000)
        truth, hits = _correlation(many, draw(many)), 0
        for _ in range(m):
            low, high = rank_bootstrap(generator, sizes, draw(sizes))
            hits += low <= truth <= high
        study.rows["20 x 5"].append(100 * hits / m)
        study.excused.add(("20 x 5", column))
    return study


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    centred = _middle_ranks(a, np.ones((1, len(a)))), _middle_ranks(b, np.ones((1, len(b))))
    return float((centred[0] * centred[1]).sum() / np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))


def rank_bootstrap(
    generator: np.random.Generator, a: np.ndarray, b: np.ndarray, resamples: int = RESAMPLES // 2
) -> tuple[float, float]:
    """As `spearman`, with all resamples at once: how often each pair is drawn instead of which."""
    pairs = len(a)
    chosen = generator.integers(pairs, size=(resamples, pairs))
    counts = np.bincount((chosen + pairs * np.arange(resamples)[:, None]).ravel(), minlength=resamples * pairs)
    weights = counts.reshape(resamples, pairs).astype(float)
    x, y = _middle_ranks(a, weights), _middle_ranks(b, weights)
    norms = np.sqrt((weights * x**2).sum(1) * (weights * y**2).sum(1))
    kept = norms > 0
    low, high = np.quantile((weights * x * y).sum(1)[kept] / norms[kept], [0.025, 0.975])
    return float(low), float(high)


def _middle_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Ranks in each resample, minus their mean; ties share theirs. (n,), (r, n) -> (r, n)."""
    order = np.argsort(values)
    _, starts, level = np.unique(values[order], return_index=True, return_inverse=True)
    in_level = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks = np.cumsum(in_level, axis=1) - in_level / 2 - weights.sum(1, keepdims=True) / 2
    found = np.empty_like(weights)
    found[:, order] = ranks[:, level]
    return found


# claims


def _single(generator: np.random.Generator, errors: list[float], images: int, resizes: int = 0, **how: Any) -> Run:
    """A table of single deletions: the intact network's error first, paired flags, the last blocks resize."""
    intact = generator.random(images) < errors[0]
    rows: list[dict[str, Any]] = []
    for number, error in enumerate(errors):
        # a deletion spoils images that were right, in order to reach its error; it mends none
        spoiled = generator.random(images) < max(error - errors[0], 0) / (1 - errors[0])
        wrong = intact | spoiled if number else intact
        b, c = int((wrong & ~intact).sum()), int((~wrong & intact).sum())
        rows.append(
            {
                "network": "net", "block": f"b{number}" if number else "(intact)", "wrong": int(wrong.sum()),
                "images": images, "error": 100 * float(wrong.mean()), "changed": b + c, "newly_wrong": b,
                "newly_right": c, "kind": how.get("kind", "block") if number else None,
                "resizes": number >= len(errors) - resizes if number else None,
            }
        )  # fmt: skip
    return _run("lesion", rows, arch=how.get("arch", "resnet56"))


def _several(generator: np.random.Generator, means: list[float], name: str, column: str) -> Run:
    """A table of 20 random sets (or orders) of each size, with errors that spread by 6 points around the mean."""
    rows = [
        {"network": "net", column: 0, "error": means[0], "kendall_tau": 1.0, "order": "", "images": 1000, "wrong": 0}
    ]
    for size, mean in enumerate(means[1:], 1):
        errors = np.clip(generator.normal(mean, 6, 20), 0, 90)
        rows += [
            {**rows[0], column: size, "error": float(error), "kendall_tau": 1 - size / 20, "order": f"{size} {draw}"}
            for draw, error in enumerate(errors)
        ]
    ranks = spearman([row[column] for row in rows[1:]], [row["error"] for row in rows[1:]], 0)
    return _run(name, rows, arch="resnet56", **asdict(ranks))


def _responses(generator: np.random.Generator, ratio: float, images: int = 200) -> Run:
    """Six layers of a ResNet and of a plain network, whose values are this many times as strong."""
    strength = 0.5 + generator.random((images, 1))
    rows = []
    for name, scale in (("resnet", 1.0), ("plain", ratio)):
        for layer in range(6):
            values = torch.from_numpy(scale * strength * generator.normal(size=(images, 64)))
            found = ImageMoments().finish(ImageMoments().reduce(None, values))
            rows.append({"network": name, "layer": str(layer), "std": found.std, "std_error": found.std_error})
    return _run("responses", rows, networks={"resnet": {"arch": "resnet20"}, "plain": {"arch": "plain20"}})


def _last_stage(
    generator: np.random.Generator, cosines: Sequence[float] = (), right: Sequence[float] = (), images: int = 1000
) -> Run:
    """Blocks of the last stage: cosines of 0.3 over images, half of whose variance blocks share; exits likewise."""
    shared = generator.normal(size=images)
    rows: list[dict[str, Any]] = []
    for index, (cosine, share) in enumerate(itertools.zip_longest(cosines, right)):
        own = math.sqrt(0.5) * (shared + generator.normal(size=images))
        row = {"network": "net", "block": f"b{index}", "index": index, "images": images, "gradients": images}
        if cosine is not None:
            values = cosine + 0.3 * own
            row |= {"cos_exit": float(values.mean()), "cos_exit_std": float(values.std())}
        if share is not None:
            row |= {"exit_accuracy": 100 * float((ndtr(own) < share).mean())}
        rows.append(row)
    return _run("iterative", rows, arch="resnet56")


def _trainings(generator: np.random.Generator, errors: dict[tuple[str, str, int, str], float], seeds: int = 5) -> Run:
    """Five trainings of each network (variant, family, depth, style), whose errors spread by 0.16 points."""
    rows = [
        {"cell": f"{variant}{family}{depth}{style}{seed}", "arch": f"{family}{depth}{variant}", "family": family,
         "variant": variant or None, "depth": depth, "style": style, "seed": seed, "epochs": 164,
         "train_error": error, "test_error": error}
        for (variant, family, depth, style), mean in errors.items()
        for seed, error in enumerate(mean + 0.16 * generator.normal(size=seeds))
    ]  # fmt: skip
    return _run("grid", rows)


def _next_depth(generator: np.random.Generator, family: str, more: float) -> Run:
    """Two depths of a family, the deeper with so many points more."""
    return _trainings(generator, {("", family, 20, "normal"): 5.0, ("", family, 32, "normal"): 5.0 + more})


def _damages(generator: np.random.Generator, more: float) -> Run:
    """Lesions of five trainings in each of two styles, which add so many points more after normal training."""
    rows = [
        {"cell": f"{style}{seed}", "arch": "resnet56", "style": style, "seed": seed, "block": f"b{block}",
         "resizes": False, "increase": mean + shift + 2 * float(generator.normal())}
        for style, mean in (("normal", 5 + more), ("stochastic-depth", 5.0))
        for seed, shift in enumerate(generator.normal(size=5))
        for block in range(25)
    ]  # fmt: skip
    return _run("grid_lesions", rows)


def _agreement(generator: np.random.Generator, mean: Callable[[int], float], images: int = 200) -> Run:
    """27 blocks, the last one at depth 1, whose cosines spread by 0.04 over pairs of images, half of it by image."""
    rows = [
        {"network": "net", "block": f"b{index}", "images": images, "agreement": float(values.mean()),
         "agreement_std": float(values.std())}
        for index in range(27)
        for own in [generator.normal(size=images)]
        for values in [mean(27 - index) + 0.02 * (own[1:] + own[:-1] + 2**0.5 * generator.normal(size=images - 1))]
    ]  # fmt: skip
    return _run("iterative", rows, arch="resnet56")


def _ranks(generator: np.random.Generator, correlation: float, blocks: int = 27) -> Run:
    """Rank correlation of a measure and the damage over blocks."""
    a = generator.normal(size=blocks)
    b = correlation * a + math.sqrt(1 - correlation**2) * generator.normal(size=blocks)
    found = spearman(a.tolist(), b.tolist(), 0)
    row = {"network": "net", "measure": "influence", "damage": "loss", "subset": "all", "blocks": blocks}
    return _run("iterative_ranks", [row | dict(zip(("rho", "low", "high"), astuple(found), strict=True))], arch="n")


def _values(generator: np.random.Generator, correlation: float, blocks: int = 27) -> Run:
    """Shapley values and single lesions of blocks."""
    a = generator.normal(size=blocks)
    b = correlation * a + math.sqrt(1 - correlation**2) * generator.normal(size=blocks)
    pairs = zip(a.tolist(), b.tolist(), strict=True)
    rows = [{"network": "net", "measure": "accuracy", "lesion": x, "shapley": y} for x, y in pairs]
    return _run("importance", rows, arch="n")


def _cut(generator: np.random.Generator, first: float, second: float, images: int = 1000) -> Run:
    """Two networks of these errors whose mistakes go together: greedy and one ranking, or intact and fine-tuned."""
    common = generator.normal(size=images)
    flags = [common + generator.normal(size=images) < 2**0.5 * ndtri(error) for error in (first, second)]
    found = paired(*flags)
    interval = found.increase, found.increase_low, found.increase_high
    row = {"network": "net", "removed": 3}
    over = dict(zip(("over_greedy", "over_greedy_low", "over_greedy_high"), interval, strict=True))
    healed = dict(zip(("difference", "difference_low", "difference_high"), interval, strict=True))
    intact = {"network": "net", "order": "(intact)", "removed": 0, "images": images, "wrong": 80, "error": 8.0}
    rows = [intact, row | {"order": "lesion_loss"} | over, row | {"order": "greedy", "healing": "trained"} | healed]
    return _run("prune", rows, arch="n", players=list("abcdefghi"))


def _runs(generator: np.random.Generator, late: float, early: float, images: int = 1000) -> Run:
    """Runs of three of twelve blocks with these errors on either side of the middle, whose mistakes go together."""
    common = generator.normal(size=images)
    flags = {
        (3, start): common + generator.normal(size=images) < 2**0.5 * ndtri(late if start > 4 else early)
        for start in range(10)
    }
    intact = {"network": "net", "length": 0, "images": images, "wrong": 80, "error": 8.0}
    rows = [{"network": "net", "length": 3, "start": start, "loss": 1.0} for _, start in flags]
    halves = [late_against_early(flags, 3, 12)]
    return _run("prune_runs", [intact, *rows], arch="n", players=list("abcdefghijkl"), halves=halves, length=3)


def _path_norms(generator: np.random.Generator, logarithm: Callable[[np.ndarray], np.ndarray]) -> Run:
    """200 sampled paths of each of 20 lengths, log-normal, 0.5 of the logarithm."""
    lengths = np.arange(20)
    samples = np.exp(0.5 * generator.normal(size=(20, 200)) + logarithm(lengths)[:, None])
    line = decay(lengths.tolist(), samples.mean(1).tolist(), (samples.std(1) / 200**0.5).tolist())
    assert line is not None
    return _run("gradients", [{"network": "net", "length": 0}], arch="resnet56", blocks=27, decay=asdict(line))


def _run(name: str, rows: list[dict[str, Any]], **settings: Any) -> Run:
    about = {"data_set": {"name": "cifar10", "split": "test", "images": 10_000, "folder": False}, "classes": 10}
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    result = Result(name, columns, tuple({key: row.get(key) for key in columns} for row in rows), about | settings)
    return Run((Path("run"),), (SavedTable(Path("run"), result),))


def of_claims(generator: np.random.Generator, m: int) -> Study:
    """Worlds in which a claim holds, and in which it does not; the wrong verdict of the two is counted."""

    def published(points: float) -> Run:
        training = 0.0697 + points / 100 + 0.0016 * generator.normal()
        return _single(generator, [training, 0.2], 10_000)

    smooth = [7 + 80 * math.tanh(size / 8) for size in range(11)]
    jump = [7.0, *(80 + size / 2 for size in range(10))]
    even = [0.1] + [0.3] * 9
    cases: dict[str, tuple[Callable[[Run], Any], int, Callable[[], Run], Callable[[], Run]]] = {
        "2: error as published; 1.5 points higher": (
            sizes.errors, 0, lambda: published(0), lambda: published(1.5)
        ),
        "6: 13 layers at chance; one at 70 %": (
            rules.lesions, 0,
            lambda: _single(generator, [0.1] + [0.9] * 13, 1000, kind="layer", arch="vgg16"),
            lambda: _single(generator, [0.1] + [0.9] * 12 + [0.7], 1000, kind="layer", arch="vgg16"),
        ),
        "7a: 25 blocks add 2 points; one adds 10": (
            rules.lesions, 0, lambda: _single(generator, [0.07] + [0.09] * 25, 1000),
            lambda: _single(generator, [0.07] + [0.09] * 24 + [0.17], 1000),
        ),
        "7b: two of nine resize and add 20 points more; 10 less": (
            rules.lesions, 1, lambda: _single(generator, [0.1] + [0.3] * 7 + [0.5] * 2, 1000, 2),
            lambda: _single(generator, [0.1] + [0.3] * 7 + [0.2] * 2, 1000, 2),
        ),
        "7b: all add the same (either verdict is false)": (
            rules.lesions, 1, lambda: _single(generator, even, 1000, 2), lambda: _single(generator, even, 1000, 2)
        ),
        "8: rises smoothly; jumps at the first": (
            rules.several, 0, lambda: _several(generator, smooth, "lesion_multi", "deleted"),
            lambda: _several(generator, jump, "lesion_multi", "deleted"),
        ),
        "9: rises smoothly; jumps at the first": (
            rules.orders, 0, lambda: _several(generator, smooth, "reorder", "swaps"),
            lambda: _several(generator, jump, "reorder", "swaps"),
        ),
        "4: the plain network 1.2 times as strong; 0.8 times": (
            responses, 0, lambda: _responses(generator, 1.2), lambda: _responses(generator, 0.8)
        ),
        "11: exp(-0.6 k); exp(-0.03 k^2)": (
            gradients, 0, lambda: _path_norms(generator, lambda k: -0.6 * k),
            lambda: _path_norms(generator, lambda k: -0.03 * k**2),
        ),
        "14: cosine -0.06 in 8 blocks; 0.06 in one of them": (
            iterative.branches, 0, lambda: _last_stage(generator, [-0.06] * 8),
            lambda: _last_stage(generator, [-0.06] * 7 + [0.06]),
        ),
        "17: cosine falls from -0.05 to -0.15; rises": (
            iterative.higher_blocks, 0, lambda: _last_stage(generator, np.linspace(-0.05, -0.15, 8).tolist()),
            lambda: _last_stage(generator, np.linspace(-0.15, -0.05, 8).tolist()),
        ),
        "17: equal cosines (either verdict is false)": (
            iterative.higher_blocks, 0, lambda: _last_stage(generator, [-0.1] * 8),
            lambda: _last_stage(generator, [-0.1] * 8),
        ),
        "18: exits rise from 50 to 92 % in equal steps; in one step": (
            iterative.exits, 0, lambda: _last_stage(generator, right=np.linspace(0.5, 0.92, 8).tolist()),
            lambda: _last_stage(generator, right=[0.5] * 4 + [0.92] * 4),
        ),
        "19: rank correlation of 0.9 over 27 blocks; of 0.2": (
            iterative.influence, 0, lambda: _ranks(generator, 0.908), lambda: _ranks(generator, 0.209)
        ),
        "22: the middle 14 of 27 blocks add 2 points, the others 12; the other way round": (
            rules.middle, 0, lambda: _single(generator, [0.1] + [0.22] * 6 + [0.12] * 15 + [0.22] * 6, 1000),
            lambda: _single(generator, [0.1] + [0.12] * 6 + [0.22] * 15 + [0.12] * 6, 1000),
        ),
        "23: agreement 1 / sqrt(depth) over 27 blocks; exp(-0.1 depth)": (
            iterative.agreement, 0, lambda: _agreement(generator, lambda depth: depth**-0.5),
            lambda: _agreement(generator, lambda depth: math.exp(-0.1 * depth)),
        ),
        "3: training error 1 point higher at the next depth; 1 lower": (
            training.degradation, 0,
            lambda: _next_depth(generator, "plain", 1.0), lambda: _next_depth(generator, "plain", -1.0),
        ),
        "13: effective paths as good; 1.5 points worse": (
            training.effective_training, 0,
            lambda: _trainings(generator, {("", "resnet", 110, style): 6.0 for style in ("normal", "effective-paths")}),
            lambda: _trainings(
                generator, {("", "resnet", 110, "normal"): 6.0, ("", "resnet", 110, "effective-paths"): 7.5}
            ),
        ),
        "15: training error 1 point lower at the next depth; 1 higher": (
            training.deeper, 0,
            lambda: _next_depth(generator, "resnet", -1.0), lambda: _next_depth(generator, "resnet", 1.0),
        ),
        "16: options A and B alike; 2 points apart": (
            training.options, 0,
            lambda: _trainings(generator, {("", "resnet", 20, "normal"): 8.0, ("B", "resnet", 20, "normal"): 8.0}),
            lambda: _trainings(generator, {("", "resnet", 20, "normal"): 8.0, ("B", "resnet", 20, "normal"): 10.0}),
        ),
        "20: deletions add 3 points more after normal training; 3 less": (
            training.resilience, 0, lambda: _damages(generator, 3.0), lambda: _damages(generator, -3.0)
        ),
        "15: no difference (either verdict is false)": (
            training.deeper, 0,
            lambda: _next_depth(generator, "resnet", 0.0), lambda: _next_depth(generator, "resnet", 0.0),
        ),
        "24: rank correlation of 0.9 over 27 blocks; of 0.2": (
            pruning.shapley, 0, lambda: _values(generator, 0.908), lambda: _values(generator, 0.209)
        ),
        "25: one ranking adds 5 points over greedy; 5 fewer": (
            pruning.greedy, 0, lambda: _cut(generator, 0.15, 0.20), lambda: _cut(generator, 0.20, 0.15)
        ),
        "25: no difference (either verdict is false)": (
            pruning.greedy, 0, lambda: _cut(generator, 0.15, 0.15), lambda: _cut(generator, 0.15, 0.15)
        ),
        "26: fine-tuned as good as intact; 3 points worse": (
            pruning.healing, 0, lambda: _cut(generator, 0.08, 0.08), lambda: _cut(generator, 0.08, 0.11)
        ),
        "27: late runs cost 2 points less than early ones; 2 more": (
            pruning.late, 0, lambda: _runs(generator, 0.18, 0.20), lambda: _runs(generator, 0.20, 0.18)
        ),
        "27: no difference (either verdict is false)": (
            pruning.late, 0, lambda: _runs(generator, 0.20, 0.20), lambda: _runs(generator, 0.20, 0.20)
        ),
    }  # fmt: skip
    study = Study(
        "Wrong verdicts on claims",
        "Each claim in a world where it holds, and in one where it does not (named in this order); 1,000 images (claim "
        "2: 10,000, trainings spread by 0.16 points; claim 4: 200), 20 draws of each size (claims 8 and 9), 200 paths "
        "of each length (claim 11), five trainings that spread by 0.16 points (claims 3, 13, 15 and 16) or 1 point "
        "(20). Claim 5 stands above.",
        "claim", ("holds, judged false", "does not hold, judged true", "settled, of both"), m, bounds=(0, 5),
        beside=("settled, of both",),
    )  # fmt: skip
    for name, (rule, place, true, false) in cases.items():
        said = [[list(rule(world()))[place].verdict for _ in range(m)] for world in (true, false)]
        wrong = [100 * each.count(verdict) / m for each, verdict in zip(said, (DOES_NOT_HOLD, HOLDS), strict=True)]
        unsettled = sum(each.count(CANNOT_SAY) for each in said)
        study.rows[name] = [*wrong, 100 - 100 * unsettled / (2 * m)]
    return study


# many at once


def of_many(generator: np.random.Generator, m: int) -> Study:
    study = Study(
        "Many tests at once, at 5 %",
        "54 two-sided normal tests whose statistics are independent or share a correlation of 0.5; so many of them "
        "have a real difference, of 3 standard errors. Raw: without a correction. False discoveries: mean share of "
        "false ones among those called (none called counts as 0), by Benjamini and Hochberg. Bonferroni: any of the "
        "54 intervals misses.",
        "real, correlation",
        ("raw, any false", "Bonferroni, any interval misses", "false discoveries", "real ones found"), m, bounds=(0, 5),
        beside=("raw, any false", "real ones found"),
    )  # fmt: skip
    tests = 54
    reach = float(ndtri((1 + bonferroni(tests)) / 2))
    for real in (0, 5, 20):
        for correlation in (0.0, 0.5):
            shared = generator.normal(size=(m, 1))
            noise = math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * generator.normal(size=(m, tests))
            p = 2 * ndtr(-np.abs(noise + 3.0 * (np.arange(tests) < real)))
            called = np.array([false_discovery(each) for each in p.tolist()]) <= 0.05
            wrong = called[:, real:].sum(1) / np.maximum(called.sum(1), 1)
            study.rows[f"{real}, {correlation:g}"] = [
                100 * float((p[:, real:] < 0.05).any(1).mean()),
                100 * float((np.abs(noise) > reach).any(1).mean()),
                100 * float(wrong.mean()),
                100 * float(called[:, :real].mean()) if real else math.nan,
            ]
    return study


# the rest of what tables print


def of_lines(generator: np.random.Generator, m: int) -> Study:
    study = Study(
        "Slope and bend of ln(norm) against the length (weighted least squares)",
        "An exact exponential, the norm of each length a mean over 200 log-normal samples with the deviation of the "
        "logarithm that the column names, known only by their sample standard deviation.",
        "lengths", ("slope, 0.5", "slope, 1", "bend, 0.5", "bend, 1"), m,
        why="a heavy tail makes small means look precise",
    )  # fmt: skip
    for points in (10, 28, 55):
        held: dict[str, list[bool]] = {column: [] for column in study.columns}
        for spread in (0.5, 1.0):
            for _ in range(m):
                samples = np.exp(spread * generator.normal(size=(points, 200)) - 0.3 * np.arange(points)[:, None])
                errors = (samples.std(1) / 200**0.5).tolist()
                line = decay(range(points), samples.mean(1).tolist(), errors)
                assert line is not None
                held[f"slope, {spread:g}"].append(line.slope_low <= -0.3 <= line.slope_high)
                held[f"bend, {spread:g}"].append(line.bend_low <= 0 <= line.bend_high)
        study.rows[str(points)] = [100 * float(np.mean(each)) for each in held.values()]
        study.excused |= {(str(points), column) for column in study.columns if column.endswith(" 1")}
    return study


def of_norms(generator: np.random.Generator, m: int) -> Study:
    study = Study(
        "Mean norm of the sampled paths of one length (normal, on a log axis)",
        "Independent log-normal norms; columns give the standard deviation of their logarithm.",
        "samples", ("0.5", "1", "1.5"), m,
        why="few samples of a heavy tail: the largest norms are missing from most samples",
    )  # fmt: skip
    for samples in (10, 100, 1000):
        study.rows[str(samples)] = []
        for column in study.columns:
            spread = float(column)
            values = np.exp(spread * generator.normal(size=(m, samples)))
            mean = values.mean(1)
            factor = np.exp(NORMAL * values.std(1, ddof=1) / (mean * math.sqrt(samples)))
            study.rows[str(samples)].append(holds(np.stack([mean / factor, mean * factor], 1), math.exp(spread**2 / 2)))
            if samples == 10 or (samples, spread) == (100, 1.5):
                study.excused.add((str(samples), column))
    return study


def of_ratios(generator: np.random.Generator, m: int) -> Study:
    study = Study(
        "Norm of the mean path against the mean norm of a path (ratio of means over the same images)",
        "Log-normal norms of the images, 1 of their logarithm, and of paths within an image, 0.5; five samples of each "
        "image in the second column.",
        "images", ("one path an image", "five paths an image"), m,
        why="few samples of a heavy tail",
    )  # fmt: skip
    for images in (20, 100, 1000):
        study.rows[str(images)] = []
        for column, paths in zip(study.columns, (1, 5), strict=True):
            owners, hits = np.repeat(np.arange(images), paths), 0
            for _ in range(m):
                shared = np.exp(generator.normal(size=images)).repeat(paths)
                single = shared * np.exp(0.5 * generator.normal(size=len(owners)))
                ratio, error = ratio_of_means(shared, single, owners)
                hits += abs(ratio - math.exp(-0.125)) <= NORMAL * (error or 0)
            study.rows[str(images)].append(100 * hits / m)
            if images == 20:
                study.excused.add((str(images), column))
    return study


def of_responses(generator: np.random.Generator, m: int) -> Study:
    study = Study(
        "Standard deviation of a response, and mean difference of two networks' (influence function)",
        "Normal values, 64 of an image, whose deviation and mean grow with the image's strength, uniform from 0.5 to "
        "1.5; four layers, and both networks, share it. Standard errors of layers and networks are added up.",
        "images", ("one layer", "two networks"), m,
        why="of two networks the interval is too wide by design: what layers and networks share cancels in the "
        "difference, and the tables do not hold it",
    )  # fmt: skip
    network = math.sqrt(13 / 12 + 0.3**2 / 12)  # of the first layer: E strength^2, and the variance of the mean
    for images in (20, 100, 1000):
        single = both = 0
        for _ in range(m):
            strength = 0.5 + generator.random((images, 1))
            found = [
                ImageMoments().finish(ImageMoments().reduce(None, torch.from_numpy(values)))
                for scale in (1.0, 1.1)
                for layer in range(1, 5)
                for values in [scale * layer * strength * (generator.normal(size=(images, 64)) + 0.3)]
            ]
            single += abs(found[0].std - network) <= NORMAL * found[0].std_error
            gap = np.mean([each.std for each in found[:4]]) - np.mean([each.std for each in found[4:]])
            both += abs(gap + 0.25 * network) <= NORMAL * np.mean([each.std_error for each in found]) * 2
        study.rows[str(images)] = [100 * single / m, 100 * both / m]
        study.excused.add((str(images), "two networks"))
    return study


def studies(quick: bool = False, seed: int = 0) -> list[Study]:
    """All studies, each with its own stream of random numbers."""
    images = IMAGES[:2] if quick else IMAGES
    many, some, few = (1000, 400, 200) if quick else (10_000, 2000, 1000)
    both = ((10, 500), (20, 500), (100, 500), *(() if quick else ((20, 10_000),)))
    discrete = "two changed images or so are expected, mostly too few to reject anything"
    normal = (
        "with fewer than about 20 changed images the normal interval is too narrow, and has no width where none changed"
    )
    jobs: list[Callable[[np.random.Generator], Study]] = [
        lambda g: of_an_error(g, many, images),
        lambda g: of_a_bootstrap_over_images(g, some, images),
        lambda g: of_a_difference(
            g, many, images, "Tango's score interval", {"": score, "before": by_changed}, why=discrete, fewest=2.5
        ),
        lambda g: of_a_difference(
            g, many, images, "normal, as for interactions of pairs", {"": by_normal}, why=normal, fewest=20
        ),
        lambda g: of_mcnemar(g, many, images),
        *(lambda g, rate=rate: of_both(g, few, both, rate) for rate in ((0.1,) if quick else (0.02, 0.1, 0.5))),
        lambda g: of_all_draws(g, some),
        lambda g: of_a_bootstrap_over_draws(g, some),
        lambda g: of_seeds(g, many),
        lambda g: of_false_refutations(g, many),
        lambda g: of_replications(g, some),
        lambda g: of_spearman(g, few),
        lambda g: of_claims(g, 60 if quick else 200),
        lambda g: of_many(g, some),
        lambda g: of_lines(g, some),
        lambda g: of_norms(g, some),
        lambda g: of_responses(g, few),
        lambda g: of_ratios(g, few),
        lambda g: of_a_sequence(g, few, (1000, 2500) if quick else (1000, 10_000)),
    ]  # fmt: skip
    found = []
    for job, stream in zip(jobs, np.random.SeedSequence(seed).spawn(len(jobs)), strict=True):
        start = time.perf_counter()
        found.append(job(np.random.default_rng(stream)))
        print(f"{found[-1].title}: {time.perf_counter() - start:.1f} s", file=sys.stderr)
    return found


def written(study: Study) -> str:
    """A heading, what was simulated, and the table, in Markdown."""
    level = 0.95 if study.bounds[0] > 50 else 0.05
    error = 100 * math.sqrt(level * (1 - level) / study.repetitions)
    bold = {cell[:2] for cell in study.outside(2.0) if cell[1] not in study.beside}
    lines = [f"### {study.title}", "", study.world, ""]
    lines += ["| " + " | ".join((study.corner, *study.columns)) + " |", "|---" * (len(study.columns) + 1) + "|"]
    for row, values in study.rows.items():
        shown = []
        for column, value in zip(study.columns, values, strict=True):
            text = "" if math.isnan(value) else f"{value:.1f}"
            shown.append(f"**{text}**" if text and (row, column) in bold else text)
        lines.append("| " + " | ".join((row, *shown)) + " |")
    told = f"*{study.repetitions:,} repetitions; Monte-Carlo standard error {error:.2f} points at {100 * level:g} %.*"
    reason = f" Outside: {study.why}." if bold and study.why else ""
    return "\n".join([*lines, "", told + reason, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repetitions; prints, and writes nothing")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = studies(options.quick, options.seed)
    text = "\n".join(written(study) for study in found)
    if options.quick:
        print(text)
    else:
        page = PAGE.read_text(encoding="utf-8")
        before, rest = page.split(START)
        made = f"Made by `python benchmarks/coverage.py --seed {options.seed}`, in percent.\n\n{text}"
        PAGE.write_text(f"{before}{START}\n{made}\n{END}{rest.split(END, 1)[1]}", encoding="utf-8")
    faults = [
        f"{study.title}: {row}, {column}: {value:.1f}" for study in found for row, column, value in study.faults()
    ]
    if faults:
        sys.exit("outside the bounds without a reason:\n" + "\n".join(faults))


if __name__ == "__main__":
    main()
