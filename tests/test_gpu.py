"""Analyses on a CUDA device: what the CPU says, and no waiting for the device in between."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from resnet_probe.analyses import importance, prune
from resnet_probe.analyses.runtime import Runtime
from resnet_probe.analyses.subject import Subject
from resnet_probe.evaluate import FastUnits, Sweep, evaluate, grow, recalibrate, run_tree
from resnet_probe.float32 import full_float32
from resnet_probe.gradients import class_norms, sample_norms
from resnet_probe.probes import ChannelMoments, Moments, record
from resnet_probe.probes.blocks import Chain, score_batch
from resnet_probe.tasks import CLASSIFICATION
from resnet_probe.unraveled import unravel
from tests.evaluate.cases import SHAPE, images, network

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("ignore:Synchronization debug mode"),  # it is new, torch says
]
DEVICE = "cuda"


@pytest.fixture(scope="module")
def both():
    """The same network on the CPU and on the device, each with its chain."""
    model, net = network("resnet14-w4", seed=4)
    there = copy.deepcopy(model).to(DEVICE)
    return (model, net), (there, unravel(there, SHAPE))


def variants(net):
    return {"": net.steps} | {unit.name: net.delete(unit.name).steps for unit in net.blocks}


def test_a_sweep_counts_what_the_cpu_counts(both):
    (_, here), (_, there) = both
    data = images(300)
    expected = evaluate(here, variants(here), data)
    found = evaluate(there, variants(there), data, device=DEVICE)
    for name, score in expected.items():
        assert (score.flags == found[name].flags).all()
        assert (score.wrong, score.changed) == (found[name].wrong, found[name].changed)
        assert score.loss == pytest.approx(found[name].loss, rel=1e-5)


def test_bf16_hardly_changes_a_sweep(both):
    (_, here), (_, there) = both
    data = images(300)
    expected = evaluate(here, variants(here), data)
    found = evaluate(there, variants(there), data, device=DEVICE, sweep=Sweep(precision="bf16"))
    assert sum(int((expected[name].flags != found[name].flags).sum()) for name in expected) < 0.05 * 300 * len(expected)


def test_units_do_not_wait_for_the_device(both):
    """CUDA raises where the host would wait."""
    net = both[1][1]
    tree, units = grow(list(variants(net).values()), net.is_identity), FastUnits(net)
    ((x, y),) = images(64).to(DEVICE).batches(64, device=DEVICE)
    with torch.inference_mode():
        run_tree(tree, units, x, stack=128)  # makes the units ready
        try:
            torch.cuda.set_sync_debug_mode("error")
            outputs = run_tree(tree, units, x, stack=128)
            measures = [CLASSIFICATION.measure(output, y, outputs[0]) for output in outputs]
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert len(measures) == 7


@pytest.mark.parametrize("draws", [None, 3])
def test_importance_is_the_cpus(both, draws, monkeypatch):
    if draws:  # as of a network with more blocks
        monkeypatch.setattr("resnet_probe.analyses.importance.table.MOST_EXACT", 2)
    parameters = importance.Parameters(**({"draws": draws} if draws else {}))
    expected, found = (
        importance.run(Subject("tiny", net, images(40)), parameters, Runtime(device=device))[0].rows
        for (_, net), device in zip(both, ("cpu", DEVICE), strict=True)
    )
    for one, other in zip(expected, found, strict=True):
        assert one["block"] == other["block"]
        assert one["shapley"] == pytest.approx(other["shapley"], rel=1e-4, abs=1e-4)
        if one["measure"] == "accuracy":
            assert one["lesion"] == other["lesion"]


def test_prune_is_the_cpus(both):
    data = images(40)
    parameters = prune.Parameters(orders=("lesion", "shapley_loss", "ratio", "weights"), resizing=True, draws=3)

    def more(*, split, limit=None):
        return replace(images(30, seed=5), split="train") if split == "train" else data

    expected, found = (
        prune.run(Subject("tiny", net, data, images=more), parameters, Runtime(device=device))[0].rows
        for (_, net), device in zip(both, ("cpu", DEVICE), strict=True)
    )
    keys = ("order", "draw", "removed", "blocks", "wrong")
    assert [[row[key] for key in keys] for row in expected] == [[row[key] for key in keys] for row in found]


def test_statistics_are_estimated_as_on_the_cpu(both):
    found = []
    for (model, _), device in zip(both, ("cpu", DEVICE), strict=True):
        again = copy.deepcopy(model)
        recalibrate(again, images(64), device=device)
        found.append({name: value.cpu() for name, value in again.state_dict().items()})
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-4, atol=1e-5)


def test_gradients_are_the_cpus(both):
    exact, sampled = [], []
    for (_, net), device in zip(both, ("cpu", DEVICE), strict=True):
        exact.append(class_norms(net, images(20), device=device))
        sampled.append(sample_norms(net, images(5), samples=20, device=device))
    torch.testing.assert_close(exact[1].norms.cpu(), exact[0].norms, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(exact[1].shares.cpu(), exact[0].shares, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sampled[1].norms.cpu(), sampled[0].norms, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("reducer", [Moments(), ChannelMoments()])
def test_probes_are_the_cpus(both, reducer):
    found = []
    for (model, _), device in zip(both, ("cpu", DEVICE), strict=True):
        with full_float32(), torch.inference_mode(), record(model, ["*.bn2"], reducer) as rec:
            for x, _ in images(300).batches(256, device=device):
                model(x)
        found.append({point: torch.tensor(rec[point]) for point in rec})
    for point, value in found[0].items():
        torch.testing.assert_close(found[1][point], value, rtol=1e-4, atol=1e-5)


def test_updates_of_blocks_are_the_cpus(both):
    found = []
    for (_, net), device in zip(both, ("cpu", DEVICE), strict=True):
        ((x, y),) = images(16).batches(16, device=device)
        found.append(score_batch(Chain(net), x, y))
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name].cpu(), value, rtol=1e-3, atol=1e-4)


def test_convolutions_keep_all_bits():
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(8, 64, 16, 16, generator=generator), torch.randn(64, 64, 3, 3, generator=generator)
    expected = F.conv2d(x.double(), weight.double())
    with full_float32():
        found = F.conv2d(x.to(DEVICE), weight.to(DEVICE)).cpu()
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
