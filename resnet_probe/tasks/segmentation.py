"""Segmentation: one class for each pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from resnet_probe.data import IGNORED
from resnet_probe.tasks.resampled import Resampled
from resnet_probe.tasks.task import CEILING, Kind, Quantity


class Segmentation(Resampled):
    """Scores `(N, classes, H, W)` and masks of whole numbers `(N, H, W)`; pixels of class 255 do not count.

    Quantities: `error`, the share of wrong pixels; `loss`, the mean cross-entropy of a pixel; `iou`, the intersection
    of predicted and true pixels over their union, of each class and, as their mean over the classes that occur, of all
    (Long et al. 2015, "Fully Convolutional Networks for Semantic Segmentation", section 5).
    """

    labels: ClassVar[str] = "segmentation"
    units = {"error": "%", "loss": "nats", "iou": "%"}  # noqa: RUF012 - as in the base class

    def __init__(self) -> None:
        super().__init__()
        self.name = "segmentation"
        self.columns: Mapping[str, Kind] = {"confusion": "record", "total": "value"}

    def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy of the pixels of each image, in nats."""
        losses = F.cross_entropy(
            outputs, targets.long(), ignore_index=IGNORED, reduction="none", label_smoothing=label_smoothing
        )
        return losses.sum((1, 2)) / (targets != IGNORED).sum((1, 2)).clamp(min=1)

    def measure(self, outputs: Tensor, targets: Tensor, intact: Tensor) -> Mapping[str, Any]:
        """`confusion`, per image how many pixels of each class (rows) went to each (columns); `total`, their loss."""
        classes = outputs.shape[1]
        counted = targets != IGNORED
        cell = (targets.long() * classes + outputs.argmax(1))[:, None].flatten(1)
        kept = counted.flatten(1).double()
        confusion = outputs.new_zeros((len(outputs), classes * classes), dtype=kept.dtype)
        confusion.scatter_add_(1, cell.where(kept > 0, 0), kept)
        loss = self.loss(outputs.float(), targets).double()
        return {
            "confusion": list(confusion.cpu().numpy().astype("<f4")),
            "total": loss.nan_to_num(CEILING).clamp(max=CEILING) * kept.sum(1),
        }

    def check(self, outputs: Tensor, classes: tuple[str, ...], name: str) -> None:
        """Whether there is a map of scores for each class.

        Raises:
            ValueError: there is not.
        """
        super().check(outputs, classes, name)
        if not isinstance(outputs, Tensor) or outputs.dim() != 4 or outputs.shape[1] != len(classes):
            given = tuple(outputs.shape[1:]) if isinstance(outputs, Tensor) else type(outputs).__name__
            raise ValueError(
                f"the network returns {given} for an image and {name} has {len(classes)} classes; segmentation takes "
                "networks that return a map of scores for each class, background among them"
            )

    def quantities(self, kept: Mapping[str, Any], weights: np.ndarray) -> Mapping[Quantity, np.ndarray]:
        """Error, loss and intersection over union."""
        tables = np.stack(kept["confusion"]).astype(np.float64)
        side = round(tables.shape[1] ** 0.5)
        confusion = (weights @ tables).reshape(-1, side, side)
        right = np.diagonal(confusion, axis1=1, axis2=2)
        union = confusion.sum(1) + confusion.sum(2) - right
        pixels = confusion.sum((1, 2))
        with np.errstate(invalid="ignore", divide="ignore"):
            each = np.where(union > 0, 100 * right / union, np.nan)
            found: dict[Quantity, np.ndarray] = {
                ("error", ""): 100 * (1 - right.sum(1) / pixels),
                ("loss", ""): weights @ kept["total"] / pixels,
                ("iou", ""): np.nansum(each, axis=1) / (union > 0).sum(1),
            }
        return found | {("iou", name): each[:, i] for i, name in enumerate(self.classes[:side])}
