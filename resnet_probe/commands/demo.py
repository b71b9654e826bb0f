"""`resnet-probe demo`: two small networks, trained on handwritten digits, opened up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from resnet_probe.commands import options, output

if TYPE_CHECKING:
    from rich.console import Console

    from resnet_probe.checkpoint import Checkpoint
    from resnet_probe.results import Result

NETWORKS = ("resnet32", "vgg16-w16")


@click.command("demo")
@options.seed
@options.device
@options.out
@options.formats
@options.quiet
def command(*, seed: int, device: str, out: Path | None, formats: Sequence[str], quiet: bool) -> None:
    """Train a ResNet and a VGG on scikit-learn's handwritten digits, delete their layers, count their paths.

    Takes a minute or two on two CPU cores. Networks that an earlier demo left in the folder are used again.
    """
    from resnet_probe.commands import subject

    screen = output.console(quiet)
    folder = output.run_folder(out or Path("results/demo"), "demo", "")
    where = subject.pick_device(device)
    trained = [_network(arch, folder, seed=seed, device=where, screen=screen, quiet=quiet) for arch in NETWORKS]

    from resnet_probe.analyses import lesion, paths
    from resnet_probe.results import Result, provenance

    origin = provenance(
        arguments=options.arguments(), seed=seed, device=where, command=options.command_line(),
        checkpoint_sha256=", ".join(checkpoint.sha256 for checkpoint in trained),
    )  # fmt: skip
    tables = [_lesion(checkpoint, where, quiet) for checkpoint in trained]
    rows = tuple(row for table in tables for row in table.rows)
    lesions = Result("lesion", lesion.COLUMNS, rows, tables[0].settings).with_settings(origin)
    lengths = _paths(trained[0]).with_settings(origin)
    figures = [("lesion", lesion.plot(lesions)), ("paths", paths.plot(lengths))]
    files = output.write(lesions, figures[:1], folder, formats) + output.write(lengths, figures[1:], folder, formats)
    output.summarise(screen, "What the demo shows", [*_story(tables, lengths), ("written", output.listing(files))])


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


def _lesion(trained: Checkpoint, device: str, quiet: bool) -> Result:
    from resnet_probe.analyses import lesion
    from resnet_probe.commands import progress
    from resnet_probe.data import load_data
    from resnet_probe.unraveled import unravel

    test = load_data("digits", split="test")
    network = unravel(trained.model.to(device), test.input_shape)
    with progress.bar(quiet, f"lesion of {trained.name}") as report:
        return lesion.run(network, test, name=trained.name, device=device, progress=report)


def _paths(trained: Checkpoint) -> Result:
    from resnet_probe.analyses import paths
    from resnet_probe.unraveled import unravel

    network = unravel(trained.model, (trained.in_channels, trained.input_size or 8, trained.input_size or 8))
    by_unit = {
        "module": [unit.plan.module_polynomial for unit in network.units],
        "layer": [unit.plan.layer_polynomial for unit in network.units],
    }
    return paths.run(by_unit, trained.name)


def _story(tables: Sequence[Result], lengths: Result) -> list[tuple[str, str]]:
    """The outcome in plain words."""
    from statistics import median

    facts = []
    for table in tables:
        intact, *lesions = table.rows
        errors = [row["error"] for row in lesions]
        what = "blocks" if lesions[0]["kind"] == "block" else "layers"
        facts.append(
            (
                intact["network"],
                f"{intact['error']:.3g} % error; with any one of its {len(lesions)} {what} deleted "
                f"{min(errors):.3g} to {max(errors):.3g} %, median {median(errors):.3g} %",
            )
        )
    found = lengths.settings["statistics"]["module"]
    facts.append(
        (
            "paths",
            f"the ResNet is {found['total']:,} paths of {found['mean']:.3g} blocks on average; deleting a block leaves "
            "half of them, deleting a layer of the VGG leaves none of its single path",
        )
    )
    return facts
