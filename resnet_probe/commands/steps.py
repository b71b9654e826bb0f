"""Commands one after another: each with its own command line, skipped where its table is there, named if it fails."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import rich_click as click
from click import get_current_context
from click.exceptions import Exit

from resnet_probe.commands import errors
from resnet_probe.commands.options import Invocation

if TYPE_CHECKING:
    from rich.console import Console

NOTES = "study.json"  # the report reads what failed from it
SAME_ANYWAY = ("out", "quiet", "debug", "fresh", "device", "devices", "num_nodes", "accelerator", "memory")
DONE, KEPT, FAILED = "done", "kept", "failed"


@dataclass(frozen=True)
class Step:
    """A command to run.

    Args:
        title: what it does, for people.
        words: the command and its options, without `--out` and `--quiet`.
        folder: that it writes to.
        table: name of the table that is there when it has been done.
        network: that it is about; empty for several.
        hashes: SHA-256 of its checkpoints, as its settings have them.
        fingerprint: of its images; empty where it takes none.
        silent: whether its own words are kept back.
    """

    title: str
    words: tuple[str, ...]
    folder: Path
    table: str
    network: str
    hashes: str
    fingerprint: str = ""
    silent: bool = False


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
class Runner:
    """Runs steps in the context of the command that is running, and notes what became of them in `study.json`."""

    folder: Path
    screen: Console
    quiet: bool
    fresh: bool = False
    outcomes: list[Outcome] = field(default_factory=list)

    def run(self, step: Step) -> Outcome:
        """Run a step, unless its table is there; an error is told and noted, and goes no further."""
        words = [*step.words, "--out", str(step.folder), *(["--quiet"] if self.quiet or step.silent else [])]
        state, reason, start = DONE, "", perf_counter()
        self.screen.print(f"{step.title}", style="bold")
        try:
            command, context = _context(words)
            if self.fresh and "fresh" in context.params:
                context.params["fresh"] = True
            if not self.fresh and _is_done(step, context.params):
                state = KEPT
                self.screen.print(f"  kept: {step.folder / step.table}.csv is of the same network, images and options")
            else:
                with context:
                    command.invoke(context)
        except Exit as stop:
            state, reason = (FAILED, f"exit code {stop.exit_code}") if stop.exit_code else (DONE, "")
        except BrokenPipeError:
            raise
        except Exception as error:
            state, (reason, _) = FAILED, errors.explain(error)
            invocation = get_current_context().find_object(Invocation)
            if invocation and invocation.debug:
                traceback.print_exc()
            self.screen.print(f"  failed: {reason}")
        line = Invocation(tuple(words)).words
        outcome = Outcome(
            step.title, " ".join(("resnet-probe", *line)), step.table, step.network, state, reason,
            round(perf_counter() - start, 1),
        )  # fmt: skip
        self.outcomes.append(outcome)
        noted = {"steps": [asdict(each) for each in self.outcomes]}
        (self.folder / NOTES).write_text(json.dumps(noted, indent=2) + "\n", encoding="utf-8")
        return outcome

    @property
    def failed(self) -> list[Outcome]:
        """The steps that failed."""
        return [outcome for outcome in self.outcomes if outcome.state == FAILED]


def _context(words: Sequence[str]) -> tuple[click.Command, click.Context]:
    """The command with its options read; its settings will have this command line, not that of the study."""
    name, *rest = words
    command: click.Command = import_module(f"resnet_probe.commands.{name}").command
    around = get_current_context().find_object(Invocation)
    invocation = Invocation(tuple(words), debug=bool(around and around.debug))
    return command, command.make_context(name, list(rest), parent=get_current_context(), obj=invocation)


def _is_done(step: Step, params: Mapping[str, Any]) -> bool:
    """Whether the table is there, of the same checkpoint, images, options and version."""
    from resnet_probe import __version__
    from resnet_probe.tables import provenance, read

    try:
        settings = read(step.folder, step.table).settings
    except (OSError, ValueError):
        return False
    found = settings.get("arguments")
    if not isinstance(found, Mapping):
        return False
    wanted = provenance(arguments=params)["arguments"]
    differs = {key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)} - set(SAME_ANYWAY)
    same_version = (settings.get("versions") or {}).get("resnet-probe") == __version__
    same = (settings.get("checkpoint_sha256") or "", settings.get("data_fingerprint") or "")
    return not differs and same_version and same == (step.hashes, step.fingerprint)
