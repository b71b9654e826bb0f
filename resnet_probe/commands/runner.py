"""Run an analysis: load, unravel, measure, stamp where it comes from, write, and say what was found.

The same for every analysis, alone (`run`) or as a step of a study (`measure`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from resnet_probe import threads
from resnet_probe.analyses import seeds
from resnet_probe.analyses.declaration import Analysis
from resnet_probe.analyses.registry import analysis as analysis_called
from resnet_probe.analyses.registry import declared, facts_of
from resnet_probe.commands import output, progress
from resnet_probe.commands.hardware import in_software, pick_device
from resnet_probe.commands.request import Request, processes
from resnet_probe.commands.session import Session
from resnet_probe.lazy import named
from resnet_probe.tables import Result, provenance, together

if TYPE_CHECKING:
    from rich.console import Console

    from resnet_probe.analyses.runtime import Runtime
    from resnet_probe.analyses.subject import Subject


@dataclass(frozen=True)
class Stopped:
    """An error at one of several networks, after others were measured: those are written before it is raised."""

    at: Subject
    finished: tuple[Subject, ...]
    error: BaseException


@dataclass(frozen=True)
class Measured:
    """What an analysis made: its tables, and the files that hold them and their figures."""

    tables: tuple[Result, ...]
    files: tuple[Path, ...]


def run(analysis: Analysis, request: Request, *, command: str) -> None:
    """Run an analysis as a command of its own, and print what it found."""
    screen = output.console(request.quiet)
    session = Session(lambda text, important=False: screen.print(text, style="bold" if important else None))
    found = measure(analysis, request, session, command=command)
    if found is None:
        return
    tell(screen, found)


def tell(screen: Console, found: Measured) -> None:
    """Print what was found: rows of the tables that are printed, what each table says of each network, the files."""
    told: dict[str, list[tuple[str, str]]] = {}
    for table in found.tables:
        if printed := declared(table.name).printed:
            output.rows(screen, table, printed)
        for network, facts in facts_of(table).items():
            told.setdefault(network, []).extend((fact.label, fact.text) for fact in facts)
    last = next(reversed(told), "")
    told.setdefault(last, []).append(("written", output.listing(found.files)))
    for network, lines in told.items():
        output.summarise(screen, network, lines)


def measure(analysis: Analysis, request: Request, session: Session, *, command: str) -> Measured | None:
    """Measure and write; None in the processes that only help.

    Args:
        session: has what earlier analyses loaded.
        command: the line that makes the tables again, for their settings.

    Raises:
        click.UsageError: as `Session.networks` and `Session.subjects`; or the folder holds tables of other networks.
        ValueError, LookupError, OSError, RuntimeError: as the analysis.
    """
    alone = getattr(request.parameters, "alone", None)
    networks = [] if alone else session.networks(request, analysis.needs)
    name = alone or "+".join(one.name for one in networks)
    folder = output.run_folder(request.out, analysis.name, name)
    before = [each for needed in analysis.builds_on for each in analysis_called(needed.analysis).tables]
    identities = [alone] if alone else [one.identity for one in networks]
    there = output.settings_in(folder, (*before, *analysis.tables))
    output.refuse_others(folder, there, identities, again=analysis.needs.sweep, fresh=request.fresh)
    arguments = request.arguments(analysis)  # the checkpoints are the same, wherever their files lie
    replaced = {
        name: how for name, found in there.items() if (how := output.other_options(found, arguments) - {"ckpts"})
    }
    limit = bool(replaced) and all(how == {"limit"} for how in replaced.values())
    kept = analysis.needs.sweep and not (limit or request.fresh) and any(folder.glob("*.journal"))  # it refuses others
    if replaced and not kept:
        which, how = next(iter(replaced.items()))
        others = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(how))
        session.tell(f"note: {folder / which}.csv is of another {others}; it is replaced", important=True)
    if alone:
        made = named(analysis.run)(None, request.parameters, _light(request, session))
        return _written(analysis, request, folder, list(made), identities, [], command)
    workers, device = processes(request, pick_device(request.device))
    for note in (in_software(request.precision, device), threads.crowded() if device == "cpu" else None):
        if note and analysis.needs.sweep:
            session.tell(note, important=True)
    images = analysis.needs.images == "all" or (analysis.needs.images == "optional" and request.data is not None)
    if workers.rank > 0:
        session.tell = lambda text, important=False: None
    check = named(analysis.check) if analysis.check else lambda subject, parameters: None
    subjects = session.subjects(
        networks, request, analysis.needs, device, images=images, check=lambda one: check(one, request.parameters)
    )

    from resnet_probe.analyses.runtime import Runtime

    quiet = request.quiet or workers.rank > 0
    runtime = Runtime(
        device=device, seed=request.seed, batch_size=request.batch_size, sweep=request.sweep(), workers=workers,
        folder=folder, fresh=request.fresh, replaces=limit, several=len(networks) > 1,
        progress=lambda what: progress.bar(quiet, what), say=session.tell,
    )  # fmt: skip
    tables, stopped = _tables(analysis, request, subjects, runtime)
    found = None
    if workers.rank == 0:
        done = [subject for subject in subjects if stopped is None or subject in stopped.finished]
        theirs = [one.identity for one in networks if one.name in {subject.name for subject in done}]
        left = [subject.name for subject in subjects if subject not in done]
        tables = [table.with_settings({"not_measured": left}) if left else table for table in tables]
        found = _written(analysis, request, folder, tables, theirs, done, command, device)
    if stopped is not None:
        names = ", ".join(subject.name for subject in stopped.finished)
        session.tell(f"note: {stopped.at.name} failed; {names} done and written to {folder}", important=True)
        raise stopped.error
    return found


def _light(request: Request, session: Session) -> Any:
    """What an analysis that needs no network is given for a runtime: importing it does not import torch."""
    return SimpleNamespace(
        device="cpu", seed=request.seed, say=session.tell, progress=lambda what: progress.bar(request.quiet, what)
    )


def _written(  # noqa: PLR0917 - what a run is made of, in its order
    analysis: Analysis,
    request: Request,
    folder: Path,
    tables: list[Result],
    identities: Sequence[str],
    subjects: Sequence[Subject],
    command: str,
    device: str = "cpu",
) -> Measured:
    """Stamp the tables with where they come from, and write them with their figures."""
    origin = provenance(
        arguments=request.arguments(analysis),
        seed=request.seed,
        checkpoint_sha256=", ".join(identities) or None,
        device=device,
        command=command,
        **_images(subjects),
        **({"precision": request.precision} if analysis.needs.sweep else {}),
    )
    tables = [_stamped(table, origin, subjects) for table in tables]
    tables += _over_seeds(tables, folder)
    files = output.write(tables, folder, request.formats)
    if analysis.also:
        files += named(analysis.also)(subjects, request.parameters, folder, request.formats, tables)
    return Measured(tuple(tables), tuple(files))


def _over_seeds(tables: Sequence[Result], folder: Path) -> list[Result]:
    """What several checkpoints of one network have in common; files of an earlier run that had more of them go."""
    found = []
    for table in tables:
        its = declared(table.name)
        if made := seeds.spread(table, its):
            found.append(made)
        elif its.spread:
            for stale in folder.glob(f"{table.name}_seeds.*"):
                stale.unlink()
    return found


def _tables(
    analysis: Analysis, request: Request, subjects: Sequence[Subject], runtime: Runtime
) -> tuple[list[Result], Stopped | None]:
    """The tables of the analyses that this one builds on, then its own; those of several networks put together."""
    earlier: dict[str, Result] = {}
    for needed in analysis.builds_on if subjects else ():
        other = analysis_called(needed.analysis)
        values = {name: getattr(request.parameters, name) for name in request.parameters.__dataclass_fields__}
        its = request.with_parameters(other.parameters, **values)
        about, how = subjects, runtime
        if not needed.images:
            about, how = [subject.without_images() for subject in subjects], replace(runtime, say=lambda text: None)
        found, stopped = _each(other, its, about, how, optional=needed.optional)
        if stopped is not None:
            raise stopped.error  # what is set side by side is not whole
        earlier |= {table.name: table for table in found}
    own, stopped = _each(analysis, request, subjects, replace(runtime, tables=earlier))
    return [*earlier.values(), *own], stopped


def _each(
    analysis: Analysis, request: Request, subjects: Sequence[Subject], runtime: Runtime, *, optional: bool = False
) -> tuple[list[Result], Stopped | None]:
    function = named(analysis.run)
    if analysis.needs.together or not subjects:
        return list(function(subjects or None, request.parameters, runtime)), None
    found: dict[str, list[Result]] = {}
    finished: list[Subject] = []
    stopped = None
    for subject in subjects:
        try:
            made = function(subject, request.parameters, runtime)
        except (Exception, KeyboardInterrupt) as error:
            if optional and isinstance(error, ValueError):
                runtime.say(f"note: {subject.name} is left out of the {analysis.name}: {error}")
                continue
            if not finished:
                raise
            stopped = Stopped(subject, tuple(finished), error)
            break
        finished.append(subject)
        about = {**subject.provenance(), **runtime.notes.get(subject.name, {})}
        for table in made:
            found.setdefault(table.name, []).append(replace(table, settings={**about, **table.settings}))
    return [together(tables) for tables in found.values()], stopped


def _images(subjects: Sequence[Subject]) -> dict[str, Any]:
    """What the settings of every table say about the images; where networks have their own, each says so itself."""
    described = {subject.data.fingerprint: subject.provenance()["data_set"] for subject in subjects if subject.has_data}
    if not described:
        return {}
    prints = {"data_fingerprint": ", ".join(described)}
    return {**prints, "data_set": next(iter(described.values()))} if len(described) == 1 else prints


def _stamped(table: Result, origin: Mapping[str, Any], subjects: Sequence[Subject]) -> Result:
    """The table with where it comes from, for the run as a whole and for each of its networks."""
    networks = {subject.name: dict(subject.provenance()) for subject in subjects if subject.name in table.networks}
    for name, about in table.settings.get("networks", {}).items():
        networks[name] = {**networks.get(name, {}), **about}
    return table.with_settings({**origin, "networks": networks} if networks else origin)
