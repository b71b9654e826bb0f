"""A small fully convolutional network, of torchvision's own parts, for images of about 100 pixels."""

from __future__ import annotations

from torch import nn

from .trunks import STAGES, WIDTHS, narrow_resnet18


def fcn(arch: str = "fcn_resnet18", *, num_classes: int = 21, in_channels: int = 3) -> nn.Module:
    """Build a fully convolutional network on a ResNet-18 with a feature pyramid, with random weights.

    As torchvision's, it takes normalised images (N, 3, H, W) and returns `{"out": scores}`, (N, classes, H, W). What
    differs from `fcn_resnet50`: scores are computed at half of the image's side, not an eighth, from a pyramid of 32
    channels that ends in the first convolution, since strokes are a few pixels wide; nothing is dilated.

    Args:
        arch: its only name.
        num_classes: with the background, which is class 0.
        in_channels: 3.

    Raises:
        ValueError: other channels than 3.

    Source: Long et al. 2015, "Fully Convolutional Networks"; Lin et al. 2017, "Feature Pyramid Networks".
    """
    if in_channels != 3:
        raise ValueError(f"{arch} for {in_channels} input channels; it takes 3, give images in colour")
    from torchvision.models.detection.backbone_utils import BackboneWithFPN  # noqa: PLC0415  # seconds
    from torchvision.models.segmentation.fcn import FCN, FCNHead  # noqa: PLC0415

    stages = {"relu": "out", **{name: name for name in STAGES}}
    backbone = BackboneWithFPN(narrow_resnet18(), stages, [WIDTHS[0], *WIDTHS], out_channels=32)
    model = FCN(backbone, FCNHead(32, num_classes))
    model.arch, model.num_classes, model.in_channels = arch, num_classes, in_channels
    return model
