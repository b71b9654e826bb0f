"""Where and how an analysis is computed: device, seed, precision, processes, journals, progress."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnet_probe.analyses.subject import Subject
from resnet_probe.data import Data
from resnet_probe.evaluate import (
    SOLO,
    Journal,
    JournalError,
    Score,
    Sweep,
    Workers,
    changed_by_precision,
    evaluate,
    evaluate_recalibrated,
    fingerprint,
    has_statistics,
)
from resnet_probe.tables import Result, provenance
from resnet_probe.tasks import CLASSIFICATION, Resampled
from resnet_probe.unraveled import Step

Progress = Callable[[int, int], None]
IMAGES = frozenset({"number_of_images", "data_set"})  # of the identity of a journal
COMPARED = 30  # variants whose predictions in lower precision are compared with fp32


@contextmanager
def silent(what: str) -> Iterator[Progress]:
    """Show no progress."""
    yield lambda done, total: None


@dataclass(frozen=True)
class Runtime:
    """Where and how an analysis is computed. The defaults compute on the CPU, keep no journal and show no progress.

    Attributes:
        device: name of it, as torch has it.
        seed: of every random draw.
        batch_size: images at a time; None leaves it to the analysis.
        sweep: precision, memory and the like of a sweep.
        workers: processes that share a sweep.
        folder: for journals, and for what an earlier analysis of the same networks has left; None for neither.
        fresh: whether to start over, whatever a journal holds.
        replaces: whether the table of other images is complete, so that its journal gives way.
        several: whether other networks are measured in the same folder, which must not share a journal.
        progress: a context that is told how far the work is.
        say: tells the user something in a sentence.
        tables: of the analyses that this one builds on, by name.
        notes: per network what is worth keeping with its tables; filled as the analysis runs.
    """

    device: str = "cpu"
    seed: int = 0
    batch_size: int | None = None
    sweep: Sweep = field(default_factory=Sweep)
    workers: Workers = SOLO
    folder: Path | None = None
    fresh: bool = False
    replaces: bool = False
    several: bool = False
    progress: Callable[[str], AbstractContextManager[Progress]] = silent
    say: Callable[[str], None] = lambda text: None
    tables: Mapping[str, Result] = field(default_factory=dict)
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def evaluate(
        self,
        subject: Subject,
        variants: Mapping[str, Sequence[Step]],
        table: str,
        about: Mapping[str, Any] | None = None,
        **measure: Any,
    ) -> dict[str, Score]:
        """Evaluate variants of the network in one shared pass; what is finished is kept in `<folder>/<table>.journal`.

        Args:
            variants: name -> steps; the first one is the intact network.
            table: that the scores are for.
            about: what else the kept results depend on, such as the seed of the draws.
            measure: `measure=` as `evaluate.evaluate` takes it.

        Raises:
            ValueError: as `evaluate.evaluate`; or the journal belongs to something else (`JournalError`).
        """
        with self.journal(subject, table, about) as journal, self._bar(f"{table} of {subject.name}") as report:
            scores = evaluate(
                subject.network, variants, subject.data, sweep=self.sweep, device=self.device, journal=journal,
                workers=self.workers, progress=report, **{"task": subject.task, **measure},
            )  # fmt: skip
        first = next(iter(scores.values()))
        if isinstance(first.task, Resampled) and math.isnan(first.error):
            raise ValueError(
                f"the {subject.task.name} error of {subject.name} is not defined on these {first.images} images, "
                "whose targets are all alike or all missing; give others, or more of them"
            )
        classification = subject.task.name == CLASSIFICATION.name
        if classification and self.sweep.precision != "fp32" and self.workers.rank == 0:
            intact, *edited = variants.values()
            sample = [intact, *edited[:: max(1, len(edited) // COMPARED)]]
            steps = {str(number): chain for number, chain in enumerate(sample)}
            compared = changed_by_precision(
                subject.network, steps, subject.data, precision=self.sweep.precision, device=self.device
            )
            self.notes.setdefault(subject.name, {})["against_fp32"] = {**compared, "variants": len(steps)}
        return scores

    def training_images(self, subject: Subject, *, split: str, limit: int) -> Data:
        """The images for `evaluate_recalibrated`; asked for before the sweep, so that a mistake costs no time.

        Raises:
            ValueError: several processes, another precision than fp32, or no batch norm to re-estimate.
            DataError: the images cannot be read.
        """
        if subject.task.name != CLASSIFICATION.name:
            raise ValueError(f"--recalibrate is for classification, not {subject.task.name}; leave it out")
        if self.workers.count > 1:
            raise ValueError("--recalibrate runs in one process; leave out --devices and --num-nodes")
        if self.sweep.precision != "fp32":
            raise ValueError("--recalibrate computes in fp32; leave out --precision")
        if not has_statistics(subject.network.anatomy.traced.module):
            raise ValueError(f"{subject.name} has no batch norm whose statistics could be re-estimated")
        return subject.images(split=split, limit=limit)

    def evaluate_recalibrated(
        self,
        subject: Subject,
        variants: Mapping[str, Sequence[Step]],
        train: Data,
        table: str,
        about: Mapping[str, Any] | None = None,
    ) -> dict[str, Score]:
        """As `evaluate`, with batch-norm statistics re-estimated on `train`, of `training_images`, for each variant."""
        name = f"{table}.recalibrated"
        about = {**(about or {}), "training_images": train.fingerprint, "order_seed": self.seed}
        with self.journal(subject, name, about) as journal, self._bar(f"{name} of {subject.name}") as report:
            return evaluate_recalibrated(
                subject.network, variants, subject.data, train, sweep=self.sweep, seed=self.seed, device=self.device,
                journal=journal, progress=report,
            )  # fmt: skip

    @contextmanager
    def _bar(self, what: str) -> Iterator[Progress]:
        with (self.progress if self.workers.rank == 0 else silent)(what) as report:
            yield report

    @contextmanager
    def journal(self, subject: Subject, name: str, about: Mapping[str, Any] | None = None) -> Iterator[Journal | None]:
        """The journal of a sweep; the file's name up to the first point is that of the table."""
        if self.folder is None:
            yield None
            return
        if self.several:
            name = f"{name}.{''.join(c if c.isalnum() or c in '-_' else '-' for c in subject.name)}"
        journal = self._open(self.folder / f"{name}.journal", self._identity(subject, about or {}))
        try:
            yield journal
        finally:
            journal.close()

    def _identity(self, subject: Subject, about: Mapping[str, Any]) -> dict[str, Any]:
        """What kept results depend on: a journal that differs in one of these is refused."""
        versions = provenance(arguments={})["versions"]
        loaded = subject.checkpoint
        return {
            "checkpoint": (loaded.sha256 or loaded.arch) if loaded else subject.name,
            "architecture": loaded.arch if loaded else "",
            "network_(weights_and_code)": fingerprint(subject.network),
            "version": [versions["resnet-probe"], versions.get("torch")],
            "kind_of_device": self.device.split(":", maxsplit=1)[0],
            "number_of_images": len(subject.data),
            "data_set": subject.data.fingerprint,
            "normalisation": subject.data.normalization,
            "precision": self.sweep.precision,
            "compilation": self.sweep.compiled,
            **about,
        }

    def _open(self, path: Path, identity: Mapping[str, Any]) -> Journal:
        """This process's journal; the first process takes over what an earlier run's others have finished."""
        rank, count = self.workers.rank, self.workers.count
        if rank > 0:
            path = path.with_name(f"{path.name}.{rank}")
        try:
            journal = Journal.open(path, identity, fresh=self.fresh)
        except JournalError as error:
            if not (self.replaces and error.different and error.different <= IMAGES):
                raise
            journal = Journal.open(path, identity, fresh=True)  # of other images, and its table is complete
        if rank == 0:
            for other in sorted(path.parent.glob(f"{path.name}.*")):
                number = int(other.suffix[1:]) if other.suffix[1:].isdigit() else 0
                if number >= count and self.fresh:
                    other.unlink()
                elif number > 0 and count == 1:
                    journal.adopt(other)
        return journal
