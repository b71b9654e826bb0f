"""The trunk that the small networks for detection and segmentation share."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

STAGES = ("layer1", "layer2", "layer3", "layer4")
WIDTHS = (32, 64, 128, 256)


def narrow_resnet18() -> nn.Sequential:
    """A ResNet-18 with half of its channels, without its classifier, under torchvision's names of layers.

    Images (N, 3, H, W) become (N, 256, H / 32, W / 32); the strides of the stages are 4, 8, 16 and 32.
    """
    from torchvision.models.resnet import BasicBlock, conv1x1  # noqa: PLC0415  # seconds

    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, WIDTHS[0], 7, stride=2, padding=3, bias=False), bn1=nn.BatchNorm2d(WIDTHS[0]),
        relu=nn.ReLU(inplace=True), maxpool=nn.MaxPool2d(3, stride=2, padding=1),
    )  # fmt: skip
    inputs = WIDTHS[0]
    for name, width in zip(STAGES, WIDTHS, strict=True):
        stride = width // inputs  # 1 in the first stage, else 2
        projection = nn.Sequential(conv1x1(inputs, width, stride), nn.BatchNorm2d(width)) if stride > 1 else None
        layers[name] = nn.Sequential(BasicBlock(inputs, width, stride, projection), BasicBlock(width, width))
        inputs = width
    for module in (part for layer in layers.values() for part in layer.modules()):
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(layers)
