"""Attach a reducer to points of a network, for as long as a `with` lasts.

    with record(model, ["layer1.*.bn2", "fc"], Moments()) as rec:
        for images, _ in data.batches(64):
            model(images)
    for point, summary in rec.items():
        ...

What is recorded is a *call*: a module that the network calls twice is two points. What a pass recorded counts when the
pass has come to its end, so one that fails, or that is repeated with a smaller batch, leaves nothing behind.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from resnet_probe.anatomy import unwrap

from .reducers import Reducer
from .selection import Where, select

V = TypeVar("V")

FOLD = 32  # so many states of a point are kept before they become one


class Point(NamedTuple):
    """One call of a module in a pass through the network: its name, and the number of the call, from 0."""

    name: str
    call: int = 0

    def __str__(self) -> str:
        return f"{self.name} (call {self.call})" if self.call else self.name


class StopForward(Exception):  # noqa: N818 - not an error; it never leaves `Recording.run` or the `with`
    """Ends a pass whose remaining part nobody asked for."""


def record(model: nn.Module, where: Where, reduce: Reducer[V], *, stop: bool = False) -> Recording[V]:
    """Record activations of `model` inside a `with`, reduced where they arise.

    Args:
        model: the network that will be called; also one that `torch.compile`, `DataParallel` or
            `DistributedDataParallel` wraps. It is not changed, and has no hook of ours before and after the `with`.
        where: names, globs, a class or a predicate, as `select` takes them.
        reduce: what becomes of each activation, such as `Moments()`.
        stop: end a pass after the last point asked for. The first pass, which shows which point that is, runs to its
            end; later ones return None from `Recording.run`. A plain call of the model ends the whole `with`.

    Returns:
        A context manager and mapping from `Point` to what the reducer says; the mapping can be read during the `with`
        and after it, and the `with` may be entered again to record more.

    Raises:
        LookupError: `where` matches nothing.

    Examples:
        >>> with record(model, nn.ReLU, Extremes()) as rec:
        ...     model(images)
        >>> rec["layer1.0.relu", 1].largest
    """
    return Recording(model, where, reduce, stop=stop)


class Recording(Mapping[Point, V], Generic[V]):
    """What was recorded, by point, in the order in which the first pass came to them. Made by `record`.

    Inside the `with`, compiled code runs uncompiled, since it ignores hooks that come after the compilation. A module
    that is called outside a pass through the network (by the recomputation of activation checkpointing, say) is not
    recorded.
    """

    def __init__(self, model: nn.Module, where: Where, reduce: Reducer[V], *, stop: bool = False) -> None:
        self.reducer = reduce
        self._model, self._stop = model, stop
        self._root = unwrap(model)
        self._modules = select(model, where)
        self._states: dict[Point, list[Tensor]] = {}
        self._pass = _Pass()
        self._length: int | None = None  # points in a whole pass, once one has been seen
        self._attached: ExitStack | None = None
        self.passes = 0
        self._outside: set[str] = set()

    # -- attaching ----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Recording[V]:
        if self._attached is not None:
            raise RuntimeError("this recording is attached already; make another with record(...)")
        self._pass = _Pass()
        with ExitStack() as stack:
            stack.enter_context(_uncompiled())
            stack.callback(self._root.register_forward_pre_hook(self._begin).remove)
            for name, module in self._modules.items():
                if self.reducer.needs_input:
                    stack.callback(module.register_forward_pre_hook(self._keep_input(name), with_kwargs=True).remove)
                stack.callback(module.register_forward_hook(self._observe(name), with_kwargs=True).remove)
            stack.callback(self._root.register_forward_hook(self._commit).remove)
            stack.callback(self._root.register_forward_hook(self._end, always_call=True).remove)
            self._attached = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        attached, self._attached, self._pass = self._attached, None, _Pass()
        assert attached is not None
        attached.close()
        return isinstance(error, StopForward) and error.args == (id(self),)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model; None if the pass was ended after the last point (`stop=True`)."""
        try:
            return self._model(*args, **kwargs)
        except StopForward as stopped:
            if stopped.args != (id(self),):
                raise
            return None

    # -- hooks --------------------------------------------------------------------------------------------------------

    def _begin(self, module: nn.Module, args: Any) -> None:
        self._pass = _Pass(running=True)

    def _keep_input(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            given = next(iter((*args, *kwargs.values())), None)
            self._pass.inputs.append(given.detach().clone() if isinstance(given, Tensor) else given)

        return hook

    def _observe(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            current = self._pass
            given = current.inputs.pop() if self.reducer.needs_input and current.inputs else None
            if not current.running:
                self._outside.add(name)
                return
            number = current.calls.get(name, 0)
            current.calls[name] = number + 1
            point = Point(name, number)
            with torch.no_grad():
                try:
                    state = self.reducer.reduce(given, _tensor(output).detach())
                except ValueError as error:
                    raise ValueError(f"cannot record {point}, a {type(module).__name__}: {error}") from error
            current.states.append((point, state))
            if self._stop and len(current.states) == self._length:
                self._count_pass()
                raise StopForward(id(self))

        return hook

    def _commit(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._pass.running:
            self._length = len(self._pass.states)
            self._count_pass()

    def _end(self, module: nn.Module, args: Any, output: Any) -> None:
        self._pass = _Pass()

    def _count_pass(self) -> None:
        self.passes += 1
        for point, state in self._pass.states:
            self._add(point, state)

    def _add(self, point: Point, state: Tensor) -> None:
        states = self._states.setdefault(point, [])
        states.append(state)
        if len(states) >= FOLD:
            self._fold(point)

    def _fold(self, point: Point) -> Tensor:
        states = self._states[point]
        if len(states) > 1:
            states[:] = [self.reducer.combine(torch.stack(states))]
        return states[0]

    # -- reading ------------------------------------------------------------------------------------------------------

    def __getitem__(self, key: Point | tuple[str, int] | str) -> V:
        """What was recorded at a point: `rec["bn1"]`, or `rec["relu", 1]` for the second call.

        Raises:
            LookupError: there is no such point, or a bare name has several.
        """
        if isinstance(key, str):
            calls = [point for point in self._states if point.name == key]
            if len(calls) > 1:
                raise LookupError(f"{key} is called {len(calls)} times in a pass; give one call, such as ({key!r}, 0)")
            key = calls[0] if calls else Point(key)
        point = Point(*key)
        if point not in self._states:
            raise LookupError(self._missing(point))
        with torch.no_grad():
            return self.reducer.finish(self._fold(point))

    def __iter__(self) -> Iterator[Point]:
        return iter(list(self._states))

    def __len__(self) -> int:
        return len(self._states)

    def __contains__(self, key: object) -> bool:
        if isinstance(key, str):
            return any(point.name == key for point in self._states)
        return key in self._states

    @property
    def silent(self) -> tuple[str, ...]:
        """Modules that were asked for and that no pass has called."""
        heard = {point.name for point in self._states}
        return tuple(name for name in self._modules if name not in heard)

    def __repr__(self) -> str:
        state = "attached" if self._attached is not None else "detached"
        return f"Recording({type(self.reducer).__name__}, {len(self)} points, {self.passes} passes, {state})"

    def _missing(self, point: Point) -> str:
        root = type(self._root).__name__
        if point.name in self._outside:
            return f"{point} was called only outside a pass through {root}; record the module that you call"
        if point.name in self._modules:
            if not self.passes:
                return f"nothing is recorded at {point}: no pass through {root} has come to its end inside the `with`"
            if point.call and Point(point.name) in self._states:
                return f"{point.name} has fewer calls in a pass than asked for ({point.call} counts from 0)"
            return f"{point} was not called in {self.passes} passes through {root}"
        close = difflib.get_close_matches(point.name, self._modules, n=3, cutoff=0.4)
        return f"{point} is not recorded; recorded are {', '.join(close or list(self._modules)[:6])}"

    # -- merging ------------------------------------------------------------------------------------------------------

    def states(self) -> dict[Point, Tensor]:
        """The state of each point on the CPU, a few numbers each, to be sent to another process."""
        with torch.no_grad():
            return {point: self._fold(point).cpu().clone() for point in self._states}

    def merge(self, states: Mapping[Point, Tensor]) -> None:
        """Add what another recording, with the same reducer, saw of other images.

        Merging the parts of a data set gives what one recording of all of it gives: numbers of values exactly, means
        and deviations to the last digits of float64.
        """
        with torch.no_grad():
            for point, state in states.items():
                here = self._states.get(point)
                self._add(Point(*point), state.to(here[0].device) if here else state)

    def gather(self, group: torch.distributed.ProcessGroup | None = None) -> None:
        """Merge the recordings of all processes of a group, in order of rank; afterwards all have the same."""
        parts: list[Any] = [None] * torch.distributed.get_world_size(group)
        torch.distributed.all_gather_object(parts, self.states(), group=group)
        self._states = {}
        for part in parts:
            self.merge(part)


class _Pass:
    """What one pass through the network has shown so far."""

    def __init__(self, *, running: bool = False) -> None:
        self.running = running
        self.calls: dict[str, int] = {}
        self.states: list[tuple[Point, Tensor]] = []
        self.inputs: list[Any] = []


def _tensor(output: Any) -> Tensor:
    """The activation; of modules that yield several values (attention and its weights), the first."""
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    if not isinstance(output, Tensor):
        raise ValueError(f"it yields {type(output).__name__}, not a tensor; record a module inside it")
    return output


def _uncompiled() -> AbstractContextManager[Any]:
    """Runs what `torch.compile` made as it was written; costs nothing where nothing has been compiled."""
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    return torch.compiler.set_stance("force_eager")
