"""Residual blocks with the activations in other places (He 2016, Table 2 and Fig. 4b to d).

Full pre-activation (Fig. 4e) is in `resnet`. Each class here is a basic block with two convolutions, and a bottleneck
block with three.

Source: He, Zhang, Ren, Sun 2016 (arXiv 1603.05027), section 4.1.

Choices, where the paper is silent:

- A projection is followed by BN where the branch's last convolution is; with BN after the addition neither is.
- With ReLU before the addition the shortcut has no ReLU, not even after a projection.
- What the paper says of the first activation with pre-activation (it comes before the split in the first block, and
  where the shape changes) holds for ReLU alone too, and one more ReLU follows the last addition.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from .shortcuts import convolution


class _Block(nn.Module):
    """Convolutions `conv1`, `conv2` (, `conv3`) with norms `bn1`, … after the first `norms` of them."""

    def __init__(self, convolutions: Sequence[nn.Conv2d], downsample: nn.Module | None, norms: int) -> None:
        super().__init__()
        self.layers = len(convolutions)
        for number, layer in enumerate(convolutions, start=1):
            self.add_module(f"conv{number}", layer)
            if number <= norms:
                self.add_module(f"bn{number}", nn.BatchNorm2d(layer.out_channels))
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def layer(self, number: int, x: Tensor) -> Tensor:
        """Convolution `number` and the norm after it."""
        x = self.get_submodule(f"conv{number}")(x)
        norm = getattr(self, f"bn{number}", None)
        return x if norm is None else norm(x)

    def shortcut(self, x: Tensor) -> Tensor:
        """What the branch is added to."""
        return x if self.downsample is None else self.downsample(x)


class NormAfterBlock(_Block):
    """BN and ReLU after the addition; no norm after the branch's last convolution (He 2016, Fig. 4b).

    The norm after the addition is `norm`, so that the weights tell this block from all others.
    """

    def __init__(self, convolutions: Sequence[nn.Conv2d], downsample: nn.Module | None) -> None:
        super().__init__(convolutions, downsample, norms=len(convolutions) - 1)
        self.norm = nn.BatchNorm2d(convolutions[-1].out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, channels of the last convolution, H / stride, W / stride)."""
        branch = x
        for number in range(1, self.layers):
            branch = self.relu(self.layer(number, branch))
        return self.relu(self.norm(self.layer(self.layers, branch) + self.shortcut(x)))


class ReLUBeforeBlock(_Block):
    """ReLU after each of the branch's layers, the last too; nothing after the addition (He 2016, Fig. 4c)."""

    def __init__(self, convolutions: Sequence[nn.Conv2d], downsample: nn.Module | None) -> None:
        super().__init__(convolutions, downsample, norms=len(convolutions))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, channels of the last convolution, H / stride, W / stride)."""
        branch = x
        for number in range(1, self.layers + 1):
            branch = self.relu(self.layer(number, branch))
        return branch + self.shortcut(x)


class ReLUPreBlock(_Block):
    """ReLU before each convolution, BN after it; nothing after the addition (He 2016, Fig. 4d).

    With `shared`, the first ReLU comes before the split into branch and shortcut.
    """

    def __init__(self, convolutions: Sequence[nn.Conv2d], downsample: nn.Module | None, *, shared: bool) -> None:
        super().__init__(convolutions, downsample, norms=len(convolutions))
        self.shared = shared
        self.relu = nn.ReLU()  # in place, the first one would change the shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, channels of the last convolution, H / stride, W / stride)."""
        activated = self.relu(x)
        branch = self.layer(1, activated)
        for number in range(2, self.layers + 1):
            branch = self.layer(number, self.relu(branch))
        return branch + self.shortcut(activated if self.shared else x)


def branch_convolutions(block: str, in_channels: int, width: int, stride: int) -> list[nn.Conv2d]:
    """The convolutions of a `basic` or `bottleneck` branch, the latter with its stride in the 3x3 convolution."""
    if block == "basic":
        return [convolution(in_channels, width, 3, stride), convolution(width, width, 3)]
    return [
        convolution(in_channels, width, 1),
        convolution(width, width, 3, stride),
        convolution(width, 4 * width, 1),
    ]
