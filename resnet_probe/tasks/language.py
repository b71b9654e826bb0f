"""Language: the next token, or a hidden one, at each place of a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from resnet_probe.tasks.resampled import Resampled
from resnet_probe.tasks.task import CEILING, Kind, Quantity

if TYPE_CHECKING:
    from resnet_probe.data import Data

HIDDEN = -100  # the target of a token that does not count, as in transformers


class Language(Resampled):
    """Scores `(N, T, tokens)` and the tokens that should follow, int64 `(N, T)`; targets of -100 do not count.

    Quantities: `error`, the share of tokens that are not the likeliest; `loss`, the mean cross-entropy of a token;
    `perplexity`, its exponential (Jelinek et al. 1977). The examples that resampling draws are the windows of text.
    """

    labels: ClassVar[str] = "language"
    units = {"error": "%", "loss": "nats", "perplexity": "tokens"}  # noqa: RUF012 - as in the base class

    def __init__(self) -> None:
        super().__init__()
        self.name = "language"
        self.columns: Mapping[str, Kind] = {"missed": "value", "tokens": "value", "total": "value"}

    def example(self, inputs: Tensor) -> Tensor:
        """Tokens to trace with."""
        return inputs

    def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy of the tokens of each window, in nats."""
        losses = F.cross_entropy(
            outputs.movedim(-1, 1), targets, ignore_index=HIDDEN, reduction="none", label_smoothing=label_smoothing
        )
        return losses.sum(1) / (targets != HIDDEN).sum(1).clamp(min=1)

    def measure(self, outputs: Tensor, targets: Tensor, intact: Tensor) -> Mapping[str, Tensor]:
        """`missed`, how many tokens of each window are not the likeliest; `tokens`, how many count; `total`, loss."""
        counted = targets != HIDDEN
        tokens = counted.sum(1).double()
        mean = self.loss(outputs.float(), targets).double()
        return {
            "missed": ((outputs.argmax(-1) != targets) & counted).sum(1).double(),
            "tokens": tokens,
            "total": mean.nan_to_num(CEILING).clamp(max=CEILING) * tokens,
        }

    def check(self, outputs: Tensor, classes: tuple[str, ...], name: str) -> None:
        """Whether there is a score for each token that may follow.

        Raises:
            ValueError: there is not.
        """
        super().check(outputs, (), name)
        if not isinstance(outputs, Tensor) or outputs.dim() != 3 or outputs.shape[-1] < len(classes):
            given = tuple(outputs.shape[1:]) if isinstance(outputs, Tensor) else type(outputs).__name__
            raise ValueError(
                f"the network returns {given} for a window of text and {name} has {len(classes)} tokens; language "
                "takes networks that return a score for each token at each place"
            )

    def quantities(self, kept: Mapping[str, Any], weights: np.ndarray) -> Mapping[Quantity, np.ndarray]:
        """Error, loss and perplexity."""
        missed, tokens, total = (weights @ kept[name] for name in ("missed", "tokens", "total"))
        with np.errstate(over="ignore"):
            return {
                ("error", ""): 100 * missed / tokens,
                ("loss", ""): total / tokens,
                ("perplexity", ""): np.exp(total / tokens),
            }


class Masked(Language):
    """Language for networks that fill gaps: some tokens are hidden, the same ones every time, and are the targets.

    Args:
        mask: the token that stands for a hidden one.
    """

    def __init__(self, mask: int) -> None:
        super().__init__()
        self.name, self.mask = f"masked:{mask}", mask

    def batches(self, data: Data, size: int, device: torch.device) -> Iterator[tuple[Any, Any]]:
        """Windows of text with tokens hidden, and those tokens.

        What is hidden of a window depends on the window alone, so that no number depends on how they were batched.
        """
        for tokens, _ in data.batches(size, device=torch.device("cpu")):
            seeds = (tokens.sum(1) + tokens[:, 0] * 31).tolist()
            pairs = [hide(row[None], self.mask, seed=seed) for row, seed in zip(tokens, seeds, strict=True)]
            inputs, targets = (torch.cat(part).to(device) for part in zip(*pairs, strict=True))
            yield inputs, targets


def hide(tokens: Tensor, mask: int, *, share: float = 0.15, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Tokens with some hidden, and the hidden ones as targets, for networks that fill gaps.

    Args:
        tokens: int64 `(N, T)`.
        mask: the token that stands for a hidden one.
        share: of the tokens to hide.
        seed: of the draw.

    Source: Devlin et al. 2018, "BERT", section 3.1; every chosen token is hidden here, none is replaced by another.
    """
    chosen = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(seed)) < share
    return tokens.where(~chosen, mask), tokens.where(chosen, HIDDEN)
