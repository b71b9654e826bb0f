"""`resnet-probe train`: make a trained network where none exists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from resnet_probe.commands import options, output, training_options
from resnet_probe.commands.hardware import in_software, pick_device
from resnet_probe.commands.training_options import RECIPES, STYLES, TASKS, Training

if TYPE_CHECKING:
    from rich.console import Console

    from resnet_probe.analyses.grid import Cell
    from resnet_probe.data import Data
    from resnet_probe.tables import Result
    from resnet_probe.training import Epoch, Progress


# Task -> what its error is called, and what it is a share of.
ERRORS = {
    "classification": ("error", ""),
    "segmentation": ("pixel error", "the pixels of "),
    "detection": ("objects missed", "the objects of "),
    "language": ("token error", "the tokens of "),
}


@click.command("train")
@options.arch
@options.data
@options.data_root
@options.normalize
@options.limit
@click.option("--task", type=click.Choice(TASKS), default=TASKS[0], show_default=True, help="What the labels are for.")
@click.option(
    "--recipe", type=click.Choice(RECIPES),
    help="Values of a paper.  [default: he2015; digits for digits; detection, segmentation for these tasks]",
)  # fmt: skip
@click.option(
    "--training-style", type=click.Choice(STYLES), default="normal", show_default=True, help="Which blocks take part."
)
@click.option("--validation", type=click.IntRange(min=0), default=0, metavar="N", help="Hold out N training images.")
@training_options.training_options
@click.option("--size", type=options.COUNT, metavar="N", help="Side of images that differ in size.")
@click.option("--sync-batch-norm", is_flag=True, help="Batch norm over the images of all processes.")
@click.option(
    "--resume", type=options.FILE, metavar="FILE",
    help="Go on from this state-*.pt.  [default: the newest in --out]",
)  # fmt: skip
@click.option("--fresh", is_flag=True, help="Start over, whatever an earlier run has finished.")
@click.option("--save-every", default=600.0, show_default=True, metavar="S", help="Seconds between states in an epoch.")
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard's files too (extra: tensorboard).")
@click.option("--workers", type=click.IntRange(min=0), metavar="N", help="Processes that decode for --resized-crop.")
@options.devices
@options.num_nodes
@options.accelerator
@options.running
def command(
    *,
    arch: str | None,
    data: str | None,
    data_root: Path | None,
    normalize: str | None,
    limit: int | None,
    task: str,
    recipe: str | None,
    training_style: str,
    validation: int,
    training: Training,
    size: int | None,
    sync_batch_norm: bool,
    resume: Path | None,
    fresh: bool,
    save_every: float,
    tensorboard: bool,
    workers: int | None,
    devices: int,
    num_nodes: int,
    accelerator: str,
    device: str,
    seed: int,
    out: Path | None,
    formats: Sequence[str],
    quiet: bool,
) -> None:
    """Train a network by a paper's recipe, any value of which can be replaced.

    Writes the weights (which every command reads), the table and figure of the learning curve, and states to go on
    from: an interrupted training, by Ctrl-C or SIGTERM too, goes on with the same command, on a CPU bit for bit.
    Error and loss are measured on the test images after each epoch, or on --validation images held out.
    """
    if arch is None or data is None:
        missing = "--arch NAME" if arch is None else "--data NAME|FOLDER"
        raise click.UsageError(f"what to train is not clear; give {missing}")
    if fresh and resume:
        raise click.UsageError("--fresh and --resume given; give one of them")
    from dataclasses import replace

    from resnet_probe.analyses.grid import Cell, Images, describe, identity, train_cell
    from resnet_probe.commands import progress
    from resnet_probe.commands.stopping import asked_to_stop
    from resnet_probe.training import Keeper

    where = pick_device(device)
    name, values = training.recipe(recipe, data, describe(arch).depth, task=task, seed=seed, style=training_style)
    folder = output.run_folder(out, "train", arch)
    fabric = training_options.processes(
        values, device=where, devices=devices, num_nodes=num_nodes, accelerator=accelerator
    )
    if sync_batch_norm and fabric is None:
        raise click.UsageError("--sync-batch-norm given with one process, which sees every image anyway; leave it out")
    first = fabric is None or fabric.global_rank == 0
    screen = output.console(quiet or not first)
    root = None if data_root is None else str(data_root)
    images = Images(data, root, normalize, size, limit, validation, seed, task=task)
    train, test = images.load(screen.print)
    if train.is_cropped and not training.values.keys() & {"pad", "flip", "resized_crop"}:
        values = replace(values, resized_crop=True)
        screen.print("the images differ in size: random parts of them are trained on (--resized-crop)")
    if workers is not None and not values.resized_crop:
        raise click.UsageError("--workers given and nothing to decode; they serve --resized-crop")
    if note := in_software(values.precision, where):
        screen.print(note, style="bold")
    cell = Cell(output.file_name(arch), arch, values)
    if values.batch_size > len(train):
        raise click.UsageError(
            f"a batch of {values.batch_size} is more than the {len(train)} images; give --batch-size of at most as many"
        )
    screen.print(f"{arch}: {len(train)} images of {train.name}, recipe {name}, {_length(values, len(train))}")
    keeper = Keeper(
        folder / "states",
        identity(cell, train, test),
        every=save_every,
        resume=resume,
        fresh=fresh,
        notify=screen.print,
    )
    origin = training_options.origin(train, test, device=where, seed=seed, recipe=name)
    log = _Log(cell, screen, origin, folder, board=tensorboard, writes=first)
    with asked_to_stop() as stop, progress.bar(quiet or not first, f"training {arch}") as report:

        def tell(now: Progress) -> None:
            report(now.step, now.steps)
            log(now)

        how: dict[str, Any] = {"keeper": keeper, "fabric": fabric, "device": where, "compiled": training.compiled}
        how |= {"task": task, "sync_batch_norm": sync_batch_norm, "workers": workers, "progress": tell, "stop": stop}
        made = _by_all(first, train_cell, cell, train, test, folder=folder, **how)
    if not first:
        return
    files = output.write([log.table(made["curve"])], folder, formats)
    row = made["row"]
    facts = [
        *_errors(row, test, task),
        ("time", f"{row['seconds']:.4g} s of training"),
        ("weights", str(folder / f"{cell.name}.safetensors")),
        ("written", output.listing(files)),
    ]
    output.summarise(screen, f"{arch}: trained", facts)


def _errors(row: dict[str, Any], test: Data, task: str) -> list[tuple[str, str]]:
    """What is said about the errors of the last epoch; of a detector that of training is not known."""
    what, whole = ERRORS[task]
    told = [(f"{test.split} {what}", f"{row['test_error']:.4g} % of {whole}{len(test)} images")]
    if row["train_error"] is not None:
        trained = f"{row['train_error']:.4g} % in the last of {row['epochs']} epochs, as the images came by"
        told.insert(0, (f"training {what}", trained))
    return told


def _by_all(first: bool, work: Callable[..., dict[str, Any]], *what: Any, **how: Any) -> dict[str, Any]:
    """What `work` returns. A state that cannot be kept is the first process's to tell, once.

    The others leave as if all were well: the launcher kills the first process where it sees them fail before it.
    """
    from resnet_probe.training import StateError

    try:
        return work(*what, **how)
    except StateError:
        if first:
            raise
        raise SystemExit(0) from None


def _length(recipe: Any, images: int) -> str:
    from resnet_probe.training import steps_per_epoch

    per_epoch = steps_per_epoch(images, recipe.batch_size)
    steps = recipe.steps(per_epoch)
    return f"{steps:,} steps of {recipe.batch_size} images ({steps / per_epoch:.4g} epochs), {recipe.precision}"


class _Log:
    """After each epoch: a line on the screen, the table, and TensorBoard's files."""

    def __init__(
        self, cell: Cell, screen: Console, origin: dict[str, Any], folder: Path, *, board: bool, writes: bool
    ) -> None:
        self.cell, self.screen, self.origin, self.folder, self.writes = cell, screen, origin, folder, writes
        self.split = origin["measured_on"]
        self.seen: int | None = None  # epochs that have been told; None before the first step
        self.board: Callable[[Epoch], None] | None = _board(folder) if board and writes else None

    def table(self, curve: list[dict[str, Any]]) -> Result:
        from dataclasses import asdict

        from resnet_probe.analyses.grid import curves_table

        return curves_table(curve, {**self.origin, "recipe": asdict(self.cell.recipe)})

    def __call__(self, now: Progress) -> None:
        from resnet_probe.analyses.grid import curve_rows

        if self.writes and self.seen is None:
            self.seen = now.epoch
            if now.step:
                self.screen.print(f"going on from step {now.step:,} of {now.steps:,}, epoch {now.epoch + 1}")
        if not self.writes or now.last is None or self.seen is None or now.epoch <= self.seen:
            return
        self.seen, last = now.epoch, now.last
        self.table(curve_rows(self.cell, now.rows)).save(self.folder)  # whatever becomes of the next epoch
        tested = (
            f", {self.split} {last.test_loss:.4g} and {last.test_error:.4g} %" if last.test_error is not None else ""
        )
        error = "" if last.train_error is None else f", error {last.train_error:.4g} %"
        self.screen.print(
            f"epoch {last.epoch} of {now.epochs}: loss {last.train_loss:.4g}{error}{tested}, "
            f"rate {last.learning_rate:.3g}, {last.images / max(last.seconds, 1e-9):.4g} images/s"
        )
        if self.board:
            self.board(last)


def _board(folder: Path) -> Callable[[Epoch], None]:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        raise click.UsageError("TensorBoard is not installed; pip install 'resnet-probe[tensorboard]'") from error
    writer = SummaryWriter(str(folder / "tensorboard"))

    def write(epoch: Epoch) -> None:
        values = {"loss/train": epoch.train_loss, "error/train": epoch.train_error, "rate": epoch.learning_rate,
                  "loss/held out": epoch.test_loss, "error/held out": epoch.test_error}  # fmt: skip
        for name, value in values.items():
            if value is not None:
                writer.add_scalar(name, value, epoch.iteration)
        writer.flush()

    return write
