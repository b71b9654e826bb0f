"""Augmentation of whole batches, on the device they are on.

pad_crop_flip    the papers' augmentation
Moves            the random draws for it, apart from the pixels, so that several processes can share one draw
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from resnet_probe.data.dataset import send


@dataclass(frozen=True)
class Moves:
    """Where each of N images is cut out and whether it is mirrored: `rows`, `columns` (N, 1), `mirrored` (N, 1)."""

    pad: int
    rows: Tensor
    columns: Tensor
    mirrored: Tensor

    @classmethod
    def draw(cls, count: int, *, pad: int, flip: bool, generator: torch.Generator) -> Moves | None:
        """Draw for `count` images with a CPU generator, or None where there is nothing to draw."""
        if pad == 0 and not flip:
            return None
        moves = torch.randint(0, 2 * pad + 1, (2, count, 1), generator=generator)
        mirrored = torch.rand(count, 1, generator=generator) < 0.5 if flip else torch.zeros(count, 1, dtype=torch.bool)
        return cls(pad, moves[0], moves[1], mirrored)

    def of(self, part: slice) -> Moves:
        """The draws for a part of the images."""
        return Moves(self.pad, self.rows[part], self.columns[part], self.mirrored[part])

    def apply(self, images: Tensor) -> Tensor:
        """Move the images (N, C, H, W), which may be on any device; what comes in from outside is black (0)."""
        _, channels, height, width = images.shape
        columns = torch.where(self.mirrored, torch.arange(width - 1, -1, -1), torch.arange(width)) + self.columns
        rows, columns = send(torch.arange(height) + self.rows, images.device), send(columns, images.device)
        padded = F.pad(images, (self.pad,) * 4)
        # two copies of whole lines, which is several times faster than one of single pixels
        rows = rows.view(-1, 1, height, 1).expand(-1, channels, -1, padded.shape[3])
        columns = columns.view(-1, 1, 1, width).expand(-1, channels, height, -1)
        return padded.gather(2, rows).gather(3, columns)


def pad_crop_flip(images: Tensor, *, pad: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Return images (N, C, H, W) of the same size, each moved by up to `pad` pixels and, half of them, mirrored.

    Each image is surrounded by `pad` black pixels (0) and a window of the old size is cut out at a place of its own.
    `generator` is a CPU generator; the images may be on any device.

    Source: He et al. 2015, section 4.2 (pad 4, random crop of 32, horizontal flip).
    """
    moves = Moves.draw(len(images), pad=pad, flip=flip, generator=generator)
    return images if moves is None else moves.apply(images)
