"""What an edited network does to the images, chunk by chunk; what it shares with networks before it is not run again.

Values between units are kept, within a number of bytes: those of the intact network for as many images as half of it
holds, those of edited networks for the first images, the least recently used of them going first. So a block that is
switched off costs the blocks after it. Chunks, units and measures are those of `evaluate`, and so are the counts.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from resnet_probe.analyses.subject import Subject
from resnet_probe.evaluate import Executor, FastUnits
from resnet_probe.evaluate.calibrate import ChunkPlan, cache_chunk, default_memory
from resnet_probe.evaluate.journal import Row
from resnet_probe.evaluate.sweep import run_shard, scores_of
from resnet_probe.float32 import full_float32
from resnet_probe.statistics import bootstrap_mean, paired, wilson
from resnet_probe.tasks.classification import Classification
from resnet_probe.unraveled import Step

SAMPLE = 64  # images of the first answer
STATES = 32  # edited networks whose answers are kept
SPARE = 32  # units with a factor inside them that are kept ready
MOMENTS = 10_000  # means and variances of values that are kept
EXAMPLES = 24  # images that are shown
MOST_CLASSES = 30  # of a confusion matrix

Steps = tuple[Step, ...]
Key = tuple[int, bytes]  # number of a chunk, and digest of the steps before a value


class Seen(Classification):
    """Classification that keeps of each image also its loss, the predicted class and its probability."""

    def __init__(self) -> None:
        super().__init__()
        self.columns = {**self.columns, "each": "value", "predicted": "value", "probability": "value"}

    def measure(self, outputs: Tensor, targets: Tensor, intact: Tensor) -> Mapping[str, Tensor]:
        """The measures of `Classification`, and what else is kept."""
        found = super().measure(outputs, targets, intact)
        probability = outputs.float().softmax(-1).amax(-1).nan_to_num(0).double()
        return {**found, "each": found["loss"], "predicted": self.predict(outputs), "probability": probability}


SEEN = Seen()


class Kept:
    """Values by key, within a number of bytes: half for those that stay, half for the least recently used."""

    def __init__(self, memory: int) -> None:
        self.half = memory // 2
        self.stay: dict[Any, Tensor] = {}
        self.recent: OrderedDict[Any, Tensor] = OrderedDict()
        self._used = {True: 0, False: 0}

    @property
    def bytes(self) -> int:
        """What all of them take."""
        return sum(self._used.values())

    def get(self, key: Any) -> Tensor | None:
        """The value, if it is there."""
        if key in self.recent:
            self.recent.move_to_end(key)
        return self.stay.get(key, self.recent.get(key))

    def put(self, key: Any, value: Tensor, *, stays: bool) -> None:
        """Keep a value that is not there yet, if there is room or if others may go for it."""
        while not stays and self.recent and self._used[stays] + value.nbytes > self.half:
            self._used[stays] -= self.recent.popitem(last=False)[1].nbytes
        if self._used[stays] + value.nbytes <= self.half:
            (self.stay if stays else self.recent)[key] = value
            self._used[stays] += value.nbytes


class Engine(Executor):
    """Measures edited networks on the images of a subject, in a random order that is the same every time.

    Use it from one thread at a time.

    Args:
        subject: network and labelled images.
        device: where to compute; the network's model must be there.
        memory: bytes for values between units; by default what a sweep may use.

    Raises:
        ValueError: network and images do not fit.
    """

    def __init__(self, subject: Subject, *, device: str = "cpu", memory: int | None = None) -> None:
        network = subject.network
        super().__init__(network, [network.steps], torch.device(device))
        self.subject, self.network = subject, network
        self.data = subject.shuffled(0).data
        chunk = cache_chunk(network, self.units.dtype)
        self.budget = ChunkPlan(chunk, chunk)
        self.kept = Kept(memory or default_memory(self.device))
        self.chunks = [slice(at, min(at + chunk, len(self.data))) for at in range(0, len(self.data), chunk)]
        self.sample = min(math.ceil(SAMPLE / chunk), len(self.chunks))
        first = [self.data.subset(part) for part in self.chunks[: self.sample]]
        self._first = [replace(part, images=part.pixels()) for part in first]  # files are decoded once
        self._rows: OrderedDict[Steps, list[list[Row]]] = OrderedDict()
        self._moments: OrderedDict[Key, tuple[int, float, float]] = OrderedDict()
        self._spare = FastUnits(network)
        self._spared: set[Steps] = set()
        self._now: tuple[Steps, int] = (network.steps, 0)
        with torch.inference_mode():
            images, _ = next(self._first[0].batches(1))
            SEEN.check(network(images.to(self.device)), self.data.classes, self.data.name)

    # -- running -------------------------------------------------------------------------------------------------------

    def make_ready(self, steps: Sequence[Step]) -> None:
        """Make the modules of a chain ready, so that the first time is as fast as the second."""
        for group in self._groups(steps):
            if self._factor(group[0]) == 1.0 and not self._inside(group):
                self.units(*group)

    def advance(self, steps: Steps) -> int:
        """Run the next chunk of images through the chain, if there is one; how many have been run then."""
        known = self._rows.setdefault(steps, [])
        self._rows.move_to_end(steps)
        if len(self._rows) > STATES:
            self._rows.popitem(last=False)
        if (number := len(known)) < len(self.chunks):
            data = self._first[number] if number < self.sample else self.data.subset(self.chunks[number])
            self._now = (steps, number)
            with torch.inference_mode(), full_float32():
                known.append(run_shard(self, SEEN, data, number))
        return len(known)

    def run(self, images: Tensor, targets: Any) -> Iterator[tuple[list[Any], Any]]:
        """Outputs of the intact network and of the edited one, with the targets."""
        steps, number = self._now
        outputs = []
        for chain in (self.network.steps, steps):
            outputs.append(self._value(self._keyed(chain, number), images, stays=chain == self.network.steps))
        yield outputs, targets

    def _value(self, groups: Sequence[tuple[Steps, Key]], images: Tensor, *, stays: bool) -> Tensor:
        """The value after the last of the groups, from the last one that is kept; those after it are kept too."""
        start, value = len(groups), None
        while start and value is None:
            value = self.kept.get(groups[start - 1][1])
            start -= value is None
        value = self.units.arrange(images) if value is None else value
        for group, key in groups[start:]:
            value = self._apply(group, value)
            if stays or key[0] < self.sample:
                self.kept.put(key, value, stays=stays)
        return value

    def _keyed(self, steps: Steps, number: int) -> list[tuple[Steps, Key]]:
        """The groups of steps, each with the key of the value after it."""
        digest, found = hashlib.blake2b(digest_size=16), []
        for group in self._groups(steps):
            digest.update(repr(group).encode())
            found.append((group, (number, digest.digest())))
        return found

    def _groups(self, steps: Sequence[Step]) -> list[Steps]:
        """The steps that do something, each with the activation after it."""
        groups: list[Steps] = []
        for step in steps:
            if self.network.is_identity(step):
                continue
            if groups and len(groups[-1]) == 1 and self.units.is_plain(step) and self._factor(groups[-1][0]) == 1.0:
                groups[-1] = (*groups[-1], step)
            else:
                groups.append((step,))
        return groups

    def _apply(self, group: Steps, value: Tensor) -> Tensor:
        step = group[0]
        if (factor := self._factor(step)) != 1.0:  # no module of its own for each place of a slider
            short = Step(step.unit, "shortcut")
            kept = value if self.network.is_identity(short) else self.units(short)(value)
            return kept + self.units(Step(step.unit, "branch"))(value) * factor  # type: ignore[no-any-return]
        if not self._inside(group):
            return self.units(*group)(value)  # type: ignore[no-any-return]
        self._spared.add(group)
        if len(self._spared) > SPARE:
            self._spare, self._spared = FastUnits(self.network), {group}
        return self._spare(*group)(value)  # type: ignore[no-any-return]

    @staticmethod
    def _factor(step: Step) -> float:
        return step.scale if step.mode == "whole" else 1.0

    @staticmethod
    def _inside(group: Steps) -> bool:
        return any(factor not in (0.0, 1.0) for step in group for _, factor in step.factors)

    # -- answers -------------------------------------------------------------------------------------------------------

    def answer(self, steps: Steps) -> dict[str, Any]:
        """What the chunks so far say: errors, losses and their intervals, confusions, and images that changed."""
        rows = [row for part in self._rows[steps] for row in part]
        before, after = scores_of(["intact", "edited"], rows, SEEN).values()
        difference = after.kept["each"] - before.kept["each"]
        low, high = bootstrap_mean(difference, 0)
        error_low, error_high = wilson(after.wrong, after.images)
        return {
            "images": after.images,
            "of": len(self.data),
            "intact": {"wrong": before.wrong, "error": before.error, "loss": before.loss},
            **{"wrong": after.wrong, "error": after.error, "error_low": error_low, "error_high": error_high},
            **{"loss": after.loss, "loss_increase": after.loss - before.loss, "loss_low": low, "loss_high": high},
            "changed": after.changed,
            **asdict(paired(before.flags, after.flags)),
            **self._by_class(before.kept, after.kept),
            "examples": self._examples(before.kept, after.kept),
        }

    def _by_class(self, before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Per class how many images, and how many wrong before and after; and the confusions of a few classes."""
        count = len(self.data.classes)
        labels = self.data.labels[: len(after["wrong"])].numpy()
        columns = [np.bincount(labels, weights=each, minlength=count) for each in (before["wrong"], after["wrong"])]
        found: dict[str, Any] = {
            "classes": np.stack([np.bincount(labels, minlength=count), *columns], 1).astype(int).tolist()
        }
        if count <= MOST_CLASSES:
            pairs = labels * count + after["predicted"].astype(int)
            found["confusion"] = np.bincount(pairs, minlength=count**2).reshape(count, count).tolist()
        return found

    def _examples(self, before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
        """Images whose prediction changed: those that are newly wrong, newly right, the others, the surest first."""
        changed = np.flatnonzero(before["predicted"] != after["predicted"])
        kind = np.where(~before["wrong"][changed], 0, np.where(~after["wrong"][changed], 1, 2))
        order = changed[np.lexsort((-after["probability"][changed], kind))]
        names = self.data.classes
        return [
            {
                "number": int(i),
                "label": names[int(self.data.labels[i])],
                "before": names[int(before["predicted"][i])],
                "after": names[int(after["predicted"][i])],
                "confidence": float(after["probability"][i]),
            }
            for i in order[:EXAMPLES]
        ]

    def profile(self, steps: Steps) -> list[tuple[str, float]]:
        """Standard deviation of every unit's output over the first images, all positions and channels together."""
        maps = {unit.name for unit in self.network.units if len(unit.plan.out_shape) > 1}  # scores are no response
        found: dict[str, list[tuple[int, float, float]]] = {}
        with torch.inference_mode(), full_float32():
            for number, data in enumerate(self._first):
                (images, _), *_ = data.batches(self.budget.chunk, device=self.device)
                groups = self._keyed(steps, number)
                for place, (group, key) in enumerate(groups):
                    name = self.network.units[group[0].unit].name
                    if maps and name not in maps:
                        continue
                    if key not in self._moments:
                        value = self._value(groups[: place + 1], images, stays=steps == self.network.steps)
                        variance, mean = torch.var_mean(value.float(), correction=0)
                        self._moments[key] = (len(images), float(mean), float(variance))
                    found.setdefault(name, []).append(self._moments[key])
        while len(self._moments) > MOMENTS:
            self._moments.popitem(last=False)
        return [(name, _pooled(parts)) for name, parts in found.items()]

    def picture(self, number: int) -> np.ndarray:
        """The pixels of an image, uint8 (H, W, 3) or (H, W); what is no byte is stretched from 0 to 255."""
        pixels = self.data.pixels(slice(number, number + 1))[0]
        if pixels.dtype != torch.uint8:
            low, high = pixels.min(), pixels.max()
            pixels = ((pixels - low).float() * (255 / max(float(high - low), 1e-12))).to(torch.uint8)
        return (pixels.permute(1, 2, 0) if len(pixels) == 3 else pixels[0]).numpy()


def _pooled(parts: Sequence[tuple[int, float, float]]) -> float:
    """Standard deviation of all values together, given number, mean and variance of each part."""
    total = sum(n for n, _, _ in parts)
    mean = sum(n * each for n, each, _ in parts) / total
    return math.sqrt(sum(n * (variance + (each - mean) ** 2) for n, each, variance in parts) / total)
