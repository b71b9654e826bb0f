"""The architecture read back from names and shapes, for every kind of network that has a name."""

import pytest
import torch

from resnet_probe.checkpoint.architecture import TORCHVISION, align, head, read, stem
from resnet_probe.models import resolve


def shapes(name, **sizes):
    with torch.device("meta"):
        return {key: tuple(tensor.shape) for key, tensor in resolve(name, **sizes).state_dict().items()}


@pytest.mark.parametrize(
    "name",
    [
        *("resnet20", "resnet56", "resnet8-w4", "resnet20-B", "resnet20-C", "resnet14-B3x3", "cifar:resnet50"),
        *("resnet164-bottleneck", "resnet11-bottleneck-A", "resnet20-bottleneck-C", "resnet29-bottleneck-B3x3-preact"),
        *("resnet20-preact", "resnet20-B-preact", "resnet20-C-preact", "resnet29-bottleneck-preact"),
        *("resnet18-s2.2.2.2-w64-B", "cifar:resnet50-s3.4.6.3-w64-bottleneck", "resnet12-s2.1.2", "resnet20-w16.20.64"),
        *("resnet10-s2.2-w8", "resnet8-s1.1.1-w4-B", "resnet20-B-preactopen"),
        *("vgg11", "vgg16-w32", "vgg19-w2", "vgg5-c6.M.7.M", "vgg16-f512.512", "vgg13-nobn", "vgg13-nobias"),
        *("vgg16-c" + ".".join(["8.M"] * 4 + ["8"] * 8 + ["8.M"]), "vgg4-c8.M-f5-nobn-nobias", "lenet5-relu"),
    ],
)  # fmt: skip
def test_reads_our_networks(name):
    canonical = resolve(name).arch
    assert read(shapes(name)).arch == canonical
    assert read(shapes(name, num_classes=3, in_channels=1)).arch == canonical
    shuffled = dict(sorted(shapes(name).items()))  # safetensors files do not keep the order
    assert read(shuffled).arch == canonical


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "resnet34",
        "resnet50",
        "wide_resnet50_2",
        "resnext50_32x4d",
        "vgg11",
        "vgg16_bn",
        "densenet121",
        "mobilenet_v2",
        "mobilenet_v3_large",
        "efficientnet_b0",
        "convnext_tiny",
        "swin_t",
        "vit_b_16",
        "alexnet",
    ],
)
def test_reads_torchvisions_networks(name):
    assert read(shapes(f"torchvision:{name}")).arch == f"torchvision:{name}"
    assert read(shapes(f"torchvision:{name}", num_classes=7)).arch == f"torchvision:{name}"


@pytest.mark.parametrize("name", [name for names in TORCHVISION.values() for name in names])
def test_torchvision_knows_the_names(name):
    from torchvision.models import list_models

    assert name in list_models()


def test_notes_say_what_the_weights_leave_open():
    def notes(name):
        return " ".join(read(shapes(name)).notes)

    assert "a plain network has the same weights, --arch plain20-w4" in notes("resnet20-w4")
    assert read(shapes("plain56")).arch == "resnet56"
    assert "--arch plain20" not in notes("resnet20-preact")
    assert "it is --arch resnet20-B-preactraw" in notes("resnet20-B-preact")
    assert "activated input for projections only" in notes("resnet20-B-preactopen")
    assert "stride in the 3x3" in notes("resnet11-bottleneck")
    assert "4 stages" in notes("resnet18-s2.2.2.2-w64-B")
    assert "pool follows the last convolution" in notes("vgg16")
    assert "--arch lenet5" in notes("lenet5")
    assert notes("resnet20-B") == ""


def without(shapes, part):
    return {name: shape for name, shape in shapes.items() if part not in name}


@pytest.mark.slow
@pytest.mark.parametrize(
    "unknown",
    [
        {"weight": (3, 3)},
        {},
        without(shapes("resnet20"), "layer2.1."),  # a gap
        without(shapes("resnet20"), "layer2."),
        without(shapes("resnet20"), "layer1.0.conv2"),
        without(shapes("resnet20-C"), "layer1.1.downsample"),  # neither all blocks nor those that change shape
        {**shapes("resnet20-B"), "layer2.0.downsample.0.weight": (32, 16, 3, 3)},  # two kinds of projection
        {**shapes("resnet20-B"), "conv1.weight": (16, 3, 7, 7)},
        without(shapes("vgg11"), "features.5"),  # a norm is missing
        {**shapes("vgg11"), "features.0.weight": (64, 3, 5, 5)},
        {**shapes("vgg11"), "classifier.weight": (10, 2048)},
        {**shapes("torchvision:resnet18"), "layer2.0.conv1.weight": (128, 64, 5, 5)},
    ],
)
def test_unknown(unknown):
    assert read(unknown) is None


@pytest.mark.parametrize("everywhere", [True, False])
def test_vgg_with_dropout_between_the_layers(everywhere):
    """Dropout takes a number in the sequence, as a pool does; then the widths have to show where the pools are.

    It follows every ReLU, or only those that no pool follows, so that each convolution is as far from the next.
    """
    ours, theirs = shapes("vgg16-w4"), {}
    convolutions = [int(name.split(".")[1]) for name, shape in ours.items() if len(shape) == 4]
    for name, shape in ours.items():
        if name.startswith("features"):
            number = int(name.split(".")[1])
            before = max(index for index, first in enumerate(convolutions) if first <= number)
            number = number + before if everywhere else 4 * before + number - convolutions[before]
            theirs[f"features.{number}.{name.split('.')[2]}"] = shape
        else:
            theirs[f"classifier.2.{name.split('.')[1]}"] = shape
    reading = read(theirs)
    assert reading.arch == "vgg16-w4"
    assert "read as in VGG-16" in reading.notes[0]
    assert {align(theirs, ours)[name]: shape for name, shape in theirs.items()} == ours


def test_align_leaves_names_that_fit():
    ours = shapes("resnet20-B")
    assert all(old == new for old, new in align(ours, ours).items())
    assert align({"linear.weight": (10, 64), "other": (1,)}, ours) == {"linear.weight": "fc.weight", "other": "other"}


def test_head_and_stem():
    assert (head(shapes("resnet20")), stem(shapes("resnet20"))) == ("fc.weight", "conv1.weight")
    assert head(shapes("torchvision:vit_b_16")) == "heads.head.weight"
    assert stem(shapes("torchvision:vit_b_16")) == "conv_proj.weight"
    assert stem({"fc.weight": (3, 3)}) is None
    with pytest.raises(ValueError, match="without weights"):
        head({"bn.weight": (3,)})
