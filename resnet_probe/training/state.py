"""Training states on disk: whole or not at all, the newest few kept, and never of another training.

Keeper       saves and finds the states of one training in its folder
StateError   a state that cannot be written, or is of another training
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from resnet_probe.files import regular, whole
from resnet_probe.pickles import check, unpacked
from resnet_probe.training.recipe import TrainingError

FORMAT = 1
KEPT = 2  # the newest states; the one before the last is there in case the disk damages the last


class StateError(TrainingError):
    """A training state that cannot be written or read; the message is one line."""


@dataclass
class Keeper:
    """The states of one training, `state-<step>.pt` in `folder`.

    identity: what makes two trainings the same, by name (network, recipe, data, ...), as JSON has it.
    every: seconds between states inside an epoch; there is one after each epoch anyway, at most one per `least` s.
    notify: gets a line where a damaged state gives way to an earlier one.
    resume: a state to begin with. One of another folder gives way to a newer one in `folder`, so that the same command
        goes on after an interruption; one of `folder` is gone back to.
    """

    folder: Path
    identity: Mapping[str, Any]
    every: float = 600.0
    least: float = 10.0
    resume: Path | None = None
    fresh: bool = False
    notify: Callable[[str], None] = lambda line: None
    _last: float = field(default_factory=time.monotonic)

    def load(self) -> dict[str, Any] | None:
        """The newest whole state, or None where there is none or a fresh start is wanted.

        Raises:
            StateError: it is of another training, or the one to resume cannot be read.
        """
        if self.fresh:
            for path in self.paths():
                path.unlink(missing_ok=True)
            return None
        resumed = None if self.resume is None else self._checked(self.resume, _read(self.resume))
        if resumed is not None and self.resume is not None and self.resume.resolve().parent == self.folder.resolve():
            return resumed
        known = [state for state in (resumed, self._newest_whole()) if state is not None]
        return max(known, key=lambda state: state["step"], default=None)

    def _newest_whole(self) -> dict[str, Any] | None:
        for path in reversed(self.paths()):
            try:
                state = _read(path)
            except StateError as error:
                self.notify(f"note: {error}; an earlier state is taken, or the training begins anew")
                continue
            return self._checked(path, state)
        return None

    def is_due(self) -> bool:
        """Whether a state inside an epoch is to be saved now."""
        return time.monotonic() - self._last > self.every

    def is_due_after_epoch(self) -> bool:
        """Whether the end of an epoch is to be saved: not where epochs last no time."""
        return time.monotonic() - self._last > self.least

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write the state of `step`, then remove those that are not kept.

        Raises:
            StateError: it cannot be written; the states before it are still there.
        """
        path = self.folder / f"state-{step:08d}.pt"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole(path, lasting=True) as part, part.open("wb") as file:
                torch.save({"format": FORMAT, "identity": dict(self.identity), **state}, file)
        except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError of its own
            known = self.paths()
            kept = f"step {_step(known[-1])} is still there" if known else "no earlier state is there"
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise StateError(
                f"cannot save the training at step {step} in {self.folder} ({reason}); {kept}: make room, and the same "
                "command goes on from it"
            ) from error
        known = self.paths()
        left = [
            old for old in known if _step(old) > step
        ]  # whoever goes back to an earlier state leaves the later ones
        for old in [*left, *known[: len(known) - len(left)][:-KEPT]]:
            old.unlink(missing_ok=True)
        self._last = time.monotonic()
        return path

    def paths(self) -> list[Path]:
        """The states there are, oldest first."""
        return sorted((path for path in self.folder.glob("state-*.pt") if not path.is_dir()), key=_step)

    def newest(self) -> str:
        """Words on the newest state, for a message."""
        paths = self.paths()
        return f"the state of step {_step(paths[-1])} is kept in {paths[-1]}" if paths else "there is no state yet"

    def _checked(self, path: Path, state: dict[str, Any]) -> dict[str, Any]:
        theirs, ours = state["identity"], _plain(self.identity)
        for name in ours:
            if _plain(theirs.get(name)) != ours[name]:
                raise StateError(
                    f"{path} is of another training ({_difference(name, theirs.get(name), ours[name])}); "
                    "give another --out, or --fresh to start over"
                )
        return state


def _read(path: Path) -> dict[str, Any]:
    try:
        with unpacked(regular(path)) as archive:  # torch does not look at the checksums
            if damaged := archive.testzip():
                raise ValueError(damaged)
        check(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise StateError(f"there is no training state {path}; give a state-*.pt that `train` has saved") from None
    except Exception as error:  # damaged files raise many types
        raise StateError(
            f"{path} is no training state, or is damaged ({type(error).__name__}); give a whole state-*.pt"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise StateError(f"{path} is no training state that this version reads; give a state-*.pt of `train`")
    return state


def _step(path: Path) -> int:
    digits = path.stem.removeprefix("state-")
    return int(digits) if digits.isdigit() else -1


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def _difference(name: str, theirs: Any, ours: Any) -> str:
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        key = next(key for key in {**theirs, **ours} if _plain(theirs.get(key)) != _plain(ours.get(key)))
        name, theirs, ours = key, theirs.get(key), ours.get(key)
    return f"its {name.replace('_', ' ')} is {_short(theirs)}, not {_short(ours)}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
