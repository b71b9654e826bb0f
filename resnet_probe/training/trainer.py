"""The training loop, on Lightning Fabric: any device, precision, number of processes and machines."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, nn

from resnet_probe.data import Data
from resnet_probe.training.batch_norm import share_batch_norm
from resnet_probe.training.batches import Batches, Part
from resnet_probe.training.history import Epoch, History, Progress
from resnet_probe.training.objectives import OBJECTIVES, Objective
from resnet_probe.training.preparation import as_before, check, make_optimizer, resident
from resnet_probe.training.recipe import PRECISIONS, Recipe, TrainingError
from resnet_probe.training.seeding import seeded
from resnet_probe.training.state import Keeper
from resnet_probe.training.styles import Styled

CHECK_EVERY = 50  # steps between two looks at the loss, which make the host wait for the device
AGREE_EVERY = 10  # steps after which several processes with devices agree whether to stop, for the same reason
RANK_APART = 1_000_003  # between the seeds of two processes' random layers


class DivergedError(TrainingError):
    """A training whose loss or weights are no longer finite numbers."""


def fabric_for(recipe: Recipe, *, accelerator: str = "cpu", devices: int | list[int] = 1, num_nodes: int = 1) -> Fabric:
    """The processes for a training by `recipe`, not launched yet. Raises TrainingError for fp16 on a CPU."""
    if recipe.precision == "fp16" and accelerator == "cpu":
        raise TrainingError("precision fp16 is for GPUs; give bf16 or fp32 on a CPU")
    count = devices if isinstance(devices, int) else len(devices)
    several = count * num_nodes > 1
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces the precision on the screen
    strategy: Any = DDPStrategy(find_unused_parameters=recipe.style != "normal") if several else "auto"
    return Fabric(
        accelerator=accelerator, devices=devices, num_nodes=num_nodes, strategy=strategy,
        precision=PRECISIONS[recipe.precision],  # type: ignore[arg-type]
    )  # fmt: skip


def fit(
    model: nn.Module,
    train: Data,
    *,
    recipe: Recipe | None = None,
    task: str = "classification",
    test: Data | None = None,
    device: torch.device | str = "cpu",
    fabric: Fabric | None = None,
    channels_last: bool = True,
    compiled: bool = False,
    sync_batch_norm: bool = False,
    workers: int | None = None,
    keeper: Keeper | None = None,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    **values: Any,
) -> History:
    """Train `model` on `train`, in place; return one row per epoch.

    recipe: how; or its `values` one by one.
    task: what for, a key of `objectives.OBJECTIVES`.
    test: images to measure on after each epoch.
    device: where the model is moved to, and trained; or `fabric`, launched, from `fabric_for` the same recipe.
    channels_last: compute with this memory layout, which is faster; the weights have their layout again afterwards.
    compiled: pass the network through `torch.compile`.
    sync_batch_norm: batch norm over the images of all processes together, see `batch_norm`.
    workers: processes that decode images from files for `resized_crop`.
    keeper: saves states, and finds the one to go on from.
    progress: called before the first step and after every step. The network's state is not to be changed there.
    stop: asked after every step; on True the state is saved, and KeyboardInterrupt raised.

    On a CPU the same seed, weights, recipe and number of threads give the same weights bit for bit, in one go or
    resumed from any state. The global random state and every module's training mode are as before when this returns
    or raises; no gradients remain. Raises TrainingError for values or data that cannot be trained on, and where the
    loss is no longer a finite number; StateError where a state cannot be written or is of another training.

    Source: He et al. 2015, section 4.2. Deviations: batches of an epoch differ in size by at most one image; each
    channel's mean is subtracted, not each pixel's.

    Examples:
        >>> import torch, resnet_probe.data as data
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
        >>> history = fit(network, data.load_data("digits", split="train"), epochs=2, learning_rate=0.1)
        >>> [row.epoch for row in history.rows]
        [1, 2]
    """
    recipe = Recipe(**values) if recipe is None else recipe
    if fabric is None:
        fabric = _solo(torch.device(device), recipe)
        fabric.launch()
    if task not in OBJECTIVES:
        raise TrainingError(f"unknown task {task!r}: give one of {', '.join(OBJECTIVES)}")
    OBJECTIVES[task].check(model, train, recipe)
    check(model, train, recipe, fabric.world_size, compiled=compiled, sync_batch_norm=sync_batch_norm)
    model.to(fabric.device)
    job = _Job(model, OBJECTIVES[task], train, test, recipe, fabric, keeper, progress, stop, channels_last, workers)
    own_seed = recipe.seed + RANK_APART * fabric.global_rank  # other numbers than those of the next seed's trainings
    with seeded(own_seed, fabric.device), as_before(model), torch.enable_grad():
        return job.run(compiled=compiled, sync_batch_norm=sync_batch_norm)


@dataclass
class _Job:
    """One training, and where it stands."""

    model: nn.Module
    objective: Objective
    train: Data
    test: Data | None
    recipe: Recipe
    fabric: Fabric
    keeper: Keeper | None
    progress: Callable[[Progress], None] | None
    stop: Callable[[], bool] | None
    channels_last: bool
    workers: int | None
    step: int = 0
    rows: list[Epoch] = field(default_factory=list)
    warming: bool = False
    seconds: float = 0.0  # of the current epoch, before the state it goes on from

    def run(self, *, compiled: bool, sync_batch_norm: bool) -> History:
        recipe, fabric = self.recipe, self.fabric
        self.begin = time.perf_counter()
        self.four_dimensional = self.channels_last and any(p.dim() == 4 for p in self.model.parameters())
        if self.four_dimensional:
            self.model.to(memory_format=torch.channels_last)
        if sync_batch_norm:
            share_batch_norm(self.model)
        self.network = self.model if recipe.style == "normal" else Styled(self.model, recipe, self.train.input_shape)
        network: Any = torch.compile(self.network) if compiled else self.network
        self.wrapped, self.optimizer = fabric.setup(network, make_optimizer(recipe, self.model, fabric.device))
        self.network.train()
        self.batches = Batches(
            resident(self.train, fabric.device), recipe, device=fabric.device, rank=fabric.global_rank,
            world=fabric.world_size, workers=self.workers, objective=self.objective,
        )  # fmt: skip
        self.sums = torch.zeros(3, device=fabric.device)  # of losses, wrong predictions and images
        self.recent = torch.zeros(2, device=fabric.device)  # wrong predictions and images of the last steps
        self.warming = recipe.warmup_error is not None
        self._restore()
        self.steps = recipe.steps(self.batches.per_epoch)
        self._report()
        while self.step < self.steps:
            self._epoch()
        if isinstance(self.network, Styled):
            self.network.finish()
        return History(tuple(self.rows), asdict(recipe))

    def _epoch(self) -> None:
        start = time.perf_counter()
        for parts in self.batches.epoch():
            rate = self._step(parts)
            last = self.step == self.steps or self.batches.position == self.batches.per_epoch
            if self.step % CHECK_EVERY == 0 and not last:
                self._check_loss()
            stopped, due = self._wanted()
            if self.step < self.steps and stopped:
                if last:  # the epoch is whole; what follows belongs to it
                    self._close_epoch(rate, start)
                self.seconds += 0.0 if last else time.perf_counter() - start
                self._save()
                raise KeyboardInterrupt
            if last:
                break
            if due:
                self.seconds += time.perf_counter() - start
                start = time.perf_counter()
                self._save()
            self._report()
        self._close_epoch(rate, start)
        if self.keeper is not None:
            (due,) = self._agreed(self.keeper.is_due_after_epoch() or self.step == self.steps)
            if due:
                self._save()
        self._report()

    def _step(self, parts: list[Part]) -> float:
        recipe, fabric = self.recipe, self.fabric
        rate = recipe.warmup_rate if self.warming else recipe.rate(self.step, self.batches.per_epoch)
        assert rate is not None
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if isinstance(self.network, Styled):
            self.network.step = self.step
        self.optimizer.zero_grad()
        for number, part in enumerate(parts):
            with fabric.no_backward_sync(self.wrapped, enabled=number + 1 < len(parts)):
                inputs = self._arranged(part.inputs)
                losses, wrong = self.objective.loss(
                    self.wrapped, inputs, part.labels, self.train, recipe.label_smoothing
                )
                # processes average their gradients
                fabric.backward(losses * (fabric.world_size / part.of_step))
            with torch.no_grad():
                self.sums += torch.stack([losses.detach(), wrong, torch.full_like(wrong, len(inputs))])
                if self.warming:
                    self.recent += torch.stack([wrong, torch.full_like(wrong, len(inputs))])
        self.optimizer.step()
        self.step += 1
        if self.warming and self.step % CHECK_EVERY == 0:
            wrong_, images = self._summed(self.recent)
            self.recent.zero_()
            assert recipe.warmup_error is not None
            self.warming = 100 * wrong_ / images >= recipe.warmup_error
        return rate

    def _close_epoch(self, rate: float, start: float) -> None:
        loss, wrong, images = self._check_loss()
        seconds = self.seconds + time.perf_counter() - start
        test_loss, test_error = self._tested()
        number = len(self.rows) + 1
        means = loss / images, None if math.isnan(wrong) else 100 * wrong / images
        self.rows.append(Epoch(number, self.step, rate, *means, test_loss, test_error, seconds, int(images)))
        self.sums.zero_()
        self.seconds = 0.0

    def _check_loss(self) -> list[float]:
        """The sums of all processes so far. Raises TrainingError where the loss is not finite."""
        sums = self._summed(self.sums)
        if not math.isfinite(sums[0]):
            raise self._diverged(f"the loss is {sums[0]}")
        return sums

    def _diverged(self, what: str) -> DivergedError:
        kept = f"; {self.keeper.newest()}" if self.keeper else ""
        return DivergedError(
            f"{what} by step {self.step} of {self.steps} (epoch {len(self.rows) + 1}): the training diverged; try a "
            f"learning rate below {self.recipe.learning_rate:g}, or a warm-up{kept}"
        )

    def _summed(self, values: Tensor) -> list[float]:
        found = self.fabric.all_reduce(values.clone(), reduce_op="sum") if self.fabric.world_size > 1 else values
        return found.tolist()  # type: ignore[union-attr,no-any-return]

    def _tested(self) -> tuple[float | None, float | None]:
        """Loss and error on the held-out images, each once, in the precision of the training."""
        if self.test is None:
            return None, None
        fabric, sums = self.fabric, torch.zeros(3, device=self.fabric.device)
        part = self.test.shard(fabric.global_rank, fabric.world_size)
        if fabric.world_size > 1:  # each process has statistics of its own images; those of the first are saved
            for buffer in self.model.buffers():
                torch.distributed.broadcast(buffer, 0)
        self.network.eval()
        with torch.no_grad(), fabric.autocast():
            for inputs, labels in self.objective.batches(part, fabric.device):
                loss_, wrong_ = self.objective.test(self.network, self._arranged(inputs), labels)
                sums += torch.stack([loss_, wrong_, torch.full_like(wrong_, len(labels))])
        self.network.train()
        loss, wrong, images = self._summed(sums)
        return loss / images, 100 * wrong / images

    def _arranged(self, inputs: Any) -> Any:
        if not self.four_dimensional or not isinstance(inputs, Tensor):
            return inputs
        return inputs.contiguous(memory_format=torch.channels_last)

    # -- stopping, and going on ----------------------------------------------------------------------------------------

    def _wanted(self) -> list[bool]:
        """Whether to stop, and whether a state is due."""
        if self.fabric.world_size > 1 and self.fabric.device.type != "cpu" and self.step % AGREE_EVERY:
            return [False, False]
        return self._agreed(self.stop is not None and self.stop(), self.keeper is not None and self.keeper.is_due())

    def _agreed(self, *wanted: bool) -> list[bool]:
        """For each wish, whether any process has it."""
        if self.fabric.world_size == 1:
            return list(wanted)
        return [count > 0 for count in self._summed(torch.tensor(wanted, device=self.fabric.device).float())]

    def _by_first(self, work: Callable[[], Any]) -> Any:
        """What `work` returns or raises in the first process, in all of them: none is left waiting for it."""
        if self.fabric.world_size == 1:
            return work()
        found: tuple[Any, Exception | None] = (None, None)
        if self.fabric.global_rank == 0:
            try:
                found = (work(), None)
            except (OSError, ValueError) as error:
                found = (None, error)
        result, failure = self.fabric.broadcast(found)
        if failure is not None:
            raise failure
        return result

    def _save(self) -> None:
        if self.keeper is None:
            return
        self._check_loss()
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.model.parameters()):
            raise self._diverged("a weight is not finite")
        mine = {"cpu": torch.get_rng_state()}
        if self.fabric.device.type == "cuda":
            mine["cuda"] = torch.cuda.get_rng_state(self.fabric.device)
        everyones: list[Any] = [mine]
        if self.fabric.world_size > 1:
            everyones = [None] * self.fabric.world_size
            torch.distributed.all_gather_object(everyones, mine)
        sums = self._summed(self.sums)
        recent = self._summed(self.recent)
        state = {
            "model": self.model.state_dict(), "optimizer": self.optimizer.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(), "step": self.step, "sums": sums,
            "recent": recent, "warming": self.warming, "rows": [asdict(row) for row in self.rows],
            "batches": self.batches.state(), "random": everyones, "seconds": self.seconds,
        }  # fmt: skip
        keeper = self.keeper
        self._by_first(lambda: keeper.save(self.step, state))

    def _restore(self) -> None:
        state = self._by_first(self.keeper.load) if self.keeper else None  # others may not see its disk
        if state is None:
            return
        fabric = self.fabric
        self.model.load_state_dict(state["model"])
        self.optimizer.optimizer.load_state_dict(state["optimizer"])
        fabric.strategy.precision.load_state_dict(state["precision"])
        self.batches.restore(state["batches"])
        self.step, self.warming, self.seconds = state["step"], state["warming"], state["seconds"]
        self.rows = [Epoch(**row) for row in state["rows"]]
        if fabric.global_rank == 0:  # they are sums over all processes
            self.sums.copy_(torch.tensor(state["sums"]))
            self.recent.copy_(torch.tensor(state["recent"]))
        random = state["random"]
        if len(random) == fabric.world_size:
            mine = random[fabric.global_rank]
            torch.set_rng_state(mine["cpu"])
            if "cuda" in mine and fabric.device.type == "cuda":
                torch.cuda.set_rng_state(mine["cuda"], fabric.device)

    def _report(self) -> None:
        if self.progress is not None:
            per_epoch = self.batches.per_epoch
            since = time.perf_counter() - self.begin
            epochs = -(-self.steps // per_epoch)
            self.progress(Progress(self.step, self.steps, epochs, tuple(self.rows), since))


def _solo(device: torch.device, recipe: Recipe) -> Fabric:
    devices: Any = [device.index] if device.index is not None and device.type == "cuda" else 1
    return fabric_for(recipe, accelerator=device.type, devices=devices)
