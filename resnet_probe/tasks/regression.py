"""Regression: numbers for each image; and embeddings, vectors that are to point the same way as their targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from resnet_probe.tasks.resampled import Resampled
from resnet_probe.tasks.task import Kind, Quantity

LARGEST = 1e38  # in place of the squared error of what is no finite number, so that weights can multiply it


class Regression(Resampled):
    """Outputs and targets of the same shape, `(N, ...)`.

    Quantities: `loss`, the mean squared error; `error`, that in percent of the targets' variance (100 less 100 R^2;
    100 is what the best constant has, and there is no upper end).
    """

    labels: ClassVar[str] = "regression"
    units = {"error": "%", "loss": ""}  # noqa: RUF012 - as in the base class

    def __init__(self) -> None:
        super().__init__()
        self.name = "regression"
        self.columns: Mapping[str, Kind] = {"squared": "value", "targets": "record"}

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error of each example."""
        return (outputs - targets.reshape(outputs.shape)).square().reshape(len(outputs), -1).mean(1)

    def measure(self, outputs: Tensor, targets: Tensor, intact: Tensor) -> Mapping[str, Any]:
        """`squared`, the squared error of each example; `targets`, what it should be."""
        squared = self.loss(outputs.double(), targets.double())
        targets = targets.reshape(len(targets), -1)
        return {"squared": squared.nan_to_num(LARGEST, LARGEST), "targets": list(targets.cpu().numpy())}

    def check(self, outputs: Any, classes: tuple[str, ...], name: str) -> None:
        """Whether there is one tensor of numbers.

        Raises:
            ValueError: there is not.
        """
        super().check(outputs, classes, name)
        if not isinstance(outputs, Tensor) or not outputs.is_floating_point():
            raise ValueError(
                f"{self.name} takes networks that return one tensor of numbers, not {type(outputs).__name__}"
            )

    def quantities(self, kept: Mapping[str, Any], weights: np.ndarray) -> Mapping[Quantity, np.ndarray]:
        """Error and loss."""
        targets = np.stack(kept["targets"]).astype(np.float64)
        targets -= targets.mean(0)  # which the difference of squares below would lose digits to
        count = weights.sum(1)
        mean = weights @ targets / count[:, None]
        squares = (weights @ targets**2 / count[:, None]).mean(1)
        variance = squares - (mean**2).mean(1)
        loss = weights @ kept["squared"] / count
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.where(variance > 1e-12 * squares, 100 * loss / variance, np.nan)
        return {("error", ""): error, ("loss", ""): loss}


class Embedding(Resampled):
    """Outputs and targets `(N, D)`, vectors that are compared by their cosine.

    Quantities: `loss`, one less the mean cosine; `error`, the share of examples whose output is nearer to the target of
    another example of the data set than to its own; one without a direction, zero or not finite, is near to none.
    """

    labels: ClassVar[str] = "regression"
    units = {"error": "%", "loss": ""}  # noqa: RUF012 - as in the base class

    def __init__(self) -> None:
        super().__init__()
        self.name = "embedding"
        self.columns: Mapping[str, Kind] = {"apart": "value", "outputs": "record", "targets": "record"}

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """One less the cosine of each pair."""
        return 1 - F.cosine_similarity(outputs, targets)

    def measure(self, outputs: Tensor, targets: Tensor, intact: Tensor) -> Mapping[str, Any]:
        """`apart`, one less the cosine; both vectors at unit length."""
        unit = [F.normalize(each.double()).cpu().numpy() for each in (outputs, targets)]
        apart = self.loss(outputs.double(), targets.double()).nan_to_num(1.0)
        return {"apart": apart, "outputs": list(unit[0]), "targets": list(unit[1])}

    def check(self, outputs: Any, classes: tuple[str, ...], name: str) -> None:
        """Whether there is a vector for each example.

        Raises:
            ValueError: there is not.
        """
        super().check(outputs, classes, name)
        if not isinstance(outputs, Tensor) or outputs.dim() != 2:
            raise ValueError("embedding takes networks that return a vector for each example, (N, D)")

    def quantities(self, kept: Mapping[str, Any], weights: np.ndarray) -> Mapping[Quantity, np.ndarray]:
        """Error and loss."""
        outputs, targets = (np.stack(kept[name]) for name in ("outputs", "targets"))
        own = (outputs * targets).sum(1)
        best = np.concatenate([(part @ targets.T).max(1) for part in np.array_split(outputs, len(outputs) // 1000 + 1)])
        missed = 1.0 - ((best <= own + 1e-6) & outputs.any(1))
        count = weights.sum(1)
        return {("error", ""): 100 * (weights @ missed) / count, ("loss", ""): weights @ kept["apart"] / count}
