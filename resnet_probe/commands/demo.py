"""`resnet-probe demo`: two small networks, trained on handwritten digits, opened up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from click.exceptions import Exit

from resnet_probe.commands import options, output, study
from resnet_probe.commands.steps import Runner

if TYPE_CHECKING:
    from rich.console import Console

    from resnet_probe.checkpoint import Checkpoint
    from resnet_probe.tables import Result

NETWORKS = ("resnet32", "vgg16-w16")
AMOUNT = study.Amount(draws=10, samples=100, images=100)


@click.command("demo")
@options.seed
@options.device
@options.out
@options.formats
@options.quiet
def command(*, seed: int, device: str, out: Path | None, formats: Sequence[str], quiet: bool) -> None:
    """Train a ResNet and a VGG on scikit-learn's handwritten digits, open them up, and write a report.

    Takes two or three minutes on two CPU cores. What an earlier demo left in the folder is used again.
    """
    from resnet_probe.commands import subject

    screen = output.console(quiet)
    folder = output.run_folder(out or Path("results/demo"), "demo", "")
    where = subject.pick_device(device)
    trained = [_network(arch, folder, seed=seed, device=where, screen=screen, quiet=quiet) for arch in NETWORKS]
    runner = Runner(folder, screen, quiet)
    paths = [folder / f"{arch}.safetensors" for arch in NETWORKS]
    subjects = [subject.Subject(found, trained=True) for found in trained]
    shared = study.Shared(data="digits", device=device, seed=seed, formats=tuple(formats))
    with _one_thread():
        page = study.run(paths, subjects, folder, runner, amount=AMOUNT, shared=shared)

    from resnet_probe.tables import read

    facts = _story(read(folder, "lesion"), read(folder, "paths")) if not runner.failed else []
    facts += [("failed", f"{outcome.title}: {outcome.reason}") for outcome in runner.failed]
    output.summarise(screen, "What the demo shows", [*facts, ("report", str(page))])
    if runner.failed:
        raise Exit(1)


def _network(arch: str, folder: Path, *, seed: int, device: str, screen: Console, quiet: bool) -> Checkpoint:
    """The trained network, from the folder if it is there, with its test error."""
    from resnet_probe import checkpoint
    from resnet_probe.commands import progress
    from resnet_probe.data import load_data
    from resnet_probe.evaluate.baseline import baseline
    from resnet_probe.training import DEMO_RECIPES, fit

    path = folder / f"{arch}.safetensors"
    recipe = {**DEMO_RECIPES[arch], "seed": seed}
    if path.is_file():
        found = checkpoint.load(path)
        if found.metadata.get("recipe") == recipe:
            screen.print(f"{arch}: {found.metadata['error']:.3g} % test error, trained by an earlier demo")
            return found
    model = checkpoint.untrained(arch, seed=seed, num_classes=10, in_channels=1).model
    train, test = (load_data("digits", split=split) for split in ("train", "test"))
    with progress.bar(quiet, f"training {arch}") as report, _one_thread():
        fit(model, train, **recipe, device=device, progress=lambda now: report(now.step, now.steps))
    error = baseline(model.eval(), test, device=device, others=False).error
    screen.print(f"{arch}: {error:.3g} % test error on {len(test)} digits after {recipe['epochs']} epochs")
    about = {"recipe": recipe, "data": "digits", "normalize": "digits", "error": error, "input_size": 8}
    checkpoint.save(path, model, arch=arch, metadata=about)
    return checkpoint.load(path)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Maps of 8x8 pixels are too small to share: with more threads these networks train no faster, often slower."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _story(lesions: Result, lengths: Result) -> list[tuple[str, str]]:
    """The outcome in plain words."""
    from statistics import median

    facts = []
    for network in dict.fromkeys(row["network"] for row in lesions.rows):
        intact, *deleted = [row for row in lesions.rows if row["network"] == network]
        errors = [row["error"] for row in deleted]
        what = "blocks" if deleted[0]["kind"] == "block" else "layers"
        facts.append(
            (
                network,
                f"{intact['error']:.3g} % error; with any one of its {len(deleted)} {what} deleted "
                f"{min(errors):.3g} to {max(errors):.3g} %, median {median(errors):.3g} %",
            )
        )
    rows = [row for row in lengths.rows if row["network"] == NETWORKS[0] and row["unit"] == "module"]
    total = sum(row["count"] for row in rows)
    mean = sum(row["length"] * row["count"] for row in rows) / total
    facts.append(
        (
            "paths",
            f"the ResNet is {total:,} paths of {mean:.3g} blocks on average; deleting a block leaves "
            "half of them, deleting a layer of the VGG leaves none of its single path",
        )
    )
    return facts
