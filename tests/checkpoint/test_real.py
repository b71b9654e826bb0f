"""Checkpoints that others trained, on real images; needs ../shared, of which nothing is in this repository."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnet_probe.checkpoint import load

SHARED = Path(__file__).parents[3] / "shared"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not (SHARED / "checkpoints").is_dir(), reason="needs ../shared/checkpoints and ../shared/data"),
]


@pytest.fixture(scope="module")
def images():
    """CIFAR-10 test images and labels, read and normalised without the package: (1000, 3, 32, 32), (1000,)."""
    folders = sorted((SHARED / "data" / "cifar10" / "test").iterdir())
    files = [(path, label) for label, folder in enumerate(folders) for path in sorted(folder.iterdir())]
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path, _ in files]).astype(np.float32) / 255
    pixels = (pixels - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    return torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()), torch.tensor([label for _, label in files])


@pytest.mark.parametrize(
    ("file", "arch", "wrong"),
    [
        ("resnet20-12fca82f.th", "resnet20", 85),
        ("vgg16_half_jpeg.pth", "vgg16-w32", 117),
    ],
)
def test_errors_are_the_published_ones(images, file, arch, wrong):
    checkpoint = load(SHARED / "checkpoints" / file)
    assert (checkpoint.arch, checkpoint.num_classes, checkpoint.in_channels, checkpoint.input_size) == (arch, 10, 3, 32)
    assert checkpoint.metadata["best_prec1"] > 88
    pixels, labels = images
    assert len(labels) == 1000
    with torch.inference_mode():
        predictions = torch.cat([checkpoint.model(batch).argmax(1) for batch in pixels.split(250)])
    assert int((predictions != labels).sum()) == wrong
