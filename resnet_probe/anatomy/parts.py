"""A part of a larger model: what reaches it, and what is put in its place."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .inputs import tensors_in
from .tracing import share_tensors, unwrap

Put = TypeVar("Put", bound=nn.Module)


def part_at(model: nn.Module, path: str, example: Any) -> tuple[nn.Module, Tensor]:
    """The part of a model at a path, and the first batch that reaches it.

    Raises:
        LookupError: there is no module at the path.
        ValueError: no tensor reaches it.
    """
    if path not in (paths := {name for name, _ in model.named_modules()}):
        close = difflib.get_close_matches(path, paths, n=3)
        raise LookupError(
            f"{type(model).__name__} has no module {path!r}" + (f"; did you mean {close[0]}?" if close else "")
        )
    copy = share_tensors(unwrap(model)).eval()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        return model.get_submodule(path), reaching(copy, path, example)


def reaching(model: nn.Module, path: str, inputs: Any) -> Tensor:
    """The first batch that reaches the part of a model at a path; what comes after it is not run.

    Raises:
        ValueError: no tensor reaches it.
    """
    with replaced(model, path, _Gate()):
        try:
            model(inputs)
        except _Reached as reached:
            if reached.values:
                return reached.values[0]
    raise ValueError(f"no tensor reaches {path} of {type(model).__name__}")


@contextmanager
def replaced(model: nn.Module, path: str, module: Put) -> Iterator[Put]:
    """Another module at a path of a model; afterwards the one that was there."""
    parent, _, name = path.rpartition(".")
    owner = model.get_submodule(parent)
    original = owner._modules[name]
    owner._modules[name] = module
    try:
        yield module
    finally:
        owner._modules[name] = original


class Tapped(nn.Module):
    """Modules one after another, and what is made of the values after some of them.

    Args:
        parts: the modules.
        taps: after how many of the parts each value is taken.
        returns: from these values to the output.
    """

    def __init__(self, parts: Sequence[nn.Module], taps: Sequence[int], returns: Callable[[list[Any]], Any]) -> None:
        super().__init__()
        self.parts, self.taps, self.returns = nn.ModuleList(parts), taps, returns

    def forward(self, x: Any) -> Any:
        """What is made of the values, for a batch."""
        values = [x]
        for part in self.parts:
            values.append(part(values[-1]))
        return self.returns([values[tap] for tap in self.taps])


class _Reached(Exception):  # noqa: N818 - no error
    """What reaches a part."""

    def __init__(self, values: list[Tensor]) -> None:
        super().__init__()
        self.values = values


class _Gate(nn.Module):
    def forward(self, *given: Any) -> Any:
        raise _Reached(tensors_in(given[:1]))
