"""`resnet-probe demo`: two small networks, trained on handwritten digits, opened up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from click.exceptions import Exit

from resnet_probe.analyses.declaration import Amount
from resnet_probe.commands import options, output, study
from resnet_probe.commands.hardware import pick_device
from resnet_probe.commands.request import Request

if TYPE_CHECKING:
    from rich.console import Console

NETWORKS = ("resnet32", "vgg16-w16")
AMOUNT = Amount(draws=10, samples=100, images=100)


@click.command("demo")
@options.seed
@options.device
@options.out
@options.formats
@click.option("--lab", "opens", is_flag=True, help="Open the two networks in the lab at the end.")
@options.quiet
def command(*, seed: int, device: str, out: Path | None, formats: tuple[str, ...], opens: bool, quiet: bool) -> None:
    """Train a ResNet and a VGG on scikit-learn's handwritten digits, open them up, and write a report.

    Takes two or three minutes on two CPU cores. What an earlier demo left in the folder is used again.
    """
    screen = output.console(quiet)
    folder = output.run_folder(out or Path("results/demo"), "demo", "")
    where = pick_device(device)
    for arch in NETWORKS:
        _train(arch, folder, seed=seed, device=where, screen=screen, quiet=quiet)
    ckpts = tuple(folder / f"{arch}.safetensors" for arch in NETWORKS)
    request = Request(ckpts=ckpts, data="digits", device=device, seed=seed, out=folder, formats=formats, quiet=quiet)
    with _one_thread():
        done = study.run(request, AMOUNT)
    if not done:
        raise Exit(1)
    if opens:
        from resnet_probe.commands import lab

        lab.run(replace(request, out=folder / "lab"), folders=[folder])


def _train(arch: str, folder: Path, *, seed: int, device: str, screen: Console, quiet: bool) -> None:
    """Train a network into the folder, unless it is there, and say its test error."""
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
            return
    model = checkpoint.untrained(arch, seed=seed, num_classes=10, in_channels=1).model
    train, test = (load_data("digits", split=split) for split in ("train", "test"))
    with progress.bar(quiet, f"training {arch}") as report, _one_thread():
        fit(model, train, **recipe, device=device, progress=lambda now: report(now.step, now.steps))
    error = baseline(model.eval(), test, device=device, others=False).error
    screen.print(f"{arch}: {error:.3g} % test error on {len(test)} digits after {recipe['epochs']} epochs")
    about = {"recipe": recipe, "data": "digits", "normalize": "digits", "error": error, "input_size": 8}
    checkpoint.save(path, model, arch=arch, metadata=about)


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
