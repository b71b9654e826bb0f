"""VGG networks for small images: 3x3 convolutions with batch norm, max pooling after each group, one linear classifier.

Layer names are torchvision's (`features.0`, …); a single linear classifier is `classifier`, with hidden linear layers
it is `classifier.0`, `classifier.3`, … Source: Simonyan, Zisserman 2015 (arXiv 1409.1556), Table 1. Deviations: batch
norm; a global average pool in front of the classifier, so that any image size from 8x8 works (nothing is left to
average at 32x32); pooling rounds odd sizes up for the same reason; no hidden linear layers unless named.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .names import VGGSpec, parse_vgg
from .resnet import initialise


class VGG(nn.Module):
    """The network that a `VGGSpec` describes.

    It takes images (N, in_channels, H, W) of any size from 8x8, and returns logits (N, num_classes).

    Examples:
        >>> VGG(parse_vgg("vgg16-w32")).classifier
        Linear(in_features=256, out_features=10, bias=True)
    """

    def __init__(self, spec: VGGSpec, *, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.arch = spec.name
        self.num_classes = num_classes
        self.in_channels = in_channels
        layers: list[nn.Module] = []
        channels = in_channels
        for width in spec.layout:
            if width == 0:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
                continue
            layers.append(nn.Conv2d(channels, width, 3, padding=1, bias=spec.bias))
            if spec.norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU(inplace=True))
            channels = width
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        hidden: list[nn.Module] = []
        for width in spec.hidden:
            hidden += [nn.Linear(channels, width), nn.ReLU(inplace=True), nn.Dropout(0.5)]
            channels = width
        classifier = nn.Linear(channels, num_classes)
        self.classifier = nn.Sequential(*hidden, classifier) if hidden else classifier
        initialise(self.modules())

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, in_channels, H, W)."""
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def vgg(name: str, *, num_classes: int = 10, in_channels: int = 3) -> VGG:
    """Build a `vgg…` network by name. Raises ValueError if the name is none of the grammar's."""
    return VGG(parse_vgg(name), num_classes=num_classes, in_channels=in_channels)
