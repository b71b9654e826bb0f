"""Inputs other than bytes: 16 bits, floats of any shape, tokens."""

import numpy as np
import pytest
import torch
from torch import nn

from resnet_probe.analyses.accuracy import Parameters, run
from resnet_probe.analyses.subject import Subject
from resnet_probe.data import Data, DataError
from resnet_probe.evaluate.baseline import baseline
from resnet_probe.training import Recipe, TrainingError, fit, pad_crop_flip
from resnet_probe.unraveled import unravel

GENERATOR = np.random.default_rng(0)
DEEP = GENERATOR.integers(0, 2**15, (6, 2, 3, 4))
KINDS = {
    "uint8": torch.from_numpy(GENERATOR.integers(0, 256, (6, 2, 3, 4), dtype=np.uint8)),
    "uint16": torch.from_numpy((2 * DEEP + 1).astype(np.uint16)),
    "int16": torch.from_numpy(DEEP.astype(np.int16)),
    "int32": torch.from_numpy((2 * DEEP + 1).astype(np.int32)),
    "float32": torch.from_numpy(GENERATOR.normal(-4, 5, (6, 2, 3, 4)).astype(np.float32)),
    "float64": torch.from_numpy(GENERATOR.normal(-4, 5, (6, 2, 7))),
    "bfloat16": torch.from_numpy(GENERATOR.normal(size=(6, 2))).to(torch.bfloat16),
    "one number": torch.from_numpy(GENERATOR.normal(size=6)),
    "tokens": torch.from_numpy(GENERATOR.integers(0, 50_000, (6, 5))),
}
BRIGHTEST = {"uint8": 255, "uint16": 65535, "int16": 65535, "int32": 65535}
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def data(kind, normalization="none", images=None):
    images = KINDS[kind] if images is None else images
    return Data("mine", "test", images, LABELS[: len(images)], ("a", "b", "c"), normalization)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_normalised_as_the_table_says(kind):
    """Against float64 arithmetic in numpy; what is stored stays as it is."""
    stored = KINDS[kind].clone()
    values = KINDS[kind].double().numpy() / BRIGHTEST.get(kind, 1)
    tokens, two = kind == "tokens", values.ndim > 1
    for how, mean, std in (("none", [0], [1]), ("0.5;0.25", [0.5], [0.25]), ("0.1,0.9;2,0.25", [0.1, 0.9], [2, 0.25])):
        if (tokens and how != "none") or (not two and len(mean) == 2):
            with pytest.raises(DataError, match="normalisation '0"):
                data(kind, how)
            continue
        shape = (1, -1, *[1] * (values.ndim - 2)) if two else -1
        expected = (values - np.reshape(mean, shape)) / np.reshape(std, shape)
        found = torch.cat([x for x, _ in data(kind, how).batches(4)])
        assert found.dtype == (torch.int64 if tokens else torch.float32)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(KINDS[kind], stored)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_and_fingerprints_work_for_every_kind(kind):
    whole = data(kind)
    other = data(kind, images=whole.images[[1, 1, 2, 3, 4, 5]])
    assert whole.input_shape == tuple(whole.images.shape[1:])
    assert torch.equal(whole.subset([2, 0]).images, whole.images[[2, 0]])
    assert torch.equal(torch.cat([x for x, _ in whole.pixel_batches(4)]), whole.images)
    assert torch.equal(whole.to("cpu").shard(1, 2).pixels(slice(0, 2)), whole.images[[1, 3]])
    assert whole.fingerprint == data(kind, images=whole.images.clone()).fingerprint != other.fingerprint
    assert len({data(name).fingerprint for name in KINDS}) == len(KINDS)


def test_the_same_bytes_of_another_type_have_another_fingerprint():
    ints = torch.zeros(6, 1, 2, 2, dtype=torch.int32)
    assert data("", images=ints).fingerprint != data("", images=ints.view(torch.float32)).fingerprint


def test_means_of_floats_may_be_any_number():
    assert data("float32", "-4.27;4.57").mean == (-4.27,)
    with pytest.raises(DataError, match=r"means within 0\.\.1"):
        data("uint16", "-4.27;4.57")
    with pytest.raises(DataError, match="finite means"):
        data("float32", "inf;1")


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.full((2, 1, 2, 2), -1, dtype=torch.int16), "int16 of shape (2, 1, 2, 2) from -1 to -1"),
        (torch.full((2, 1, 2, 2), 65536, dtype=torch.int32), "int32 of shape (2, 1, 2, 2) from 65536 to 65536"),
        (torch.zeros(2, 2, 2, dtype=torch.uint16), "uint16 of shape (2, 2, 2)"),
        (torch.zeros(2, 1, 2, 2, dtype=torch.int64), "int64 of shape (2, 1, 2, 2)"),
        (torch.zeros(2, 3, dtype=torch.bool), "bool of shape (2, 3)"),
        (torch.tensor(1.0), "float32 of shape ()"),
    ],
)
def test_other_forms_are_refused_in_one_line(images, words):
    with pytest.raises(DataError) as caught:
        Data("mine", "test", images, LABELS[:2], ("a", "b"), "none")
    assert f"are {words}; give uint8 pixels" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_known_normalisations_are_tried_on_pixels_only():
    model = nn.Sequential(nn.Flatten(), nn.Linear(24, 3)).eval()
    assert len(baseline(model, data("uint16"), others=True).errors) > 1
    assert set(baseline(model, data("float32"), others=True).errors) == {"none"}


def spectra():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten()).eval()
    return Subject("spectra", unravel(model, (2, 7)), data("float64"))


def test_inputs_that_are_no_images_are_evaluated_and_not_cropped():
    subject = spectra()
    (x, y), = subject.data.batches(6)  # fmt: skip
    wrong = int((subject.network(x).argmax(1) != y).sum())
    assert run([subject])[0].rows[0]["wrong"] == wrong
    for options in ({"ten_crop": True}, {"scales": ()}):
        with pytest.raises(ValueError, match=r"shape \(2, 7\), and crops and scales are of images") as caught:
            run([subject], Parameters(**options))
        assert "\n" not in str(caught.value)


def test_inputs_that_are_no_images_are_trained_on_without_augmentation():
    model = nn.Sequential(nn.Flatten(), nn.Linear(14, 3))
    recipe = {"epochs": 1, "learning_rate": 0.1, "batch_size": 3}
    before = model[1].weight.clone()
    fit(model, data("float64"), recipe=Recipe(**recipe))
    assert not torch.equal(model[1].weight, before)
    with pytest.raises(TrainingError, match=r"shape \(2, 7\), and augmentation"):
        fit(model, data("float64"), recipe=Recipe(**recipe, flip=True))


@pytest.mark.parametrize("kind", ["uint16", "float32"])
def test_deep_images_are_augmented_as_bytes_are(kind):
    """Pixels move and are mirrored whatever their type: the values of every channel stay the same set, or 0."""
    moved = pad_crop_flip(KINDS[kind], pad=0, flip=True, generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) or torch.equal(a, b.flip(-1)) for a, b in zip(moved, KINDS[kind], strict=True))
