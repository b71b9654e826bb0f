"""The program `resnet-probe`: commands found lazily, and errors in one line.

Exit codes: 0 done; 1 a run that failed; 2 wrong use; 130 interrupted.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, cast

import rich_click as click

from resnet_probe import __version__
from resnet_probe.commands import options
from resnet_probe.commands.errors import explain

# Name -> (where the command is, what it does in one line). The line stands here so that --help imports no command.
COMMANDS = {
    "demo": ("resnet_probe.commands.demo:command", "Train two small networks on digits and open them up."),
    "train": ("resnet_probe.commands.train:command", "Train a network by a paper's recipe."),
    "grid": ("resnet_probe.commands.grid:command", "Train a grid of networks and draw their learning curves."),
    "inspect": ("resnet_probe.commands.inspect:command", "List units, blocks, stages, parameters and paths."),
    "evaluate": ("resnet_probe.commands.evaluate:command", "Measure errors and calibration of checkpoints."),
    "lesion": ("resnet_probe.commands.lesion:command", "Delete each block and measure the error."),
    "responses": ("resnet_probe.commands.responses:command", "Measure how strongly each layer responds."),
    "iterative": ("resnet_probe.commands.iterative:command", "Measure what each block does to its input and the loss."),
    "paths": ("resnet_probe.commands.paths:command", "Count the paths of each length through a network."),
    "reorder": ("resnet_probe.commands.reorder:command", "Swap blocks and measure the error."),
    "compare": ("resnet_probe.commands.compare:command", "Set networks side by side in one table and one figure."),
    "surgery": ("resnet_probe.commands.surgery:command", "Delete, scale and reorder blocks, and save the result."),
    "study": ("resnet_probe.commands.study:command", "Run every analysis on one checkpoint, and write the report."),
    "report": ("resnet_probe.commands.report:command", "Write one HTML page about a run: figures, tables, claims."),
    "claims": ("resnet_probe.commands.claims:command", "Test what the papers claim against the tables of a run."),
    "replot": ("resnet_probe.commands.replot:command", "Draw the figures of a run again from its tables."),
}


class LazyGroup(click.RichGroup):
    """A group whose commands are imported when they are called; its help shows them by their line alone."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of `COMMANDS`."""
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Import the command that is called, and give it `--debug`."""
        name = args[0]
        if name in COMMANDS:
            return name, load(name), args[1:]
        if name.startswith("-"):
            return super().resolve_command(ctx, args)
        close = get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"commands are {', '.join(COMMANDS)}"
        raise click.UsageError(f"no command {name!r}; {hint}", ctx)


def load(name: str) -> click.Command:
    """Import one of the `COMMANDS`."""
    module, attribute = COMMANDS[name][0].split(":")
    command = cast(click.Command, getattr(import_module(module), attribute))
    if not any(parameter.name == "debug" for parameter in command.params):
        options.debug(command)
    return command


@click.group(
    "resnet-probe",
    cls=LazyGroup,
    commands={name: click.RichCommand(name=name, help=line) for name, (_, line) in COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`resnet-probe COMMAND --help` explains a command.",
)
@click.version_option(__version__, prog_name="resnet-probe", message="%(prog)s %(version)s")
@options.debug
def group() -> None:
    """Open up trained residual networks: unravel them into paths, delete their blocks, measure what that does."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code.

    Errors that the library raises on purpose are one line on standard error; `--debug` adds the traceback.

    Args:
        argv: the words after the program's name; those of this process by default.
    """
    words = tuple(sys.argv[1:] if argv is None else argv)
    invocation = options.Invocation(words)
    try:
        answer: Any = group.main(list(words), prog_name="resnet-probe", standalone_mode=False, obj=invocation)
        sys.stdout.flush()
        return answer if isinstance(answer, int) else 0
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except BrokenPipeError:
        # Whoever read the output has gone; without this, Python complains when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (click.Abort, KeyboardInterrupt):
        _complain("interrupted; finished work is kept, and the same command goes on from there", invocation)
        return 130
    except Exception as error:
        message, code = explain(error)
        _complain(message, invocation)
        return code


def _complain(message: str, invocation: options.Invocation) -> None:
    if invocation.debug:
        traceback.print_exc()
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(message, err=True)
