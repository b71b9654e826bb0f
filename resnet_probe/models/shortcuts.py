"""Shortcuts, and other ways to join shortcut and branch than their sum (He 2016, Table 1 and Fig. 2).

Source: He, Zhang, Ren, Sun 2016 (arXiv 1603.05027), section 3.

Choices, where the paper is silent:

- Where the shape changes, the shortcut is made first (zero channels or a projection), then scaled, gated or dropped.
- A gate reads the block's input with a 1x1 convolution of the block's own stride, one filter per output channel. Its
  weights start like those of all convolutions; the paper gives the start of its biases only.
- Dropout drops single values, not whole channels, and scales the others up in training, as torch does. The paper's
  analysis of it as a scaling by 0.5 leaves that scale out.
- A 1x1 convolution in every shortcut is option C of 2015, with BN after it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .names import ResNetSpec


class PadShortcut(nn.Module):
    """Option A: keep every `stride`-th pixel and add zero channels, half of them before and half after.

    It has no parameters. Source: He 2015, section 3.3; where the zeros go is common practice, the paper does not say.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.before = (out_channels - in_channels) // 2
        self.after = out_channels - in_channels - self.before

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C + before + after, ceil(H / stride), ceil(W / stride))."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


class ScaledSum(nn.Module):
    """`shortcut_factor * shortcut + branch_factor * branch` (He 2016, Fig. 2b)."""

    def __init__(self, shortcut_factor: float, branch_factor: float) -> None:
        super().__init__()
        self.shortcut_factor, self.branch_factor = shortcut_factor, branch_factor

    def forward(self, x: Tensor, shortcut: Tensor, branch: Tensor) -> Tensor:
        """Block input, shortcut and branch -> what goes on, shaped like the branch."""
        if self.branch_factor != 1:
            branch = branch * self.branch_factor
        return branch + (shortcut if self.shortcut_factor == 1 else shortcut * self.shortcut_factor)


class GatedSum(nn.Module):
    """`(1 - g) * shortcut + g * branch` if `exclusive`, else `(1 - g) * shortcut + branch` (He 2016, Fig. 2c and d).

    g is the sigmoid of a 1x1 convolution of the block's input, one value per channel and position.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, *, exclusive: bool) -> None:
        super().__init__()
        self.exclusive = exclusive
        self.gate = nn.Conv2d(in_channels, out_channels, 1, stride=stride)

    def forward(self, x: Tensor, shortcut: Tensor, branch: Tensor) -> Tensor:
        """Block input, shortcut and branch -> what goes on, shaped like the branch."""
        gate = torch.sigmoid(self.gate(x))
        return (branch * gate if self.exclusive else branch) + shortcut * (1 - gate)


class DroppedSum(nn.Module):
    """`dropout(shortcut) + branch`; the plain sum in evaluation mode (He 2016, Fig. 2f)."""

    def __init__(self, ratio: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(ratio)

    def forward(self, x: Tensor, shortcut: Tensor, branch: Tensor) -> Tensor:
        """Block input, shortcut and branch -> what goes on, shaped like the branch."""
        return branch + self.dropout(shortcut)


def make_join(spec: ResNetSpec, in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    """The module that joins shortcut and branch in a block of the network; None for their sum."""
    if spec.factors != (1, 1):
        return ScaledSum(*spec.factors)
    if spec.gate:
        return GatedSum(in_channels, out_channels, stride, exclusive=spec.gate == "exclusive")
    return DroppedSum(spec.dropout) if spec.dropout else None


def convolution(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps the size, but for its stride."""
    return nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False)
