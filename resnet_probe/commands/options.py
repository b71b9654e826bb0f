"""Options that commands share, each under its own name; a command composes those it needs.

    @click.command("paths")
    @options.out
    @options.formats
    @options.quiet
    def command(out, formats, quiet): ...

Also here: what every command knows about its invocation (`Invocation`, `command_line`, `arguments`).
"""

import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import rich_click as click
from click import get_current_context

from resnet_probe.analyses.parsing import memory_size
from resnet_probe.figures.looks import FORMATS
from resnet_probe.threads import use

STYLES = ("paper", "talk", "poster")
PRECISIONS = ("fp32", "bf16", "fp16")
SPLITS = ("train", "val", "test")

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
PUBLISHED = re.compile(r"(torchvision|timm|hf-hub):.+|https?://.+")


class Weights(click.Path):
    """A checkpoint's file, or the name of published weights, which are fetched."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The file's path."""
        if isinstance(value, str) and PUBLISHED.fullmatch(value):
            from resnet_probe.checkpoint.pretrained import fetch

            invocation = ctx.find_object(Invocation) if ctx else None
            quiet = invocation is not None and {"-q", "--quiet"} & {*invocation.words}
            return fetch(value, notify=lambda line: None if quiet else click.echo(line, err=True))
        return super().convert(value, param, ctx)


WEIGHTS = Weights(exists=True, dir_okay=False, path_type=Path)
COUNT = click.IntRange(min=1)


@dataclass
class Invocation:
    """One call of the program: the words of its command line, and whether a traceback is wanted."""

    words: tuple[str, ...] = ()
    debug: bool = False


def command_line() -> str:
    """The command line that is running, ready to be pasted into a shell."""
    invocation = get_current_context().find_object(Invocation)
    words = invocation.words if invocation else tuple(sys.argv[1:])
    return shlex.join(("resnet-probe", *words))


def arguments() -> dict[str, Any]:
    """The running command's options and arguments with their values, for `tables.provenance`."""
    return dict(get_current_context().params)


def several(kind: type, what: str, example: str) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """The callback of an option whose value is a list with commas: of numbers of a kind, what they are, an example."""

    def read(_: click.Context, __: click.Parameter, value: str | None) -> tuple[Any, ...] | None:
        try:
            return None if value is None else tuple(kind(part) for part in value.split(","))
        except ValueError:
            raise click.BadParameter(f"{value!r} is no list of {what}; give such as {example}") from None

    return read


def _ask_for_traceback(context: click.Context, _: click.Parameter, value: bool) -> bool:
    if value:
        context.ensure_object(Invocation).debug = True
    return value


def _parse_formats(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    formats = tuple(dict.fromkeys(part.strip().lower() for part in value.split(",") if part.strip()))
    wrong = [part for part in formats if part not in FORMATS]
    if wrong or not formats:
        given = ", ".join(wrong) or "nothing"
        raise click.BadParameter(f"{given} given; choose from {', '.join(FORMATS)}, separated by commas")
    return formats


debug: Decorator = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    envvar="RESNET_PROBE_DEBUG",
    callback=_ask_for_traceback,
    help="Show the traceback when something fails (also: RESNET_PROBE_DEBUG=1).",
)

_WEIGHTS = (
    "Checkpoint: safetensors or PyTorch weights; the architecture is read from them. Or published weights, such as "
    "torchvision:resnet50@IMAGENET1K_V2."
)
ckpt: Decorator = click.option("--ckpt", type=WEIGHTS, metavar="FILE", help=_WEIGHTS)
ckpts: Decorator = click.option(
    "--ckpt", "ckpts", multiple=True, type=WEIGHTS, metavar="FILE", help=f"{_WEIGHTS} Several are set together."
)

read_as: Decorator = click.option(
    "--read-as",
    multiple=True,
    metavar="NAME",
    help="Architecture of the checkpoints where weights do not tell, once for each in their order, or auto.",
)

untrained: Decorator = click.option(
    "--untrained", is_flag=True, help="Set beside each checkpoint the same network with random weights."
)

arch: Decorator = click.option(
    "--arch",
    metavar="NAME",
    help="Architecture: resnet56, torchvision:resnet50, timm:NAME, hf:CONFIG, package.module:factory, file.py:factory.",
)

leaf: Decorator = click.option(
    "--leaf", multiple=True, metavar="PATH", help="Module to keep as one operation, for code that cannot be traced."
)

trace: Decorator = click.option(
    "--trace",
    type=click.Choice(("fx", "export")),
    help="Trace with torch.fx or torch.export only.  [default: export where fx stops]",
)

size: Decorator = click.option(
    "--size",
    type=COUNT,
    metavar="N",
    help="Side of the images in pixels.  [default: the network's own, where it is known]",
)

task: Decorator = click.option(
    "--task",
    metavar="NAME",
    help="What is asked of the network: classification, detection, segmentation, language, masked:TOKEN, regression, "
    "embedding, or file.py:CLASS for one of your own. "
    "[default: the network's own, where it is known, or classification]",
)

data: Decorator = click.option(
    "--data",
    metavar="NAME|FOLDER|FACTORY",
    help="Images: digits, cifar10, cifar100, fake, a folder of class folders (or of train, val, test), or your own "
    "code, which runs: file.py:factory, package.module:factory.",
)

classes: Decorator = click.option(
    "--classes",
    type=FILE,
    metavar="FILE",
    help="Class map, for images of some of the network's classes: the names of its outputs, one per line or as a JSON "
    "list, or JSON {folder: output}.",
)

data_root: Decorator = click.option(
    "--data-root",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where data sets by name are kept.  [default: the platform's cache folder]",
)

split: Decorator = click.option(
    "--split", type=click.Choice(SPLITS), default="test", show_default=True, help="Part of the data set."
)

limit: Decorator = click.option(
    "--limit", type=COUNT, metavar="N", help="Use N images only, spread evenly over the classes."
)

batch_size: Decorator = click.option(
    "--batch-size", type=COUNT, metavar="N", help="Images per batch.  [default: chosen to fit]"
)

normalize: Decorator = click.option(
    "--normalize",
    metavar="NAME|MEAN;STD",
    help="Normalisation of the images: cifar10, imagenet, none, or channel means and deviations as 'm,m,m;s,s,s'.",
)

# Options of a command that sets networks side by side, each with its own value.
SIDE_BY_SIDE: dict[str, Decorator] = {
    "arch": click.option(
        "--arch", multiple=True, metavar="NAME", help="Untrained network to set beside them; several."
    ),
    "normalize": click.option(
        "--normalize",
        multiple=True,
        metavar="NAME|MEAN;STD",
        help="Normalisation of the images: once for all networks, or once for each in their order.",
    ),
}


def _memory(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else memory_size(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


memory: Decorator = click.option(
    "--memory",
    callback=_memory,
    metavar="SIZE",
    help="Memory for activations, such as 800M.  [default: half of the free on CUDA; else a quarter, <= 1G]",
)

compiled: Decorator = click.option("--compile", "compiled", is_flag=True, help="Pass the units through torch.compile.")

fresh: Decorator = click.option("--fresh", is_flag=True, help="Start over, whatever an earlier run has finished.")

_device: Decorator = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Where to compute: auto, cpu, cuda, cuda:1, mps.",
)

_threads: Decorator = click.option(
    "--threads", type=COUNT, metavar="N", expose_value=False, callback=lambda _, __, number: use(number),
    help="Threads to compute with.  [default: one for each processor this process may use]",
)  # fmt: skip


def device(command: Any) -> Any:
    """`--device`, and `--threads`, which the command does not take: they hold from here on."""
    return _device(_threads(command))


devices: Decorator = click.option("--devices", default=1, show_default=True, type=COUNT, help="Processes per node.")

num_nodes: Decorator = click.option("--num-nodes", default=1, show_default=True, type=COUNT, help="Machines.")

accelerator: Decorator = click.option(
    "--accelerator", default="auto", show_default=True, help="Kind of device: cpu, cuda, mps, auto."
)

precision: Decorator = click.option(
    "--precision", type=click.Choice(PRECISIONS), default="fp32", show_default=True, help="Numbers to compute with."
)

seed: Decorator = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Seed of every random draw."
)


def out_to(metavar: str, help: str) -> Decorator:
    """`--out` of a command that says itself what goes there."""
    return click.option("--out", type=click.Path(path_type=Path), metavar=metavar, help=help)


out = out_to("DIR", "Folder for table, settings and figures.  [default: results/COMMAND-NETWORK]")

_drawing = (
    click.option(
        "--format",
        "formats",
        default=",".join(FORMATS),
        show_default=True,
        metavar="LIST",
        callback=_parse_formats,
        help="Formats of the figures: any of pdf, svg, png, separated by commas.",
    ),
    click.option(
        "--style",
        type=click.Choice(STYLES),
        default="paper",
        show_default=True,
        help="Where figures will be shown: sizes of text, lines and marks.",
    ),
    click.option("--width", metavar="column|page|MM", help="Width of all figures.  [default: each as its panels need]"),
    click.option(
        "--venue", metavar="NAME", help="Widths and text sizes of a conference or journal, such as neurips2024."
    ),
)


def formats(command: Any) -> Any:
    """`--format`, which the command takes as `formats`, and the look of all figures that are drawn in the command."""
    drawing = command
    if isinstance(command, click.Command):
        assert command.callback is not None
        command.callback = _in_its_look(command.callback)
    else:
        drawing = _in_its_look(command)
    for option in reversed((*_drawing, tables)):
        drawing = option(drawing)
    return drawing


def _in_its_look(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with the three options about the look taken from its arguments."""

    @wraps(command)
    def drawing(*args: Any, style: str, width: str | None, venue: str | None, **values: Any) -> Any:
        if style == "paper" and width is None and venue is None:
            return command(*args, **values)  # the look that holds by default; matplotlib is imported when it is needed
        from resnet_probe.figures import look

        try:
            with look(style=style, width=width, venue=venue):
                pass
        except (LookupError, ValueError) as error:
            raise click.UsageError(str(error)) from error
        with look(style=style, width=width, venue=venue):
            return command(*args, **values)

    return drawing


def _parse_tables(context: click.Context, _: click.Parameter, value: str | None) -> None:
    """What `output.write` finds in the context, so that no command has to pass it on."""
    from resnet_probe.tables.formats import KINDS

    kinds = tuple(dict.fromkeys(part.strip().lower() for part in (value or "").split(",") if part.strip()))
    if wrong := [kind for kind in kinds if kind not in KINDS]:
        raise click.BadParameter(f"{wrong[0]} given; choose from {', '.join(KINDS)}, separated by commas")
    context.meta["tables"] = kinds


tables: Decorator = click.option(
    "--table", metavar="LIST", expose_value=False, callback=_parse_tables,
    help="Write tables as these too: any of tex, md, parquet, separated by commas.",
)  # fmt: skip

quiet: Decorator = click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")


def running(command: Any) -> Any:
    """Where to compute, the seed, where to write, in what formats, and whether to print."""
    return device(seed(out(formats(quiet(command)))))
