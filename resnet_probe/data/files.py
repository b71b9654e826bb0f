"""Image files, decoded when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from resnet_probe.data.errors import DataError
from resnet_probe.files import regular
from resnet_probe.limits import MOST_PIXELS

# Whatever a file is called; other formats may run programs.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
# Modes with more than 8 bits per channel: Pillow's conversion to RGB would clip them to white.
DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
# Pillow decodes outside of Python's global lock, so threads help; for tiny images the lock costs more than they save.
MOST_THREADS = 8
WORTH_A_THREAD = 128 * 128  # pixels


@dataclass(frozen=True)
class ImageFiles:
    """Image files as a sequence of RGB images of one size.

    paths: one file per image.
    height, width: of every image as decoded, in pixels.
    crop: None where every file has that size already; else the side of the square that is cut from the centre after
        the shorter side was resized, as `resize_and_crop` does.
    whole: the larger square around that one is kept, which has all of the shorter side.

    Indexing with a slice or an int64 tensor selects files; `decode` reads the selected ones.
    """

    paths: tuple[Path, ...]
    height: int
    width: int
    crop: int | None = None
    whole: bool = False

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def dtype(self) -> torch.dtype:
        """Of the decoded pixels."""
        return torch.uint8

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, 3, H, W)."""
        return len(self), 3, self.height, self.width

    def __getitem__(self, index: slice | Tensor) -> ImageFiles:
        if isinstance(index, slice):
            return replace(self, paths=self.paths[index])
        return replace(self, paths=tuple(self.paths[i] for i in index.tolist()))

    def decode(self) -> Tensor:
        """Return the pixels, uint8 (N, 3, H, W). Raises DataError that names the first file that is broken."""
        pixels = np.empty((len(self), self.height, self.width, 3), dtype=np.uint8)

        def fill(row: int) -> None:
            pixels[row] = self._read(self.paths[row])

        workers = min(MOST_THREADS, os.cpu_count() or 1)
        if workers == 1 or (self.crop is None and self.height * self.width < WORTH_A_THREAD):
            for row in range(len(self)):
                fill(row)
        else:
            with ThreadPoolExecutor(workers) as pool:
                for done in [pool.submit(fill, row) for row in range(len(self))]:
                    try:
                        done.result()
                    except BaseException:
                        pool.shutdown(wait=False, cancel_futures=True)
                        raise
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()

    def picture(self, number: int) -> Image.Image:
        """Return one image as RGB in its own size, neither resized nor cropped."""
        return self._open(self.paths[number])

    def _open(self, path: Path) -> Image.Image:
        with reading(path), opened(path) as image:
            if image.mode in DEEP_MODES:
                raise DataError(f"image {path} has more than 8 bits per channel: convert it to 8 bits first")
            transparent = image.mode == "P" and "transparency" in image.info
            # Pillow warns about a transparent palette that is not converted in two steps.
            return image.convert("RGBA").convert("RGB") if transparent else image.convert("RGB")

    def _read(self, path: Path) -> np.ndarray:
        picture = self._open(path)
        if self.crop is not None:
            shorter, longer = sorted(picture.size)
            side = around(self.crop)
            if side * side * longer // shorter > MOST_PIXELS:
                raise DataError(
                    f"image {path} is {picture.width} x {picture.height} pixels, which become more than "
                    f"{MOST_PIXELS:,} when the shorter side is resized to {side}; cut it to its middle, or remove it"
                )
            picture = resize_and_crop(picture, self.crop, whole=self.whole)
        if picture.size != (self.width, self.height):
            raise DataError(f"image {path} changed its size to {picture.width} x {picture.height} while it was read")
        return np.asarray(picture)

    def add_to(self, digest: Any) -> None:
        """Feed the crop and the bytes of every file, in order, to a hashlib object."""
        digest.update((repr(self.crop) + (" whole" if self.whole else "")).encode())
        for path in self.paths:
            with reading(path):
                content = _regular(path).read_bytes()
            digest.update(len(content).to_bytes(8, "little"))
            digest.update(content)


def sizes(paths: Sequence[Path]) -> list[tuple[int, int]]:
    """Return (height, width) of each image file, read from its header. Raises DataError for one that is broken."""
    found = []
    for path in paths:
        with reading(path), opened(path) as image:
            found.append((image.height, image.width))
    return found


def _regular(path: Path) -> Path:
    try:
        return regular(path)
    except ValueError as error:
        raise DataError(f"image {error}") from None


def opened(path: Path) -> Image.Image:
    """Open an image file of a known format and a size that is read. Raises DataError for any other."""
    try:
        image = Image.open(_regular(path), formats=_formats())
    except UnidentifiedImageError:
        known = ", ".join(_formats())
        raise DataError(f"cannot read image {path}: damaged, or none of {known}; replace or remove the file") from None
    if image.width * image.height > MOST_PIXELS:
        image.close()
        raise DataError(
            f"image {path} has {image.width} x {image.height} pixels; at most {MOST_PIXELS:,} are read: make it smaller"
        )
    return image


def resize_and_crop(picture: Image.Image, side: int, *, whole: bool = False) -> Image.Image:
    """Return the central square of `side` pixels, after the shorter side was resized to side * 256 / 224 (rounded).

    For 224 this is the single-crop evaluation on ImageNet that torchvision's reference numbers use: shorter side to
    256, bilinear with anti-aliasing, then the centre. Other sides keep its proportions. With `whole` it is the square
    of all of the shorter side that has that one at its centre.
    """
    shorter = around(side)
    width, height = picture.size
    if width <= height:
        width, height = shorter, int(shorter * height / width)
    else:
        width, height = int(shorter * width / height), shorter
    left, top = round((width - side) / 2), round((height - side) / 2)
    if whole:
        margin = round((shorter - side) / 2)  # where the centre is odd, it is not that of the larger square
        left, top, side = left - margin, top - margin, shorter
    return picture.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + side, top + side))


def around(side: int) -> int:
    """The shorter side, in pixels, of an image from whose centre a square of `side` is cut: 256 for 224."""
    return round(side * 256 / 224)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn any failure to read an image inside the block into a DataError that names the file."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as error:  # for damaged files Pillow's decoders raise a dozen types, SyntaxError among them
        reason = " ".join(str(error).split()).replace(f" {str(path)!r}", "") or type(error).__name__
        raise DataError(f"cannot read image {path}: {reason}; replace or remove the file") from error


@cache
def _formats() -> tuple[str, ...]:
    """Those of FORMATS that this Pillow has: an older one has no AVIF, and would refuse every file for it."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)
