"""Batches: every image once, the same for any number of processes and parts, from any position."""

import pytest
import torch
from PIL import Image

from resnet_probe.data import load_data
from resnet_probe.data.folder import load_folder
from resnet_probe.training import Batches, Recipe, steps_per_epoch

AUGMENTED = Recipe(epochs=2, learning_rate=1.0, batch_size=16, pad=1, flip=True, seed=5)


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", split="train", limit=61)


def epoch(batches):
    return [(part.inputs, part.labels, part.of_step) for parts in batches.epoch() for part in parts]


def test_all_processes_together_see_what_one_sees(digits):
    """The third route: reassemble the batches of one process from those of three, image by image."""
    alone = epoch(Batches(digits, AUGMENTED))
    shared = [epoch(Batches(digits, AUGMENTED, rank=rank, world=3)) for rank in range(3)]
    assert len(alone) == steps_per_epoch(61, 16)
    for number, (inputs, labels, of_step) in enumerate(alone):
        parts = [own[number] for own in shared]
        assert sum(len(part[1]) for part in parts) == of_step == len(labels)
        for rank, (x, y, _) in enumerate(parts):
            assert torch.equal(x, inputs[rank::3])
            assert torch.equal(y, labels[rank::3])


def test_parts_are_cut_from_a_step(digits):
    from dataclasses import replace

    whole = [parts[0] for parts in Batches(digits, replace(AUGMENTED, pad=0, flip=False)).epoch()]
    cut = list(Batches(digits, replace(AUGMENTED, pad=0, flip=False, accumulate=3)).epoch())
    for one, parts in zip(whole, cut, strict=True):
        assert len(parts) == 3
        assert torch.equal(torch.cat([part.labels for part in parts]), one.labels)
        assert torch.equal(torch.cat([part.inputs for part in parts]), one.inputs)
        assert {part.of_step for part in parts} == {len(one.labels)}


@pytest.mark.parametrize("position", range(5))
def test_an_epoch_goes_on_from_any_position(digits, position):
    whole = Batches(digits, AUGMENTED)
    epoch(whole)
    expected = epoch(whole)
    broken = Batches(digits, AUGMENTED)
    epoch(broken)
    running = broken.epoch()
    begun = [next(running) for _ in range(position)]
    state = broken.state()
    again = Batches(digits, AUGMENTED)
    again.restore(state)
    left = epoch(again) if position < 4 else []
    seen = [(part.inputs, part.labels, part.of_step) for (part,) in begun] + left
    assert len(seen) == len(expected)
    for one, other in zip(seen, expected, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
    assert torch.equal(epoch(again)[0][0], epoch(whole)[0][0])  # and the epoch after it


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    for label in range(2):
        (root / str(label)).mkdir()
        for number in range(6):
            pixels = torch.randint(0, 256, (20 + number, 30, 3), generator=torch.Generator().manual_seed(number))
            Image.fromarray(pixels.to(torch.uint8).numpy()).save(root / str(label) / f"{number}.png")
    return load_folder(root, split="test", limit=None, normalization="none", size=16, memory=0)


@pytest.mark.parametrize("workers", [0, 2])
def test_random_parts_of_files_do_not_depend_on_who_makes_them(folder, workers):
    recipe = Recipe(epochs=1, learning_rate=1.0, batch_size=4, resized_crop=True)
    expected = epoch(Batches(folder, recipe, workers=0))
    assert {tuple(x.shape) for x, _, _ in expected} == {(4, 3, 16, 16)}
    assert sorted(torch.cat([y for _, y, _ in expected]).tolist()) == [0] * 6 + [1] * 6
    found = epoch(Batches(folder, recipe, workers=workers))
    assert all(torch.equal(a, b) for (a, _, _), (b, _, _) in zip(expected, found, strict=True))
    resumed = Batches(folder, recipe, workers=workers)
    resumed.restore({**Batches(folder, recipe).state(), "position": 2})
    assert torch.equal(epoch(resumed)[0][0], expected[2][0])


def test_random_parts_are_torchvisions(folder):
    """The same draws through torchvision's functions, one image at a time."""
    from torchvision.transforms import v2
    from torchvision.transforms.v2 import functional as tv

    recipe = Recipe(epochs=1, learning_rate=1.0, batch_size=12, resized_crop=True)
    ((inputs, labels, _),) = epoch(Batches(folder, recipe, workers=0))
    generator = torch.Generator().manual_seed(recipe.seed)
    order = torch.randperm(12, generator=generator)
    seed = int(torch.randint(2**48, (), generator=generator))
    for place, index in enumerate(order.tolist()):
        original = folder.original(index)
        assert original.shape[1] == 20 + index % 6
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + index)
            cut = v2.RandomResizedCrop.make_params(v2.RandomResizedCrop((16, 16)), [original])
            mirrored = bool(torch.rand(1) < 0.5)
        image = tv.resized_crop(original, **cut, size=[16, 16], antialias=True)
        image = tv.horizontal_flip(image) if mirrored else image
        assert torch.equal(inputs[place], image / 255)
        assert labels[place] == folder.labels[index]
