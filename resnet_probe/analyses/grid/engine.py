"""Train the cells of a grid, one after another or several at a time, each once, whatever interrupts it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.grid import GRID
from resnet_probe.analyses.grid.cells import Cell, Images, identity, train_cell
from resnet_probe.analyses.grid.journal import GridJournal
from resnet_probe.analyses.grid.table import DONE

if TYPE_CHECKING:
    from ctypes import c_byte

    from resnet_probe.data import Data

POLL_S = 0.5  # between two looks at whether to stop, while other processes train
STATES = "states"  # folder of the states to go on from, one folder a cell; a finished cell's is removed


@dataclass(frozen=True)
class Grid:
    """A grid of trainings in a folder.

    cells: what to train. images: on what. folder: for weights, journal and states. jobs: cells at a time, each in a
    process of its own with its share of the processor's cores. device: where to train. options: of `fit`.
    """

    cells: Sequence[Cell]
    images: Images
    folder: Path
    jobs: int = 1
    device: str = "cpu"
    compiled: bool = False

    def train(
        self,
        *,
        only: Sequence[str] = (),
        fresh: Sequence[str] = (),
        report: Callable[[str, dict[str, Any]], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> list[dict[str, Any]]:
        """Train the cells that are not finished yet.

        Args:
            only: names of the cells to train, if not all; of the others those that are finished are returned too.
            fresh: names of cells to train again.
            report: called with the name and the outcome of each cell, those finished earlier first.
            stop: asked after each step, or twice a second with several jobs; on True states are saved.

        Returns:
            Per cell, in order, `row` and `curve`; the status of a cell that failed says why.

        Raises:
            GridError: the folder holds a grid of other trainings. KeyboardInterrupt: stopped; what is finished is kept.
        """
        train, test = self.images.load()
        journal = GridJournal(self.folder / "grid.journal")
        try:
            made: dict[str, dict[str, Any]] = {}
            todo = []
            for cell in self.cells:
                if cell.name in fresh:
                    journal.forget(cell.name)
                    shutil.rmtree(self.folder / STATES / cell.name, ignore_errors=True)
                known = journal.finished(cell.name, identity(cell, train, test))
                if known is not None:
                    made[cell.name] = known
                    if report:
                        report(cell.name, known["row"])
                elif not only or cell.name in only:
                    todo.append(cell)
            for cell, outcome in self._outcomes(todo, train, test, stop):
                journal.commit(cell.name, identity(cell, train, test), outcome["row"]["status"], outcome)
                if outcome["row"]["status"] == DONE:  # of one that failed the last good state stays
                    shutil.rmtree(self.folder / STATES / cell.name, ignore_errors=True)
                made[cell.name] = outcome
                if report:
                    report(cell.name, outcome["row"])
            return [made[cell.name] for cell in self.cells if cell.name in made]
        finally:
            journal.close()

    def _outcomes(
        self, cells: Sequence[Cell], train: Data, test: Data, stop: Callable[[], bool] | None
    ) -> Iterator[tuple[Cell, dict[str, Any]]]:
        if self.jobs == 1 or len(cells) < 2:
            for cell in cells:
                yield cell, self._one(cell, train, test, stop)
            return
        from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait  # noqa: PLC0415

        threads = max(1, (os.cpu_count() or 1) // self.jobs)
        context = get_context("spawn")
        asked = context.RawValue("b", 0)  # without a lock, which a killed process could hold
        with ProcessPoolExecutor(
            min(self.jobs, len(cells)), mp_context=context, initializer=_begin, initargs=(self, threads, asked)
        ) as pool:
            wanted = {cell.name for cell in cells}
            numbered = [(number, cell) for number, cell in enumerate(self.cells) if cell.name in wanted]
            cell_of = {pool.submit(_train, number): cell for number, cell in numbered}
            waiting = set(cell_of)
            try:
                while waiting:
                    done, waiting = wait(waiting, timeout=POLL_S, return_when=FIRST_COMPLETED)
                    stopped = stop is not None and stop()
                    if stopped and any(one.exception() for one in done):  # a signal may kill a process that begins
                        raise KeyboardInterrupt
                    for one in done:
                        yield cell_of[one], one.result()
                    if waiting and stopped:
                        raise KeyboardInterrupt
            except BaseException:
                asked.value = 1  # trainings under way save their states
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _one(self, cell: Cell, train: Data, test: Data, stop: Callable[[], bool] | None) -> dict[str, Any]:
        from resnet_probe.training import DivergedError, Keeper  # noqa: PLC0415

        keeper = Keeper(self.folder / STATES / cell.name, identity(cell, train, test))
        try:
            return train_cell(
                cell, train, test, folder=self.folder, keeper=keeper, device=self.device, compiled=self.compiled,
                stop=stop,
            )  # fmt: skip
        except DivergedError as error:  # a network that cannot be trained so is a result, too: the paper prints "fail"
            row = dict.fromkeys(GRID.keys) | cell.labels | {"status": str(error)}
            return {"row": row, "curve": []}


_here: dict[str, Any] = {}  # of a process of the pool: the grid, its images, and what says whether to stop


def _begin(grid: Grid, threads: int, asked: c_byte) -> None:
    import signal  # noqa: PLC0415

    import torch  # noqa: PLC0415

    for number in (signal.SIGINT, signal.SIGTERM):  # the group's; the value is what a training looks at
        signal.signal(number, lambda *_: setattr(asked, "value", 1))
    torch.set_num_threads(threads)
    _here.update(grid=grid, images=grid.images.load(), asked=asked)


def _train(number: int) -> dict[str, Any]:
    grid: Grid = _here["grid"]
    train, test = _here["images"]
    return grid._one(grid.cells[number], train, test, lambda: bool(_here["asked"].value))
