"""A part of a model in its place: the rest of the model, run on what each variant of the part would return."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from resnet_probe.anatomy import each_tensor, reaching, replaced, tensors_in

__all__ = ["run_placed"]

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
        ValueError: no tensor reaches the part, or it is run on values of several shapes for one batch.
    """
    model, _ = place
    given = reaching(*place, inputs)
    values = part(given)
    with replaced(*place, _Answers(given.shape)) as there:
        for value in values:
            there.value = value
            yield run(model, inputs, targets)


class _Answers(nn.Module):
    """In place of the part: returns what it is told, for values of a shape."""

    value: Any = None

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape, self.training = shape, False

    def forward(self, *given: Any) -> Any:
        if tensors_in(given)[0].shape != self.shape:
            raise ValueError("the part is run on values of several shapes; only one can be unraveled in its place")
        return each_tensor(Tensor.float, self.value)
