"""Detection: boxes of objects, for models that follow torchvision's convention.

Such a model takes a list of images of any size, with values from 0 to 1. In evaluation mode it returns of each image a
dict of `boxes`, `labels` and `scores`; in training mode, given the true boxes and labels too, a dict of losses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from resnet_probe.tasks.resampled import Resampled
from resnet_probe.tasks.task import CEILING, Kind, Quantity

if TYPE_CHECKING:
    from resnet_probe.data import Data

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of the intersection over union at which a box counts as found
RECALLS = np.linspace(0.0, 1.0, 101)
MOST_BOXES = 100  # of each class in an image
PARTS = ("backbone.body", "backbone.features", "backbone")


class Detection(Resampled):
    """Lists of images and of targets, as `batches` makes them, one image at a time.

    Quantities: `map`, the mean average precision over intersections over union from 0.5 to 0.95, of each class and of
    all; `map50`, at 0.5; `error`, 100 less `map`; `loss`, the sum of the model's losses, and each of them.

    Source: Lin et al. 2014, "Microsoft COCO: Common Objects in Context", and the evaluation code of its authors: boxes
    of all sizes, at most 100 of a class in an image, precision at 101 recalls.
    """

    labels: ClassVar[str] = "detection"
    most: ClassVar[int | None] = 1  # images of a batch are padded to one size, and its losses are a mean
    outputs: ClassVar[bool] = True
    units = {"error": "%", "map": "%", "map50": "%", "loss": ""}  # noqa: RUF012 - as in the base class

    def __init__(self) -> None:
        super().__init__()
        self.name = "detection"
        self.columns: dict[str, Kind] = {"detections": "record", "objects": "record"}

    def part(self, model: nn.Module) -> str:
        """Path of the backbone, without a pyramid that stands on it.

        Raises:
            ValueError: there is none.
        """
        paths = {name for name, _ in model.named_modules()}
        found = next((path for path in PARTS if path in paths), None)
        if found is None:
            raise ValueError(f"{type(model).__name__} has no backbone; detection takes models with one of that name")
        return found

    def batches(self, data: Data, size: int, device: torch.device) -> Iterator[tuple[Any, Any]]:
        """Images of their own sizes, with the boxes and labels of their objects.

        Raises:
            ValueError: the data has no boxes.
        """
        if data.labels.dim() != 3:
            raise ValueError(
                f"{data.name} has no boxes but labels {tuple(data.labels.shape)}; give annotations of COCO or Pascal "
                "VOC, or canvases"
            )
        for start in range(0, len(data), size):
            numbers = range(start, min(start + size, len(data)))
            images = [data.original(number).to(device).float() / 255 for number in numbers]
            yield images, [target_of(rows) for rows in data.labels[start : start + size].to(device)]

    def run(self, model: nn.Module, inputs: Any, targets: Any) -> Any:
        """Detections and losses of each image. What a loss draws at random is drawn alike for every network."""
        found = model(inputs)
        losses = []
        for image, target in zip(inputs, targets, strict=True):
            with for_losses(model), torch.random.fork_rng([image.device] if image.is_cuda else []):
                torch.manual_seed(0)
                losses.append(model([image], [without_crowds(target)]))
        return list(zip(found, losses, strict=True))

    def measure(self, outputs: Any, targets: Any, intact: Any) -> Mapping[str, Any]:
        """`detections` and `objects` of each image, see `matched`, and each of the losses."""
        found = [matched(_arrays(one), _arrays(true)) for (one, _), true in zip(outputs, targets, strict=True)]
        measures: dict[str, Any] = {"detections": [each for each, _ in found], "objects": [each for _, each in found]}
        for name in outputs[0][1]:
            values = torch.stack([losses[name] for _, losses in outputs]).double()
            measures[name] = values.nan_to_num(CEILING).clamp(max=CEILING)
        return measures

    def check(self, outputs: Any, classes: tuple[str, ...], name: str) -> None:
        """Whether the model returns boxes and losses; their names are the columns.

        Raises:
            ValueError: it does not.
        """
        super().check(outputs, classes, name)
        found, losses = outputs[0]
        if not {"boxes", "labels", "scores"} <= set(found) or not losses:
            raise ValueError(
                "detection takes models that return boxes, labels and scores, and a dict of losses in training mode, "
                "as those of torchvision do"
            )
        self.columns |= dict.fromkeys(losses, "value")

    def quantities(self, kept: Mapping[str, Any], weights: np.ndarray) -> Mapping[Quantity, np.ndarray]:
        """Mean average precisions and losses."""
        precision = average_precision(kept["detections"], kept["objects"], weights, len(self.classes))
        with np.errstate(invalid="ignore"):
            of_classes = 100 * precision.mean(1)
            found: dict[Quantity, np.ndarray] = {
                ("error", ""): 100 - _mean(of_classes), ("map", ""): _mean(of_classes),
                ("map50", ""): 100 * _mean(precision[:, 0]),
            }  # fmt: skip
        losses = [name for name in kept if name not in ("detections", "objects")]
        mean = {name: weights @ kept[name] / weights.sum(1) for name in losses}
        found["loss", ""] = np.sum(list(mean.values()), axis=0)
        found |= {(name, ""): value for name, value in mean.items()}
        return found | {("map", name): of_classes[i] for i, name in enumerate(self.classes)}


def target_of(rows: Tensor) -> dict[str, Tensor]:
    """What a model is given of an image's objects, from its rows of `Data.labels`, `(M, 7)`; crowds are marked."""
    its = rows[rows[:, 4] > 0]
    return {"boxes": its[:, :4], "labels": its[:, 4].long(), "iscrowd": its[:, 6].long()}


def without_crowds(target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The objects that a model is trained on."""
    return {key: value[target["iscrowd"] == 0] for key, value in target.items()}


def matched(found: Mapping[str, np.ndarray], true: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Which boxes of an image are objects, at each threshold.

    Boxes take objects in the order of their scores, each the one it covers best of those left; one that covers only a
    crowd does not count at all.

    Returns:
        Detections `(boxes, 4)`: class, score, and two sums of 2^k over the thresholds k at which the box is an object
        and at which it does not count. Objects `(classes, 2)`: class, and how many there are beside crowds.
    """
    rows, objects = [np.empty((0, 4))], []
    for label in sorted({*found["labels"].tolist(), *true["labels"].tolist()}):
        mine, theirs = found["labels"] == label, true["labels"] == label
        order = np.argsort(-found["scores"][mine], kind="stable")[:MOST_BOXES]
        boxes, scores = found["boxes"][mine][order], found["scores"][mine][order]
        crowd = true["iscrowd"][theirs].astype(bool)
        cover = _coverage(boxes, true["boxes"][theirs], crowd)
        free = np.ones((len(THRESHOLDS), len(crowd)), dtype=bool)
        is_object, is_ignored = (np.zeros((len(boxes), len(THRESHOLDS)), dtype=bool) for _ in range(2))
        for box in range(len(boxes)):
            for what, result in ((~crowd, is_object), (crowd, is_ignored)):
                open_ = (free | crowd) & what & (cover[box] >= np.minimum(THRESHOLDS, 1 - 1e-10)[:, None])
                open_ &= ~is_object[box][:, None]
                best = np.where(open_, cover[box], -1)[:, ::-1]
                if not open_.any():
                    continue
                chosen = open_.shape[1] - 1 - best.argmax(1)  # of equals the last, as the authors' code has it
                hit = np.flatnonzero(open_.any(1))
                result[box, hit] = True
                free[hit, chosen[hit]] = False
        bits = 2.0 ** np.arange(len(THRESHOLDS))
        rows.append(np.column_stack([np.full(len(boxes), label), scores, is_object @ bits, is_ignored @ bits]))
        objects.append((label, (~crowd).sum()))
    return np.concatenate(rows).astype("<f4"), np.array(objects, dtype="<f4").reshape(-1, 2)


def average_precision(
    detections: list[np.ndarray], objects: list[np.ndarray], weights: np.ndarray, classes: int
) -> np.ndarray:
    """Average precision of each class at each threshold, for each set of weights of the images.

    Args:
        detections, objects: of each image, as `matched` returns them, in whatever shape.
        weights: `(resamples, images)`.
        classes: how many there are; numbered from 1.

    Returns:
        `(classes, thresholds, resamples)`, from 0 to 1; NaN for a class without objects.
    """
    images = np.repeat(np.arange(len(detections)), [each.size // 4 for each in detections])
    rows = np.concatenate([each.reshape(-1, 4) for each in detections])
    owners = np.repeat(np.arange(len(objects)), [each.size // 2 for each in objects])
    there = np.concatenate([each.reshape(-1, 2) for each in objects])
    result = np.full((classes, len(THRESHOLDS), len(weights)), np.nan)
    for label in range(1, classes + 1):
        its = there[:, 0] == label
        number = weights[:, owners[its]] @ there[its, 1].astype(np.float64)
        mine = np.flatnonzero(rows[:, 0] == label)
        mine = mine[np.argsort(-rows[mine, 1], kind="stable")]
        weight = weights[:, images[mine]]
        for k in range(len(THRESHOLDS)):
            is_object, is_ignored = ((rows[mine, column].astype(int) >> k) & 1 for column in (2, 3))
            right = np.cumsum(weight * is_object, axis=1)
            boxes = np.cumsum(weight * (1 - is_ignored), axis=1)
            with np.errstate(invalid="ignore", divide="ignore"):
                recall = right / number[:, None]
            precision = right / (boxes + np.spacing(1))
            precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            reached = np.searchsorted(RECALLS, recall, side="right")
            gained = np.diff(reached, axis=1, prepend=0)
            result[label - 1, k] = np.where(number > 0, (precision * gained).sum(1) / len(RECALLS), np.nan)
    return result


def _coverage(boxes: np.ndarray, others: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Intersection over union of each box with each other, `(boxes, others)`; with a crowd, over the box alone."""
    a, b = boxes[:, None].astype(np.float64), others[None].astype(np.float64)
    sides = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None)
    both = sides.prod(-1)
    area, other = ((box[..., 2:] - box[..., :2]).prod(-1) for box in (a, b))
    return np.divide(both, np.where(crowd, area, area + other - both), out=np.zeros_like(both), where=both > 0)


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the first dimension of what is defined."""
    known = ~np.isnan(values)
    return np.where(known, values, 0).sum(0) / np.where(known.any(0), known.sum(0), np.nan)


@contextmanager
def for_losses(model: nn.Module) -> Iterator[None]:
    """The model in training mode, but for norms, dropout and the choice of an image's size; as it was afterwards."""
    from torchvision.models.detection.transform import GeneralizedRCNNTransform  # noqa: PLC0415 - seconds

    kinds = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd, GeneralizedRCNNTransform)
    before = {module: module.training for module in model.modules()}
    for module in before:
        module.training = not isinstance(module, kinds)
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training
