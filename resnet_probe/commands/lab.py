"""`resnet-probe lab`: a network in the browser, edited by clicks."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import rich_click as click

from resnet_probe.analyses.declaration import Needs
from resnet_probe.analyses.registry import analysis
from resnet_probe.commands import options, output
from resnet_probe.commands.hardware import pick_device
from resnet_probe.commands.request import Request
from resnet_probe.commands.session import Session

NEEDS = Needs(images="all")
ALONE = "127.0.0.1"


@click.command("lab")
@click.argument("checkpoint", type=options.WEIGHTS, required=False)
@options.ckpts
@options.arch
@options.leaf
@options.trace
@options.size
@options.data
@options.data_root
@options.split
@options.limit
@options.normalize
@click.option(
    "--run", "folders", type=click.Path(exists=True, file_okay=False, path_type=Path), multiple=True, metavar="DIR",
    help="Folder of a run whose lesion_multi.csv has random deletions to compare with. Repeat for several.",
)  # fmt: skip
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Port to listen at.  [default: any]"
)
@click.option(
    "--host",
    default=ALONE,
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen at; others can reach it then.",
)
@click.option("--no-open", "quietly", is_flag=True, help="Print the address only, and open no browser.")
@options.memory
@options.device
@options.out_to("DIR", "Folder for what is saved.  [default: results/lab-NETWORK]")
@options.quiet
def command(
    *, checkpoint: Path | None, ckpts: tuple[Path, ...], arch: str | None, normalize: str | None,
    folders: Sequence[Path], port: int, host: str, quietly: bool, **values: Any,
) -> None:  # fmt: skip
    """Open CHECKPOINT (or each --ckpt) in the browser: delete, scale and reorder blocks, and see what happens.

    Answers come at once on 64 images, then on all, the same counts as `lesion`. The server listens on this machine only
    and asks for the token in the address it prints. Nothing is written but to --out. Ctrl-C ends it.
    """
    ckpts = (*(() if checkpoint is None else (checkpoint,)), *ckpts)
    request = Request(
        ckpts=ckpts, arch=(arch,) if arch else (), normalize=(normalize,) if normalize else (), **values
    )  # fmt: skip
    run(request, folders=folders, port=port, host=host, opens=not quietly)


def run(
    request: Request, *, folders: Sequence[Path] = (), port: int = 0, host: str = ALONE, opens: bool = True
) -> None:
    """Serve the lab of a request's networks until it is interrupted.

    Raises:
        click.UsageError: what it needs is not installed, the port is taken, or as `Session.subjects`.
    """
    from resnet_probe.lab import MISSING

    try:
        from resnet_probe.lab.server import Bench, Lab, listen, serving
    except ModuleNotFoundError as error:
        raise click.UsageError(MISSING) from error
    from resnet_probe.lab import about
    from resnet_probe.lab.engine import Engine

    screen = output.console(request.quiet)
    session = Session(lambda text, important=False: screen.print(text, style="bold" if important else None))
    device = pick_device(request.device)
    networks = session.networks(request, NEEDS)
    subjects = session.subjects(networks, request, NEEDS, device, images=True)
    for subject in subjects:
        if not subject.network.surgical:
            raise click.UsageError(
                f"{subject.name} has no block or layer to delete; `resnet-probe inspect` lists its units"
            )
    folder = output.run_folder(request.out, "lab", "+".join(subject.name for subject in subjects))
    benches = []
    for number, subject in enumerate(subjects):
        engine = Engine(subject, device=device, memory=request.memory)
        own = replace(request, ckpts=request.ckpts[number : number + 1], out=None)
        benches.append(Bench(engine, _lines(own), about.cloud(folders, subject.name)))
    try:
        opened, hosts = listen(port, host)
    except OSError as error:
        raise click.UsageError(
            f"cannot listen at {host}, port {port} ({error.strerror}); give another --port"
        ) from error
    lab = Lab(benches, folder)
    url = f"http://{hosts[0]}/{lab.token}/"
    click.echo(url)
    if opens:
        webbrowser.open(url)
    try:
        serving(lab, hosts).run([opened])
    except KeyboardInterrupt:
        screen.print("lab closed")


def _lines(request: Request) -> Any:
    """The command lines about the one checkpoint of a request; None where there is none."""
    from resnet_probe.lab.about import Lines

    if not request.ckpts:
        return None

    def words(asked: Request, name: str) -> tuple[str, ...]:
        about = analysis(name)
        return tuple(asked.with_parameters(about.parameters).words(about))

    network = Request(
        ckpts=request.ckpts, arch=request.arch, leaf=request.leaf, trace=request.trace, size=request.size
    )  # fmt: skip
    images = replace(request, ckpts=(), arch=(), leaf=(), trace=None, size=None)
    return Lines(("surgery", *words(network, "lesion")[1:]), words(request, "lesion"), words(images, "evaluate"))
