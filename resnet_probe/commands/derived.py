"""The command of an analysis: its options from the declaration, its work by the runner."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Any, get_args

import rich_click as click

from resnet_probe.analyses.declaration import Analysis, Option, options_of
from resnet_probe.commands import options, runner
from resnet_probe.commands.request import Request, shared_options

__all__ = ["command"]

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def command(analysis: Analysis) -> click.Command:
    """The command with its options, in the order: networks, parameters, images, how to compute, what to write."""

    def callback(**values: Any) -> None:
        request = Request.of(analysis, values)
        runner.run(analysis, request, command=options.command_line())

    several = analysis.needs.side_by_side
    shared: list[tuple[str, Decorator]] = [
        (name, options.SIDE_BY_SIDE[name] if several and name in options.SIDE_BY_SIDE else getattr(options, name))
        for name in shared_options(analysis.needs)
    ]
    networks = [each for name, each in shared if name in ("ckpts", "arch", "read_as", "untrained")]
    others = [each for name, each in shared if name not in ("ckpts", "arch", "read_as", "untrained")]
    own = [_parameter(name, *how) for name, how in options_of(analysis.parameters).items()]
    function: Callable[..., Any] = callback
    for decorator in reversed([*networks, *own, *others]):
        function = decorator(function)
    return click.command(analysis.name, cls=click.RichCommand, help=analysis.description or analysis.help)(function)


def _parameter(name: str, option: Option, kind: Any, default: Any) -> Decorator:
    """The option that sets a parameter."""
    kinds = set(get_args(kind)) - {type(None)} if isinstance(kind, UnionType) else {kind}
    more: dict[str, Any] = {"help": option.help, "metavar": option.metavar or None}
    if option.shown:
        more["help"] = f"{option.help}  [default: {option.shown}]"
    elif default is not None and default is not False and default != ():
        more["show_default"] = True
    flag = option.flag or f"--{name.replace('_', '-')}"
    if bool in kinds:
        return click.option(flag, name, is_flag=True, default=default, help=option.help)
    if option.parse is not None:
        text = None if default is None else option.write(default)
        return click.option(flag, name, default=text, callback=_parsed(option.parse), **more)
    if option.choices:
        return click.option(flag, name, default=default, type=click.Choice(option.choices), **more)
    if int in kinds:
        return click.option(flag, name, default=default, type=click.IntRange(min=option.least), **more)
    if Path in kinds:
        file = click.Path(exists=True, dir_okay=False, path_type=Path)
        return click.option(flag, name, default=default, type=file, **more)
    multiple = str not in kinds
    return click.option(flag, name, default=default, multiple=multiple, type=str, **more)


def _parsed(parse: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def read(_: click.Context, __: click.Parameter, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error

    return read
