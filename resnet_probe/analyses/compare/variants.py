"""The networks that papers counted, where those in use today differ from them.

Each function builds one network; `multiply_adds_with_biases` counts as LeCun et al. 1998 count connections. They are
here so that a difference from a printed number is explained by a number, and not by a sentence.
"""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor, nn

from resnet_probe.anatomy.multiply_adds import counted
from resnet_probe.models.shortcuts import PadShortcut


def resnet_with_option_a(name: str) -> nn.Module:
    """torchvision's ResNet-18 or -34 with zero-padding shortcuts, as in Table 1 and Fig. 3 of He et al. 2015."""
    model = torchvision.models.get_model(name)
    for block in model.modules():
        if isinstance(getattr(block, "downsample", None), nn.Module):
            projection = block.downsample[0]
            block.downsample = PadShortcut(projection.in_channels, projection.out_channels, projection.stride[0])
    return model


def resnet_with_early_stride(name: str) -> nn.Module:
    """torchvision's ResNet-50, -101 or -152 with the stride in the first 1x1 convolution of a stage.

    Source: He et al. 2015, Table 1 and section 4.1; torchvision strides in the 3x3 convolution.
    """
    model = torchvision.models.get_model(name)
    for block in model.modules():
        if isinstance(block, torchvision.models.resnet.Bottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)
    return model


def vgg_convolutions(name: str) -> nn.Module:
    """The convolutions of torchvision's VGG-16 or -19, without its three linear layers."""
    features: nn.Module = torchvision.models.get_model(name).features
    return features


class PaperLeNet5(nn.Module):
    """LeNet-5 as in section II.B and Table I of LeCun et al. 1998; images (N, 1, 32, 32) to (N, 10).

    Pooling layers sum four values, with a weight and a bias for each map; each map of C3 sees some maps of S2 only. The
    84 x 10 weights of the output layer are fixed.
    """

    SEEN = (  # maps of S2 that each map of C3 sees
        *((i, (i + 1) % 6, (i + 2) % 6) for i in range(6)),
        *((i, (i + 1) % 6, (i + 2) % 6, (i + 3) % 6) for i in range(6)),
        *((i, i + 1, (i + 3) % 6, (i + 4) % 6) for i in range(3)),
        (0, 1, 2, 3, 4, 5),
    )

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 6, 5)
        self.s2 = nn.Conv2d(6, 6, 2, stride=2, groups=6)  # four connections for each output; one weight, see parameters
        self.c3 = nn.ModuleList(nn.Conv2d(len(seen), 1, 5) for seen in self.SEEN)
        self.s4 = nn.Conv2d(16, 16, 2, stride=2, groups=16)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.output = nn.Linear(84, 10, bias=False)

    @property
    def trainable(self) -> int:
        """Trainable parameters as the paper counts them."""
        every = sum(p.numel() for p in self.parameters())
        return every - 3 * (6 + 16) - self.output.weight.numel()  # four pooling weights are one; the output is fixed

    def forward(self, x: Tensor) -> Tensor:
        """Scores (N, 10) of images (N, 1, 32, 32)."""
        x = self.s2(self.c1(x))
        x = torch.cat([conv(x[:, list(seen)]) for conv, seen in zip(self.c3, self.SEEN, strict=True)], 1)
        return self.output(self.f6(torch.flatten(self.c5(self.s4(x)), 1)))  # type: ignore[no-any-return]


def multiply_adds_with_biases(model: nn.Module, x: Tensor) -> int:
    """Multiply-adds of one pass, with one more for every output that a bias is added to: LeCun's connections."""
    biased = [m for m in model.modules() if getattr(m, "bias", None) is not None]
    outputs = 0

    def add(_module: nn.Module, _args: object, out: Tensor) -> None:
        nonlocal outputs
        outputs += out.numel()

    hooks = [module.register_forward_hook(add) for module in biased]
    try:
        _, products = counted(model, x)
    finally:
        for hook in hooks:
            hook.remove()
    return products + outputs
