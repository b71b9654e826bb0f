"""Which network a set of weights belongs to, read from names and shapes alone.

`read` names the architecture in the grammar of `resnet_probe.models`; `align` says which tensor of the file is which
of the model. Known are residual networks for small images in the key styles of torchvision (`layer1.0.conv1`,
`downsample.0`, `fc`), of the two best known CIFAR repositories (`linear`; `shortcut.0`) and of tutorials (`conv`,
`bn`), VGG networks in torchvision's style, LeNet-5, and torchvision's own networks.

What shapes cannot tell, such as whether a shortcut without weights is there at all, is decided by what is common, and
said in the notes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch

from resnet_probe.models import resolve
from resnet_probe.models.names import VGG_GROUPS, ResNetSpec, VGGSpec, vgg_layout

Shapes = Mapping[str, tuple[int, ...]]

# torchvision's networks, by a tensor that each of them has.
TORCHVISION: dict[str, tuple[str, ...]] = {
    "layer1.0.conv1.weight": (
        "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2",
        "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d",
    ),
    "features.0.weight": (
        "vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn", "alexnet",
    ),
    "features.conv0.weight": ("densenet121", "densenet161", "densenet169", "densenet201"),
    "features.0.0.weight": (
        "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large",
        "convnext_tiny", "convnext_small", "convnext_base", "convnext_large",
        "efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3", "efficientnet_b4",
        "efficientnet_v2_s", "efficientnet_v2_m", "swin_t", "swin_s", "swin_b",
    ),
    "class_token": ("vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32"),
}  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """An architecture, and what about it the weights left open."""

    arch: str
    notes: tuple[str, ...] = ()


def read(shapes: Shapes) -> Reading | None:
    """The network that tensors of these names and shapes belong to; None if it is no known one.

    Examples:
        >>> read({"conv1.weight": (6, 3, 5, 5), "conv2.weight": (16, 6, 5, 5), "fc1.weight": (120, 400)}).arch
        'lenet5-relu'
    """
    for reader in (_read_lenet, _read_resnet, _read_vgg, _read_torchvision):
        if reading := reader(shapes):
            return reading
    return None


def align(shapes: Shapes, target: Shapes) -> dict[str, str]:
    """The name in the model (`target`) of each tensor of a file; one that has no place in the model keeps its own.

    Names that are the model's already stay. Those of a VGG network are matched by their order, separately for
    convolutions, norms and linear layers, since dropout layers shift the numbers; all others by the habits of the
    known styles.
    """
    if all(name in shapes for name in target if not name.endswith("num_batches_tracked")):
        return {name: name for name in shapes}
    if "features.0.weight" in target:
        ours = _vgg_layers(target)
        theirs = _vgg_layers(shapes)
        layers = {old: new for kind in ours for old, new in zip(theirs[kind], ours[kind], strict=False)}
        return {name: _moved(name, layers) for name in shapes}
    return {name: _resnet_name(name, shapes) for name in shapes}


def head(shapes: Shapes) -> str:
    """Name of the classifier's weight (classes, …): the last weight of a model with these shapes.

    The last one of a Faster R-CNN is that of the boxes, so its classifier goes by its name.

    Raises ValueError if there is none.
    """
    weights = [name for name, shape in shapes.items() if len(shape) >= 2 and name.endswith("weight")]
    if not weights:
        raise ValueError("a network without weights; give one with a classifier at its end")
    return next((name for name in weights if name.endswith("box_predictor.cls_score.weight")), weights[-1])


def stem(shapes: Shapes) -> str | None:
    """Name of the first convolution's weight (filters, channels, height, width) in the model's order, if any."""
    return next((name for name, shape in shapes.items() if len(shape) == 4), None)


def _read_lenet(shapes: Shapes) -> Reading | None:
    expected = {"conv1.weight": (6, None, 5, 5), "conv2.weight": (16, 6, 5, 5), "fc1.weight": (120, 400)}
    for name, shape in expected.items():
        found = shapes.get(name, ())
        if len(found) != len(shape) or any(want not in (None, have) for want, have in zip(shape, found, strict=True)):
            return None
    note = "LeNet-5: read with ReLU and max pooling, as in tutorials; tanh and average pooling (1998) is --arch lenet5"
    return Reading("lenet5-relu", (note,))


def _resnet_name(name: str, shapes: Shapes) -> str:
    """Our name of a tensor of a residual network in any of the known styles."""
    name = re.sub(r"^conv\.", "conv1.", name)
    name = re.sub(r"^(linear|classifier)\.", "fc.", name)
    name = re.sub(r"^(layer\d+\.\d+)\.shortcut\.", r"\1.downsample.", name)
    if match := re.match(r"^(bn|bn1|norm)\.", name):
        stem = shapes.get("conv1.weight", shapes.get("conv.weight", (0,)))[0]
        first = shapes.get(f"{match.group(1)}.weight", (0,))[0] == stem
        name = ("bn1." if first else "norm.") + name[match.end() :]
    return name


@dataclass(frozen=True)
class _Block:
    """What the shapes of one residual block say: channels in, in its middle and out; `kernel` of its projection."""

    inputs: int
    width: int
    outputs: int
    preactivated: bool
    strided: bool
    kernel: tuple[int, ...] | None


def _read_resnet(shapes: Shapes) -> Reading | None:
    ours = {_resnet_name(name, shapes): shape for name, shape in shapes.items()}
    if ours.get("conv1.weight", ())[2:] != (3, 3):  # torchvision's networks for ImageNet begin with 7x7
        return None
    if any(".join." in name for name in ours):  # gated: exclusive and shortcut-only gates have the same tensors
        return None
    counts = _blocks_per_stage(ours)
    bottleneck = "layer1.0.conv3.weight" in ours
    stages = [
        [
            _read_block(ours, f"layer{stage}.{index}", bottleneck, strided=index == 0 and stage > 1)
            for index in range(count)
        ]
        for stage, count in enumerate(counts, start=1)
    ]
    blocks = [block for stage in stages for block in stage if block]
    if not counts or len(blocks) < sum(counts):
        return None
    shortcut = _read_shortcut(blocks)
    if shortcut is None:
        return None
    order = "bnafter" if "layer1.0.norm.weight" in ours else "post"
    if any(block.preactivated for block in blocks):
        order = "preactopen" if "norm.weight" not in ours else "preactraw" if "bn.weight" in shapes else "preact"
    widths = tuple(stage[0].width for stage in stages if stage[0])
    spec = ResNetSpec(counts, widths, "bottleneck" if bottleneck else "basic", shortcut, order)
    return Reading(spec.name, tuple(_resnet_notes(spec)))


def _read_block(shapes: Shapes, name: str, bottleneck: bool, *, strided: bool) -> _Block | None:
    layers = ["conv1", "conv2", "conv3", "bn1"] if bottleneck else ["conv1", "conv2", "bn1"]
    found = {layer: shapes.get(f"{name}.{layer}.weight", ()) for layer in layers}
    if any(len(shape) != (1 if layer == "bn1" else 4) for layer, shape in found.items()):
        return None
    outputs, inputs = found["conv1"][:2]
    projection = shapes.get(f"{name}.downsample.0.weight")
    return _Block(
        inputs=inputs,
        width=found["conv2" if bottleneck else "conv1"][0],
        outputs=found["conv3" if bottleneck else "conv2"][0],
        preactivated=found["bn1"][0] == inputs != outputs,
        strided=strided,
        kernel=None if projection is None else projection[2:],
    )


def _read_shortcut(blocks: list[_Block]) -> str | None:
    kernels = {block.kernel for block in blocks if block.kernel is not None}
    if not kernels:
        return "A"
    if all((block.kernel is not None) == (block.strided or block.inputs != block.outputs) for block in blocks):
        return "B" if kernels == {(1, 1)} else "B3x3" if kernels == {(3, 3)} else None
    return "C" if all(block.kernel == (1, 1) for block in blocks) else None


def _blocks_per_stage(shapes: Shapes) -> tuple[int, ...]:
    """Number of blocks of each stage; empty unless stages count from 1 and blocks from 0 without a gap."""
    found = {(int(match[1]), int(match[2])) for name in shapes if (match := re.match(r"layer(\d+)\.(\d+)\.", name))}
    stages = max((stage for stage, _ in found), default=0)
    if stages > len(found):  # numbers that jump: nothing is counted up to them
        return ()
    counts = tuple(sum(stage == wanted for stage, _ in found) for wanted in range(1, stages + 1))
    complete = {(stage, block) for stage, count in enumerate(counts, start=1) for block in range(count)}
    return counts if found == complete and all(counts) else ()


def _resnet_notes(spec: ResNetSpec) -> list[str]:
    notes = []
    if spec.shortcut == "A":
        note = "shortcuts without weights: read as option A (zero channels half before, half after)"
        if spec.order == "post":
            plain = ResNetSpec(spec.blocks, spec.widths, spec.block, "none")
            note += f"; a plain network has the same weights, --arch {plain.name}"
            note += ", and so have scaled shortcuts, dropout and other places of ReLU"
        notes.append(note)
    if spec.order in ("preact", "preactraw"):
        other = "preactraw" if spec.order == "preact" else "preact"
        name = ResNetSpec(spec.blocks, spec.widths, spec.block, spec.shortcut, other).name
        takes = {"preact": "the activated input where the shape changes", "preactraw": "each block's raw input"}
        notes.append(
            f"pre-activation: read with shortcuts from {takes[spec.order]}; from {takes[other]} it is --arch {name}"
        )
    if spec.order == "preactopen":
        notes.append("pre-activation without a norm at the end: read with the activated input for projections only")
    if spec.block == "bottleneck":
        notes.append("bottleneck blocks: read with the stride in the 3x3 convolution, as in most code")
    if len(spec.blocks) != 3:
        notes.append(
            f"3x3 first convolution and {len(spec.blocks)} stages: read without a stride before the second stage"
        )
    return notes


def _vgg_layers(shapes: Shapes) -> dict[str, list[str]]:
    """Module names of convolutions, norms and linear layers, each in the order of their numbers."""
    kinds: dict[str, list[tuple[int, str]]] = {"conv": [], "norm": [], "linear": []}
    for name, shape in shapes.items():
        match = re.fullmatch(r"((?:features?\.(\d+))|(?:(?:classifier|fc|linear)(?:\.(\d+))?))\.weight", name)
        if match:
            kind = {4: "conv", 2: "linear", 1: "norm"}.get(len(shape))
            if kind:
                kinds[kind].append((int(match[2] or match[3] or 0), match[1]))
    return {kind: [layer for _, layer in sorted(found)] for kind, found in kinds.items()}


def _moved(name: str, layers: Mapping[str, str]) -> str:
    layer, _, parameter = name.rpartition(".")
    return f"{layers[layer]}.{parameter}" if layer in layers else name


def _read_vgg(shapes: Shapes) -> Reading | None:
    layers = _vgg_layers(shapes)
    convolutions = [shapes[f"{layer}.weight"] for layer in layers["conv"]]
    linear = [shapes[f"{layer}.weight"] for layer in layers["linear"]]
    norm = bool(layers["norm"])
    if not convolutions or not linear or any(shape[2:] != (3, 3) for shape in convolutions):
        return None
    if norm and len(layers["norm"]) != len(convolutions):
        return None
    widths = [shape[0] for shape in convolutions]
    if linear[0][1] != widths[-1]:  # torchvision's, which flattens 7x7 pixels
        return None
    notes = []
    layout: list[int] = []
    numbers = [int(layer.split(".")[1]) for layer in layers["conv"]]
    # layers between two convolutions, besides norm and ReLU
    gaps = [after - before - (3 if norm else 2) for before, after in pairwise(numbers)]
    if set(gaps) <= {0, 1} and sum(gaps) < 5:
        for width, pooled in zip(widths, [*gaps, 1], strict=True):
            layout += [width, 0] if pooled else [width]
        notes.append("the weights do not show whether a pool follows the last convolution: read with one")
    else:
        usual = {tuple(entry for entry in vgg_layout(depth, widths[0]) if entry): depth for depth in VGG_GROUPS}
        if tuple(widths) not in usual:
            return None
        layout = list(vgg_layout(usual[tuple(widths)], widths[0]))
        notes.append(f"layer numbers do not show where the pools are: read as in VGG-{usual[tuple(widths)]}")
    bias = f"{layers['conv'][0]}.bias" in shapes
    spec = VGGSpec(tuple(layout), tuple(shape[0] for shape in linear[:-1]), norm, bias)
    return Reading(spec.name, tuple(notes))


def _read_torchvision(shapes: Shapes) -> Reading | None:
    for key, names in TORCHVISION.items():
        for name in names if key in shapes else ():
            with torch.device("meta"):
                model = resolve(f"torchvision:{name}")
            expected = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
            last = head(expected).removesuffix("weight")
            counted = {key for key in expected.keys() | shapes.keys() if not key.endswith("num_batches_tracked")}
            if all(
                key in expected and key in shapes and (key.startswith(last) or expected[key] == shapes[key])
                for key in counted
            ):
                return Reading(f"torchvision:{name}")
    return None
