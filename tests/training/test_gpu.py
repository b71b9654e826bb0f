"""Training on a CUDA device: like on the CPU to rounding, in every precision, and resumable."""

import pytest
import torch

from resnet_probe.data import load_data
from resnet_probe.models import resolve
from resnet_probe.training import Keeper, fit, seeded

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("ignore:Synchronization debug mode"),  # it is new, torch says
]
HOW = {"epochs": 2, "learning_rate": 0.02, "batch_size": 30, "pad": 1, "flip": True}


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", split="train", limit=120)


def network():
    with seeded(0):
        return resolve("resnet8-w4", in_channels=1)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 0.02), ("bf16", 0.1), ("fp16", 0.1)])
def test_the_curve_is_the_cpus(digits, precision, tolerance):
    expected = fit(network(), digits, test=digits, **HOW)
    found = fit(network(), digits, test=digits, device="cuda", precision=precision, **HOW)
    for one, other in zip(expected.rows, found.rows, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=tolerance)
        assert one.test_loss == pytest.approx(other.test_loss, rel=tolerance)


def test_steps_do_not_wait_for_the_device(digits):
    """CUDA raises where the host would wait; only the ends of epochs, outside of steps, may."""
    waits = []

    def watch(now):
        torch.cuda.set_sync_debug_mode("error" if 0 < now.step < 3 else "default")
        waits.append(now.step)

    try:
        fit(network(), digits, device="cuda", progress=watch, **HOW)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert waits[-1] == 8


def test_a_state_goes_on_on_the_device(digits, tmp_path):
    calls = 0

    def stop():
        nonlocal calls
        calls += 1
        return calls == 5

    keeper = Keeper(tmp_path, {})
    with pytest.raises(KeyboardInterrupt):
        fit(network(), digits, device="cuda", precision="fp16", keeper=keeper, stop=stop, **HOW)
    history = fit(network(), digits, device="cuda", precision="fp16", keeper=keeper, **HOW)
    assert [row.iteration for row in history.rows] == [4, 8]
