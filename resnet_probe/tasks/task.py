"""What an output of a network and its target become: a loss, and measures of each example."""

from __future__ import annotations

import functools
import hashlib
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from resnet_probe.statistics import confidence_sequence, paired, wilson

if TYPE_CHECKING:
    from resnet_probe.data import Data
    from resnet_probe.tasks.score import Score

# How a column of measures is kept: `flag`, a truth value of each example; `count`, only how many are true; `sum`, only
# the sum of numbers; `value`, a number of each example; `record`, an array of each example, of any length.
Kind = Literal["flag", "count", "sum", "value", "record"]

# A quantity and what it is of: a class, or nothing for all together.
Quantity = tuple[str, str]

CEILING = 1e5  # of one number that is added up; the loss of a network that overflows is no more than this, in nats


class Task(ABC):
    """What is asked of a network on a data set. Outputs and targets may be of any form.

    Attributes:
        name: of the task.
        columns: name of each measure -> how it is kept.
        labels: what the labels of its data are for: `classification`, `detection` or `segmentation`.
        most: examples that are run at a time, at most; None for any number.
        outputs: whether the network may return several tensors.
    """

    name: str
    columns: Mapping[str, Kind]
    labels: ClassVar[str] = "classification"
    most: ClassVar[int | None] = None
    outputs: ClassVar[bool] = False

    # -- how a network is run ------------------------------------------------------------------------------------------

    def part(self, model: nn.Module) -> str:
        """Path of the part of the model that is unraveled, with the rest run as it is; empty for the whole model."""
        return ""

    def example(self, inputs: Any) -> Any:
        """What to trace a whole model with, given a batch of inputs; None for their shape."""
        return None

    def batches(self, data: Data, size: int, device: torch.device) -> Iterator[tuple[Any, Any]]:
        """Inputs and targets, `size` examples at a time."""
        return data.batches(size, device=device)

    def run(self, model: nn.Module, inputs: Any, targets: Any) -> Any:
        """What `measure` is given for outputs; the targets are for networks that compute their own loss."""
        return model(inputs)

    # -- what its examples add up to -----------------------------------------------------------------------------------

    @property
    def flagged(self) -> bool:
        """Whether each example is right or wrong: there are flags of that name."""
        return self.columns.get("wrong") == "flag"

    def quantities(self, kept: Mapping[str, Any], weights: Any) -> Mapping[Quantity, Any]:
        """What examples of such weights add up to, see `Resampled`; other tasks have none."""
        raise TypeError(f"{self.name} is a mean over examples")

    def interval(self, score: Score) -> tuple[float | None, float | None]:
        """The error's 95 % interval over examples, in percent; of classification Wilson's."""
        return wilson(int(score.sums["wrong"]), score.images)

    def against(self, intact: Score, score: Score, *, sequence: bool = False) -> dict[str, Any]:
        """The difference of a network's error from the intact one's on the same examples, in points.

        Args:
            intact: of the intact network.
            score: of the other.
            sequence: the number of examples was not fixed beforehand: the interval is a confidence sequence's, and what
                needs a fixed number is None.
        """
        found = asdict(paired(intact.flags, score.flags))
        difference, low, high = found["increase"], found["increase_low"], found["increase_high"]
        if sequence:
            difference, low, high = confidence_sequence(found["newly_wrong"], found["newly_right"], score.images)
            found |= dict.fromkeys(("increase_low", "increase_high", "p"))
        return {**found, "difference": difference, "difference_low": low, "difference_high": high}

    @property
    def identity(self) -> str:
        """What kept results depend on, beside the name and the columns: a digest of code that is not this package's.

        That is the files of the classes, or of classes without one what their functions do.
        """
        found = []
        for each in type(self).__mro__:
            if issubclass(each, Task) and not each.__module__.startswith("resnet_probe."):
                file = getattr(sys.modules.get(each.__module__), "__file__", None)
                found.append(Path(file).read_bytes() if file else [_content(value) for value in vars(each).values()])
        return hashlib.sha256(repr(found).encode()).hexdigest() if found else ""

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """The loss of each example, `(N,)`, in the precision of the outputs; what is differentiated and trained on.

        Raises:
            TypeError: the task has none, and only measures.
        """
        raise TypeError(f"{self.name} measures only; it has no loss")

    @abstractmethod
    def measure(self, outputs: Any, targets: Any, intact: Any) -> Mapping[str, Any]:
        """The measures of each example by the names of `columns`: `(N,)`, or of records a list of arrays.

        Args:
            outputs: of a variant of the network, for a batch.
            targets: of the batch.
            intact: outputs of the first variant, to compare with.
        """

    def check(self, outputs: Any, classes: tuple[str, ...], name: str) -> None:
        """Find out on one example whether network and data fit.

        Args:
            outputs: of the intact network for one example.
            classes: of the data.
            name: of the data.

        Raises:
            ValueError: they do not.
        """
        return


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
