"""A part of a larger model, and the values that reach it."""

from __future__ import annotations

import difflib
from typing import Any

import torch
from torch import Tensor, nn

from .inputs import tensors_in
from .tracing import share_tensors, unwrap


def part_at(model: nn.Module, path: str, example: Any) -> tuple[nn.Module, Tensor]:
    """The part of a model at a path, and the first batch that reaches it."""
    if path not in (paths := {name for name, _ in model.named_modules()}):
        close = difflib.get_close_matches(path, paths, n=3)
        raise LookupError(
            f"{type(model).__name__} has no module {path!r}" + (f"; did you mean {close[0]}?" if close else "")
        )
    copy = share_tensors(unwrap(model)).eval()
    seen: list[Tensor] = []
    hook = copy.get_submodule(path).register_forward_pre_hook(lambda _, given: seen.extend(tensors_in(given[:1])))
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            copy(example)
    finally:
        hook.remove()
    if not seen:
        raise ValueError(f"the example does not reach {path} of {type(model).__name__} as a tensor")
    return model.get_submodule(path), seen[0]
