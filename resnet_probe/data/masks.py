"""Images with a class for each pixel: folders `images` and `masks`, and what all sources of masks share.

load_masks   a folder with `images` and `masks`, or with split folders
masked       pictures and masks brought to one size, as Data
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from resnet_probe.data.dataset import Data
from resnet_probe.data.errors import DataError
from resnet_probe.data.files import ImageFiles, opened, reading, sizes
from resnet_probe.data.folder import MEMORY, SIDE, SPLITS, SUFFIXES
from resnet_probe.limits import MOST_PIXELS

IGNORED = 255  # the class of a pixel that counts for nothing
NAMES_FILE = "classes.txt"


def has_masks(folder: Path) -> bool:
    """Whether a folder has `images` and `masks` in it, or in one of its split folders."""
    return any((each / "images").is_dir() and (each / "masks").is_dir() for each in (folder, *_parts(folder)))


def load_masks(
    folder: Path, *, split: str, limit: int | None, size: int | None, notify: Callable[[str], None] | None
) -> Data:
    """Read `images` and `masks`, in the folder or in its split folders, or with split folders in both of them.

    An image and its mask have the same name but for the suffix. A mask is a PNG of one channel, grey or with a palette,
    whose values are classes: 0 is the background, 255 counts for nothing. The names of the classes are the lines of
    `classes.txt` in the folder, the background first; without it they are numbers, up to the largest of all splits.

    Raises DataError for a split that is not there, an image without its mask or the other way round, a mask of
    another size or form, or with a class that has no name, and for files that cannot be read.
    """
    places = _places(folder)
    if split not in places and split == "test" and None in places:
        chosen, told = places[None], "all"
    elif split in places:
        chosen, told = places[split], split
    else:
        known = ", ".join(name or "all (as test)" for name in places)
        raise DataError(f"folder {folder} has no split {split!r}: it has {known}")
    pairs = _pairs(*chosen)[:limit]
    names = _names(folder, places)

    def masks() -> Iterable[np.ndarray]:
        for path, mask in pairs:
            yield _mask(mask, path, len(names))

    return masked(folder.resolve().name, told, [path for path, _ in pairs], masks(), names, size=size, notify=notify)


def masked(
    name: str, split: str, paths: Sequence[Path], masks: Iterable[np.ndarray], classes: Sequence[str], *,
    size: int | None, notify: Callable[[str], None] | None,
) -> Data:  # fmt: skip
    """Return images and masks of one size, in memory.

    Where all have one size, and it is a square of `size` or no size is asked for, pixels stay as they are. Otherwise
    each becomes a square of `size` (224 where none is asked for), whatever its proportions: images are resized
    bilinearly with anti-aliasing, masks take the nearest pixel.

    Args:
        name, split: of the data.
        paths: of the images.
        masks: uint8 (H, W) of each, in its own size.
        classes: the background first.
        size: side in pixels.
        notify: gets a line where images are resized.

    Raises:
        DataError: they do not fit into memory, or cannot be read.
    """
    found = sorted(set(sizes(paths)), key=lambda shape: shape[0] * shape[1])
    kept = len(found) == 1 and (size is None or found[0] == (size, size))
    side = SIDE if size is None else size
    height, width = found[0] if kept else (side, side)
    if side * side > MOST_PIXELS or 4 * height * width * len(paths) > MEMORY:
        raise DataError(
            f"{len(paths):,} images of {name} with masks of {width} x {height} pixels take more than {MEMORY:,} bytes; "
            "give a smaller size or a limit"
        )
    which = " to ".join(dict.fromkeys(f"{wide} x {high}" for high, wide in (found[0], found[-1])))
    resized = "" if kept else f"images of {which} pixels and their masks are resized to {side} x {side}"
    if resized and notify is not None:
        notify(f"note: {split} {resized}{', as no size is given' if size is None else ''}")
    files = ImageFiles(tuple(paths), height, width)
    images, labels = np.empty((len(paths), height, width, 3), np.uint8), np.empty((len(paths), height, width), np.uint8)
    for number, mask in enumerate(masks):
        picture, drawn = files.picture(number), Image.fromarray(mask)
        if not kept:
            picture = picture.resize((side, side), Image.Resampling.BILINEAR)
            drawn = drawn.resize((side, side), Image.Resampling.NEAREST)
        images[number], labels[number] = np.asarray(picture), np.asarray(drawn)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    truth = torch.from_numpy(labels)
    return Data(name, split, pixels, truth, tuple(classes), "imagenet", folder=True, resized=resized)


def mask_values(path: Path) -> np.ndarray:
    """Return the values (H, W) of a mask. Raises DataError for one that is damaged, or has several channels."""
    with reading(path), opened(path) as image:
        if image.mode not in ("P", "L", "1"):
            raise DataError(
                f"mask {path} has mode {image.mode}; give a PNG of one channel, grey or with a palette, whose values "
                "are classes"
            )
        return np.array(image, dtype=np.uint8)


def _mask(path: Path, picture: Path, classes: int) -> np.ndarray:
    values = mask_values(path)
    high, wide = sizes([picture])[0]
    if values.shape != (high, wide):
        raise DataError(
            f"mask {path} has {values.shape[1]} x {values.shape[0]} pixels, its image {wide} x {high}; make them equal"
        )
    largest = _largest(values)
    if largest >= classes:
        raise DataError(
            f"mask {path} has class {largest}, and {NAMES_FILE} names {classes} from 0 on; name or correct it"
        )
    return values


def _largest(values: np.ndarray) -> int:
    return int(np.where(values == IGNORED, 0, values).max(initial=0))


def _names(folder: Path, places: dict[str | None, tuple[Path, Path]]) -> list[str]:
    file = folder / NAMES_FILE
    if file.is_file():
        names = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        if not 0 < len(names) <= IGNORED:
            raise DataError(f"{file} has {len(names)} names; give 1 to {IGNORED}, one a line, the background first")
        return names
    largest = max(_largest(mask_values(mask)) for place in places.values() for _, mask in _pairs(*place))
    return ["background", *(f"class {number}" for number in range(1, largest + 1))]


def _parts(folder: Path) -> list[Path]:
    return [folder / name for name in SPLITS if (folder / name).is_dir()]


def _places(folder: Path) -> dict[str | None, tuple[Path, Path]]:
    """Split -> the folders of its images and masks; None for a folder without splits."""
    inside: dict[str | None, tuple[Path, Path]] = {
        part.name: (part / "images", part / "masks") for part in _parts(folder) if (part / "images").is_dir()
    }
    images, masks = folder / "images", folder / "masks"
    below: dict[str | None, tuple[Path, Path]] = {part.name: (part, masks / part.name) for part in _parts(images)}
    return inside or below or {None: (images, masks)}


def _pairs(images: Path, masks: Path) -> list[tuple[Path, Path]]:
    pictures, drawn = ({path.stem: path for path in _files(folder)} for folder in (images, masks))
    for one, other, where in ((pictures, drawn, masks), (drawn, pictures, images)):
        if alone := next((one[stem] for stem in one if stem not in other), None):
            raise DataError(f"{alone} has no counterpart of that name in {where}; add it, or remove this one")
    if not pictures:
        raise DataError(f"folder {images} holds no images: expected files with {', '.join(SUFFIXES)}")
    return [(pictures[stem], drawn[stem]) for stem in pictures]


def _files(folder: Path) -> list[Path]:
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"cannot list folder {folder}: {error.strerror}") from error
    files = [path for path in found if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    if twice := next((stem for stem, count in Counter(path.stem for path in files).items() if count > 1), None):
        raise DataError(f"folder {folder} has several files {twice}.*; keep one of them")
    return files
