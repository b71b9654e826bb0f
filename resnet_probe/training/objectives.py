"""What a network is trained for: what a batch is, its loss, and what of it is wrong.

OBJECTIVES   task -> its objective
Objective    classification: one class for each image
Segmenting   one class for each pixel
Detecting    boxes with classes
Predicting   the next token of a text
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from resnet_probe.data import IGNORED, Data
from resnet_probe.data.dataset import send
from resnet_probe.tasks import CLASSIFICATION, Language, Segmentation
from resnet_probe.tasks.detection import for_losses, target_of, without_crowds
from resnet_probe.training.augment import Moves
from resnet_probe.training.recipe import Recipe, TrainingError
from resnet_probe.training.seeding import seeded

Normalize = Callable[[Tensor], Tensor]

SEGMENTATION, LANGUAGE = Segmentation(), Language()
AUXILIARY = 0.5  # weight of the auxiliary classifier's loss, as in torchvision's references/segmentation
FOUND_SCORE, FOUND_OVERLAP = 0.5, 0.5  # from which on a detection of the right class finds an object


class Objective:
    """Classification: cross-entropy, and images whose predicted class is not their label."""

    name = "classification"
    dimensions = 1  # of the labels
    takes_targets = False  # and returns losses in training mode
    refused: tuple[str, ...] = ()  # values of a recipe that it has no meaning for
    test_batch = 256

    def check(self, model: nn.Module, data: Data, recipe: Recipe) -> None:
        """Raise TrainingError for a value of the recipe, labels or a network that are not for the task."""
        for name in self.refused:
            if getattr(recipe, name) not in (0, None, False, "normal"):
                raise TrainingError(
                    f"{name} {getattr(recipe, name)} given for {self.name}, which has none; leave it out"
                )
        if data.labels.ndim != self.dimensions or data.labels.is_floating_point() != self.takes_targets:
            raise TrainingError(
                f"labels of {data.name} are {tuple(data.labels.shape)}, not for {self.name}; load the data for the task"
            )
        if ("targets" in inspect.signature(model.forward).parameters) != self.takes_targets:
            raise TrainingError(
                f"{type(model).__name__} does not train for {self.name}: networks that take targets, as torchvision's "
                "do, are for detection, and no others"
            )

    def batch(
        self, data: Data, index: Tensor, moves: Moves | None, normalize: Normalize, device: torch.device
    ) -> tuple[Any, Any]:
        """The images at `index` as the network takes them, moved, and what it is to make of them, on `device`."""
        pixels = send(data.pixels(index), device)
        if moves is not None:
            pixels = moves.apply(pixels)
        return normalize(pixels), send(data.labels[index], device)

    def batches(self, data: Data, device: torch.device) -> Iterator[tuple[Any, Any]]:
        """All images in order, as `batch`."""
        return data.batches(self.test_batch, device=device)

    def loss(self, network: Any, inputs: Any, targets: Any, data: Data, smoothing: float) -> tuple[Tensor, Tensor]:
        """Loss, with gradients, and what is wrong, both added up over the images of a batch.

        Raises:
            TrainingError: the network's output is of another form.
        """
        logits = _scores(network(inputs))
        if logits.ndim != 2 or logits.shape[1] != len(data.classes):
            raise self._unfit(tuple(logits.shape), data, "images, ")
        losses = CLASSIFICATION.total_loss(logits, targets, label_smoothing=smoothing)
        return losses, CLASSIFICATION.wrong(logits, targets).sum()

    def test(self, network: nn.Module, inputs: Any, targets: Any) -> tuple[Tensor, Tensor]:
        """The same of a network in evaluation mode."""
        logits = network(inputs).float()
        return CLASSIFICATION.total_loss(logits, targets), CLASSIFICATION.wrong(logits, targets).sum()

    def _unfit(self, found: Any, data: Data, wanted: str, rest: str = "") -> TrainingError:
        count = len(data.classes)
        return TrainingError(
            f"the network's output is {found}, but {data.name} has {count} classes: the output must be "
            f"({wanted}{count}{rest})"
        )


class Segmenting(Objective):
    """Segmentation: cross-entropy, and the share of pixels with a wrong class; the mean over an image's pixels.

    Pixels of class 255 count for nothing; those that come in from outside where images are moved are such.

    Source: torchvision's references/segmentation/train.py.
    """

    name = "segmentation"
    dimensions = 3
    refused = ("resized_crop", "style")
    test_batch = 16  # images may be large

    def batch(
        self, data: Data, index: Tensor, moves: Moves | None, normalize: Normalize, device: torch.device
    ) -> tuple[Any, Any]:
        """Images (n, C, H, W) and classes (n, H, W)."""
        images, masks = super().batch(data, index, moves, normalize, device)
        if moves is not None:
            masks = IGNORED - moves.apply((IGNORED - masks)[:, None])[:, 0]
        return images, masks

    def loss(self, network: Any, inputs: Any, targets: Any, data: Data, smoothing: float) -> tuple[Tensor, Tensor]:
        """Mean over each image's pixels, added up; that of an auxiliary classifier counts half."""
        outputs = network(inputs)
        scores = _scores(outputs)
        if scores.ndim != 4 or scores.shape[1] != len(data.classes) or scores.shape[2:] != targets.shape[1:]:
            raise self._unfit(tuple(scores.shape), data, "images, ", ", H, W")
        loss = SEGMENTATION.loss(scores, targets, label_smoothing=smoothing).sum()
        if isinstance(outputs, dict) and "aux" in outputs:
            aside = SEGMENTATION.loss(outputs["aux"].float(), targets, label_smoothing=smoothing)
            loss = loss + AUXILIARY * aside.sum()
        return loss, _wrong_pixels(scores, targets)

    def test(self, network: nn.Module, inputs: Any, targets: Any) -> tuple[Tensor, Tensor]:
        """The same, without an auxiliary classifier."""
        scores = _scores(network(inputs))
        return SEGMENTATION.loss(scores, targets).sum(), _wrong_pixels(scores, targets)


class Detecting(Objective):
    """Detection: the sum of the losses that the network returns, and the share of an image's objects not found.

    An object is found by a detection of its class with a score of at least 0.5 that overlaps it by at least 0.5
    (intersection over union). In training mode the network returns no detections: what is wrong there is not known.
    Crowds are not trained on.

    Source: torchvision's references/detection/engine.py.
    """

    name = "detection"
    dimensions = 3
    takes_targets = True
    refused = ("pad", "resized_crop", "label_smoothing", "style", "warmup_error")
    test_batch = 16

    def batch(
        self, data: Data, index: Tensor, moves: Moves | None, normalize: Normalize, device: torch.device
    ) -> tuple[Any, Any]:
        """Images from 0 to 1, each of its own size (C, H, W), and boxes (k, 4) and labels (k,) of each."""
        images, targets = [], []
        for place, number in enumerate(index.tolist()):
            image = send(data.original(number), device).float() / 255
            target = without_crowds(target_of(data.labels[number]))
            boxes = target["boxes"]
            if moves is not None and bool(moves.mirrored[place]):
                image, boxes = image.flip(-1), boxes[:, [2, 1, 0, 3]] * boxes.new_tensor([-1, 1, -1, 1])
                boxes = boxes + boxes.new_tensor([image.shape[-1], 0, image.shape[-1], 0])
            images.append(image)
            targets.append({"boxes": send(boxes, device), "labels": send(target["labels"], device)})
        return images, targets

    def batches(self, data: Data, device: torch.device) -> Iterator[tuple[Any, Any]]:
        """All images in order, as `batch`."""
        for index in torch.arange(len(data)).split(self.test_batch):
            yield self.batch(data, index, None, data.normalizer(device), device)

    def loss(self, network: Any, inputs: Any, targets: Any, data: Data, smoothing: float) -> tuple[Tensor, Tensor]:
        """The losses are means over the batch, and count for each of its images; nothing is known to be wrong."""
        found = network(inputs, targets)
        if not isinstance(found, dict) or not found:
            raise TrainingError(
                f"the network returns {type(found).__name__} in training mode; give one that returns a dict of losses, "
                "as torchvision's for detection do"
            )
        loss = torch.stack([each.float() for each in found.values()]).sum() * len(inputs)
        return loss, torch.full_like(loss.detach(), torch.nan)

    def test(self, network: nn.Module, inputs: Any, targets: Any) -> tuple[Tensor, Tensor]:
        """The losses as the task measures them, and the objects that are not found."""
        with for_losses(network), seeded(0, inputs[0].device):  # which anchors and proposals count is drawn at random
            loss = torch.stack(list(network(inputs, targets).values())).float().sum() * len(inputs)
        missed = [
            1 - _found(one, target).double().mean() for one, target in zip(network(inputs), targets, strict=True)
            if len(target["labels"])
        ]  # fmt: skip
        return loss, torch.stack([loss.new_zeros(()), *(share.to(loss) for share in missed)]).sum()


class Predicting(Objective):
    """Language: cross-entropy, and the share of tokens that are not the likeliest; the mean over a window's tokens."""

    name = "language"
    dimensions = 2
    refused = ("pad", "flip", "resized_crop", "style")
    test_batch = 32

    def loss(self, network: Any, inputs: Any, targets: Any, data: Data, smoothing: float) -> tuple[Tensor, Tensor]:
        """Mean over each window's tokens, added up."""
        scores = _scores(network(inputs))
        if scores.ndim != 3 or scores.shape[2] < len(data.classes) or scores.shape[:2] != targets.shape:
            raise self._unfit(tuple(scores.shape), data, "texts, tokens, ")
        return self._measured(scores, targets, smoothing)

    def test(self, network: nn.Module, inputs: Any, targets: Any) -> tuple[Tensor, Tensor]:
        """The same."""
        return self._measured(_scores(network(inputs)), targets)

    @staticmethod
    def _measured(scores: Tensor, tokens: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        loss = LANGUAGE.loss(scores, tokens, label_smoothing=smoothing)
        return loss.sum(), (scores.argmax(-1) != tokens).double().mean(1).sum()


OBJECTIVES: dict[str, Objective] = {one.name: one for one in (Objective(), Segmenting(), Detecting(), Predicting())}


def _scores(outputs: Any) -> Tensor:
    scores: Tensor = outputs["out"] if isinstance(outputs, dict) else outputs
    return scores.float()


def _wrong_pixels(scores: Tensor, classes: Tensor) -> Tensor:
    known = classes != IGNORED
    wrong = (scores.argmax(1) != classes) & known
    return (wrong.sum((1, 2)) / known.sum((1, 2)).clamp(min=1)).sum()


def _found(one: dict[str, Tensor], target: dict[str, Tensor]) -> Tensor:
    """Whether each object of an image is found, `(objects,)`."""
    from torchvision.ops import box_iou  # noqa: PLC0415 - costs seconds, and only needed here

    sure = one["scores"] >= FOUND_SCORE
    overlap = box_iou(target["boxes"], one["boxes"][sure]) >= FOUND_OVERLAP
    return (overlap & (target["labels"][:, None] == one["labels"][sure])).any(1)
