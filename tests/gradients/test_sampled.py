import itertools
import math
from collections import Counter

import pytest
import torch

from resnet_probe.gradients import draw_paths, path_norms, record, sample_norms
from resnet_probe.gradients.statistics import with_batch_norm
from tests.gradients.networks import NETWORKS, batch, data_of, network_of
from tests.gradients.test_exact import gradient_of_path

BRANCHED = [name for name in NETWORKS if not name.startswith("vgg")]


def norms_of(gradient):
    return gradient.flatten(1).double().norm(dim=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", BRANCHED)
@pytest.mark.parametrize("stack", [1, 16])
def test_every_single_path_has_the_norm_of_its_own_graph(name, stack):
    network = network_of(name)
    images, labels = batch(3)
    blocks = len(network.blocks)
    paths = torch.tensor(list(itertools.product((False, True), repeat=blocks)))
    expected = torch.stack([norms_of(gradient_of_path(network, images, labels, path)) for path in paths])
    shared = path_norms(network, images, labels, paths[:, None, :], stack=stack)
    torch.testing.assert_close(shared, expected, rtol=1e-4, atol=0)
    # another order of paths for each image, so that images part at every block
    orders = [torch.randperm(len(paths), generator=torch.Generator().manual_seed(i)) for i in range(3)]
    mixed = torch.stack([paths[order] for order in orders], 1)
    found = path_norms(network, images, labels, mixed, stack=stack)
    wanted = torch.stack([expected[order, i] for i, order in enumerate(orders)], 1)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", ["resnet8-B-w4", "resnet8-preact-w4"])
def test_paths_with_the_batchs_own_statistics(name):
    network = network_of(name)
    images, labels = batch(4)
    paths = torch.tensor(list(itertools.product((False, True), repeat=3)))

    def run(unit, part):
        return with_batch_norm(unit.module(part), "train")

    expected = [norms_of(gradient_of_path(network, images, labels, path, run)) for path in paths]
    found = path_norms(network, images, labels, paths[:, None, :], batch_norm="train")
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=0)
    assert not torch.allclose(found, path_norms(network, images, labels, paths[:, None, :]), rtol=0.01)


@pytest.mark.parametrize("factor", [1e-9, 3e-15])  # of the latter float32 has no number for the product of three
def test_paths_too_weak_for_float32_still_have_a_norm(factor):
    def found(dtype):
        names = ("layer1.0", "layer2.0", "layer3.0")
        network = network_of("resnet8-w4", dtype=dtype).scale(dict.fromkeys(names, factor))
        images, labels = batch(2)
        return path_norms(network, images.to(dtype), labels, torch.ones((1, 1, 3), dtype=torch.bool))

    torch.testing.assert_close(found(torch.float32), found(torch.float64), rtol=1e-4, atol=0)
    assert bool((found(torch.float64) > 0).all())


def test_draws_take_as_many_branches_as_asked_and_every_path_alike():
    generator = torch.Generator().manual_seed(0)
    drawn = draw_paths(5, [0, 2, 5], 4000, generator)
    assert drawn.shape == (3, 4000, 5)
    assert [set(row.sum(1).tolist()) for row in drawn] == [{0}, {2}, {5}]
    times = Counter(tuple(path.tolist()) for path in drawn[1])
    assert len(times) == math.comb(5, 2)
    assert sum((count - 400) ** 2 / 400 for count in times.values()) < 27.9  # chi-squared, 9 degrees, p = 0.001
    with pytest.raises(ValueError, match="no path takes 6 of 5 residual branches"):
        draw_paths(5, [6], 1, generator)


@pytest.mark.parametrize("samples", [1, 5, 12, 30])
def test_samples_are_spread_over_the_images_and_do_not_depend_on_batches(samples):
    network, data = network_of("resnet8-w4"), data_of(12)
    expected = sample_norms(network, data, samples=samples, batch_size=12)
    assert expected.norms.shape == (4, samples)
    told = []
    found = sample_norms(network, data, samples=samples, batch_size=5, progress=lambda *done: told.append(done))
    assert told == sorted(told)
    assert told[-1] == (4 * samples, 4 * samples)
    torch.testing.assert_close(found.norms.sort(1).values, expected.norms.sort(1).values, rtol=1e-4, atol=0)
    # a path without branches is the same for all draws, so its norms tell the images apart
    times = Counter(round(value, 7) for value in expected.norms[0].tolist())
    assert len(times) == min(samples, 12)
    assert max(times.values()) - min(times.values()) <= 1
    counts = Counter(found.images.flatten().tolist())
    assert len(counts) == min(samples, 12)
    assert max(counts.values()) - min(counts.values()) <= 1
    ((images, labels),) = data.batches(12)
    identity = path_norms(network, images, labels, torch.zeros((1, 1, 3), dtype=torch.bool))[0]
    torch.testing.assert_close(found.norms[0], identity[found.images[:, 0]], rtol=1e-4, atol=0)


def test_mean_of_the_samples_is_that_of_all_paths():
    network, data = network_of("resnet8-w4"), data_of(4)
    ((images, labels),) = data.batches(4)
    paths = torch.tensor(list(itertools.product((False, True), repeat=3)))
    each = path_norms(network, images, labels, paths[:, None, :])
    found = sample_norms(network, data, samples=200).norms
    for length in range(4):
        mean = float(each[paths.sum(1) == length].mean())
        deviation = float(found[length].std()) / math.sqrt(200)
        assert abs(float(found[length].mean()) - mean) < 4 * deviation + 1e-9
    assert torch.equal(found, sample_norms(network, data, samples=200).norms)
    assert not torch.equal(found, sample_norms(network, data, samples=200, seed=1).norms)


def test_training_mode_shares_paths_and_uses_whole_batches():
    network, data = network_of("resnet8-w4"), data_of(11)
    found = sample_norms(network, data, samples=5, batch_size=4, batch_norm="train")
    assert found.norms.shape == (4, 5)  # two batches of 4; three images are left over
    assert len({round(value, 7) for value in found.norms[0].tolist()}) == 2
    assert found.images.shape == (5, 4)
    assert {tuple(row) for row in found.images.tolist()} == {(0, 1, 2, 3), (4, 5, 6, 7)}
    with pytest.raises(ValueError, match="depend on each other: share the paths"):
        path_norms(network, *batch(2), torch.zeros((1, 2, 3), dtype=torch.bool), batch_norm="train")


def test_wrong_questions_are_answered():
    network = network_of("resnet8-w4")
    with pytest.raises(ValueError, match=r"paths of shape \(1, 3, 2\) for 3 images and 3 blocks"):
        path_norms(network, *batch(3), torch.zeros((1, 3, 2), dtype=torch.bool))
    with pytest.raises(ValueError, match="0 samples per length; give at least 1"):
        sample_norms(network, data_of(), samples=0)


def test_a_tape_keeps_what_each_part_yielded():
    network = network_of("resnet8-preact-w4")
    images, _ = batch(2)
    tape = record(network, images)
    torch.testing.assert_close(tape.output, network(images).detach())
    assert tape.blocks == 3
    identity = [link.parts["shortcut"] is None for link in tape.links if link.is_block]
    assert identity == [unit.has_identity_shortcut for unit in network.blocks]
