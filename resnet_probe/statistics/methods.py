"""The intervals and tests, in words: how each is made, what it assumes. Columns and claims name them by their keys.

The table in docs/statistics.md and the section of methods in a report are written from this list.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """A method.

    Attributes:
        of: the number that it is about.
        how: the method, with its source.
        assumes: what must hold for it.
    """

    of: str
    how: str
    assumes: str


METHODS: dict[str, Method] = {
    "wilson": Method("error", "Wilson 1927", "independent images"),
    "tango": Method(
        "increase of an error",
        "score interval for paired differences, Tango 1998, equations 10 to 14",
        "independent images, the same for both networks",
    ),
    "sequence": Method(
        "increase of an error, images added until it is known",
        "confidence sequence by betting, Waudby-Smith and Ramdas 2024, with a mixture of constant bets",
        "independent images in a random order, the same for both networks; one may look, and stop, at any time",
    ),
    "mcnemar": Method(
        "whether an error changed",
        "exact McNemar test (the sign test of the images that changed)",
        "independent images, the same for both networks",
    ),
    "resamples": Method(
        "error and measures of tasks other than classification",
        "percentile bootstrap over images, 1,000 resamples, the same for every network, moved by twice their bias",
        "independent images, some dozens of them at least",
    ),
    "images": Method(
        "mean over draws, other images",
        "percentile bootstrap of the images' mean errors, 2,000 resamples",
        "independent images, these draws",
    ),
    "draws": Method(
        "mean over draws, other draws",
        "percentile bootstrap of the draws' errors, 2,000 resamples, narrowed by the finite number of sets",
        "independent draws, these images",
    ),
    "both": Method(
        "mean over draws, both",
        "two-way analysis of variance on the log odds, Satterthwaite's degrees of freedom",
        "draws and images are independent samples",
    ),
    "shapley": Method(
        "values and interactions of blocks over sets of them",
        "Student's t over images; of sampled orders, two-way analysis of variance over images and pairs of an order "
        "and its reverse, Satterthwaite's degrees of freedom",
        "independent images; nearly normal means",
    ),
    "interaction": Method(
        "interaction of a pair",
        "normal, of the mean over images of E(i,j) - E(i) - E(j) + E()",
        "some twenty images change",
    ),
    "discovery": Method(
        "pairs together", "false discovery rate, Benjamini and Hochberg 1995", "positively dependent tests"
    ),
    "rank": Method(
        "rank correlation",
        "percentile bootstrap over the draws or the blocks, 1,000 resamples; the intact network or trained order is "
        "no draw",
        "independent draws",
    ),
    "trainings": Method(
        "mean over trainings", "Student's t; of differences, paired by seed, or Welch's", "nearly normal errors"
    ),
    "checkpoints": Method(
        "several checkpoints of one architecture",
        "Student's t over the checkpoints, at each position",
        "trainings that differ by their seed",
    ),
    "agreement": Method(
        "agreement with a published value",
        "difference of our mean and their median of five, with the spread of both; equivalence within 0.5 points",
        "independent trainings of equal spread",
    ),
    "influence": Method(
        "standard deviation of a response",
        "influence function of a standard deviation (Hampel et al. 1986, section 2.1)",
        "independent images",
    ),
    "layers": Method(
        "difference between the layers of two networks",
        "normal, of the mean difference at equal relative depth; standard errors are added up, because the covariance "
        "is not in the table",
        "independent images",
    ),
    "groups": Method(
        "difference between groups of blocks",
        "normal, of the difference of means (those that resize against the others, the middle against the ends, the "
        "upper half against the lower); standard errors are added up, because the covariance is not in the table",
        "independent images",
    ),
    "halves": Method(
        "late runs of blocks against early ones",
        "Student's t over images, of the difference of the two mean errors of each",
        "independent images; nearly normal means",
    ),
    "bend": Method(
        "agreement of gradients against an exponential fall",
        "normal, of a second difference of logarithms by linearisation; standard errors are added up, times the root "
        "of 2, because neighbouring pairs share an image",
        "images in a random order",
    ),
    "bonferroni": Method(
        "several blocks or layers at once",
        "Bonferroni: one among many refutes a claim only by an interval that holds for all together",
        "none",
    ),
    "slope": Method(
        "slope of ln(norm), and how far it bends",
        "least squares weighted by the noise of each length, widened where the points scatter more than it; the bend "
        "is that of a parabola, by draws from its normal distribution",
        "samples of paths and images; of one image only one counts",
    ),
    "norms": Method(
        "mean norm of the sampled paths of one length",
        "normal, on a log axis",
        "enough samples: with a heavy tail, some hundred",
    ),
    "ratio": Method(
        "norm of the mean path against the mean norm of a path",
        "ratio of means over the same images, by linearisation (Cochran 1977, section 2.11)",
        "samples of one image count together; independent images",
    ),
}

# What stands on an image being right or wrong; other tasks have resamples of the images in their place.
OF_CLASSIFIERS = ("wilson", "tango", "sequence", "mcnemar", "images", "both", "interaction")


def for_task(methods: Iterable[str], task: str) -> tuple[str, ...]:
    """The methods of a table of a task, in place of those that it has for classifiers (an empty task)."""
    known = dict.fromkeys(key for key in methods if key in METHODS)
    return tuple(dict.fromkeys("resamples" if task and key in OF_CLASSIFIERS else key for key in known))
