"""The networks for detection and segmentation, beside those of torchvision that they are like."""

import pytest
import torch
import torchvision

from resnet_probe import checkpoint
from resnet_probe.models import DENSE, family_of, resolve
from resnet_probe.models.trunks import narrow_resnet18
from resnet_probe.unraveled import unravel


def test_the_trunk_is_torchvisions_resnet18_with_half_of_the_channels():
    theirs = {name: tuple(t.shape) for name, t in torchvision.models.resnet18().state_dict().items()}
    ours = {name: tuple(t.shape) for name, t in narrow_resnet18().state_dict().items()}
    assert [*ours] == [name for name in theirs if not name.startswith("fc")]
    for name, shape in ours.items():
        halved = tuple(size if size in (1, 3, 7) else size // 2 for size in theirs[name])
        assert shape == halved, name


@pytest.mark.parametrize("name", DENSE)
def test_the_trunk_can_be_unraveled_in_its_place(name):
    model = resolve(name, num_classes=5).eval()
    images = torch.rand(2, 3, 64, 64)
    detects = name.startswith("faster")
    net = unravel(model, [*images] if detects else images, at="backbone.body" if detects else "backbone")
    assert len(net.blocks) == 8
    assert (model.arch, family_of(name)) == (name, DENSE[name])


def test_images_of_several_sizes_are_detected_in_together():
    model = resolve("fasterrcnn_resnet18_fpn", num_classes=5).eval()
    with torch.no_grad():
        found = model([torch.rand(3, 50, 70), torch.rand(3, 96, 64)])
    for each, (height, width) in zip(found, ((50, 70), (96, 64)), strict=True):
        assert bool((each["boxes"][:, 2] <= width).all())
        assert bool((each["boxes"][:, 3] <= height).all())


@pytest.mark.parametrize("name", DENSE)
def test_grey_images_are_refused(name):
    with pytest.raises(ValueError, match="takes 3"):
        resolve(name, in_channels=1)


@pytest.mark.parametrize(
    ("arch", "classes"),
    [("fasterrcnn_resnet18_fpn", 7), ("fcn_resnet18", 7), ("torchvision:lraspp_mobilenet_v3_large", 21)],
)
def test_weights_say_how_many_classes_there_are(tmp_path, arch, classes):
    model = resolve(arch, num_classes=classes)
    torch.save(model.state_dict(), tmp_path / "net.pth")
    found = checkpoint.load(tmp_path / "net.pth", arch=arch)
    assert found.num_classes == classes
    for name, tensor in model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], tensor)
    with torch.no_grad():
        found.model([torch.rand(3, 64, 64)] if "rcnn" in arch else torch.rand(1, 3, 64, 64))


@pytest.mark.parametrize("name", ["fcn_resnet50", "fasterrcnn_mobilenet_v3_large_320_fpn"])
def test_torchvisions_networks_are_built_without_weights(name):
    model = resolve(f"torchvision:{name}", num_classes=4)
    assert (
        model.state_dict().keys()
        == torchvision.models.get_model(
            name, weights=None, weights_backbone=None, num_classes=4, **({"aux_loss": True} if "fcn" in name else {})
        )
        .state_dict()
        .keys()
    )
