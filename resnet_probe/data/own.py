"""Data of one's own: any Dataset or iterable of (input, target), and what a factory of one's own code makes.

from_dataset   read into memory, as `Data`
load_own       the same of what `file.py:factory` or `package.module:factory` returns
is_own         whether a name is one of these
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from resnet_probe.data.dataset import Data, are_classes, spread
from resnet_probe.data.errors import DataError
from resnet_probe.data.files import DEEP_MODES
from resnet_probe.data.folder import MEMORY
from resnet_probe.factories import call, find_factory, line

WHAT = ("inputs", "targets")


def from_dataset(
    dataset: Any,
    *,
    classes: Sequence[str] | None = None,
    name: str | None = None,
    split: str = "test",
    normalization: str = "none",
    limit: int | None = None,
    memory: int = MEMORY,
) -> Data:
    """Read pairs (input, target) into memory, in their order.

    dataset: a `torch.utils.data.Dataset`, a sequence or any other iterable. Inputs are tensors, arrays, numbers or
        Pillow's pictures (grey or RGB, 8 or 16 bits), all of one shape and type, of a form that `Data` takes; targets
        are numbers or tensors of one shape.
    classes: name of each label; by default the attribute `classes` of the data set, or else the numbers from 0 to the
        largest label.
    name: of the data; by default that of the data set's type.
    split: what it is called in tables.
    normalization: as in `Data`; floats are often normalised already by the data set's own transforms.
    limit: keep this many: spread evenly over what has a length and indices, else the first ones.
    memory: bytes of inputs that may be held.

    Raises DataError for what is no pair, for inputs or targets of differing form, for labels without a class, and for
    more than `memory`.

    Examples:
        >>> data = from_dataset([(torch.zeros(1, 28), 0), (torch.ones(1, 28), 2)], name="spectra")
        >>> data
        Data('spectra', 'test': 2 inputs 1x28, 3 classes, normalization='none')
    """
    name = name or type(dataset).__name__
    inputs: list[Tensor] = []
    targets: list[Tensor] = []
    held = 0
    for number, item in enumerate(_items(dataset, name, limit)):
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(f"item {number} of {name} is {_kind(item)}; give pairs (input, target)")
        for part, what, value in ((inputs, "input", item[0]), (targets, "target", item[1])):
            tensor = _tensor(value, f"{what} {number} of {name}")
            if part and (tensor.shape, tensor.dtype) != (part[0].shape, part[0].dtype):
                raise DataError(
                    f"{what} {number} of {name} is {_form(tensor)}, {what} 0 {_form(part[0])}; give all of one form, "
                    "such as resized or padded to one size"
                )
            part.append(tensor)
        held += inputs[-1].nbytes
        if held > memory:
            raise DataError(f"{name} is larger than {memory / 2**30:g} GiB; give a limit of {number} at most")
    if not inputs:
        raise DataError(f"{name} is empty; give a data set with pairs (input, target)")
    data = _data(name, split, torch.stack(inputs), torch.stack(targets), classes or getattr(dataset, "classes", None))
    return data.with_normalization(normalization)


def is_own(spec: str) -> bool:
    """Whether it is `package.module:factory` or `file.py:factory`, and no folder of that name."""
    return re.fullmatch(r".+\.py(:\w*)?|[A-Za-z_][\w.]*:\w+", spec) is not None and not Path(spec).is_dir()


def load_own(spec: str, *, split: str, limit: int | None, normalization: str | None = None) -> Data:
    """What the factory of that name makes: a `Data`, inputs and targets in two tensors, or what `from_dataset` reads.

    It is called with the split if it has a parameter of that name or needs one argument. Its module's code runs: give
    only a name that the user typed. Without `normalization` that of the data is kept, "none" where it has none.

    Raises DataError for a split that the factory does not take and for what `from_dataset` does not take, LookupError
    and ValueError as `factories`.
    """
    factory = find_factory(spec if ":" in spec else f"{spec}:", "data")
    name, made_for = Path(spec).name, _for_split(factory, split)
    if made_for is None and split not in ("test", "all"):
        raise DataError(f"{spec} has no split {split!r}, as it takes no argument: give it one named split")
    made = call(spec, made_for or factory)
    split = split if made_for else "all"
    if isinstance(made, Data):
        data = made
    elif isinstance(made, tuple) and len(made) == 2 and all(isinstance(each, Tensor | np.ndarray) for each in made):
        inputs, targets = (_tensor(each, f"{what} of {name}") for each, what in zip(made, WHAT, strict=True))
        data = _data(name, split, inputs, targets)
    else:
        try:
            data = from_dataset(made, name=name, split=split, limit=limit)
        except DataError:
            raise
        except Exception as error:  # of the user's own code
            raise DataError(f"{spec} failed with {type(error).__name__}: {line(error)}; make it readable") from error
    if limit is not None and limit < len(data):
        data = data.subset(spread(data.labels, limit) if are_classes(data.labels) else _evenly(len(data), limit))
    return data if normalization is None else data.with_normalization(normalization)


def _for_split(factory: Callable[..., Any], split: str) -> Callable[[], Any] | None:
    """The factory with its argument, where it takes one."""
    try:
        parameters = inspect.signature(factory).parameters
    except ValueError:  # some built-in callables have no signature
        return None
    if "split" in parameters:
        return partial(factory, split=split)
    variable = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    needed = [each for each in parameters.values() if each.default is each.empty and each.kind not in variable]
    return partial(factory, split) if len(needed) == 1 else None


def _items(dataset: Any, name: str, limit: int | None) -> Iterable[Any]:
    if isinstance(dataset, DataLoader):
        raise DataError(f"{name} makes batches; give its dataset, a Dataset or an iterable of (input, target)")
    if isinstance(dataset, Mapping) or not {"__iter__", "__getitem__"} & {*dir(dataset)}:
        raise DataError(f"{name} is {_kind(dataset)}; give a Dataset or an iterable of (input, target)")
    if hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__") and not isinstance(dataset, IterableDataset):
        chosen = range(len(dataset)) if limit is None else _evenly(len(dataset), limit).tolist()
        return (dataset[number] for number in chosen)
    return islice(dataset, limit)


def _evenly(count: int, limit: int) -> Tensor:
    """Indices of `limit` of so many, or of all, at equal distances."""
    kept = min(count, limit)
    return torch.arange(kept) * count // max(kept, 1)


def _tensor(value: Any, what: str) -> Tensor:
    try:
        if isinstance(value, Image.Image):
            return _pixels(value)
        if isinstance(value, np.ndarray):
            return torch.from_numpy(np.ascontiguousarray(value))
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise DataError(f"{what} is {_kind(value)}; give a number, a tensor, an array or a picture") from None


def _pixels(picture: Image.Image) -> Tensor:
    """The pixels (C, H, W) of a grey or a colour picture, as many bits as it has."""
    if picture.mode not in (*DEEP_MODES, "L"):
        picture = picture.convert("RGB")
    array = np.array(picture)
    array = array.astype(array.dtype.newbyteorder("="))
    return torch.from_numpy(array).permute(2, 0, 1) if array.ndim == 3 else torch.from_numpy(array[None])


def _data(name: str, split: str, inputs: Tensor, labels: Tensor, classes: Sequence[str] | None = None) -> Data:
    """The data, with as many classes as its labels have if no names are given."""
    if not labels.is_floating_point():
        labels = labels.to(torch.int64)
    if labels.dim() == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if are_classes(labels) and len(labels):
        least, most = int(labels.min()), int(labels.max())
        classes = [str(label) for label in range(most + 1)] if classes is None else classes
        if least < 0 or most >= len(classes):
            raise DataError(
                f"labels of {name} are {least} to {most} and it has {len(classes)} classes; give labels from 0 on, one "
                "name for each"
            )
    return Data(name, split, inputs, labels, tuple(map(str, classes or ())), "none")


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
