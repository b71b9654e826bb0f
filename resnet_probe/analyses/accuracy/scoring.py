"""What is kept of each image while a network runs, and the measures that are made of it afterwards.

On the device nothing is waited for: `Tally.add` appends small tensors, `Tally.finish` brings them to the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from resnet_probe.tasks import CLASSIFICATION

BINS = 15  # Guo et al. 2017
TOP = 5


def average(logits: Sequence[Tensor], how: str = "softmax") -> Tensor:
    """Log-probabilities `(N, classes)` of several outputs `(N, classes)` taken together.

    Args:
        logits: outputs of several views or networks.
        how: `softmax` (mean of the probabilities) or `logits` (mean before the softmax).
    """
    stacked = torch.stack(list(logits)).float()
    if how == "logits":
        return stacked.mean(0).log_softmax(1)
    return stacked.log_softmax(2).logsumexp(0) - float(np.log(len(stacked)))


@dataclass(frozen=True)
class Bin:
    """Images whose confidence lies in `(low, high]`; means are None where there are none."""

    low: float
    high: float
    images: int
    right: int
    confidence: float | None

    @property
    def accuracy(self) -> float | None:
        """Share of the images that are classified rightly."""
        return self.right / self.images if self.images else None


@dataclass(frozen=True)
class Predictions:
    """What a network did on all images.

    Attributes:
        labels, predicted: int `(N,)`.
        in_top5: bool `(N,)`, whether the label is among the five most probable classes.
        confidence: `(N,)`, probability of the predicted class.
        losses: `(N,)`, cross-entropy in nats.
    """

    labels: np.ndarray
    predicted: np.ndarray
    in_top5: np.ndarray
    confidence: np.ndarray
    losses: np.ndarray

    @property
    def wrong(self) -> np.ndarray:
        """bool `(N,)`."""
        return self.predicted != self.labels

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats."""
        return float(self.losses.mean())

    def bins(self, count: int = BINS) -> list[Bin]:
        """The images by confidence, in `count` bins of equal width.

        Source: Guo, Pleiss, Sun, Weinberger 2017, "On Calibration of Modern Neural Networks", section 2.
        """
        number = np.clip(np.ceil(self.confidence * count) - 1, 0, count - 1).astype(int)
        images = np.bincount(number, minlength=count)
        right = np.bincount(number, weights=~self.wrong, minlength=count)
        confidence = np.bincount(number, weights=self.confidence, minlength=count)
        return [
            Bin(i / count, (i + 1) / count, int(n), int(r), float(c / n) if n else None)
            for i, (n, r, c) in enumerate(zip(images, right, confidence, strict=True))
        ]

    def calibration_error(self, count: int = BINS) -> float:
        """Expected calibration error, in percent: the mean over images of |accuracy - confidence| of their bin.

        Source: Naeini, Cooper, Hauskrecht 2015; Guo et al. 2017, equation 3.
        """
        gaps = [abs(b.right - b.images * b.confidence) for b in self.bins(count) if b.confidence is not None]
        return 100 * float(sum(gaps)) / len(self.labels)


@dataclass
class Tally:
    """Collects batches; the same for one network, several views of it, or an ensemble."""

    parts: list[tuple[Tensor, ...]] = field(default_factory=list)

    def add(self, log_probabilities: Tensor, labels: Tensor) -> None:
        """Keep what is needed of a batch: `(N, classes)` and `(N,)`, on the same device."""
        best = log_probabilities.topk(min(TOP, log_probabilities.shape[1]), dim=1)
        losses = -log_probabilities.gather(1, labels[:, None])[:, 0]
        in_top5 = (best.indices == labels[:, None]).any(1)
        predicted = CLASSIFICATION.predict(log_probabilities)
        self.parts.append((labels, predicted, in_top5, log_probabilities.amax(1).exp(), losses))

    def finish(self) -> Predictions:
        """All batches on the host."""
        labels, predicted, in_top5, confidence, losses = (
            torch.cat(column).cpu().numpy() for column in zip(*self.parts, strict=True)
        )
        # rounding can pass 1, and a network that overflows has no confidence at all
        confidence = np.minimum(np.nan_to_num(confidence.astype(np.float64)), 1.0)
        return Predictions(labels, predicted, in_top5, confidence, losses.astype(np.float64))
