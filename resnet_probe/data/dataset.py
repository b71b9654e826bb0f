"""Data: labelled images, or other inputs, in a fixed order, and the ways to take parts of them.

Data.batches              normalised batches on a device, in order
Data.subset, Data.shard   parts that share the pixels
Data.with_normalization   the same pixels, normalised in another way
Data.fingerprint          what was measured, independent of paths and machines
spread                    which images a limit keeps
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from resnet_probe.data.errors import DataError
from resnet_probe.data.files import ImageFiles
from resnet_probe.data.normalization import BRIGHTEST, normalizer, parse_normalization


@dataclass(frozen=True, eq=False, repr=False)
class Data:
    """Labelled images, or other inputs, in a fixed order.

    Attributes:
        name: the data set, or the folder's name.
        split: the part of it that this is.
        images: in memory, pixels of 8 or 16 bits (N, C, H, W), floats (N, ...) or int64 tokens (N, T), which
            `data.normalization` makes a network's input of; or the files that are decoded when a batch needs them.
        labels: int64 (N,); for a task other than classification, numbers of any shape (N, ...).
        classes: the name of each label.
        normalization: what `batches` applies: a name from NORMALIZATIONS or "mean;std".
        folder: whether they come from a folder of images, whose name says nothing certain about what they are.
        resized: how images of other sizes were brought to this one; empty where every pixel stays as it is.
        mapped: whether the classes are the outputs of a network, of which the labels are some (`data.classes`).

    Raises DataError for images of another form, another number of labels, or a normalisation that does not fit the
    number of channels (dimension 1).

    Examples:
        >>> from resnet_probe.data import load_data
        >>> data = load_data("digits", limit=100)
        >>> [tuple(x.shape) for x, y in data.batches(64)]
        [(64, 1, 8, 8), (36, 1, 8, 8)]
    """

    name: str
    split: str
    images: Tensor | ImageFiles
    labels: Tensor
    classes: tuple[str, ...]
    normalization: str
    folder: bool = False
    resized: str = ""
    mapped: bool = False

    def __post_init__(self) -> None:
        held = self.images
        if not isinstance(held, ImageFiles) and not (isinstance(held, Tensor) and _is_input(held)):
            raise DataError(
                f"images of {self.name} are {_form(held)}; give uint8 pixels (N, C, H, W) from 0 to 255 or 16-bit ones "
                "from 0 to 65535, floats (N, ...) or int64 tokens (N, T)"
            )
        if not isinstance(self.labels, Tensor) or self.labels.dim() < 1 or len(self.labels) != len(held):
            raise DataError(
                f"labels of {self.name} are {_form(self.labels)} for {len(held)} images; give a tensor of one each"
            )
        known = parse_normalization(self.normalization, pixels=self.is_pixels)
        channels = self.input_shape[0] if self.input_shape else 1
        if known is not None and held.dtype == torch.int64:
            raise DataError(f"normalisation {self.normalization!r} of the tokens of {self.name}: give 'none'")
        if known is not None and len(known[0]) not in (1, channels):
            raise DataError(
                f"normalisation {self.normalization!r} is for {len(known[0])} channels, but the images of {self.name} "
                f"have {channels}: give one value, or one for each channel"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.input_shape))
        what = "images" if self.is_pixels else "inputs"
        return (
            f"Data({self.name!r}, {self.split!r}: {len(self)} {what} {shape}, {len(self.classes)} classes, "
            f"normalization={self.normalization!r})"
        )

    @property
    def mean(self) -> tuple[float, ...] | None:
        """Mean that is subtracted from pixels in 0..1 or from floats, one or one per channel; None for "none"."""
        known = parse_normalization(self.normalization, pixels=False)
        return known[0] if known else None

    @property
    def std(self) -> tuple[float, ...] | None:
        """Standard deviation that the pixels or floats are divided by; None for "none"."""
        known = parse_normalization(self.normalization, pixels=False)
        return known[1] if known else None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of every input: (C, H, W) of images."""
        return tuple(self.images.shape[1:])

    @property
    def is_pixels(self) -> bool:
        """Whether they are pixels, which are brought to 0..1; not floats or tokens."""
        return self.images.dtype in BRIGHTEST

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of shape, inputs and labels in order; paths, names and normalisation do not count.

        Files that are not held in memory count with their bytes instead of their pixels.
        """
        kind = () if self.images.dtype == torch.uint8 else (str(self.images.dtype),)
        digest = hashlib.sha256(repr((tuple(self.images.shape), len(self.classes), *kind)).encode())
        if isinstance(self.images, ImageFiles):
            self.images.add_to(digest)
        else:
            digest.update(self.images.cpu().contiguous().view(torch.uint8).numpy().data)
        exact = "<f8" if self.labels.is_floating_point() else "<i8"
        digest.update(self.labels.cpu().numpy().astype(exact).tobytes())
        return digest.hexdigest()

    @property
    def is_cropped(self) -> bool:
        """Whether the images are read from files that are resized and cropped to one size."""
        return isinstance(self.images, ImageFiles) and self.images.crop is not None

    def with_normalization(self, normalization: str) -> Data:
        """Return the same images, not copied, with another normalisation (a name or "mean;std")."""
        return self._same_pixels(replace(self, normalization=normalization))

    def subset(self, index: slice | Sequence[int] | Tensor) -> Data:
        """Return the images at `index`, in its order; a slice shares the pixels, other indices copy them."""
        if not isinstance(index, slice):
            index = torch.as_tensor(index, dtype=torch.int64)
        return replace(self, images=self.images[index], labels=self.labels[index])

    def shard(self, rank: int, world: int) -> Data:
        """Return every `world`-th image from number `rank` on.

        The shards of all ranks hold every image exactly once: nothing is padded, so sizes may differ by one.
        Raises ValueError unless 0 <= rank < world.
        """
        if not 0 <= rank < world:
            raise ValueError(f"no shard {rank} of {world}: rank must be 0 to {world - 1}")
        return self.subset(slice(rank, None, world))

    def to(self, device: torch.device | str) -> Data:
        """Return the data with its pixels (where in memory) and labels on `device`."""
        images = self.images if isinstance(self.images, ImageFiles) else self.images.to(device)
        return self._same_pixels(replace(self, images=images, labels=self.labels.to(device)))

    def pixels(self, index: slice | Tensor = slice(None)) -> Tensor:
        """Return the pixels (n, C, H, W), floats (n, ...) or tokens (n, T) at `index`, as stored."""
        part = self.images[index]
        return part.decode() if isinstance(part, ImageFiles) else part

    def original(self, number: int) -> Tensor:
        """Return the pixels (C, H, W) of one image; of a file in its own size, neither resized nor cropped."""
        if isinstance(self.images, ImageFiles):
            return torch.from_numpy(np.array(self.images.picture(number))).permute(2, 0, 1)
        return self.images[number]

    def normalizer(self, device: torch.device | str = "cpu") -> Callable[[Tensor], Tensor]:
        """Return the function that makes network input of what `pixels` returns, on `device`."""
        return normalizer(parse_normalization(self.normalization, pixels=False), device)

    def batches(self, batch_size: int, *, device: torch.device | str = "cpu") -> Iterator[tuple[Tensor, Tensor]]:
        """Yield normalised float32 images (n, C, H, W) and int64 labels (n,) on `device`, in order, each image once.

        Tokens stay int64. What is stored is sent, and becomes floats on the device; the host does not wait for it. The
        last batch may be smaller. Raises ValueError for a batch size below 1, DataError for a file that cannot be
        decoded.
        """
        normalize = self.normalizer(device)
        for pixels, labels in self.pixel_batches(batch_size, device=device):
            yield normalize(pixels), labels

    def pixel_batches(self, batch_size: int, *, device: torch.device | str = "cpu") -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the inputs as they are stored, and their labels, on `device`, as `batches` does.

        For networks that want the same images normalised in several ways. Raises as `batches`.
        """
        if batch_size < 1:
            raise ValueError(f"batch size {batch_size}: it must be at least 1")
        device = torch.device(device)
        cuts = [slice(start, start + batch_size) for start in range(0, len(self), batch_size)]
        for cut, pixels in zip(cuts, self._pixel_batches(cuts), strict=True):
            yield send(pixels, device), send(self.labels[cut], device)

    def _same_pixels(self, other: Data) -> Data:
        if "fingerprint" in self.__dict__:  # hashing 50,000 images again would take a while
            other.__dict__["fingerprint"] = self.fingerprint
        return other

    def _pixel_batches(self, cuts: list[slice]) -> Iterator[Tensor]:
        if not isinstance(self.images, ImageFiles):
            yield from (self.images[cut] for cut in cuts)
            return
        # The next batch is decoded while the network works on this one.
        with ThreadPoolExecutor(max_workers=1) as ahead:
            waiting = [ahead.submit(self.pixels, cut) for cut in cuts[:1]]
            for number in range(len(cuts)):
                current = waiting.pop()
                waiting += [ahead.submit(self.pixels, cut) for cut in cuts[number + 1 : number + 2]]
                yield current.result()


def _is_input(held: Tensor) -> bool:
    """Whether a tensor is of a form that the table in `data.normalization` has."""
    if held.dtype in BRIGHTEST:
        wide = held.dtype in (torch.int16, torch.int32) and held.numel() and held.device.type == "cpu"
        return held.dim() == 4 and not (wide and (held.min() < 0 or int(held.max()) > BRIGHTEST[held.dtype]))
    return held.dim() >= 1 if held.is_floating_point() else held.dtype == torch.int64 and held.dim() == 2


def _form(value: object) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    form = f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
    integers = value.dtype in (torch.int16, torch.int32) and value.numel()
    return form + (f" from {value.min()} to {value.max()}" if integers else "")


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`; the host does not wait for the copy."""
    # Only a copy from pinned memory to a CUDA device runs while the host goes on.
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def are_classes(labels: Tensor) -> bool:
    """Whether the labels are one class for each image."""
    return labels.dim() == 1 and not labels.is_floating_point()


def spread(labels: Tensor, limit: int) -> Tensor:
    """Return the indices, ascending, of `limit` images that are spread evenly over the classes.

    Turns are taken: the first image of each class in stored order, then the second of each, until there are enough; a
    class that has run out is passed over. Nothing is random, and a smaller limit keeps a part of what a larger keeps.

    Examples:
        >>> spread(torch.tensor([0, 0, 0, 0, 1, 1]), 3).tolist()
        [0, 1, 4]
    """
    order = torch.argsort(labels, stable=True)
    counts = torch.bincount(labels)
    starts = torch.cumsum(counts, 0) - counts
    turn = torch.empty_like(labels)  # an image's number inside its class
    turn[order] = torch.arange(len(labels)) - starts[labels[order]]
    by_turn = torch.argsort(turn * (len(counts) + 1) + labels, stable=True)
    return by_turn[:limit].sort().values
