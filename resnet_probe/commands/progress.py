"""A progress bar on standard error, for people only: silent with `--quiet` or where the output is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from resnet_probe.commands import output


@contextmanager
def bar(quiet: bool, what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function to be called with the amount done and the total."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task(output.shown(what), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
