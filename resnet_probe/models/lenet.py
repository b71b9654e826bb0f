"""LeNet-5 for 32x32 images.

Source: LeCun, Bottou, Bengio, Haffner 1998, "Gradient-Based Learning Applied to Document Recognition", section II.B.
Deviations: pooling has no weights of its own, every map of the second convolution sees all maps of the first, the
third convolution of the paper, which covers its whole 5x5 input, is written as a linear layer, and the output is
linear. Layer names are the usual ones (`conv1`, `conv2`, `fc1`, `fc2`, `fc3`).
"""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from .names import LeNetSpec, parse_lenet

INPUT_SIZE = 32


class LeNet5(nn.Module):
    """The network that a `LeNetSpec` describes; images (N, in_channels, 32, 32) to logits (N, num_classes).

    It takes 32x32 images only (28x28 digits have to be padded by 2, as in the paper) and raises ValueError for another
    size.

    Examples:
        >>> network = LeNet5(parse_lenet("lenet5"), in_channels=1)
        >>> sum(parameter.numel() for parameter in network.parameters())
        61706
    """

    def __init__(self, spec: LeNetSpec, *, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.arch = spec.name
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.input_size = INPUT_SIZE
        self.conv1 = nn.Conv2d(in_channels, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.activation: nn.Module = nn.ReLU() if spec.relu else nn.Tanh()
        self.pool: nn.Module = nn.MaxPool2d(2) if spec.relu else nn.AvgPool2d(2)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, in_channels, 32, 32)."""
        check_size(x)
        x = self.pool(self.activation(self.conv1(x)))
        x = self.pool(self.activation(self.conv2(x)))
        x = self.activation(self.fc1(torch.flatten(x, 1)))
        return self.fc3(self.activation(self.fc2(x)))


@fx.wrap  # tracing must not look inside: the check needs real sizes, and computes nothing
def check_size(x: Tensor) -> None:
    """Raise ValueError unless the images (N, C, H, W) are 32x32."""
    if x.shape[-2:] != (INPUT_SIZE, INPUT_SIZE):
        given = "x".join(map(str, x.shape[-2:]))
        raise ValueError(f"LeNet-5 was given {given} images; it takes {INPUT_SIZE}x{INPUT_SIZE}, so pad or resize them")


def lenet(name: str, *, num_classes: int = 10, in_channels: int = 3) -> LeNet5:
    """Build `lenet5` or `lenet5-relu`. Raises ValueError for any other name."""
    return LeNet5(parse_lenet(name), num_classes=num_classes, in_channels=in_channels)
