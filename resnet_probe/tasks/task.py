"""What an output of a network and its target become: a loss, and measures of each example."""

from __future__ import annotations

import functools
import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any, Literal

import torch
from torch import Tensor

# How a column of measures is kept: `flag`, a truth value of each example; `count`, only how many are true; `sum`, only
# the sum of numbers; `value`, a number of each example.
Kind = Literal["flag", "count", "sum", "value"]

CEILING = 1e5  # of one number that is added up; the loss of a network that overflows is no more than this, in nats


class Task(ABC):
    """What is asked of a network on a data set. Outputs and targets may be of any form.

    Attributes:
        name: of the task.
        columns: name of each measure -> how it is kept.
    """

    name: str
    columns: Mapping[str, Kind]

    @property
    def identity(self) -> str:
        """What kept results depend on, beside the name and the columns: a digest of code that is not this package's."""
        return ""

    @abstractmethod
    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """The loss of each example, `(N,)`, in the precision of the outputs; what is differentiated and trained on."""

    @abstractmethod
    def measure(self, outputs: Any, targets: Any, intact: Any) -> Mapping[str, Tensor]:
        """The measures of each example, `(N,)` by the names of `columns`.

        Args:
            outputs: of a variant of the network, for a batch.
            targets: of the batch.
            intact: outputs of the first variant, to compare with.
        """

    @abstractmethod
    def check(self, outputs: Any, classes: int, name: str) -> None:
        """Find out on one example whether network and data fit.

        Args:
            outputs: of the intact network for one example.
            classes: how many the data has.
            name: of the data.

        Raises:
            ValueError: they do not.
        """


class Measured(Task):
    """A task whose measures come from a function of one's own.

    Args:
        function: from outputs and targets of a batch to named measures of each example, `(N,)`; truth values are kept
            as flags, numbers as values. The names and kinds must be the same for every batch. Results that a journal
            kept count for the same function only: its code, its defaults and what it closes over.
    """

    def __init__(self, function: Callable[[Any, Any], Mapping[str, Tensor]]) -> None:
        self.function = function
        inner: Any = function
        while isinstance(inner, functools.partial):
            inner = inner.func
        inner = inner if hasattr(inner, "__qualname__") else type(inner)
        self.name = f"{inner.__module__}.{inner.__qualname__}"
        self.columns: dict[str, Kind] = {}

    @property
    def identity(self) -> str:
        """Digest of the function."""
        return hashlib.sha256(repr(_content(self.function)).encode()).hexdigest()

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """There is none.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"{self.name} measures only; it has no loss")

    def measure(self, outputs: Any, targets: Any, intact: Any) -> Mapping[str, Tensor]:
        """What the function returns.

        Raises:
            ValueError: it is no mapping of one-dimensional tensors, one number for each example.
        """
        found = self.function(outputs, targets)
        examples = len(targets)
        for name, values in found.items() if isinstance(found, Mapping) else [("", found)]:
            if not isinstance(values, Tensor) or values.shape != (examples,):
                shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
                raise ValueError(
                    f"{self.name} gives {shape} for {name or 'its answer'} on {examples} examples; return a mapping of "
                    f"names to tensors of shape ({examples},)"
                )
        return found

    def check(self, outputs: Any, classes: int, name: str) -> None:
        """Any network and data fit."""

    def learn(self, outputs: Any, targets: Any) -> None:
        """Find the names and kinds of the columns on one batch."""
        found = self.measure(outputs, targets, outputs)
        self.columns = {name: "flag" if values.dtype == torch.bool else "value" for name, values in found.items()}


def _content(thing: Any) -> Any:
    """What a function does, as nested tuples: its code, and the values that it has from where it was made."""
    if isinstance(thing, functools.partial):
        return _content(thing.func), _content(thing.args), sorted((k, _content(v)) for k, v in thing.keywords.items())
    if isinstance(thing, CodeType):
        return thing.co_code, thing.co_names, _content(thing.co_consts)
    if isinstance(thing, Tensor):
        return thing.dtype, tuple(thing.shape), thing.detach().cpu().tolist()
    if isinstance(thing, tuple | list):
        return tuple(_content(each) for each in thing)
    if isinstance(code := getattr(thing, "__code__", None), CodeType):
        cells = [cell.cell_contents for cell in thing.__closure__ or ()]
        values = (thing.__defaults__ or (), thing.__kwdefaults__ or {}, getattr(thing, "__self__", None))
        return _content(code), _content(cells), _content(values)
    return re.sub(r" at 0x[0-9a-f]+", "", repr(thing))
