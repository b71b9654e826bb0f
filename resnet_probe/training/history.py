"""What a training says about itself: while it runs, and afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Epoch:
    """One pass over the training data.

    epoch: counted from 1. iteration: optimiser steps so far. learning_rate: of the last step.
    train_loss: mean cross-entropy, with label smoothing if there is any; train_error: in percent. Both are over the
        augmented images as they came by, in training mode, while the weights changed.
    test_loss, test_error: mean cross-entropy and error in percent on the held-out images in evaluation mode, after the
        pass; None where there are none.
    Of other tasks than classification the loss and the error are those of `objectives`: of segmentation the share of
        wrong pixels; of detection the share of objects not found, which in training mode is not known: None.
    seconds: of this pass, without the test. images: that came by.
    """

    epoch: int
    iteration: int
    learning_rate: float
    train_loss: float
    train_error: float | None
    test_loss: float | None
    test_error: float | None
    seconds: float
    images: int


@dataclass(frozen=True)
class Progress:
    """Where a training stands: sent before the first step, and after every step.

    step of steps: optimiser steps taken; epoch of epochs: passes over the data finished; rows: of each of these, also
    of those before it went on; seconds: since the beginning, or since it went on.
    """

    step: int
    steps: int
    epochs: int
    rows: tuple[Epoch, ...]
    seconds: float

    @property
    def epoch(self) -> int:
        """Passes over the data that are finished."""
        return len(self.rows)

    @property
    def last(self) -> Epoch | None:
        """The newest finished pass."""
        return self.rows[-1] if self.rows else None


@dataclass(frozen=True)
class History:
    """What a training did: one row per epoch, and the settings that lead to the same weights again."""

    rows: tuple[Epoch, ...]
    settings: dict[str, Any]
