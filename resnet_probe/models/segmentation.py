"""A small fully convolutional network on torchvision's blocks, for images of about 100 pixels."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .trunks import STAGES, WIDTHS, narrow_resnet18

CHANNELS = 32  # in which maps of all sizes are added


class FCN(nn.Module):
    """A fully convolutional network: maps of all stages, brought to one width, are added from coarse to fine.

    As torchvision's, it takes normalised images (N, 3, H, W) and returns `{"out": scores}`, (N, classes, H, W). The
    finest map is that of the first convolution, at half of the image's side, since strokes are a few pixels wide.

    Source: Long et al. 2015, "Fully Convolutional Networks for Semantic Segmentation", Figure 3. Deviations: features
    are added, not scores, and upsampled to the nearest pixel, as in Lin et al. 2017, "Feature Pyramid Networks".
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        from torchvision.models._utils import IntermediateLayerGetter  # noqa: PLC0415  # seconds

        self.backbone = IntermediateLayerGetter(narrow_resnet18(), {name: name for name in ("relu", *STAGES)})
        self.lateral = nn.ModuleList(nn.Conv2d(width, CHANNELS, 1) for width in (WIDTHS[0], *WIDTHS))
        self.classifier = nn.Sequential(
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False), nn.BatchNorm2d(CHANNELS), nn.ReLU(),
            nn.Conv2d(CHANNELS, num_classes, 1),
        )  # fmt: skip

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) -> `{"out": (N, classes, H, W)}`."""
        *finer, total = [
            lateral(each) for lateral, each in zip(self.lateral, self.backbone(images).values(), strict=True)
        ]
        for each in reversed(finer):
            total = each + F.interpolate(total, size=each.shape[-2:], mode="nearest")
        scores = self.classifier(total)
        return {"out": F.interpolate(scores, size=images.shape[-2:], mode="bilinear", align_corners=False)}


def fcn(arch: str = "fcn_resnet18", *, num_classes: int = 21, in_channels: int = 3) -> nn.Module:
    """Build `FCN` with random weights.

    Args:
        arch: its only name.
        num_classes: with the background, which is class 0.
        in_channels: 3.

    Raises:
        ValueError: other channels than 3.
    """
    if in_channels != 3:
        raise ValueError(f"{arch} for {in_channels} input channels; it takes 3, give images in colour")
    model: Any = FCN(num_classes)
    model.arch, model.num_classes, model.in_channels = arch, num_classes, in_channels
    return model
