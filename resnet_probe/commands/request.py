"""What an analysis was asked for: which networks, which images, how to compute, what to write."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import rich_click as click

from resnet_probe.analyses.declaration import Analysis, Needs, NoParameters, options_of
from resnet_probe.commands.options import FORMATS

if TYPE_CHECKING:
    from resnet_probe.evaluate import Sweep, Workers

# Options that change no number: a table made with others of them is the same table.
SAME_ANYWAY = ("out", "formats", "quiet", "fresh", "device", "devices", "num_nodes", "accelerator", "memory")


@dataclass(frozen=True)
class Request:
    """The values of the options that analyses share, under the names of the options, and the analysis's parameters."""

    ckpts: tuple[Path, ...] = ()
    arch: tuple[str, ...] = ()
    leaf: tuple[str, ...] = ()
    trace: Literal["fx", "export"] | None = None
    size: int | None = None
    read_as: tuple[str, ...] = ()
    untrained: bool = False
    task: str | None = None
    data: str | None = None
    classes: Path | None = None
    data_root: Path | None = None
    split: str = "test"
    limit: int | None = None
    normalize: tuple[str, ...] = ()
    batch_size: int | None = None
    precision: str = "fp32"
    memory: int | None = None
    compiled: bool = False
    fresh: bool = False
    devices: int = 1
    num_nodes: int = 1
    accelerator: str = "auto"
    device: str = "auto"
    seed: int = 0
    out: Path | None = None
    formats: tuple[str, ...] = FORMATS
    quiet: bool = False
    parameters: Any = field(default_factory=NoParameters)

    @classmethod
    def of(cls, analysis: Analysis, values: Mapping[str, Any]) -> Request:
        """From the values of a command's options, as click hands them over."""
        own = {name: values[name] for name in options_of(analysis.parameters)}
        shared = {name: _several(name, value) for name, value in values.items() if name not in own}
        return cls(**shared, parameters=analysis.parameters(**own))

    def arguments(self, analysis: Analysis) -> dict[str, Any]:
        """The values of the options that the analysis has, as the settings of its tables keep them."""
        known = {name: getattr(self, name) for name in shared_options(analysis.needs)}
        return {**known, **asdict(self.parameters)}

    def words(self, analysis: Analysis) -> list[str]:
        """The command and the options that are not defaults, ready to be put on a command line."""
        words = [analysis.name]
        default = Request()
        for name in shared_options(analysis.needs):
            value, flag = getattr(self, name), f"--{_FLAGS.get(name, name).replace('_', '-')}"
            if value == getattr(default, name) or name in ("out", "quiet"):
                continue
            each = value if name in _MULTIPLE else [",".join(value)] if name == "formats" else [value]
            words += [flag] if value is True else [word for one in each for word in (flag, str(one))]
        for name, (option, _, usual) in options_of(analysis.parameters).items():
            value, flag = getattr(self.parameters, name), option.called(name)
            if value is True and value != usual:
                words.append(flag)
            elif value != usual:
                each = value if isinstance(value, tuple) and option.parse is None else [value]
                words += [word for one in each for word in (flag, option.write(one))]
        return words

    def command_line(self, analysis: Analysis) -> str:
        """`words` as one line for a shell, with the folder of results."""
        out = ["--out", str(self.out)] if self.out else []
        return shlex.join(["resnet-probe", *self.words(analysis), *out])

    def sweep(self) -> Sweep:
        """How a sweep is to be run."""
        from resnet_probe.evaluate import Sweep

        return Sweep(precision=self.precision, batch_size=self.batch_size, memory=self.memory, compiled=self.compiled)

    def with_parameters(self, parameters: type, **values: Any) -> Request:
        """The same request for an analysis with these parameters, as far as they have these names."""
        names = {each.name for each in fields(parameters)}
        return replace(self, parameters=parameters(**{k: v for k, v in values.items() if k in names}))


_MULTIPLE = ("ckpts", "arch", "leaf", "read_as", "normalize")
_FLAGS = {"ckpts": "ckpt", "compiled": "compile", "formats": "format"}


def _several(name: str, value: Any) -> Any:
    """A value that one command takes once and another several times, as a tuple for both."""
    if name not in _MULTIPLE or isinstance(value, tuple):
        return value
    return () if value is None else tuple(value) if isinstance(value, list) else (value,)


def shared_options(needs: Needs) -> tuple[str, ...]:
    """Names of the options that an analysis with such needs shares with others, in the order of its help."""
    return (
        *("ckpts", "arch", "leaf", "trace", "size"),
        *(("read_as",) if needs.side_by_side else ()),
        *(("untrained",) if needs.twins else ()),
        *(("task",) if needs.tasks else ()),
        *(("data", "classes", "data_root", "split", "limit", "normalize") if needs.images != "none" else ()),
        *(("batch_size",) if needs.batches or needs.sweep else ()),
        *(("precision", "memory", "compiled", "fresh", "devices", "num_nodes", "accelerator") if needs.sweep else ()),
        *("device", "seed", "out", "formats", "quiet"),
    )


def accelerator_for(devices: int, num_nodes: int, accelerator: str, device: str) -> str | None:
    """Kind of device of several processes, the one of `device` by default; None for a single process on `device`.

    Raises:
        click.UsageError: torchrun has started another number of processes than is asked for, or a single process has
            an accelerator beside its device.
    """
    asked, started = devices * num_nodes, os.environ.get("WORLD_SIZE", "")
    if "TORCHELASTIC_RUN_ID" in os.environ and started != str(asked):
        raise click.UsageError(
            f"torchrun has started {started} processes, and --devices {devices} times --num-nodes {num_nodes} is "
            f"{asked}; give the numbers that torchrun has (--nproc-per-node, --nnodes)"
        )
    kind = device.split(":", maxsplit=1)[0]
    if asked == 1 and accelerator not in ("auto", kind):
        raise click.UsageError(f"--accelerator {accelerator} given with one process on {device}; give --device instead")
    return None if asked == 1 else kind if accelerator == "auto" else accelerator


def processes(request: Request, device: str) -> tuple[Workers, str]:
    """The processes that share the work, started by Lightning Fabric if there are several; and this one's device.

    Raises:
        click.UsageError: as `accelerator_for`.
    """
    from resnet_probe.evaluate import SOLO, Workers

    kind = accelerator_for(request.devices, request.num_nodes, request.accelerator, device)
    if kind is None:
        return SOLO, device
    from lightning_fabric import Fabric

    fabric = Fabric(accelerator=kind, devices=request.devices, num_nodes=request.num_nodes, strategy="ddp")
    fabric.launch()
    return Workers.of(fabric), str(fabric.device)
