import math

import pytest
import torch
from torch import nn

from resnet_probe.data import NORMALIZATIONS, Data, load_data, normalizations_for
from resnet_probe.evaluate import baseline as module
from resnet_probe.evaluate.baseline import baseline


class Brightness(nn.Module):
    """Classifies by the mean of what it gets: 0 below the limit, 1 from it on."""

    def __init__(self, limit):
        super().__init__()
        self.limit = nn.Parameter(torch.tensor(float(limit)))
        self.seen = []

    def forward(self, x):
        self.seen.append(len(x))
        above = x.mean((1, 2, 3)) - self.limit
        return torch.stack([-above, above], 1)


def grey(levels, labels, normalization="none", channels=3):
    """One image of each level of grey, 0 to 255."""
    levels = torch.tensor(levels, dtype=torch.uint8)
    images = levels[:, None, None, None].expand(-1, channels, 4, 4).contiguous()
    return Data("grey", "test", images, torch.tensor(labels), ("dark", "bright"), normalization)


def around_half(count=200):
    """Images around medium grey; bright ones are class 1, as a network says that was trained with mean 0.5."""
    levels = [60 + i % 136 for i in range(count)]
    return levels, [int(level / 255 >= 0.5) for level in levels]


def test_the_error_is_that_of_a_plain_loop():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (23, 3, 8, 8), generator=generator, dtype=torch.uint8)
    data = Data("noise", "test", pixels, torch.arange(23) % 4, tuple("abcd"), "imagenet")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4)).eval()
    mean, std = (torch.tensor(values)[:, None, None] for values in NORMALIZATIONS["imagenet"])
    with torch.no_grad():
        wrong = sum(
            int(model(((image / 255 - mean) / std)[None]).argmax() != label)
            for image, label in zip(pixels, data.labels, strict=True)
        )
    for batch_size in (1, 5, 64):
        found = baseline(model, data, batch_size=batch_size, others=False)
        assert found.error == pytest.approx(100 * wrong / 23)
        assert found.images == 23
        assert found.better is None
        assert list(found.errors) == ["imagenet"]


def test_another_normalization_with_a_clearly_lower_error_is_found():
    levels, labels = around_half()
    found = baseline(Brightness(0), grey(levels, labels, "none"))
    assert found.better == "half"
    assert found.errors["half"] == 0
    assert found.error == pytest.approx(100 * labels.count(0) / len(labels))
    assert next(iter(found.errors)) == "none"
    assert set(found.errors) == set(normalizations_for(3))


def test_the_right_normalization_is_left_alone():
    levels, labels = around_half()
    for name in normalizations_for(3):
        assert baseline(Brightness(0), grey(levels, labels, "half")).better is None, name
    assert baseline(Brightness(0), grey(levels, labels, "0.5;0.5")).better is None


def test_the_same_numbers_are_tried_once():
    levels, labels = around_half(20)
    found = baseline(Brightness(0), grey(levels, labels, "0.5;0.5"))
    assert "half" not in found.errors
    assert len(found.errors) == len(normalizations_for(3))


def test_only_normalizations_for_the_channels_are_tried():
    levels, labels = around_half(20)
    assert set(baseline(Brightness(0), grey(levels, labels, channels=1)).errors) == set(normalizations_for(1))


def wins(count, ties=0, losses=0):
    """`count` images that are right only with mean 0.5, `losses` only without, `ties` either way."""
    # without normalisation everything is bright; with mean 0.5 what is below half is dark
    levels = [100] * (count + losses) + [200] * ties
    return grey(levels, [0] * count + [1] * (losses + ties))


@pytest.mark.parametrize(
    ("gained", "lost", "alike", "clear"),
    [
        (10, 0, 90, True),  # 10 > 3 * sqrt(10)
        (9, 0, 91, False),  # 9 = 3 * sqrt(9)
        (20, 5, 75, False),  # 15 = 3 * sqrt(25)
        (21, 5, 74, True),  # 16 > 3 * sqrt(26)
        (10, 0, 991, False),  # less than one percentage point
        (5, 5, 90, False),
    ],
)
def test_clearly_lower_is_three_standard_errors_and_one_point(monkeypatch, gained, lost, alike, clear):
    monkeypatch.setattr(module, "normalizations_for", lambda channels: ("none", "half"))
    monkeypatch.setattr(module, "SAMPLE", 10_000)
    found = baseline(Brightness(0), wins(gained, alike, lost))
    assert (gained - lost > 3 * math.sqrt(gained + lost) and 100 * (gained - lost) / found.images >= 1) == clear
    assert (found.better == "half") == clear


def test_a_thousand_images_are_enough():
    levels = [i % 256 for i in range(2500)]
    labels = [0] * 1250 + [1] * 1250
    model = Brightness(0)
    found = baseline(model, grey(levels, labels, "half"), others=False)
    assert found.images == sum(model.seen) == 1000
    picked = [i * 2499 // 999 for i in range(1000)]  # from the first to the last
    expected = [(levels[i] / 255 >= 0.5) != labels[i] for i in picked]
    assert found.error == pytest.approx(100 * sum(expected) / 1000, abs=0.11)


def test_the_first_and_the_last_image_are_among_them():
    found = baseline(Brightness(0), grey([200] * 2500, [0, *[1] * 2498, 0], "half"), others=False)
    assert found.error == pytest.approx(100 * 2 / 1000)


def test_without_others_there_is_no_second_opinion():
    levels, labels = around_half()
    found = baseline(Brightness(0), grey(levels, labels), others=False)
    assert found.better is None
    assert list(found.errors) == ["none"]


def test_a_model_of_several_outputs_is_refused_in_one_line():
    class Two(nn.Module):
        def forward(self, x):
            return x.mean((2, 3)), x

    with pytest.raises(ValueError, match="Two returns a tuple and one tensor is needed"):
        baseline(Two(), load_data("fake", limit=4))
