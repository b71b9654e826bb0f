"""A small transformer that predicts the next token.

Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners" (GPT-2), section 2.3: norms stand
before attention and before the layers, and one at the end. Deviations: no dropout, and the head has weights of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .names import GPTSpec, parse_gpt

CONTEXT = 128  # tokens


class Attention(nn.Module):
    """Masked attention: each place sees itself and those before it. (N, T, width) to (N, T, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Values (N, T, width) to add to those at each place."""
        texts, places, width = x.shape
        parts = self.qkv(self.norm(x)).reshape(texts, places, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        found = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out(found.transpose(1, 2).reshape(texts, places, width))


class Layers(nn.Module):
    """Two linear layers at each place. (N, T, width) to (N, T, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Values (N, T, width) to add to those at each place."""
        return self.down(F.gelu(self.up(self.norm(x))))


class Block(nn.Module):
    """Two residual blocks: attention, then layers."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.mlp = Layers(width)

    def forward(self, x: Tensor) -> Tensor:
        """Values (N, T, width) after both."""
        x = x + self.attention(x)
        return x + self.mlp(x)


class GPT(nn.Module):
    """The network that a `GPTSpec` describes; tokens int64 (N, T) to scores (N, T, num_classes), T up to 128.

    Examples:
        >>> network = GPT(parse_gpt("gpt2-w32"))
        >>> network(torch.zeros(1, 5, dtype=torch.int64)).shape
        torch.Size([1, 5, 256])
    """

    def __init__(self, spec: GPTSpec, *, num_classes: int = 256, in_channels: int = 1) -> None:
        super().__init__()
        self.arch = spec.name
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.input_size = CONTEXT
        self.token = nn.Embedding(num_classes, spec.width)
        self.position = nn.Parameter(torch.zeros(CONTEXT, spec.width))
        self.blocks = nn.ModuleList(Block(spec.width, spec.heads) for _ in range(spec.depth))
        self.norm = nn.LayerNorm(spec.width)
        self.head = nn.Linear(spec.width, num_classes, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                ends_a_branch = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / (2 * spec.depth) ** (0.5 * ends_a_branch))

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores (N, T, num_classes) of the token that follows each."""
        x = self.token(tokens) + self.position[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def gpt(name: str, *, num_classes: int = 256, in_channels: int = 1) -> GPT:
    """Build the network called `name`, such as `gpt4-w128`. Raises ValueError as `parse_gpt`."""
    return GPT(parse_gpt(name), num_classes=num_classes, in_channels=in_channels)
