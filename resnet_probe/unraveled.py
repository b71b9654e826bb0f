"""The unraveled network: a chain of units that can be run, cut, scaled and put in another order.

    net = unravel(model, (3, 32, 32))
    net.delete("layer2.3")(images)       # the model without that block
    net.delete("layer2.3").to_module()   # the same as an ordinary nn.Module

Editing returns another chain over the same units, so no weights are copied, and nothing is ever done to the caller's
model.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import fx, nn

from .anatomy import (
    Anatomy,
    Certificate,
    Piece,
    Step,
    Tapped,
    Unit,
    UnitPlan,
    batch_of,
    certify,
    dissect,
    each_tensor,
    is_shape,
    part_at,
    replaced,
    runnable,
    share_tensors,
    unwrap,
)

__all__ = ["Certificate", "Step", "Unit", "UnraveledNetwork", "unravel"]


class UnraveledNetwork:
    """A chain of units, equal to the model it was made from until it is edited.

    Attributes:
        units: the units found in the model, in order.
        steps: the chain; one step for each unit until something is deleted from the end of it or moved.
        certificate: what was checked numerically, or None if the model has no values to check (meta device).
        place: the model that the network is a part of, and its path there; None if it is the whole model.
    """

    def __init__(
        self,
        anatomy: Anatomy,
        units: tuple[Unit, ...],
        steps: tuple[Step, ...],
        certificate: Certificate | None,
        place: tuple[nn.Module, str] | None = None,
    ) -> None:
        self.anatomy, self.units, self.steps, self.certificate = anatomy, units, steps, certificate
        self.place = place

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, `(C, H, W)`; empty where the network takes several tensors."""
        return self.anatomy.traced.input_shape

    @cached_property
    def blocks(self) -> tuple[Unit, ...]:
        """Residual blocks that passed the certificate: links of the chain, and those inside its links."""
        failed = self.certificate.failed if self.certificate else ()
        found: list[Unit] = []
        for unit in self.units:
            found += [unit] if unit.kind == "block" else [Unit(plan, self.anatomy) for plan in unit.plan.blocks]
        return tuple(block for block in found if block.name not in failed)

    @cached_property
    def links(self) -> tuple[Unit, ...]:
        """The residual blocks that are links of the chain, and not inside one."""
        return tuple(block for block in self.blocks if not block.plan.inside)

    @cached_property
    def layers(self) -> tuple[Unit, ...]:
        """Layers outside blocks that can be replaced by an identity: convolutions; without any, all but the last."""
        layers = [u for u in self.units if u.kind == "layer" and len(u.plan.in_shape) == len(u.plan.out_shape)]
        convolutions = [u for u in layers if len(u.plan.out_shape) > 1]
        return tuple(convolutions or layers[:-1])

    @cached_property
    def taps(self) -> tuple[int, ...]:
        """After how many steps the chain has each of the tensors that the model returns, in their order.

        One, the end of the chain, but for a part of a model of which `unravel` followed one `output` of several. Empty
        where one of these is no value between two units.
        """
        if self._returned is None:
            return (len(self.steps),)
        after = {unit.plan.exit: number for number, unit in enumerate(self.units, start=1)}
        after[self.anatomy.traced.source] = 0
        found = [after.get(node) for node in _nodes(self._returned)]
        return tuple(number for number in found if number is not None) if None not in found else ()

    def returns(self, values: Sequence[Any]) -> Any:
        """What the model returns, given the values at the `taps`: the only one, or all in the model's container."""
        given = iter(values)
        return next(given) if self._returned is None else fx.node.map_arg(self._returned, lambda node: next(given))

    @property
    def _returned(self) -> Any:
        """What a part of a model hands on beside the output that is followed; of a whole model nothing needs it."""
        return self.anatomy.traced.returned if self.place else None

    @property
    def surgical(self) -> tuple[Unit, ...]:
        """Units offered for surgery: the residual blocks, or the layers of a network without any."""
        return self.blocks or self.layers

    def unit(self, name: str) -> Unit:
        """The unit of that name.

        Raises:
            LookupError: no unit offered for surgery has the name; the closest ones are named.
        """
        offered = {u.name: u for u in (*self.blocks, *self.layers)}
        if name in offered:
            return offered[name]
        if self.certificate and name in self.certificate.failed:
            raise LookupError(f"block {name!r} is not the sum of its shortcut and branch, so it cannot be edited")
        close = difflib.get_close_matches(name, offered, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(close)}?" if close else f"there are {', '.join(list(offered)[:8])}, ..."
        raise LookupError(f"no block or layer named {name!r}: {hint} `resnet-probe inspect` lists them all")

    def zeros(self, size: int) -> Any:
        """A batch of zeros of the shapes and types that the network takes."""
        traced = self.anatomy.traced
        return batch_of(traced.example, size, next(traced.module.parameters(), torch.empty(0)).device)

    def __call__(self, x: Any) -> Any:
        """Run the chain on a batch `(N, C, H, W)`, or on the tuple or dict of tensors that the network takes."""
        for step in self.steps:
            x = self.run_step(step, x)
        return x

    def run_step(self, step: Step, x: Any) -> Any:
        """Run one step on the value before it."""
        if self.is_identity(step):
            return x
        return self.units[step.unit].module(step.mode, step.scale, step.factors)(x)

    def is_identity(self, step: Step) -> bool:
        """Whether the step passes its input on unchanged, as a deleted block with an identity shortcut does."""
        unit = self.units[step.unit]
        if step.mode == "shortcut":
            return unit.has_identity_shortcut
        return step.mode == "bypass" and not unit.plan.resizes

    def polynomials(self, step: Step) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Paths through what a step runs: how many have each length in residual branches, and in learned layers.

        Returns:
            Two polynomials; coefficient k is the number of paths of length k.
        """
        plan = self.units[step.unit].plan
        if step.mode == "bypass":
            return (1,), (1,)
        gone: list[tuple[UnitPlan, Literal["shortcut", "branch"]]] = []
        if step.mode == "shortcut":
            gone.append((plan, "branch"))
        elif step.mode == "branch":
            gone.append((plan, "shortcut"))
        deleted = {name for name, factor in step.factors if factor == 0}
        gone += [(block, "branch") for block in plan.blocks if block.name in deleted]
        return self.anatomy.polynomials(plan, gone)

    # -- edits: each returns another network over the same units ------------------------------------------------------

    def with_steps(self, steps: Iterable[Step]) -> UnraveledNetwork:
        """Another chain over the same units."""
        return UnraveledNetwork(self.anatomy, self.units, tuple(steps), self.certificate, self.place)

    @contextmanager
    def install(self) -> Iterator[nn.Module]:
        """Put the chain into the model that it was unraveled in, and yield that model; afterwards all is as before.

        Raises:
            ValueError: the whole model was unraveled, so there is nothing around it.

        Examples:
            >>> net = unravel(detector, images, at="backbone.body")
            >>> with net.delete("layer3.1").install() as detector:
            ...     boxes = detector(images)
        """
        if self.place is None:
            raise ValueError("the whole model was unraveled; give unravel(..., at=PATH) to install a part of one")
        model, path = self.place
        with replaced(model, path, self.to_module() if self._returned is None else self._tapped()):
            yield model

    def delete(self, *names: str) -> UnraveledNetwork:
        """Delete blocks (what remains is the shortcut) or layers (what remains is an identity that fits).

        Source: Veit et al. 2016, section 4.1: y_i = y_(i-1) + f_i(y_(i-1)) becomes y_i = y_(i-1).

        Raises:
            LookupError: unknown name.
        """
        found = [self.unit(name) for name in names]
        network = self._inside({unit.name: 0.0 for unit in found if unit.plan.inside})
        gone = {self.units.index(unit) for unit in found if not unit.plan.inside}
        return self.with_steps(
            Step(step.unit, "shortcut" if self.units[step.unit].kind == "block" else "bypass")
            if step.unit in gone
            else step
            for step in network.steps
        )

    def scale(self, factors: Mapping[str, float]) -> UnraveledNetwork:
        """Multiply the residual branches of blocks by factors; 0 has the effect of deletion.

        Raises:
            LookupError: unknown name.
            ValueError: the unit is no residual block, or the factor is not finite.
        """
        found = [(self.unit(name), float(factor)) for name, factor in factors.items()]
        for unit, factor in found:
            if unit.kind != "block":
                raise ValueError(f"{unit.name} is no residual block, so it has no branch to scale")
            if not math.isfinite(factor):
                raise ValueError(f"the factor of {unit.name} is {factor}; it must be a finite number")
        network = self._inside({unit.name: factor for unit, factor in found if unit.plan.inside})
        by_unit = {self.units.index(unit): factor for unit, factor in found if not unit.plan.inside}
        return self.with_steps(
            replace(step, scale=step.scale * by_unit[step.unit]) if step.unit in by_unit else step
            for step in network.steps
        )

    def reorder(self, order: Sequence[str]) -> UnraveledNetwork:
        """Put blocks in another order: the places that the named blocks hold now are filled in the order given.

        Raises:
            LookupError: unknown name.
            ValueError: a name is given twice, or a block would get an input of another shape.
        """
        found = [self.unit(name) for name in order]
        if inside := next((unit for unit in found if unit.plan.inside), None):
            raise ValueError(
                f"{inside.name} stands inside {inside.plan.inside}; only links of the chain can be reordered"
            )
        indices = [self.units.index(unit) for unit in found]
        if len(set(indices)) != len(indices):
            raise ValueError("a block is named twice in the order; name each once")
        places = [i for i, step in enumerate(self.steps) if step.unit in set(indices)]
        by_unit = {self.steps[i].unit: self.steps[i] for i in places}
        steps = list(self.steps)
        for place, index in zip(places, indices, strict=True):
            here, there = self.units[self.steps[place].unit].plan, self.units[index].plan
            if (here.in_shape, here.out_shape) != (there.in_shape, there.out_shape):
                raise ValueError(
                    f"{there.name} maps {there.in_shape} to {there.out_shape} and cannot stand in the place of "
                    f"{here.name}, which maps {here.in_shape} to {here.out_shape}"
                )
            steps[place] = by_unit[index]
        return self.with_steps(steps)

    def edit(self, edits: Iterable[Mapping[str, Any]]) -> UnraveledNetwork:
        """Apply edits in the form in which a recipe keeps them, one after another.

        Args:
            edits: each `{"delete": [name, ...]}`, `{"scale": {name: factor, ...}}` or `{"reorder": [name, ...]}`.

        Raises:
            LookupError, ValueError: as `delete`, `scale` and `reorder`; ValueError for an edit of another form.
        """
        network = self
        for edit in edits:
            match dict(edit):
                case {"delete": list(names), **rest} if not rest:
                    network = network.delete(*names)
                case {"scale": dict(factors), **rest} if not rest:
                    network = network.scale(factors)
                case {"reorder": list(names), **rest} if not rest:
                    network = network.reorder(names)
                case _:
                    raise ValueError(f"unknown edit {edit}: give delete and a list, scale and a mapping, or reorder")
        return network

    def to_module(self) -> nn.Module:
        """The chain as one `nn.Module` in evaluation mode, with the model's own parameter names.

        Modules that the chain no longer uses are left out. The weights (and the statistics of batch norms) are shared
        with the model, the modules and their modes are not; `copy.deepcopy` the result to own its weights.
        """
        traced = self.anatomy.traced
        kept = [step for step in self.steps if not self.is_identity(step)]
        pieces = [Piece(self.units[step.unit].plan, step.mode, step.scale, dict(step.factors)) for step in kept]
        return runnable(traced, pieces, f"Unraveled{type(traced.module).__name__}", own_modules=True)

    def certify(self, model: nn.Module, x: Any, *, tolerance: float = 1e-5) -> Certificate:
        """Check on a batch `(N, C, H, W)` that chain = model and that each block = shortcut + branch.

        Raises:
            ValueError: the chain does not compute what the model computes, to this relative tolerance.
        """
        return certify(self.units, self.anatomy.traced, model, x, tolerance=tolerance)

    def _tapped(self) -> nn.Module:
        """The chain with all tensors that the model returns."""
        if not self.taps:
            traced = self.anatomy.traced
            raise ValueError(
                f"not all tensors that {type(traced.module).__name__} returns lie on the way to output "
                f"{traced.output}; unravel it without output="
            )
        ends = sorted(set(self.taps))
        parts = [self.with_steps(self.steps[a:b]).to_module() for a, b in pairwise([0, *ends])]
        return Tapped(parts, [1 + ends.index(tap) for tap in self.taps], self.returns)

    def _inside(self, factors: Mapping[str, float]) -> UnraveledNetwork:
        """The network with factors on the branches of blocks inside its units, times those that are there."""
        if not factors:
            return self
        return self.with_steps(
            replace(step, factors=tuple(sorted((dict(step.factors) | own).items())))
            if (own := self._own(step, factors))
            else step
            for step in self.steps
        )

    def _own(self, step: Step, factors: Mapping[str, float]) -> dict[str, float]:
        before = dict(step.factors)
        names = [block.name for block in self.units[step.unit].plan.blocks if block.name in factors]
        return {name: factors[name] * before.get(name, 1.0) for name in names}


def _nodes(container: Any) -> list[fx.Node]:
    """The nodes in a container, in order."""
    found: list[fx.Node] = []
    fx.node.map_arg(container, found.append)
    return found


def unravel(
    model: nn.Module,
    example: Any,
    *,
    leaves: Sequence[str | type[nn.Module]] = (),
    at: str = "",
    trace: Literal["fx", "export"] | None = None,
    output: str = "",
) -> UnraveledNetwork:
    """Unravel a model into a chain of units.

    Args:
        model: network from one batch of inputs to one tensor, or to several in a tuple, list, dict or dataclass. It is
            used in evaluation mode, and is not changed.
        example: a batch `(N, C, H, W)`, or the shape `(C, H, W)` of one input; several tensors in a tuple (the
            arguments of `forward`) or dict (its keyword arguments). Integers stay integers. With `at` whatever the
            model takes, such as a list of images; the part is unraveled on the first values that reach it.
        leaves: module paths or classes to keep as one operation, for code that cannot be traced.
        at: path of the part to unravel, such as the backbone of a detector; see `UnraveledNetwork.install`.
        output: name (or position) of the one tensor to follow, where the model returns several; else all of them. The
            others of a part are the `taps` of the chain, and `install` returns them too.
        trace: `fx` or `export`, to go only that way; without it `torch.export` follows where `torch.fx` stops.

    Raises:
        UntraceableError: neither way can follow `forward`.
        ValueError: the model rejects inputs of this shape, the chain fails its certificate, or nothing reaches `at`.
        LookupError: there is no module at that path, or no output of that name.

    Examples:
        >>> net = unravel(torchvision.models.resnet18(), (3, 224, 224))
        >>> [unit.name for unit in net.blocks][:3]
        ['layer1.0', 'layer1.1', 'layer2.0']
        >>> unravel(bert, {"input_ids": tokens, "attention_mask": mask})
    """
    if at:
        network = unravel(*part_at(model, at, example), leaves=leaves, trace=trace, output=output)
        network.place = (model, at)
        return network
    with torch.random.fork_rng(devices=[]):  # a forward may draw random numbers, traced or run
        anatomy = dissect(model, example, leaves=leaves, way=trace, output=output)
        units = tuple(Unit(plan, anatomy) for plan in anatomy.units)
        steps = tuple(Step(i) for i in range(len(units)))
        network = UnraveledNetwork(anatomy, units, steps, None)
        like = next(anatomy.traced.module.parameters(), torch.empty(0))
        if like.device.type == "meta":
            return network
        if is_shape(example):
            example = torch.randn((2, *example), generator=torch.Generator().manual_seed(0))
        example = each_tensor(lambda x: x[:2].to(like if x.is_floating_point() else like.device), example)
        network.certificate = network.certify(share_tensors(unwrap(model)).eval(), example)
    return network
