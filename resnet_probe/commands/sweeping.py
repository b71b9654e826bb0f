"""What commands that sweep over many variants share: options, journal, processes, progress."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from resnet_probe.commands import options

if TYPE_CHECKING:
    from resnet_probe.commands.subject import Subject
    from resnet_probe.data import Data
    from resnet_probe.evaluate import Journal, Workers
    from resnet_probe.unraveled import UnraveledNetwork

COMPARED = 30  # variants whose predictions in lower precision are compared with fp32
SIZES = {"k": 10**3, "m": 10**6, "g": 10**9}


def memory_size(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """An amount of memory in bytes: `800M`, `2G` or a plain number."""
    if value is None:
        return None
    text = value.strip().lower().removesuffix("b")
    number, factor = (text[:-1], SIZES[text[-1]]) if text and text[-1] in SIZES else (text, 1)
    try:
        amount = int(float(number) * factor)
    except (ValueError, OverflowError):
        amount = 0
    if amount <= 0:
        raise click.BadParameter(f"{value!r} is no amount of memory; give bytes, or such as 800M or 2G")
    return amount


def numbers(_: click.Context, __: click.Parameter, value: str | None) -> range | None:
    """`1:20` as the numbers from 1 to 20, `5` as 5 alone, `2:20:2` in steps of two."""
    if value is None:
        return None
    try:
        parts = [int(part) for part in value.split(":")]
        first, last, step = (*parts, parts[0], 1) if len(parts) == 1 else (*parts, 1) if len(parts) == 2 else parts
        found = range(first, last + 1, step)
    except ValueError:
        found = range(0)
    if not found or found[0] < 1:
        raise click.BadParameter(f"{value!r} is no range; give FIRST:LAST, such as 1:20, or one number")
    return found


def sweep_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of every sweep; they reach the command as one `Options`."""
    decorators = (
        options.batch_size,
        options.precision,
        click.option(
            "--memory",
            callback=memory_size,
            metavar="SIZE",
            help="Memory for activations, such as 800M.  [default: half of the free on CUDA; else a quarter, <= 1G]",
        ),
        click.option("--compile", "compiled", is_flag=True, help="Pass the units through torch.compile."),
        click.option("--fresh", is_flag=True, help="Start over, whatever an earlier run has finished."),
        options.devices,
        options.num_nodes,
        options.accelerator,
    )

    def command(**params: Any) -> Any:
        names = ("batch_size", "precision", "memory", "compiled", "fresh", "devices", "num_nodes", "accelerator")
        chosen = Options(**{name: params.pop(name) for name in names})
        return function(options=chosen, **params)

    command.__doc__ = function.__doc__
    command.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    wrapped: Callable[..., Any] = command
    for decorator in reversed(decorators):
        wrapped = decorator(wrapped)
    return wrapped


def check_started(devices: int, num_nodes: int) -> None:
    """Raise click.UsageError where torchrun has started another number of processes than is asked for."""
    wanted, started = devices * num_nodes, os.environ.get("WORLD_SIZE", "")
    if "TORCHELASTIC_RUN_ID" in os.environ and started != str(wanted):
        raise click.UsageError(
            f"torchrun has started {started} processes, and --devices {devices} times --num-nodes {num_nodes} is "
            f"{wanted}; give the numbers that torchrun has (--nproc-per-node, --nnodes)"
        )


@dataclass(frozen=True)
class Options:
    """How a sweep is to be run."""

    batch_size: int | None = None
    precision: str = "fp32"
    memory: int | None = None
    compiled: bool = False
    fresh: bool = False
    devices: int = 1
    num_nodes: int = 1
    accelerator: str = "auto"

    def processes(self, device: str) -> tuple[Workers, str]:
        """The processes of this sweep, started by Lightning Fabric if there are several; and this one's device.

        Raises:
            click.UsageError: torchrun has started another number of processes.
        """
        from resnet_probe.evaluate import SOLO, Workers

        check_started(self.devices, self.num_nodes)
        if self.devices * self.num_nodes == 1:
            if self.accelerator not in ("auto", device.split(":", maxsplit=1)[0]):
                raise click.UsageError(
                    f"--accelerator {self.accelerator} given with one process on {device}; give --device instead"
                )
            return SOLO, device
        from lightning_fabric import Fabric

        kind = device.split(":", maxsplit=1)[0] if self.accelerator == "auto" else self.accelerator
        fabric = Fabric(accelerator=kind, devices=self.devices, num_nodes=self.num_nodes, strategy="ddp")
        fabric.launch()
        return Workers.of(fabric), str(fabric.device)


@dataclass(frozen=True)
class Bench:
    """Where a sweep takes place: its options, folder, device, processes, network and images."""

    options: Options
    folder: Path
    device: str
    workers: Workers
    subject: Subject
    dataset: Data
    network: UnraveledNetwork
    quiet: bool

    @contextmanager
    def sweep(self, name: str, about: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Open the journal `<name>.journal` and yield the arguments of `evaluate` that all analyses share.

        Raises:
            JournalError: the folder holds the journal of another sweep.
        """
        from resnet_probe.commands import progress
        from resnet_probe.evaluate import Sweep

        chosen = self.options
        how: dict[str, Any] = {"device": self.device, "workers": self.workers}
        how["sweep"] = Sweep(
            precision=chosen.precision, batch_size=chosen.batch_size, memory=chosen.memory, compiled=chosen.compiled
        )
        journal = self._journal(name, about)
        try:
            with progress.bar(self.quiet or self.workers.rank > 0, f"{name} of {self.subject.name}") as report:
                yield {**how, "journal": journal, "progress": report}
        finally:
            journal.close()

    def recalibration(self, name: str, about: Mapping[str, Any], train: Data) -> Callable[..., Any]:
        """What measures variants again with re-estimated batch-norm statistics, with a journal of its own.

        Raises:
            click.UsageError: there are several processes.
        """
        from resnet_probe.evaluate import evaluate_recalibrated

        if self.workers.count > 1:
            raise click.UsageError("--recalibrate runs in one process; leave out --devices and --num-nodes")
        from resnet_probe.evaluate import has_statistics

        if self.options.precision != "fp32":
            raise click.UsageError("--recalibrate computes in fp32; leave out --precision")
        if not has_statistics(self.subject.checkpoint.model):
            raise click.UsageError(f"{self.subject.name} has no batch norm whose statistics could be re-estimated")

        def measure(variants: Mapping[str, Any]) -> Any:
            with self.sweep(f"{name}_recalibrated", {**about, "training_images": train.fingerprint}) as how:
                del how["workers"]
                return evaluate_recalibrated(self.network, variants, self.dataset, train, **how)

        return measure

    def origin(self, seed: int, variants: Sequence[UnraveledNetwork]) -> dict[str, Any]:
        """The settings that a sweep's tables carry; `variants` are some of the edited networks in them."""
        from resnet_probe.commands.subject import described
        from resnet_probe.evaluate import changed_by_precision
        from resnet_probe.tables import provenance

        precision, dataset = self.options.precision, self.dataset
        more: dict[str, Any] = {"normalization": dataset.normalization, "precision": precision}
        if precision != "fp32":
            sample = variants[:: max(1, len(variants) // COMPARED)]
            steps = {str(i): edited.steps for i, edited in enumerate((self.network, *sample))}
            compared = changed_by_precision(self.network, steps, dataset, precision=precision, device=self.device)
            more["against_fp32"] = {**compared, "variants": len(steps)}
        return provenance(
            arguments=options.arguments(), seed=seed, data_fingerprint=dataset.fingerprint, device=self.device,
            command=options.command_line(), data_set=described(dataset), **more, **self.subject.provenance(),
        )  # fmt: skip

    def _journal(self, name: str, about: Mapping[str, Any]) -> Journal:
        from resnet_probe.evaluate import Journal, fingerprint
        from resnet_probe.tables import provenance

        loaded = self.subject.checkpoint
        versions = provenance(arguments={})["versions"]
        identity = {
            "checkpoint": loaded.sha256 or loaded.arch,
            "architecture": loaded.arch,
            "network_(weights_and_code)": fingerprint(self.network),
            "version": [versions["resnet-probe"], versions.get("torch")],
            "kind_of_device": self.device.split(":")[0],
            "number_of_images": len(self.dataset),
            "data_set": self.dataset.fingerprint,
            "normalisation": self.dataset.normalization,
            "precision": self.options.precision,
            "compilation": self.options.compiled,
            **about,
        }
        path = self.folder / f"{name}.journal"
        if self.workers.rank > 0:
            path = path.with_name(f"{path.name}.{self.workers.rank}")
        journal = Journal.open(path, identity, fresh=self.options.fresh)
        if self.workers.rank == 0:
            for other in sorted(self.folder.glob(f"{path.name}.*")):
                number = int(other.suffix[1:]) if other.suffix[1:].isdigit() else 0
                if number >= self.workers.count and self.options.fresh:
                    other.unlink()
                elif number > 0 and self.workers.count == 1:  # what an earlier run's processes have finished counts
                    journal.adopt(other)
        return journal
