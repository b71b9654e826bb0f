"""Handwritten digits scattered on canvases: a data set for detection and segmentation, with boxes and masks known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from resnet_probe.data.dataset import Data
from resnet_probe.data.named import SPLITS, digits

SIDE = 96  # of a canvas, in pixels
COUNTS = {"train": 800, "test": 200}  # canvases
MOST = 4  # digits of a canvas
ENLARGED = (16, 32)  # sides of a digit of 8 x 8, in pixels: 2 to 4 times as large
INK = 96  # of 255, from which on a pixel of an enlarged digit belongs to it
ROWS = 7  # numbers of an annotated object: x1, y1, x2, y2, class, area, iscrowd
EMPTY = -1.0  # fills the rows that an image does not use


def canvases(split: str, *, task: str, limit: int | None = None) -> Data:
    """Return 800 canvases to train and 200 to test, uint8 (N, 3, 96, 96): 1 to 4 digits on a dim, textured ground.

    Each of scikit-learn's digits of the split is enlarged 2 to 4 times, coloured, and put where it covers no other.
    `task` "detection": `labels` float32 (N, 4, 7), rows of x1, y1, x2, y2 in pixels, class (1 is "0"), area in pixels
    and 0, unused rows -1; 10 classes. "segmentation": `labels` uint8 (N, 96, 96), 0 for the ground, 1 for "0" and so
    on; 11 classes. A box encloses exactly the pixels of its digit in the mask. `limit` makes the first ones only.

    The same bytes are made on every machine. Raises DataError for another split.
    """
    source = digits(split)
    glyphs, names = source.pixels()[:, 0].numpy().astype(np.int64), source.labels.numpy()
    images, masks, boxes = [], [], []
    for number in range(COUNTS[split])[:limit]:
        # The raw stream of a bit generator is fixed by numpy's promise; the distributions drawn from it are not.
        stream = np.random.PCG64([SPLITS.index(split), number])
        image, mask, rows = _ground(stream), np.zeros((SIDE, SIDE), np.uint8), np.full((MOST, ROWS), EMPTY)
        for row, (which, place, ink) in enumerate(_placed(stream, glyphs)):
            label = int(names[which]) + 1
            colour = np.array([160 + _below(stream, 96) for _ in range(3)])[:, None, None]
            patch = image[:, *place]
            patch += (colour - patch) * ink // 255
            mask[place][ink >= INK] = label
            ys, xs = np.nonzero(ink >= INK)
            left, top = place[1].start, place[0].start
            corners = left + xs.min(), top + ys.min(), left + xs.max() + 1, top + ys.max() + 1
            rows[row] = *corners, label, len(xs), 0
        images.append(image.astype(np.uint8))
        masks.append(mask)
        boxes.append(rows)
    labels = np.stack(boxes).astype(np.float32) if task == "detection" else np.stack(masks)
    return Data(
        name="canvases",
        split=split,
        images=torch.from_numpy(np.stack(images)),
        labels=torch.from_numpy(labels),
        classes=source.classes if task == "detection" else ("background", *source.classes),
        normalization="none" if task == "detection" else "half",
    )


def _ground(stream: np.random.PCG64) -> np.ndarray:
    """A canvas, int64 (3, 96, 96): coarse patches of 12 pixels and fine noise, at most 95 of 255."""
    coarse, fine = _bytes(stream, (3, SIDE // 12, SIDE // 12)), _bytes(stream, (3, SIDE, SIDE))
    return coarse.repeat(12, 1).repeat(12, 2) // 4 + fine // 8


def _placed(stream: np.random.PCG64, glyphs: np.ndarray) -> Iterator[tuple[int, tuple[slice, slice], np.ndarray]]:
    """Which digit, where (rows, columns), and its ink (side, side) from 0 to 255, for each digit of one canvas."""
    taken = np.zeros((SIDE, SIDE), bool)
    for _ in range(1 + _below(stream, MOST)):
        which, side = _below(stream, len(glyphs)), ENLARGED[0] + _below(stream, ENLARGED[1] - ENLARGED[0] + 1)
        for _ in range(50):
            top, left = _below(stream, SIDE - side + 1), _below(stream, SIDE - side + 1)
            place = slice(top, top + side), slice(left, left + side)
            if not taken[place].any():
                taken[place] = True
                yield which, place, _enlarged(glyphs[which], side)
                break


def _enlarged(glyph: np.ndarray, side: int) -> np.ndarray:
    """An image (8, 8) bilinearly enlarged to (side, side), in whole numbers, which are the same on every machine."""
    old = len(glyph)
    twice = np.clip((2 * np.arange(side) + 1) * old - side, 0, 2 * side * (old - 1))  # place in the old, times 2 side
    near, share = np.divmod(twice, 2 * side)
    weights = np.zeros((side, old + 1), np.int64)
    weights[np.arange(side), near] = 2 * side - share
    weights[np.arange(side), near + 1] = share
    weights = weights[:, :old]
    return weights @ glyph @ weights.T // (2 * side) ** 2


def _bytes(stream: np.random.PCG64, shape: tuple[int, ...]) -> np.ndarray:
    count = int(np.prod(shape))
    return stream.random_raw(-(-count // 8)).astype("<u8").view(np.uint8)[:count].reshape(shape).astype(np.int64)


def _below(stream: np.random.PCG64, end: int) -> int:
    return int(stream.random_raw()) % end
