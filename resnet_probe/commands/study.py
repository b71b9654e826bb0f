"""`resnet-probe study`: everything about one checkpoint, then the report.

Which analyses, and with which parameters, stands in their declarations (`Analysis.study`).
"""

from __future__ import annotations

import json
import shlex
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import rich_click as click
from click import get_current_context
from click.exceptions import Exit

from resnet_probe.analyses.declaration import Amount, Analysis, Census, StudyStep
from resnet_probe.analyses.registry import analyses, analysis
from resnet_probe.commands import errors, options, output, runner
from resnet_probe.commands.loaded import Loaded
from resnet_probe.commands.options import Invocation
from resnet_probe.commands.request import Request
from resnet_probe.commands.session import Session
from resnet_probe.figures import FORMATS
from resnet_probe.files import write_text
from resnet_probe.tables import read_run

if TYPE_CHECKING:
    from rich.console import Console

NOTES = "study.json"  # the report reads from it what failed
DONE, KEPT, FAILED = "done", "kept", "failed"
QUICK = Amount(limit=200, draws=5, swaps=5, samples=50, images=50, batches=0, searches=False)


@click.command("study")
@click.argument("checkpoint", type=options.WEIGHTS)
@options.leaf
@options.trace
@options.size
@click.option("--against", type=options.WEIGHTS, metavar="FILE", help="Checkpoint to compare with, such as a VGG.")
@options.task
@options.data
@options.classes
@options.data_root
@options.split
@options.limit
@options.normalize
@click.option("--draws", type=options.COUNT, metavar="N", help="Random sets and orders of each size.  [20]")
@click.option("--quick", is_flag=True, help="200 images, 5 draws, no times: a first look.")
@click.option("--fresh", is_flag=True, help="Start over, whatever an earlier study has finished.")
@options.running
def command(
    *, checkpoint: Path, against: Path | None, normalize: str | None, draws: int | None, quick: bool, **values: Any
) -> None:
    """Run every analysis on CHECKPOINT, compare it with --against, and write the report.

    Each step is a command of its own, whose line is printed in the report. A step whose table is there, of the same
    checkpoint, images and options, is skipped; an interrupted one goes on. A step that fails is named and does not stop
    the others; the exit code is 1 then.
    """
    start = QUICK if quick else Amount()
    amount = replace(start, limit=values["limit"] or start.limit, draws=draws or start.draws)
    ckpts = tuple(path for path in (checkpoint, against) if path is not None)
    request = Request(ckpts=ckpts, normalize=(normalize,) if normalize else (), **values)
    if not run(request, amount):
        raise Exit(1)


def run(request: Request, amount: Amount) -> bool:
    """All steps in order, then the report; whether none of them failed.

    Raises:
        click.UsageError: a checkpoint is given twice, or the folder cannot be written to.
        ValueError, LookupError: as `checkpoint.load`.
    """
    screen = output.console(request.quiet)
    session = Session(lambda text, important=False: screen.print(text, style="bold" if important else None))
    names = [path.stem for path in request.ckpts]
    if len(set(names)) < len(names):
        raise click.UsageError(f"two checkpoints called {names[0]}; rename one of them, since tables go by that name")
    networks = session.networks(request, analysis("lesion").needs)
    folder = output.run_folder(request.out, "study", networks[0].name)
    study = Study(replace(request, out=folder), amount, session, networks, folder, screen)
    study.run()
    page = _report(folder, screen)
    study.summarise(page)
    return not study.failed


@dataclass(frozen=True)
class Outcome:
    """What became of a step: `done`, `kept` from an earlier run, or `failed` with the reason."""

    title: str
    command: str
    table: str
    network: str
    state: str
    reason: str = ""
    seconds: float = 0.0


@dataclass
class Study:
    """The steps of a study, run one after another; what became of them is noted in `study.json`.

    Args:
        request: networks, images and how to compute, for every step.
        amount: how much is measured.
        session: loads each checkpoint, each set of images and each trace once.
        networks: the checkpoint, and the one to compare it with.
        folder: of the study; what is about one network stands in a folder of its name.
        screen: where the steps are told.
    """

    request: Request
    amount: Amount
    session: Session
    networks: Sequence[Loaded]
    folder: Path
    screen: Console
    outcomes: list[Outcome] = field(default_factory=list)

    def run(self) -> None:
        """Every step."""
        for one in self.networks:
            self._attempt(
                f"Units of {one.name}", "inspect", one.name, self._place(one) / "inspect.csv", self._units(one)
            )
        for its, step, parameters in self._steps():
            request = self._request(its, step, parameters)
            title = step.title.format(network=self.networks[0].name)
            if step.few and request.limit:
                title += f" ({request.limit} images)"
            name = "" if its.needs.together else self.networks[0].name
            assert request.out is not None
            self._attempt(title, step.table, name, request.out / f"{step.table}.csv", self._step(its, request, step))
        if self.request.fresh and not self.failed:
            self._clear()

    def _clear(self) -> None:
        """Remove tables of other checkpoints that no step replaced: the report would set them beside the new ones."""
        ours = {one.identity for one in self.networks}
        for table in read_run([self.folder]).tables:
            theirs = str(table.result.settings.get("checkpoint_sha256") or "")
            if not set(theirs.split(", ")) <= ours:
                for ending in ("csv", "json", *FORMATS):
                    (table.folder / f"{table.name}.{ending}").unlink(missing_ok=True)

    @property
    def failed(self) -> list[Outcome]:
        """The steps that failed."""
        return [outcome for outcome in self.outcomes if outcome.state == FAILED]

    def summarise(self, page: Path | None) -> None:
        """Say what became of the steps, and where the report is."""
        states = [outcome.state for outcome in self.outcomes]
        told = [("steps", f"{states.count(DONE)} done, {states.count(KEPT)} kept, {states.count(FAILED)} failed")]
        told.append(("time", f"{sum(outcome.seconds for outcome in self.outcomes):.0f} s"))
        told += [("failed", f"{outcome.title}: {outcome.reason}") for outcome in self.failed]
        told.append(("report", str(page) if page else "none: no step left a table"))
        output.summarise(self.screen, "Study", told)

    def _place(self, one: Loaded) -> Path:
        return self.folder / output.file_name(one.name)

    def _steps(self) -> Iterator[tuple[Analysis, StudyStep, Any]]:
        """Analyses with their steps, in the order of the report; what the network is made of is counted once."""
        network = self._unraveled(self.networks[0])
        blocks, operations = network.blocks, map(network.anatomy.traced.operation, network.anatomy.flow.nodes)
        census = Census(
            blocks=len(blocks), keeping=sum(not unit.plan.resizes for unit in blocks),
            compared=len(self.networks) > 1,
            lesions=(self.folder if len(self.networks) > 1 else self._place(self.networks[0])) / "lesion.csv",
            training=self._has_training_images(),
            convolutional=any(each.is_convolution and each.kernel_size == (3, 3) for each in operations),
        )  # fmt: skip
        for its in analyses().values():
            if its.needs.images != "none" and not its.needs.tasks and not self._classifies:
                continue
            for step in its.study:
                values = step.parameters(self.amount, census)
                if values is not None:
                    yield its, step, its.parameters(**values)

    @cached_property
    def _classifies(self) -> bool:
        return self.session.task(self.networks[0], self.request).name == "classification"

    def _has_training_images(self) -> bool:
        request = replace(self.request, split="train", limit=1)
        try:
            labels = self.session.task(self.networks[0], request).labels
            images = self.session.images(self.networks[0], request, labels=labels)
            return self.request.split != "train" and len(images) > 0
        except (click.UsageError, ValueError, OSError):
            return False

    def _unraveled(self, one: Loaded) -> Any:
        if self._classifies:
            return self.session.unraveled(one)
        (subject,) = self.session.subjects([one], self.request, analysis("lesion").needs, "cpu", images=True)
        return subject.network

    def _request(self, its: Analysis, step: StudyStep, parameters: Any) -> Request:
        """The request of a step: all networks for an analysis that sets them together, else the first one."""
        main, together, amount = self.networks[0], its.needs.together, self.amount
        images = its.needs.images != "none" and step.images
        return replace(
            self.request,
            ckpts=self.request.ckpts if together else self.request.ckpts[:1],
            data=(self.request.data or main.own("data")) if images else None,
            limit=min(amount.images, amount.limit or amount.images) if step.few else amount.limit if images else None,
            out=self.folder if together else self._place(main),
            parameters=parameters,
        )

    def _step(self, its: Analysis, request: Request, step: StudyStep) -> tuple[str, Callable[[], bool]]:
        """The command line of a step, and what runs it unless its table is there; that says whether it ran."""
        line = request.command_line(its)

        def work() -> bool:
            if not self.request.fresh and self._is_made(its, request, step.table):
                return False
            found = runner.measure(its, request, self.session, command=line)
            if found is not None:
                runner.tell(self.screen, found)
            return True

        return line, work

    def _is_made(self, its: Analysis, request: Request, table: str) -> bool:
        """Whether the table is there, of the same checkpoints, images, options and version."""
        from resnet_probe import __version__
        from resnet_probe.tables import altered, read

        assert request.out is not None
        if altered(request.out / f"{table}.csv"):
            return False
        try:
            settings = read(request.out, table).settings
        except (OSError, ValueError):
            return False
        networks = self.session.networks(request, its.needs)
        prints = [
            self.session.images(one, request, labels=self.session.task(one, request).labels).fingerprint
            for one in networks
            if request.data
        ]
        return (
            not output.other_options(settings, request.arguments(its))
            and (settings.get("versions") or {}).get("resnet-probe") == __version__
            and settings.get("checkpoint_sha256") == ", ".join(one.identity for one in networks)
            and settings.get("data_fingerprint") == (", ".join(dict.fromkeys(prints)) or None)
        )

    def _units(self, one: Loaded) -> tuple[str, Callable[[], bool]]:
        """The table of units of a network."""
        from resnet_probe.commands.inspect import units
        from resnet_probe.tables import read

        place = self._place(one)
        ckpt = self.request.ckpts[self.networks.index(one)]
        how = [word for leaf in one.leaves for word in ("--leaf", leaf)]
        how += ["--trace", one.trace] if one.trace else []
        how += ["--size", str(one.size)] if one.size else []
        line = shlex.join(["resnet-probe", "inspect", str(ckpt), *how, "--out", str(place)])

        def work() -> bool:
            try:
                kept = read(place, "inspect").settings.get("checkpoint_sha256") == one.identity
            except (OSError, ValueError):
                kept = False
            if kept and not self.request.fresh:
                return False
            units(one, self._unraveled(one), {"ckpts": [ckpt]}, line).save(place)
            return True

        return line, work

    def _attempt(self, title: str, table: str, network: str, kept: Path, step: tuple[str, Callable[[], bool]]) -> None:
        """Run a step; an error is told and noted, and goes no further."""
        line, work = step
        state, reason, start = DONE, "", perf_counter()
        self.screen.print(title, style="bold")
        try:
            if not work():
                state = KEPT
                self.screen.print(f"  kept: {kept} is of the same network, images and options")
        except BrokenPipeError:
            raise
        except Exception as error:
            state, (reason, _) = FAILED, errors.explain(error)
            invocation = get_current_context().find_object(Invocation)
            if invocation and invocation.debug:
                traceback.print_exc()
            self.screen.print(f"  failed: {reason}")
        seconds = round(perf_counter() - start, 1)
        self.outcomes.append(Outcome(title, line, table, network, state, reason, seconds))
        noted = {"steps": [asdict(each) for each in self.outcomes]}
        write_text(self.folder / NOTES, json.dumps(noted, indent=2) + "\n")


def _report(folder: Path, screen: Console) -> Path | None:
    """The verdicts and the page on all that the study has made; None if there is nothing to report."""
    from resnet_probe.commands import claims, report
    from resnet_probe.tables import read_run

    screen.print("Report", style="bold")
    try:
        claims.judged(read_run([folder])).save(folder)
        return report.write([folder])
    except ValueError as error:
        screen.print(f"  failed: {error}")
        return None
