"""Residual and plain networks for small images (He 2015, section 4.2; pre-activation: He 2016).

A 3x3 convolution, stages of blocks at full, half, quarter (, eighth) resolution, global average pooling, one linear
classifier. Attribute names are torchvision's (`conv1`, `bn1`, `layer1.0.conv1`, `downsample`, `fc`), so that
checkpoints load; the norm after the last addition of a pre-activation network, which torchvision does not have, is
`norm`.

Source: He, Zhang, Ren, Sun 2015 (arXiv 1512.03385), section 4.2; 2016 (arXiv 1603.05027), section 4 and appendix.

Deviations and choices:

- Bottleneck blocks have projection shortcuts (option B) unless told otherwise: their first block widens 16 to 64
  channels.
- A bottleneck block strides in its 3x3 convolution, as in torchvision, not in the first 1x1 as in the paper.
- Projections are followed by BN where all other convolutions are; those of full pre-activation, which start from
  BN-ReLU, and those before a BN after the addition are not.
- Other shortcuts and other orders of activation are in `shortcuts` and `orders`, with their own choices.
- Convolutions have He initialisation over the outgoing connections; the classifier has PyTorch's.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .names import ResNetSpec, parse_resnet
from .orders import NormAfterBlock, ReLUBeforeBlock, ReLUPreBlock, branch_convolutions
from .shortcuts import GatedSum, PadShortcut, convolution, make_join


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, ReLU after the addition (He 2015, Fig. 2).

    With `residual=False`, the plain network's two layers; with `join`, that module of input, shortcut and branch in
    place of the addition.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        downsample: nn.Module | None,
        *,
        residual: bool,
        join: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.conv1 = convolution(in_channels, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = convolution(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = downsample
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, width, H / stride, W / stride)."""
        branch = self.relu(self.bn1(self.conv1(x)))
        branch = self.bn2(self.conv2(branch))
        if not self.residual:
            return self.relu(branch)
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(branch + shortcut if self.join is None else self.join(x, shortcut, branch))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution and a shortcut, ReLU after the addition (He 2015, Fig. 5).

    With `residual=False`, three plain layers; `join` as in `BasicBlock`.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        downsample: nn.Module | None,
        *,
        residual: bool,
        join: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.conv1 = convolution(in_channels, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = convolution(width, 4 * width, 1)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 4 width, H / stride, W / stride)."""
        branch = self.relu(self.bn1(self.conv1(x)))
        branch = self.relu(self.bn2(self.conv2(branch)))
        branch = self.bn3(self.conv3(branch))
        if not self.residual:
            return self.relu(branch)
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(branch + shortcut if self.join is None else self.join(x, shortcut, branch))


class PreActBasicBlock(nn.Module):
    """Full pre-activation, two 3x3 convolutions (He 2016, Fig. 4e).

    With `shared`, the first BN-ReLU comes before the split into branch and shortcut.
    """

    def __init__(self, in_channels: int, width: int, stride: int, downsample: nn.Module | None, shared: bool) -> None:
        super().__init__()
        self.shared = shared
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv1 = convolution(in_channels, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, width, H / stride, W / stride)."""
        activated = self.relu(self.bn1(x))
        branch = self.conv1(activated)
        branch = self.conv2(self.relu(self.bn2(branch)))
        source = activated if self.shared else x
        return branch + (source if self.downsample is None else self.downsample(source))


class PreActBottleneck(nn.Module):
    """Full pre-activation, 1x1, 3x3 and 1x1 convolution.

    With `shared`, the first BN-ReLU comes before the split into branch and shortcut.
    """

    def __init__(self, in_channels: int, width: int, stride: int, downsample: nn.Module | None, shared: bool) -> None:
        super().__init__()
        self.shared = shared
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = convolution(in_channels, width, 1)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3, stride)
        self.bn3 = nn.BatchNorm2d(width)
        self.conv3 = convolution(width, 4 * width, 1)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 4 width, H / stride, W / stride)."""
        activated = self.relu(self.bn1(x))
        branch = self.conv1(activated)
        branch = self.conv2(self.relu(self.bn2(branch)))
        branch = self.conv3(self.relu(self.bn3(branch)))
        source = activated if self.shared else x
        return branch + (source if self.downsample is None else self.downsample(source))


class ResNet(nn.Module):
    """The network that a `ResNetSpec` describes.

    It takes images (N, in_channels, H, W) of any size from 8x8, and returns logits (N, num_classes).

    Examples:
        >>> network = ResNet(parse_resnet("resnet56"))
        >>> network.arch, sum(parameter.numel() for parameter in network.parameters())
        ('resnet56', 853018)
    """

    def __init__(self, spec: ResNetSpec, *, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.arch = spec.name
        self.num_classes = num_classes
        self.in_channels = in_channels
        preactivated = spec.order.startswith("preact")
        self.order = spec.order
        self.conv1 = convolution(in_channels, spec.widths[0], 3)
        self.bn1 = None if preactivated else nn.BatchNorm2d(spec.widths[0])
        self.relu = nn.ReLU(inplace=True)
        channels = spec.widths[0]
        self.stages = [f"layer{stage}" for stage in range(1, len(spec.blocks) + 1)]
        for index, stage in enumerate(self.stages):
            out_channels = spec.expansion * spec.widths[index]
            blocks = []
            for block in range(spec.blocks[index]):
                stride = 2 if index > 0 and block == 0 else 1
                blocks.append(_block(spec, channels, spec.widths[index], stride, first=index == 0 and block == 0))
                channels = out_channels
            self.add_module(stage, nn.Sequential(*blocks))
        self.norm = nn.BatchNorm2d(channels) if preactivated and spec.order != "preactopen" else None
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        initialise(self.modules())
        for module in self.modules():
            if isinstance(module, GatedSum):
                nn.init.constant_(module.gate.bias, spec.gate_bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, in_channels, H, W)."""
        x = self.conv1(x)
        if self.bn1 is not None:
            x = self.bn1(x)
            if self.order != "relupre":  # there the first block begins with the ReLU
                x = self.relu(x)
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        if self.norm is not None:
            x = self.relu(self.norm(x))
        if self.order == "relupre":
            x = self.relu(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


def resnet(name: str, *, num_classes: int = 10, in_channels: int = 3) -> ResNet:
    """Build a `resnet…` or `plain…` network by name. Raises ValueError if the name is none of the grammar's."""
    return ResNet(parse_resnet(name), num_classes=num_classes, in_channels=in_channels)


def initialise(modules: Iterable[nn.Module]) -> None:
    """He initialisation of the convolutions over their outgoing connections; their biases zero.

    Source: He et al. 2015, "Delving Deep into Rectifiers" (arXiv 1502.01852), section 2.2.
    """
    for module in modules:
        # Without values there is nothing to draw, and torch would import its compiler (seconds) to see that.
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _block(spec: ResNetSpec, in_channels: int, width: int, stride: int, *, first: bool) -> nn.Module:
    out_channels = spec.expansion * width
    changes = stride != 1 or in_channels != out_channels
    downsample = _shortcut(spec, in_channels, out_channels, stride, changes)
    basic = spec.block == "basic"
    projects = downsample is not None and spec.shortcut != "A"
    if spec.order == "post":
        join = make_join(spec, in_channels, out_channels, stride)
        post = BasicBlock if basic else Bottleneck
        return post(in_channels, width, stride, downsample, residual=spec.shortcut != "none", join=join)
    if spec.order.startswith("preact"):
        shared = {"preact": first or changes, "preactraw": False, "preactopen": projects}[spec.order]
        pre = PreActBasicBlock if basic else PreActBottleneck
        return pre(in_channels, width, stride, downsample, shared=shared)
    convolutions = branch_convolutions(spec.block, in_channels, width, stride)
    if spec.order == "bnafter":
        return NormAfterBlock(convolutions, downsample)
    if spec.order == "relubefore":
        return ReLUBeforeBlock(convolutions, downsample)
    return ReLUPreBlock(convolutions, downsample, shared=first or changes)


def _shortcut(spec: ResNetSpec, in_channels: int, out_channels: int, stride: int, changes: bool) -> nn.Module | None:
    if spec.shortcut == "none" or not (changes or spec.shortcut == "C"):
        return None
    if spec.shortcut == "A":
        return PadShortcut(in_channels, out_channels, stride)
    projection = convolution(in_channels, out_channels, 3 if spec.shortcut == "B3x3" else 1, stride)
    normed = spec.order in ("post", "relubefore", "relupre")  # where every other convolution is followed by BN too
    return nn.Sequential(projection, nn.BatchNorm2d(out_channels)) if normed else nn.Sequential(projection)
