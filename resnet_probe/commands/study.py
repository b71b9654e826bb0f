"""`resnet-probe study`: everything about one checkpoint, then the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from click.exceptions import Exit

from resnet_probe.commands import options, output
from resnet_probe.commands.steps import Runner, Step

if TYPE_CHECKING:
    from rich.console import Console

    from resnet_probe.commands.subject import Subject

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True)
class Amount:
    """How much a study measures.

    Args:
        limit: images; None for all of them.
        draws: random sets and orders of each size.
        swaps: most swaps of blocks.
        samples: sampled paths of each length.
        images: for gradients, which cost most.
        batches: that are timed; 0 for no times.
    """

    limit: int | None = None
    draws: int = 20
    swaps: int = 10
    samples: int = 200
    images: int = 200
    batches: int = 20

    def for_gradients(self) -> int:
        """Images for gradients."""
        return min(self.images, self.limit or self.images)


QUICK = Amount(limit=200, draws=5, swaps=5, samples=50, images=50, batches=0)
MOST_DELETED = 20  # Veit et al. 2016, Fig. 5a


@click.command("study")
@click.argument("checkpoint", type=FILE)
@click.option("--against", type=FILE, metavar="FILE", help="Checkpoint to compare with, such as a VGG.")
@options.data
@options.data_root
@options.split
@options.limit
@options.normalize
@click.option("--draws", type=click.IntRange(min=1), metavar="N", help="Random sets and orders of each size.  [20]")
@click.option("--quick", is_flag=True, help="200 images, 5 draws, no times: a first look.")
@click.option("--fresh", is_flag=True, help="Start over, whatever an earlier study has finished.")
@options.device
@options.seed
@options.out
@options.formats
@options.quiet
def command(
    *,
    checkpoint: Path,
    against: Path | None,
    data: str | None,
    data_root: Path | None,
    split: str,
    limit: int | None,
    normalize: str | None,
    draws: int | None,
    quick: bool,
    fresh: bool,
    device: str,
    seed: int,
    out: Path | None,
    formats: Sequence[str],
    quiet: bool,
) -> None:
    """Run every analysis on CHECKPOINT, compare it with --against, and write the report.

    Each step is a command of its own, whose line is printed in the report. A step whose table is there, of the same
    checkpoint, images and options, is skipped; an interrupted one goes on. A step that fails is named and does not stop
    the others; the exit code is 1 then.
    """
    from dataclasses import replace

    from resnet_probe.commands import subject

    chosen = [subject.load(path, None) for path in (checkpoint, against) if path is not None]
    folder = output.run_folder(out, "study", chosen[0].name)
    start = QUICK if quick else Amount()
    amount = replace(start, limit=limit or start.limit, draws=draws or start.draws)
    shared = Shared(data, data_root, split, normalize, device, seed, tuple(formats))
    screen = output.console(quiet)
    runner = Runner(folder, screen, quiet, fresh)
    paths = [path for path in (checkpoint, against) if path is not None]
    page = run(paths, chosen, folder, runner, amount=amount, shared=shared)
    tell(runner, page, screen)
    if runner.failed:
        raise Exit(1)


@dataclass(frozen=True)
class Shared:
    """Options that the steps have in common."""

    data: str | None = None
    data_root: Path | None = None
    split: str = "test"
    normalize: str | None = None
    device: str = "auto"
    seed: int = 0
    formats: tuple[str, ...] = options.FORMATS

    def words(self, *, limit: int | None) -> list[str]:
        """As words of a command line."""
        given = {
            "--data": self.data, "--data-root": self.data_root, "--normalize": self.normalize, "--limit": limit,
            "--split": self.split if self.split != "test" else None,
            "--device": self.device if self.device != "auto" else None, "--seed": self.seed or None,
        }  # fmt: skip
        words = [word for name, value in given.items() if value is not None for word in (name, str(value))]
        return [*words, *self.figures()]

    def figures(self) -> list[str]:
        """The formats, where they are not the default."""
        return ["--format", ",".join(self.formats)] if self.formats != options.FORMATS else []

    def fingerprint(self, about: Subject, limit: int | None) -> str:
        """Of the images that a step will see; empty where they cannot be read, which the step itself will say."""
        from resnet_probe.data import load_data

        metadata = about.checkpoint.metadata
        spec = self.data or (metadata.get("data") if {"arch", "format"} <= metadata.keys() else None)
        if not isinstance(spec, str):
            return ""
        try:
            return load_data(
                spec, root=self.data_root, split=self.split, limit=limit, size=about.checkpoint.input_size,
                seed=self.seed,
            ).fingerprint  # fmt: skip
        except (ValueError, OSError, LookupError):
            return ""


def run(
    paths: Sequence[Path], chosen: Sequence[Subject], folder: Path, runner: Runner, *, amount: Amount, shared: Shared
) -> Path | None:
    """All steps in order, then the report; its path, or None if there is nothing to report.

    Raises:
        click.UsageError: the two checkpoints have the same file name.
    """
    names = [each.name for each in chosen]
    if len(set(names)) < len(names):
        raise click.UsageError(f"two checkpoints called {names[0]}; rename one of them, since tables go by that name")
    places = [folder / output.file_name(name) for name in names]
    for path, about, place in zip(paths, chosen, places, strict=True):
        place.mkdir(parents=True, exist_ok=True)
        words = ("inspect", str(path))
        hashes = about.checkpoint.sha256
        runner.run(Step(f"Units of {about.name}", words, place, "inspect", about.name, hashes, silent=True))
    for step in _steps(paths, chosen, folder, amount, shared):
        runner.run(step)
    return _report(folder, runner)


def _steps(
    paths: Sequence[Path], chosen: Sequence[Subject], folder: Path, amount: Amount, shared: Shared
) -> list[Step]:
    main, path, place = chosen[0], str(paths[0]), folder / output.file_name(chosen[0].name)
    name, hashes = main.name, main.checkpoint.sha256
    images = shared.fingerprint(main, amount.limit)
    usual = shared.words(limit=amount.limit)
    if len(chosen) > 1:
        both = ", ".join(each.checkpoint.sha256 for each in chosen)
        timing = ["--timing-batches", str(amount.batches)] if amount.batches else ["--no-timing"]
        prints = dict.fromkeys((images, shared.fingerprint(chosen[1], amount.limit)))
        each = [word for one in paths for word in ("--ckpt", str(one))]
        words = ("compare", *each, *usual, *timing)
        title = f"{name} and {chosen[1].name} side by side"
        steps = [Step(title, words, folder, "compare", "", both, ", ".join(prints))]
        lesion = folder / "lesion.csv"
    else:
        steps = [
            Step(
                f"Single deletions in {name}", ("lesion", "--ckpt", path, *usual), place, "lesion", name, hashes, images
            ),
            Step(
                f"Responses of {name}", ("responses", "--ckpt", path, *usual), place, "responses", name, hashes, images
            ),
        ]
        lesion = place / "lesion.csv"
    blocks, keeping = _blocks(place, name)
    if not blocks:
        alone = ("paths", "--ckpt", path, *shared.figures())
        return [*steps, Step(f"Paths of {name}", alone, place, "paths", name, hashes)]
    draws = ("--draws", str(amount.draws))
    if keeping > 1:
        most = f"1:{min(MOST_DELETED, keeping)}"
        words = ("lesion", "--ckpt", path, *usual, "--multi", most, *draws)
        steps.append(Step(f"Several deletions in {name}", words, place, "lesion_multi", name, hashes, images))
        words = ("reorder", "--ckpt", path, *usual, "--swaps", f"1:{amount.swaps}", *draws)
        steps.append(Step(f"Orders of {name}", words, place, "reorder", name, hashes, images))
    few = amount.for_gradients()
    words = ("paths", "--ckpt", path, *shared.words(limit=few), "--samples", str(amount.samples))
    if "--data" not in words:  # `paths` takes images only where they are named
        words = (*words, "--data", str(main.checkpoint.metadata.get("data")))
    found = shared.fingerprint(main, few)
    steps.append(Step(f"Paths and gradients of {name}", words, place, "gradients", name, hashes, found))
    words = ("iterative", "--ckpt", path, *usual, "--lesion", str(lesion))
    steps.append(Step(f"Iterative inference in {name}", words, place, "iterative", name, hashes, images))
    return steps


def _blocks(place: Path, name: str) -> tuple[int, int]:
    """Residual blocks, and how many of them keep the shape, from the table of units."""
    from resnet_probe.tables import read

    try:
        rows = [row for row in read(place, "inspect").rows if row["network"] == name and row["kind"] == "block"]
    except (OSError, ValueError, KeyError):
        return 0, 0
    return len(rows), sum(not row["resizes"] for row in rows)


def _report(folder: Path, runner: Runner) -> Path | None:
    from resnet_probe.commands import claims, report
    from resnet_probe.tables import read_run

    runner.screen.print("Report", style="bold")
    try:
        claims.judged(read_run([folder])).save(folder)
        return report.write([folder])
    except ValueError as error:
        runner.screen.print(f"  failed: {error}")
        return None


def tell(runner: Runner, page: Path | None, screen: Console) -> None:
    """Say what became of the steps, and where the report is."""
    seconds = sum(outcome.seconds for outcome in runner.outcomes)
    states = [outcome.state for outcome in runner.outcomes]
    facts = [("steps", f"{states.count('done')} done, {states.count('kept')} kept, {states.count('failed')} failed")]
    facts.append(("time", f"{seconds:.0f} s"))
    facts += [("failed", f"{outcome.title}: {outcome.reason}") for outcome in runner.failed]
    facts.append(("report", str(page) if page else "none: no step left a table"))
    output.summarise(screen, "Study", facts)
