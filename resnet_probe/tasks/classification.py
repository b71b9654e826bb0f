"""Classification: one class for each image."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from resnet_probe.tasks.task import CEILING, Kind, Task


class Classification(Task):
    """Scores `(N, classes)` and labels int64 `(N,)`.

    Measures: `wrong`, whether the class with the highest score is not the label; `changed`, whether it is not that of
    the intact network; `loss`, the cross-entropy in nats.

    Args:
        each_loss: keep the loss of each image, not only their sum.
    """

    def __init__(self, *, each_loss: bool = False) -> None:
        self.name = "classification"
        kind: Kind = "value" if each_loss else "sum"
        self.columns: Mapping[str, Kind] = {"wrong": "flag", "changed": "count", "loss": kind}

    def predict(self, outputs: Tensor) -> Tensor:
        """The class with the highest score, `(N,)`."""
        return outputs.argmax(-1)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of each image, in nats."""
        return F.cross_entropy(outputs, targets, reduction="none")

    def total_loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy of all images together, in nats."""
        return F.cross_entropy(outputs, targets, reduction="sum", label_smoothing=label_smoothing)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Gradient of each image's loss by its scores, `(N, classes)`.

        By autograd the label's entry is its probability less 1, which in float32 is 0 for an image that the network is
        sure of, although the other entries are not. Here it is minus their sum, which keeps all digits.
        """
        others = outputs.softmax(1).scatter(1, targets[:, None], 0)
        return others.scatter(1, targets[:, None], -others.sum(1, keepdim=True))

    def wrong(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Whether the predicted class of each image is not its label."""
        return self.predict(outputs) != targets

    def measure(self, outputs: Tensor, targets: Tensor, intact: Tensor) -> Mapping[str, Tensor]:
        """`wrong`, `changed` and `loss` of each image."""
        predicted = self.predict(outputs)
        return {
            "wrong": predicted != targets,
            "changed": predicted != self.predict(intact),
            "loss": self.loss(outputs.float(), targets).double().nan_to_num(CEILING).clamp(max=CEILING),
        }

    def check(self, outputs: Tensor, classes: tuple[str, ...], name: str) -> None:
        """Whether there is one score for each class.

        Raises:
            ValueError: there is not.
        """
        if outputs.shape[-1] != len(classes) or not torch.is_floating_point(outputs):
            raise ValueError(
                f"the network has {outputs.shape[-1]} classes and {name} has {len(classes)}; "
                "give a network and data with the same classes"
            )


CLASSIFICATION = Classification()
EACH_LOSS = Classification(each_loss=True)
