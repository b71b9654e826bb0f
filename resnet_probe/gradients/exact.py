"""The exact gradient of every class of paths: all paths that take the same number of residual branches.

    found = class_gradients(network, images, labels)
    found.at["input"][k]          # gradient of each image's loss carried by all paths with k residual branches
    found.at["input"].sum(0)      # the ordinary gradient

Let g_k be the gradient at a trunk point carried by all paths with k residual branches between there and the loss.
Back through a block, with Jacobians S of its shortcut and F of its branch at the recorded values,

    g_k <- S^T g_k + F^T g_(k-1),

and back through any other unit, with Jacobian J, g_k <- J^T g_k. A network of n blocks has n + 1 classes, so this
costs about n/2 backward passes, and none of the 2^n paths is walked.

Source: ours; it makes the sum in Veit et al. 2016, section 3, exact. Brute force over all paths confirms it (tests).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resnet_probe.data import Data
from resnet_probe.float32 import full_float32
from resnet_probe.gradients.budget import Budget, image_bytes
from resnet_probe.gradients.statistics import BatchNorm, with_batch_norm
from resnet_probe.gradients.tape import Link, Tape, longest_path, record
from resnet_probe.tasks import CLASSIFICATION
from resnet_probe.unraveled import UnraveledNetwork

INPUT = "input"
IDENTITY_TOLERANCE = 1e-5
IMAGES = 16  # worked on at a time where nothing else is asked for; benchmarks/gradients.py compares
STACK = 16


@dataclass(frozen=True)
class ClassGradients:
    """Gradients of one batch by path class.

    Attributes:
        at: per trunk point asked for, `(K, *value there)`: entry k is the gradient of the summed loss carried by the
            paths with k residual branches between that point and the loss. Images do not mix (in evaluation mode), so
            row i is the gradient of image i's own loss.
        parameters: per unit asked for and per parameter, `(K, *parameter)`, for the loss summed over images; a branch
            counts itself, so a weight in the last block's branch has its gradient in class 1.
        total: ordinary gradient at the input, by autograd through the undivided network, `(N, C, H, W)`.
        identity_error: norm of (sum of the classes - total) divided by the norm of total; the largest of all points.
    """

    at: dict[str, Tensor]
    parameters: dict[str, dict[str, Tensor]]
    total: Tensor
    identity_error: float


@dataclass(frozen=True)
class ClassNorms:
    """Norms of the class gradients at the input over a data set.

    Attributes:
        norms: `(K, N)`, float64: Euclidean norm of each class's gradient of each image's own loss.
        projections: `(K, N)`, float64: inner product of the class gradient with the whole gradient.
        squares: `(N,)`, float64: squared norm of the whole gradient.
        identity_error: largest of all batches.
        images_at_a_time: what the memory budget left of the batch size.
    """

    norms: Tensor
    projections: Tensor
    squares: Tensor
    identity_error: float
    images_at_a_time: int

    @property
    def shares(self) -> Tensor:
        """Share of each class in the gradient, `(K,)`: sum of <g_k, g> over sum of <g, g>, over all images."""
        whole = self.squares.sum()
        return self.projections.sum(1) / whole if whole > 0 else torch.full_like(self.projections[:, 0], math.nan)


@full_float32()
def class_gradients(
    network: UnraveledNetwork,
    images: Tensor,
    labels: Tensor,
    *,
    at: Collection[str] = (INPUT,),
    parameters: Collection[str] = (),
    batch_norm: BatchNorm = "eval",
    stack: int = STACK,
    reference: nn.Module | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> ClassGradients:
    """Split the gradient of a loss by the number of residual branches on the path.

    Args:
        network: the chain; its blocks are where paths divide.
        images: `(N, C, H, W)`.
        labels: int64 `(N,)`; for a loss of one's own whatever it takes.
        at: trunk points: "input", or names of units, each for the value before that unit.
        parameters: names of units whose parameters' gradients are wanted.
        batch_norm: "eval", or "train" for the batch's own statistics, through which the gradient flows; then row i is
            the gradient of the whole batch's loss at image i.
        stack: images' worth of vectors to send back in one call.
        reference: the whole network as one module, from `whole(network, batch_norm)`; made here if not given.
        loss: from the network's output and the labels to the loss of each image, `(N,)`, whose sum is differentiated;
            by default the cross-entropy.

    Raises:
        LookupError: an unknown unit or mode.
        ValueError: the output is no `(N, classes)`, or a label is not one of its classes; or a loss of one's own does
            not depend on the output.
        RuntimeError: the classes do not add up to autograd's gradient (relative error above `IDENTITY_TOLERANCE`), or
            gradients are not finite.

    Examples:
        >>> found = class_gradients(network, images, labels, at=["input", "layer3.0"])
        >>> torch.allclose(found.at["input"].sum(0), found.total)
        True
        >>> score = class_gradients(network, images, labels, loss=lambda output, labels: output[:, 3])
    """
    points, owners = _known(network, at, points=True), _known(network, parameters, points=False)
    tape = record(network, images, batch_norm=batch_norm, stack=stack, parameters=bool(owners))
    classes = [loss_gradient(tape.output, labels) if loss is None else _gradient(loss, tape.output, labels)]
    kept: dict[str, Tensor] = {}
    by_parameter: dict[str, dict[str, Tensor]] = {}
    for link in reversed(tape.links):
        if link.unit.name in owners:
            by_parameter[link.unit.name] = _weight_gradients(tape, link, classes)
        classes = back(tape, link, classes)
        if link.unit.name in points:
            kept[link.unit.name] = torch.stack(classes)
    kept[INPUT] = torch.stack(classes)

    leaf = images.detach().requires_grad_()
    module = whole(network, batch_norm) if reference is None else reference
    weights = {name: value.detach().requires_grad_(bool(owners)) for name, value in module.named_parameters()}
    with torch.enable_grad():
        output = torch.func.functional_call(module, weights, (leaf,))
        summed = (output * loss_gradient(output.detach(), labels) if loss is None else loss(output, labels)).sum()
    compared = {name: by_parameter[unit][name] for unit, name in _unshared(by_parameter)}
    total, *others = torch.autograd.grad(summed, [leaf, *(weights[name] for name in compared)], allow_unused=True)
    error = _relative(kept[INPUT].sum(0), total)
    for parts, other in zip(compared.values(), others, strict=True):
        error = max(error, _relative(parts.sum(0), torch.zeros_like(parts[0]) if other is None else other))
    check_identity(error)
    return ClassGradients({name: kept[name] for name in at}, by_parameter, total, error)


def class_norms(
    network: UnraveledNetwork,
    data: Data,
    *,
    batch_size: int | None = None,
    batch_norm: BatchNorm = "eval",
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    device: str | torch.device = "cpu",
    budget: Budget | None = None,
    stack: int = STACK,
    progress: Callable[[int, int], None] | None = None,
) -> ClassNorms:
    """Norm and share of each path class at the input, streamed over a data set.

    Args:
        network: the chain, with its weights on `device`.
        data: labelled images.
        batch_size: images at a time, fewer where the memory budget asks for it; in training mode the batch whose
            statistics are used, which is never divided.
        batch_norm: "eval" or "train".
        loss: as `class_gradients`.
        device: where to compute.
        budget: memory that may be used.
        stack: as `class_gradients`.
        progress: called with the images done and their number.

    Raises:
        MemoryBudgetError: one image, or the batch in training mode, does not fit the budget.
        LookupError, ValueError, RuntimeError: as `class_gradients`.
    """
    whole_batch = batch_norm == "train"
    size = min(batch_size or (64 if whole_batch else IMAGES), len(data))
    each = image_bytes(network, vectors=longest_path(network) + 1)
    size = (budget or Budget()).images(each, wanted=size, whole_batch=whole_batch)
    reference = whole(network, batch_norm)
    kind = next((value.dtype for value in reference.parameters()), torch.float32)
    norms, projections, squares = [], [], []
    error, done = 0.0, 0
    for images, labels in data.batches(size, device=device):
        found = class_gradients(
            network, images.to(kind), labels, batch_norm=batch_norm, loss=loss, stack=stack, reference=reference
        )
        classes, total = found.at[INPUT].flatten(2), found.total.flatten(1)
        norms.append(torch.linalg.vector_norm(classes, dim=2, dtype=torch.float64))
        projections.append((classes.double() * total.double()).sum(2))
        squares.append(total.double().square().sum(1))
        error = max(error, found.identity_error)
        done += len(labels)
        if progress:
            progress(done, len(data))
    return ClassNorms(torch.cat(norms, 1), torch.cat(projections, 1), torch.cat(squares), error, size)


def whole(network: UnraveledNetwork, batch_norm: BatchNorm = "eval") -> nn.Module:
    """The chain as one undivided module: what the classes must add up to."""
    return with_batch_norm(network.to_module(), batch_norm)


def back(tape: Tape, link: Link, classes: Sequence[Tensor]) -> list[Tensor]:
    """Class gradients before a link from those after it: one class more before a block, as many before other units."""
    if not link.is_block:
        return tape.pull(link, "whole", classes)
    around, through = tape.pull(link, "shortcut", classes), tape.pull(link, "branch", classes)
    both = [taken + passed for passed, taken in zip(around[1:], through[:-1], strict=True)]
    return [around[0], *both, through[-1]]


def loss_gradient(output: Tensor, labels: Tensor) -> Tensor:
    """Gradient of each image's own cross-entropy at the network's output, `(N, classes)`.

    Raises:
        ValueError: the output is no `(N, classes)`, or a label is not one of its classes.
    """
    if output.dim() != 2:
        raise ValueError(f"the network yields {tuple(output.shape)}; gradients need one row of class scores per image")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < output.shape[1]:
        raise ValueError(
            f"labels from {int(labels.min())} to {int(labels.max())} for a network of {output.shape[1]} classes; "
            "give data with the network's classes"
        )
    return CLASSIFICATION.gradient(output, labels)


def _gradient(loss: Callable[[Tensor, Tensor], Tensor], output: Tensor, labels: Tensor) -> Tensor:
    """Gradient of each image's own loss at the network's output."""
    leaf = output.detach().requires_grad_()
    with torch.enable_grad():
        value = loss(leaf, labels)
    if not isinstance(value, Tensor) or not value.requires_grad:
        raise ValueError("the loss does not depend on the output; give a function that torch can differentiate")
    return torch.autograd.grad(value.sum(), leaf)[0]


def check_identity(error: float) -> None:
    """Refuse gradients whose parts do not add up.

    Raises:
        RuntimeError: the relative error is above `IDENTITY_TOLERANCE`, or no number.
    """
    if math.isnan(error):
        raise RuntimeError("the gradient is not finite; look for NaN or infinity in the weights or the images")
    if error > IDENTITY_TOLERANCE:
        raise RuntimeError(
            f"the path classes add up to autograd's gradient with a relative error of {error:.2g}, above "
            f"{IDENTITY_TOLERANCE:.0e}; with such cancellation float32 is not enough: use a network in float64"
        )


def _weight_gradients(tape: Tape, link: Link, classes: Sequence[Tensor]) -> dict[str, Tensor]:
    """Class gradients of a unit's parameters; a branch moves what comes through it up by one class."""
    names, leaves = list(link.weights), list(link.weights.values())
    sums = [leaf.new_zeros((len(classes) + link.is_block, *leaf.shape)) for leaf in leaves]
    for part, value in link.parts.items():
        if value is None or not leaves:
            continue
        first = 1 if part == "branch" else 0
        for number, row in enumerate(tape.derivatives(value, leaves, classes), start=first):
            for total, found in zip(sums, row, strict=True):
                if found is not None:
                    total[number] += found
    return dict(zip(names, sums, strict=True))


def _unshared(by_parameter: dict[str, dict[str, Tensor]]) -> list[tuple[str, str]]:
    """(unit, parameter) of those parameters that only one of the units uses."""
    owners: dict[str, list[str]] = {}
    for unit, found in by_parameter.items():
        for name in found:
            owners.setdefault(name, []).append(unit)
    return [(units[0], name) for name, units in owners.items() if len(units) == 1]


def _known(network: UnraveledNetwork, names: Collection[str], *, points: bool) -> set[str]:
    units = [network.units[step.unit].name for step in network.steps]
    for name in names:
        if name not in units and not (points and name == INPUT):
            more = f"{INPUT!r} or " if points else ""
            raise LookupError(f"no unit {name!r} in the chain; give {more}one of {', '.join(units[:8])}, ...")
    return set(names)


def _relative(got: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of what is expected; NaN where either is not finite."""
    difference = float(torch.linalg.vector_norm(got - expected, dtype=torch.float64))
    size = float(torch.linalg.vector_norm(expected, dtype=torch.float64))
    if not math.isfinite(difference) or not math.isfinite(size):
        return math.nan
    return difference / size if size else (math.inf if difference else 0.0)
