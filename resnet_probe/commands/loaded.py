"""A network with its weights, as the command line names it; and how several are told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import rich_click as click

if TYPE_CHECKING:
    from resnet_probe.checkpoint import Checkpoint

__all__ = ["Loaded", "distinct", "with_leaves"]


@dataclass(frozen=True)
class Loaded:
    """A network with its weights.

    `like` is the number of the one whose images an untrained network is to see; `leaves` are the modules to keep whole;
    `trace` is the only way of tracing to go; `size` is the side of its images that was asked for; `inputs` are what it
    is traced with, where a shape does not say it.
    """

    checkpoint: Checkpoint
    trained: bool = True
    like: int | None = None
    leaves: tuple[str, ...] = ()
    trace: Literal["fx", "export"] | None = None
    size: int | None = None
    inputs: Any = None

    @property
    def input_size(self) -> int | None:
        """Side of its images in pixels, where it is known."""
        return self.size or self.checkpoint.input_size

    @property
    def example(self) -> Any:
        """Inputs to trace with, of a task or of a network of transformers; None of a network of images."""
        return getattr(self.checkpoint.model, "example", None) if self.inputs is None else self.inputs

    @property
    def name(self) -> str:
        """The checkpoint's file stem, or the name given with `--arch`."""
        return self.checkpoint.name

    @property
    def identity(self) -> str:
        """Hash of the file, or the architecture of a network with random weights."""
        return self.checkpoint.sha256 or f"untrained {self.checkpoint.arch}"

    def with_its_leaves(self) -> Checkpoint:
        """The checkpoint, whose edited networks are to be traced in the same way, with the same modules whole."""
        metadata = dict(self.checkpoint.metadata)
        if self.leaves:
            metadata["leaves"] = [*metadata.get("leaves", []), *self.leaves]
        if self.trace:
            metadata["trace"] = self.trace
        return replace(self.checkpoint, metadata=metadata)

    def own(self, key: str) -> str | None:
        """A word of the metadata of our own format; in files of others the same word may mean something else."""
        metadata = self.checkpoint.metadata
        value = metadata.get(key) if {"arch", "format"} <= metadata.keys() else None
        return value if isinstance(value, str) else None

    @property
    def images(self) -> str | None:
        """The data that our own format says the network was trained on.

        Raises:
            click.UsageError: it is code, which the file's author chose.
        """
        from resnet_probe.data import is_own

        spec = self.own("data")
        if spec is not None and is_own(spec):
            raise click.UsageError(
                f"{self.name} names its data {spec}, which is code; if you trust it, give --data {spec}"
            )
        return spec

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its outputs, where our own format has them."""
        metadata = self.checkpoint.metadata
        names = metadata.get("classes") if {"arch", "format"} <= metadata.keys() else None
        if not isinstance(names, list) or len(names) != self.checkpoint.num_classes:
            return ()
        return tuple(names) if all(isinstance(name, str) for name in names) else ()


def with_leaves(found: Sequence[Loaded], leaves: Sequence[str]) -> list[Loaded]:
    """Each network with those of the modules called `leaves` that it has.

    Raises:
        click.UsageError: none of the networks has one of them.
    """
    if not leaves:
        return list(found)
    from resnet_probe.factories import suggest

    modules = [[name for name, _ in one.checkpoint.model.named_modules() if name] for one in found]
    for leaf in leaves:
        if not any(leaf in names for names in modules):
            named = " and ".join(one.name for one in found)
            raise click.UsageError(f"--leaf {leaf}: no such module in {named}{suggest(leaf, modules[0])}")
    return [
        replace(one, leaves=tuple(leaf for leaf in leaves if leaf in names))
        for one, names in zip(found, modules, strict=True)
    ]


def distinct(found: list[Loaded], ckpts: Sequence[Path]) -> list[Loaded]:
    """Checkpoints of the same file name are told apart by their folders."""
    if len({one.name for one in found}) == len(found):
        return found
    folders = [path.resolve().parent.name for path in ckpts]
    told = [
        replace(one, checkpoint=replace(one.checkpoint, name=f"{folder}/{one.name}"))
        for one, folder in zip(found, folders, strict=True)
    ]
    if len({one.name for one in told}) < len(told):
        raise click.UsageError("the same checkpoint given twice; give each --ckpt once")
    return told
