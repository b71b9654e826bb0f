"""Views of an image: the whole image, ten crops of it, or several sizes of it; scores are averaged over them.

Source: ten crops: Krizhevsky, Sutskever, Hinton 2012, "ImageNet Classification with Deep Convolutional Neural
Networks", section 4.1. Several sizes: He et al. 2015 (arXiv 1512.03385), section 3.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

SINGLE, TEN_CROP, MULTI_SCALE = "single", "ten-crop", "multi-scale"
IMAGENET_SCALES = (224, 256, 384, 480, 640)  # He 2015, section 3.4
RELATIVE_SCALES = (0.75, 0.875, 1.0, 1.125, 1.25)  # for small images; ours


@dataclass(frozen=True)
class View:
    """A way to look at images.

    Attributes:
        name: `single`, `ten-crop` or `multi-scale`.
        count: how many inputs it makes of each image.
        parts: from normalised images `(N, C, H, W)` to `count` inputs `(N, C, h, w)`.
        settings: its sizes in pixels, for the record.
    """

    name: str
    count: int
    parts: Callable[[Tensor], Iterable[Tensor]]
    settings: dict[str, Any]


def single(crop: int | None = None) -> View:
    """The whole image, or the square of `crop` pixels at its centre."""

    def parts(x: Tensor) -> Iterator[Tensor]:
        yield x if crop is None else _centre(x, crop)

    return View(SINGLE, 1, parts, {"crop": crop})


def ten_crop(crop: int, *, padding: int = 0) -> View:
    """Four corners and the centre, as squares of `crop` pixels, and the same of the mirrored image.

    Args:
        crop: side of the squares.
        padding: pixels added at each edge first, of value 0 after normalisation, which is the mean colour.
    """
    from torch.nn import functional as F  # noqa: PLC0415 - the package is imported for its figures without torch

    def parts(x: Tensor) -> Iterator[Tensor]:
        x = F.pad(x, (padding,) * 4) if padding else x
        for image in (x, x.flip(-1)):
            for rows in (slice(None, crop), slice(-crop, None)):
                for columns in (slice(None, crop), slice(-crop, None)):
                    yield image[..., rows, columns]
            yield _centre(image, crop)

    return View(TEN_CROP, 10, parts, {"crop": crop, "padding": padding})


def multi_scale(sides: Sequence[int]) -> View:
    """The image with its shorter side resized to each of `sides`, bilinear with anti-aliasing.

    A network that ends in global average pooling and a linear layer averages its scores over positions by itself, so
    to give it the larger image is the "fully-convolutional form" of the paper.
    """
    from torch.nn import functional as F  # noqa: PLC0415

    def parts(x: Tensor) -> Iterator[Tensor]:
        height, width = x.shape[-2:]
        for side in sides:
            size = (side, round(width * side / height)) if height <= width else (round(height * side / width), side)
            same = size == (height, width)
            yield x if same else F.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)

    return View(MULTI_SCALE, len(sides), parts, {"scales": list(sides)})


def scales_for(side: int) -> tuple[int, ...]:
    """Scales for a network made for images of `side` pixels.

    For 224 those of the paper; for others, whose images have no more detail to show when enlarged, 3/4 to 5/4 of the
    network's own size.
    """
    if side == IMAGENET_SCALES[0]:
        return IMAGENET_SCALES
    return tuple(dict.fromkeys(max(1, round(side * factor)) for factor in RELATIVE_SCALES))


def _centre(x: Tensor, crop: int) -> Tensor:
    top, left = (round((size - crop) / 2) for size in x.shape[-2:])
    return x[..., top : top + crop, left : left + crop]
