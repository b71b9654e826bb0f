"""A part of a model in its place: the values that reach it, and the rest of the model run on what it would return."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from resnet_probe.anatomy import each_tensor, tensors_in

__all__ = ["reaching", "run_placed"]

Run = Callable[[nn.Module, Any, Any], Any]


def run_placed(
    place: tuple[nn.Module, str], part: Callable[[Tensor], Sequence[Any]], run: Run, inputs: Any, targets: Any
) -> Iterator[Any]:
    """The model's outputs for each of several variants of one of its parts.

    Args:
        place: the model, and the path of the part.
        part: from the values that reach the part to what each variant of it returns.
        run: the model on a batch.
        inputs, targets: the batch.

    Raises:
        ValueError: no tensor reaches the part, or it is run several times for one batch with different values.
    """
    model, _ = place
    given = reaching(place, inputs)
    values = part(given)
    with _stand_in(place) as there:
        for value in values:
            there.value, there.shape = value, given.shape
            yield run(model, inputs, targets)


def reaching(place: tuple[nn.Module, str], inputs: Any) -> Tensor:
    """The values that reach a part of a model.

    Raises:
        ValueError: none do.
    """
    model, path = place
    with _stand_in(place):
        try:
            model(inputs)
        except _Reached as reached:
            return reached.value
    raise ValueError(f"the inputs do not reach {path} of {type(model).__name__} as a tensor")


class _Reached(Exception):  # noqa: N818 - no error
    """The values that reach the part."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value


class _StandIn(nn.Module):
    """In place of the part: hands over the values that reach it, and returns what it was told after that."""

    value: Any = None
    shape: Any = None

    def forward(self, *given: Any) -> Any:
        if self.value is None:
            raise _Reached(tensors_in(given)[0])
        if tensors_in(given)[0].shape != self.shape:
            raise ValueError("the part is run on several values of a batch; only one can be unraveled in its place")
        return each_tensor(Tensor.float, self.value)


@contextmanager
def _stand_in(place: tuple[nn.Module, str]) -> Iterator[_StandIn]:
    model, path = place
    parent, _, name = path.rpartition(".")
    owner = model.get_submodule(parent)
    original = owner._modules[name]
    owner._modules[name] = there = _StandIn()
    there.training = False
    try:
        yield there
    finally:
        owner._modules[name] = original
