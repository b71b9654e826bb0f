"""The program `resnet-probe`: commands found lazily, and errors in one line.

Exit codes: 0 done; 1 a run that failed; 2 wrong use; 130 interrupted.
"""

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, cast

import rich_click as click

from resnet_probe import __version__
from resnet_probe.analyses.registry import analyses
from resnet_probe.commands import derived, options
from resnet_probe.commands.errors import explain
from resnet_probe.commands.output import shown
from resnet_probe.lazy import named

# Commands that are no analysis, or have more to them than to run one: name -> (where, what it does in one line). The
# line stands here so that --help imports no command. The others are derived from their declarations.
OWN = {
    "demo": ("resnet_probe.commands.demo:command", "Train two small networks on digits and open them up."),
    "train": ("resnet_probe.commands.train:command", "Train a network by a paper's recipe."),
    "surgery": ("resnet_probe.commands.surgery:command", "Delete, scale and reorder blocks, and save the result."),
    "lab": ("resnet_probe.commands.lab:command", "Open a network in the browser: delete, scale, reorder, and see."),
    "study": ("resnet_probe.commands.study:command", "Run every analysis on one checkpoint, and write the report."),
    "report": ("resnet_probe.commands.report:command", "Write one HTML page about a run: figures, tables, claims."),
    "claims": ("resnet_probe.commands.claims:command", "Test what the papers claim against the tables of a run."),
    "replot": ("resnet_probe.commands.replot:command", "Draw the figures of a run again from its tables."),
}
FIRST, LAST = ("demo", "train"), ("surgery", "lab", "study", "report", "claims", "replot")


def commands() -> dict[str, str]:
    """Every command with what it does in one line, in the order of the help."""
    asked = {name: each.help for name, each in analyses().items()}
    return {name: OWN[name][1] for name in FIRST} | asked | {name: OWN[name][1] for name in LAST}


class LazyGroup(click.RichGroup):
    """A group whose commands are imported when they are called; its help shows them by their line alone."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the help."""
        return list(commands())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command's line alone; `resolve_command` imports the one that is called."""
        line = commands().get(cmd_name)
        return None if line is None else click.RichCommand(name=cmd_name, help=line)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Import the command that is called, and give it `--debug`."""
        name, known = args[0], commands()
        if name in known:
            return name, load(name), args[1:]
        if name.startswith("-"):
            return super().resolve_command(ctx, args)
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"commands are {', '.join(known)}"
        raise click.UsageError(f"no command {name!r}; {hint}", ctx)


@cache
def load(name: str) -> click.Command:
    """The command of that name, imported or derived."""
    place = OWN[name][0] if name in OWN else analyses()[name].command
    command = cast(click.Command, named(place)) if place else derived.command(analyses()[name])
    if not any(parameter.name == "debug" for parameter in command.params):
        options.debug(command)
    return command


@click.group(
    "resnet-probe",
    cls=LazyGroup,
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
    """
    words = tuple(sys.argv[1:] if argv is None else argv)
    invocation = options.Invocation(words)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")  # on images, which it does not name
        warnings.filterwarnings("ignore", "Attempting to run cuBLAS")  # a thread of autograd's makes the context itself
        written = warnings.formatwarning
        # for people: without file and line
        warnings.formatwarning = lambda message, *_: f"warning: {shown(' '.join(str(message).split()))}\n"
        try:
            return _run(invocation)
        finally:
            warnings.formatwarning = written


def _run(invocation: options.Invocation) -> int:
    """One call; returns the exit code."""
    try:
        answer: Any = group.main(
            list(invocation.words), prog_name="resnet-probe", standalone_mode=False, obj=invocation
        )
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
        click.echo(shown(traceback.format_exc()), err=True, nl=False)
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(shown(message), err=True)


if __name__ == "__main__":
    raise SystemExit(main())
