"""What becomes of an activation: a few numbers, taken while it is there, merged over batches and processes.

A reducer turns one activation into a small tensor (`reduce`), several of those into one (`combine`, in any order), and
the last into a value to read (`finish`). It holds no data itself, so one reducer serves any number of points.

Moments      mean and population standard deviation of all values
ImageMoments  the same, with the standard error of the deviation over images
ChannelMoments  the same, per channel
Extremes     smallest and largest value
Histogram    counts in bins of equal width
Alignment    a module's output against its input, per image: cosine and ratio of norms

Source of the merging: Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample
variances" (STAN-CS-79-773), here for any number of parts at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

V_co = TypeVar("V_co", covariant=True)

ROW = 1024  # float32 sums run over this many values before they go on in float64
SMALL = 2**16  # up to this many values, float64 throughout costs next to nothing
WORST = 16.0  # largest mean^2 / variance for which sums of squares in float32 are precise enough


class Reducer(Protocol[V_co]):
    """How an activation is reduced, and how the reductions are put together."""

    @property
    def needs_input(self) -> bool:
        """Whether `reduce` reads the module's input, which is then copied for the length of the call."""
        ...

    def reduce(self, given: Any, output: Tensor) -> Tensor:
        """The state of one activation; of one without values too."""
        ...

    def combine(self, states: Tensor) -> Tensor:
        """One state from several, stacked along dimension 0."""
        ...

    def finish(self, state: Tensor) -> V_co:
        """What the state says."""
        ...


class Summary(NamedTuple):
    """Mean and population standard deviation of so many values; without values, both are NaN."""

    values: int
    mean: float
    std: float


class ImageSummary(NamedTuple):
    """A summary, and the standard error of its deviation over so many images; NaN with one or without spread."""

    values: int
    mean: float
    std: float
    std_error: float
    images: int


class Range(NamedTuple):
    """Smallest and largest value; without values, both are NaN."""

    smallest: float
    largest: float


class Counts(NamedTuple):
    """How many values fell into each bin, and how many below the first, above the last, or were NaN."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    below: int
    above: int
    nan: int


class Aligned(NamedTuple):
    """Over images: cos(output, input) and |output| / |input|."""

    cosine: Summary
    ratio: Summary


@dataclass(frozen=True)
class Moments:
    """Mean and population standard deviation over images, channels and positions together."""

    needs_input = False

    def reduce(self, given: Any, output: Tensor) -> Tensor:
        """(3,): number of values, mean, sum of squared deviations."""
        flat = _dense(output)
        whole_rows = flat.numel() // ROW * ROW
        if flat.numel() <= SMALL or not whole_rows:
            return moments(flat[None, None])[0]
        parts = [moments(flat[:whole_rows].view(1, -1, ROW))]
        if whole_rows < flat.numel():
            parts.append(moments(flat[None, None, whole_rows:]))
        return combine_moments(torch.cat(parts))

    def combine(self, states: Tensor) -> Tensor:
        """(k, 3) -> (3,)."""
        return combine_moments(states)

    def finish(self, state: Tensor) -> Summary:
        """Values, mean, std."""
        return _summary(state.tolist())


@dataclass(frozen=True)
class ImageMoments:
    """`Moments`, and how far the standard deviation would be off on other images.

    With m and s the mean and deviation of all values, and a and b the mean and the mean square of one image's, the
    image moves s by (b - 2 m a) / (2 s), less the mean of that, over the number of images: the influence function of a
    standard deviation. The variance of these influences over images is the variance of s. Images are drawn
    independently, with equally many values each.

    Source: Hampel et al. 1986, Robust Statistics, sections 2.1 and 2.3 (influence function and the variance from it).
    """

    needs_input = False

    def reduce(self, given: Any, output: Tensor) -> Tensor:
        """(3, 3): the state of `Moments`; images, mean of a, mean of b; sums of squares and product of a and b."""
        of_all = Moments().reduce(given, output)
        if not output.numel():
            return torch.stack([of_all, torch.zeros_like(of_all), torch.zeros_like(of_all)])
        number, a, deviations = moments(output.reshape(len(output), 1, -1)).unbind(-1)
        b = deviations / number + a.square()
        da, db = a - a.mean(), b - b.mean()
        apart = torch.stack([da.square().sum(), (da * db).sum(), db.square().sum()])
        return torch.stack([of_all, torch.stack([torch.full_like(a[0], len(a)), a.mean(), b.mean()]), apart])

    def combine(self, states: Tensor) -> Tensor:
        """(k, 3, 3) -> (3, 3)."""
        number, means = states[:, 1, 0], states[:, 1, 1:]
        total = number.sum().clamp_min(1)
        joint = (number[:, None] * means).sum(0) / total
        da, db = (means - joint).unbind(-1)
        apart = (number * torch.stack([da.square(), da * db, db.square()])).sum(1) + states[:, 2].sum(0)
        return torch.stack([combine_moments(states[:, 0]), torch.cat([number.sum()[None], joint]), apart])

    def finish(self, state: Tensor) -> ImageSummary:
        """Values, mean, std and its standard error."""
        found = _summary(state[0].tolist())
        images, (aa, ab, bb) = float(state[1, 0]), state[2].tolist()
        if images < 2 or not found.std > 0:
            return ImageSummary(*found, math.nan, int(images))
        squares = bb - 4 * found.mean * ab + 4 * found.mean**2 * aa
        error = math.sqrt(max(squares, 0.0) / (images * (images - 1))) / (2 * found.std)
        return ImageSummary(*found, error, int(images))


@dataclass(frozen=True)
class ChannelMoments:
    """Mean and population standard deviation of each channel, over images and positions.

    Args:
        dim: dimension of the channels, 1 in (N, C, H, W); -1 for tokens (N, T, C).
    """

    dim: int = 1
    needs_input = False

    def reduce(self, given: Any, output: Tensor) -> Tensor:
        """(C, 3)."""
        if output.dim() < 2:
            raise ValueError(f"an activation of shape {tuple(output.shape)} has no channels; use Moments()")
        by_channel = output.movedim(self.dim, 0)
        return moments(by_channel[:, None] if output.dim() == 2 else by_channel.flatten(2))

    def combine(self, states: Tensor) -> Tensor:
        """(k, C, 3) -> (C, 3)."""
        return combine_moments(states)

    def finish(self, state: Tensor) -> tuple[Summary, ...]:
        """Values, mean and std of each channel."""
        return tuple(_summary(row) for row in state.tolist())


@dataclass(frozen=True)
class Extremes:
    """Smallest and largest value."""

    needs_input = False

    def reduce(self, given: Any, output: Tensor) -> Tensor:
        """(2,)."""
        if output.numel() == 0:
            return _wide(torch.tensor([math.inf, -math.inf], device=output.device))
        return _wide(torch.stack(torch.aminmax(output)))

    def combine(self, states: Tensor) -> Tensor:
        """(k, 2) -> (2,)."""
        return torch.stack([states[:, 0].amin(), states[:, 1].amax()])

    def finish(self, state: Tensor) -> Range:
        """The range, NaN where an activation held NaN."""
        smallest, largest = state.tolist()
        return Range(math.nan, math.nan) if smallest > largest else Range(smallest, largest)


@dataclass(frozen=True)
class Histogram:
    """Counts of values in `bins` bins of equal width from `low` to `high`; the last bin includes `high`.

    The range is fixed beforehand, so that batches and processes have the same bins; `Extremes` finds one.

    Raises:
        ValueError: no bins, or a range that is empty or not finite.
    """

    low: float
    high: float
    bins: int = 64
    needs_input = False

    def __post_init__(self) -> None:
        if not (self.bins >= 1 and math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(
                f"a histogram of {self.bins} bins from {self.low} to {self.high}: give finite low < high and bins >= 1"
            )

    def reduce(self, given: Any, output: Tensor) -> Tensor:
        """(bins + 3,): the bins, below, above, NaN."""
        values = output if output.dtype in (torch.float32, torch.float64) else output.float()
        inside = torch.histc(values, self.bins, self.low, self.high)
        outside = [(values < self.low).sum(), (values > self.high).sum(), values.isnan().sum()]
        return _wide(torch.cat([inside, torch.stack(outside).to(inside.dtype)]))

    def combine(self, states: Tensor) -> Tensor:
        """(k, bins + 3) -> (bins + 3,)."""
        return states.sum(0)

    def finish(self, state: Tensor) -> Counts:
        """Edges and counts."""
        *counts, below, above, nan = (int(n) for n in state.tolist())
        width = (self.high - self.low) / self.bins
        edges = (*(self.low + i * width for i in range(self.bins)), self.high)
        return Counts(edges, tuple(counts), below, above, nan)


@dataclass(frozen=True)
class Alignment:
    """A module's output against its input, image by image: cosine, and ratio of Euclidean norms.

    The module must yield as many values as it is given. Its input is copied for the length of the call, since an
    in-place operation inside would overwrite it. A vector of zeros has cosine 0 with any other; images whose input is
    zero have no ratio and are left out of it.
    """

    needs_input = True

    def reduce(self, given: Any, output: Tensor) -> Tensor:
        """(2, 3): moments of the cosine and of the ratio."""
        if not isinstance(given, Tensor) or given.shape[:1] != output.shape[:1] or given.numel() != output.numel():
            shape = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
            raise ValueError(f"input {shape} and output {tuple(output.shape)} cannot be compared value by value")
        a, b = given.flatten(1).float(), output.flatten(1).float()
        dot, norm_a, norm_b = _wide((a * b).sum(1)), _wide(a.norm(dim=1)), _wide(b.norm(dim=1))
        cosine = dot / (norm_a * norm_b).clamp_min(1e-300)
        ratio = (norm_b / norm_a)[norm_a > 0]
        return torch.cat([moments(cosine.view(1, 1, -1)), moments(ratio.view(1, 1, -1))])

    def combine(self, states: Tensor) -> Tensor:
        """(k, 2, 3) -> (2, 3)."""
        return combine_moments(states)

    def finish(self, state: Tensor) -> Aligned:
        """Both summaries."""
        return Aligned(*(_summary(row) for row in state.tolist()))


def moments(x: Tensor) -> Tensor:
    """Number, mean and sum of squared deviations of each group of values, in float64.

    Sums run in float32 over the last dimension only, and go on in float64. Where the mean is so large against the
    spread that sums of squares would lose digits (on the CPU, where looking costs nothing), or where there are few
    values, all is done in float64 and in two passes. Other devices use their own one-pass algorithm per row.

    Args:
        x: (groups, rows, values); reduced over rows and values.

    Returns:
        (groups, 3), float64, on the device of `x` (on the CPU, if the device has no float64).
    """
    groups, rows, length = x.shape
    count = rows * length
    if count == 0:
        return _wide(torch.zeros((groups, 3), device=x.device))
    if x.dtype == torch.float64 or not x.dtype.is_floating_point or x.numel() <= SMALL:
        return _two_passes(x, count)
    if x.dtype != torch.float32:
        x = x.float()
    if x.device.type != "cpu":
        variance, mean = torch.var_mean(x, dim=-1, correction=0)
        each = torch.stack([torch.full_like(mean, length), mean, variance * length], -1)
        return combine_moments(_wide(each).movedim(1, 0))
    total = x.sum(-1).sum(1, dtype=torch.float64)
    norms = torch.linalg.vector_norm(x, dim=-1).double()
    if groups == 1:  # the same as below, in fewer operations
        return _one_group(x, count, total.item(), torch.dot(norms[0], norms[0]).item())
    squares = norms.square().sum(1)
    mean = total / count
    deviations = squares - total * mean
    precise = (deviations * WORST > total * mean) & (deviations < math.inf)
    found = torch.stack([torch.full_like(mean, count), mean, deviations], -1)
    if not bool(precise.all()):
        found[~precise] = _two_passes(x[~precise], count)
    return found


def _one_group(x: Tensor, count: int, total: float, squares: float) -> Tensor:
    mean = total / count
    deviations = squares - total * mean
    if not (deviations * WORST > total * mean and deviations < math.inf):
        return _two_passes(x, count)
    return torch.tensor([[count, mean, deviations]], dtype=torch.float64)


def combine_moments(states: Tensor) -> Tensor:
    """Moments of the union of parts: (k, ..., 3) -> (..., 3), float64.

    Source: Chan, Golub and LeVeque 1979, eq. 2.1, summed over k parts.
    """
    number, mean, deviations = states.unbind(-1)
    total = number.sum(0)
    first = mean[0]
    joint = first + (number * (mean - first)).sum(0) / total.clamp_min(1)
    spread = deviations.sum(0) + (number * (mean - joint).square()).sum(0)
    return torch.stack([total, joint, spread], -1)


def _two_passes(x: Tensor, count: int) -> Tensor:
    wide = _wide(x)
    mean = wide.mean((1, 2))
    deviations = (wide - mean[:, None, None]).square().sum((1, 2))
    return torch.stack([torch.full_like(mean, count), mean, deviations], -1)


def _wide(x: Tensor) -> Tensor:
    return x.cpu().double() if x.device.type == "mps" else x.double()


def _dense(x: Tensor) -> Tensor:
    """All values in one dimension, in the order of memory, so that no layout costs a copy."""
    if not x.is_contiguous():
        x = x.permute(sorted(range(x.dim()), key=x.stride, reverse=True))
    return x.reshape(-1)


def _summary(row: list[float]) -> Summary:
    number, mean, deviations = row
    if not number:
        return Summary(0, math.nan, math.nan)
    return Summary(int(number), mean, math.sqrt(max(deviations, 0.0) / number))
