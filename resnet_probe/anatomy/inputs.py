"""What a network takes and returns: one tensor, or several in a tuple or dict; images, or integer tokens.

The first dimension of inputs is the batch. Of an example shapes and types are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "batch_of",
    "described",
    "each_tensor",
    "example_of",
    "is_shape",
    "named_outputs",
    "run",
    "scores_in",
    "tensors_in",
]


def example_of(given: Any, model: nn.Module) -> Any:
    """Shapes and types of one input, as tensors without storage whose first dimension is 1.

    Args:
        given: a batch, or the shape of one input without the batch dimension, `(3, 32, 32)`.
        model: an input of which only the shape is given has the type of its parameters.

    Raises:
        ValueError: what is given is neither, or its tensors have different batch sizes.
    """
    if is_shape(given):
        return torch.empty((1, *given), dtype=_floating(model), device="meta")
    sizes: set[int] = set()

    def without_batch(tensor: Any) -> Tensor:
        if not isinstance(tensor, Tensor) or tensor.dim() == 0:
            what = "a single number" if isinstance(tensor, Tensor) else f"a {type(tensor).__name__}"
            raise ValueError(f"{what} given as an input; give a batch of tensors, in a tuple or dict if several")
        sizes.add(len(tensor))
        return torch.empty((1, *tensor.shape[1:]), dtype=tensor.dtype, device="meta")

    example = each_tensor(without_batch, given)
    if len(sizes) != 1:
        raise ValueError(f"inputs with batches of {sorted(sizes)} given; give tensors with one batch size")
    return example


def is_shape(given: Any) -> bool:
    """Whether it is the shape of one input, and no input."""
    return isinstance(given, (tuple, list)) and all(isinstance(size, int) for size in given)


def each_tensor(function: Callable[[Any], Any], value: Any) -> Any:
    """The tuple, list or dict with the function's results in place of its tensors."""
    if isinstance(value, Mapping):
        return {key: each_tensor(function, part) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(each_tensor(function, part) for part in value)
    return function(value)


def batch_of(example: Any, size: int, device: torch.device | str) -> Any:
    """Zeros of the example's shapes and types."""
    return each_tensor(lambda x: torch.zeros((size, *x.shape[1:]), dtype=x.dtype, device=device), example)


def run(model: Callable[..., Any], given: Any) -> Any:
    """What a model makes of its inputs: a dict holds its keyword arguments, a tuple its positional ones."""
    if isinstance(given, Mapping):
        return model(**given)
    return model(*given) if isinstance(given, (tuple, list)) else model(given)


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors in lists, tuples, dicts and instances of dataclasses."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = tuple(value.values())
    elif is_dataclass(value) and not isinstance(value, type):
        value = tuple(getattr(value, each.name) for each in fields(value))
    return [tensor for part in value for tensor in tensors_in(part)] if isinstance(value, (tuple, list)) else []


def named_outputs(output: Any) -> dict[str, Any]:
    """What a network returns in a dict, a dataclass or a named tuple, by name, else by position; tensors of them."""
    if isinstance(output, Mapping):
        named = dict(output)
    elif is_dataclass(output) and not isinstance(output, type):
        named = {each.name: getattr(output, each.name) for each in fields(output)}
    elif hasattr(output, "_asdict"):
        named = output._asdict()
    elif isinstance(output, (tuple, list)):
        named = dict(enumerate(output))
    else:
        named = {0: output}
    return {str(name): value for name, value in named.items() if isinstance(value, Tensor)}


def scores_in(names: Collection[str]) -> str:
    """Name of the output with the class scores, as transformers and torchvision call it; empty where there is none."""
    return next((name for name in ("logits", "out") if name in names), "")


def described(example: Any) -> str:
    """The shapes of an example in words: `(3, 32, 32)`, or `input_ids (7,), attention_mask (7,)`."""
    if isinstance(example, Mapping):
        return ", ".join(f"{key} {described(part)}" for key, part in example.items())
    if isinstance(example, (tuple, list)):
        return ", ".join(map(described, example))
    return str(tuple(example.shape[1:]))


def _floating(model: nn.Module) -> torch.dtype:
    like = next(model.parameters(), torch.empty(0)).dtype
    return like if like.is_floating_point else torch.float32
