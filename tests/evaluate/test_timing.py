"""Times of batches, on a clock that is known, and what timing leaves alone."""

import math
from statistics import mean, stdev

import pytest
import torch
from torch import nn

from resnet_probe.analyses.compare.memory import peak_memory
from resnet_probe.evaluate import timing
from resnet_probe.models import resolve
from tests.networks import trained


class Clock:
    """Each reading is later than the one before by the next of these steps, in seconds."""

    def __init__(self, steps):
        self.now, self.steps = 0.0, iter(steps)

    def __call__(self):
        self.now += next(self.steps)
        return self.now


def test_times_are_mean_and_deviation_of_the_batches_after_the_warm_up(monkeypatch):
    # per batch: a step before the batch begins, which does not count, and its duration
    forward, both = [9, 9, 1, 2, 4], [9, 9, 3, 3, 6]
    monkeypatch.setattr(timing, "perf_counter", Clock(s for duration in forward + both for s in (100, duration)))
    calls = []
    how = {"batch_size": 4, "classes": 10, "batches": 3, "warm_up": 2}
    found = timing.time_steps(resolve("resnet8-w2"), (3, 8, 8), **how, progress=lambda *done: calls.append(done))
    assert found.batch_size == 4
    assert (found.forward.mean_ms, found.forward.std_ms) == pytest.approx(
        (1000 * mean([1, 2, 4]), 1000 * stdev([1, 2, 4]))
    )
    assert (found.both.mean_ms, found.both.std_ms) == pytest.approx((4000, 1000 * math.sqrt(3)))
    assert calls == [(n, 10) for n in range(1, 11)]


class Spy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.seen = nn.Linear(48, 10), []

    def __deepcopy__(self, memo):
        copy = Spy()
        copy.seen = self.seen
        return copy

    def forward(self, x):
        self.seen.append((self.training, torch.is_grad_enabled(), len(x), self.layer.weight.grad))
        return self.layer(x.flatten(1))


def test_forward_is_evaluation_and_both_is_training_with_fresh_gradients():
    spy = Spy()
    timing.time_steps(spy, (3, 4, 4), batch_size=5, classes=10, batches=3, warm_up=1)
    assert spy.seen == [(False, False, 5, None)] * 4 + [(True, True, 5, None)] * 4


def test_timing_and_memory_leave_the_model_and_the_random_state_alone():
    model = trained(lambda: resolve("resnet8-w2"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state, mode = torch.get_rng_state(), [m.training for m in model.modules()]
    timing.time_steps(model, (3, 8, 8), batch_size=4, classes=10, batches=2, warm_up=1)
    peak_memory(model, (3, 8, 8), batch_size=4, classes=10)
    assert torch.equal(torch.get_rng_state(), state)
    assert [m.training for m in model.modules()] == mode
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_a_longer_network_takes_longer():
    how = {"batch_size": 8, "classes": 10, "batches": 5, "warm_up": 2}
    short, long = (timing.time_steps(resolve(arch), (3, 16, 16), **how) for arch in ("resnet8", "resnet38"))
    assert long.forward.mean_ms > short.forward.mean_ms > 0
    assert long.both.mean_ms > long.forward.mean_ms


def test_auxiliary_outputs_in_training_are_not_the_scores():
    class Aux(nn.Module):
        def __init__(self):
            super().__init__()
            self.main, self.aux = nn.Linear(12, 3), nn.Linear(12, 3)

        def forward(self, x):
            x = x.flatten(1)
            return {"out": (self.main(x), self.aux(x))}

    model = Aux()
    timing.step(model, torch.ones(2, 3, 2, 2), torch.tensor([0, 1]))
    assert model.main.weight.grad is not None
    assert model.aux.weight.grad is None


def test_what_cannot_be_timed_is_one_line():
    with pytest.raises(ValueError, match="1 timed batches have no standard deviation; give 2 or more"):
        timing.time_steps(resolve("resnet8-w2"), (3, 8, 8), batch_size=4, classes=10, batches=1)
    with pytest.raises(ValueError, match=r"VGG cannot train on batches of 1 \(.*\); give a larger batch size"):
        timing.time_steps(resolve("vgg11-w2"), (3, 8, 8), batch_size=1, classes=10, batches=2)


def test_forward_alone_is_evaluation_of_one_batch_after_another():
    spy = Spy().eval()
    state = torch.get_rng_state()
    found = timing.time_forward(spy, (3, 4, 4), batch_size=5, seconds=0.001)
    assert found > 0
    assert set(spy.seen) == {(False, False, 5, None)}
    assert torch.equal(torch.get_rng_state(), state)


def test_forward_alone_is_the_median_of_the_batches_after_the_first(monkeypatch):
    monkeypatch.setattr(timing, "perf_counter", Clock(s for duration in (9, 1, 2, 6) for s in (100, duration)))
    assert timing.time_forward(nn.Identity(), (3, 2, 2), batch_size=5, seconds=17) == pytest.approx(2000 / 5)
