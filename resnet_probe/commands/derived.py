"""The command of an analysis: its options from the declaration, its work by the runner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, get_args

import rich_click as click
from click import get_current_context
from click.core import ParameterSource

from resnet_probe.analyses.declaration import Analysis, Option, options_of
from resnet_probe.commands import options, runner
from resnet_probe.commands.request import SAME_ANYWAY, Request, shared_options

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def command(analysis: Analysis) -> click.Command:
    """The command with its options, in the order: networks, parameters, images, how to compute, what to write."""

    def callback(**values: Any) -> None:
        _refuse_idle(analysis, values)
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


def _refuse_idle(analysis: Analysis, values: Mapping[str, Any]) -> None:
    """Refuse options that were given and would have no effect beside the others.

    Raises:
        click.UsageError: there is one.
    """
    context = get_current_context()
    given = {name for name in values if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    flags = {each.name: each.opts[-1] for each in context.command.params if each.name}
    own = options_of(analysis.parameters)
    for name, (option, _, _) in own.items():
        if name in given and option.needs and not any(values.get(other) for other in option.needs):
            others = " or ".join(flags[other] for other in option.needs)
            raise click.UsageError(f"{flags[name]} given without {others}; alone it has no effect")
        if name in given and len(values["ckpts"] or ()) < option.least_ckpts:
            raise click.UsageError(
                f"{flags[name]} given with {len(values['ckpts'] or ())} checkpoints; give {option.least_ckpts} or more"
            )
    alone = getattr(analysis.parameters, "alone", None) and analysis.parameters(**{n: values[n] for n in own}).alone
    idle = [name for name in shared_options(analysis.needs) if name in given - {*SAME_ANYWAY, "seed"}]
    if alone and idle:
        raise click.UsageError(f"{alone} is counted without a network and images; leave out {flags[idle[0]]}")
    about_images = [
        name for name in idle if name in ("classes", "data_root", "split", "limit", "normalize", "batch_size")
    ]
    if analysis.needs.images == "optional" and not values["data"] and about_images:
        raise click.UsageError(f"{flags[about_images[0]]} given without --data; alone it has no effect")


def _parameter(name: str, option: Option, kind: Any, default: Any) -> Decorator:
    """The option that sets a parameter."""
    kinds = set(get_args(kind)) - {type(None)} if isinstance(kind, UnionType) else {kind}
    more: dict[str, Any] = {"help": option.help, "metavar": option.metavar or None}
    if option.shown:
        more["help"] = f"{option.help}  [default: {option.shown}]"
    elif default is not None and default is not False and default != ():
        more["show_default"] = True
    flag = option.called(name)
    if bool in kinds:
        return click.option(flag, name, is_flag=True, default=default, help=option.help)
    if option.parse is not None:
        text = None if default is None else option.write(default)
        return click.option(flag, name, default=text, callback=_parsed(option.parse), **more)
    if option.choices:
        return click.option(flag, name, default=default, type=click.Choice(option.choices), **more)
    if kinds & {int, float}:
        number, ranged = (click.INT, click.IntRange) if int in kinds else (click.FLOAT, click.FloatRange)
        type_ = number if option.least is None else ranged(min=option.least)
        return click.option(flag, name, default=default, type=type_, **more)
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
