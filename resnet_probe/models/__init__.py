"""Networks by name: those of the papers, torchvision's, timm's, and the user's own.

Examples:
    >>> from resnet_probe.models import resolve
    >>> resolve("resnet110-preact").arch
    'resnet110-preact'

Names of our own networks are a family with a depth, then tokens in any order:

- `resnet56`: CIFAR ResNet, 6n+2 layers, three stages of n blocks with 16, 32, 64 filters, option A shortcuts. Tokens:
  `A`, `B`, `C` (shortcuts: zero-padding, 1x1 projection where the shape changes, 1x1 projection everywhere), `B3x3`
  (3x3 projection); `bottleneck` (9n+2 layers, option B by default); `preact` (full pre-activation, He 2016),
  `preactraw` (each shortcut takes the block's raw input), `preactopen` (raw input but for projections, and no BN-ReLU
  after the last block), `bnafter`, `relubefore`, `relupre` (the other orders of He 2016, Table 2); one of `h0.5`,
  `f0.5` or both (shortcut and branch times a factor), `gate6`, `shortgate6` (exclusive and shortcut-only gating, with
  biases that start at -6), `dropout0.5` (He 2016, Table 1); `w32` (filters of the first stage, doubled from stage to
  stage), `w16.32.128` (filters of each stage); `s2.2.2.2` (blocks of each stage, three or any other number):
  `resnet18-s2.2.2.2-w64-B` is the ResNet-18 for CIFAR that many use.
- `plain56`: the same layers without shortcuts; tokens `bottleneck`, `w…`, `s…`.
- `vgg11`, `vgg13`, `vgg16`, `vgg19`: batch norm, one linear classifier. Tokens: `w32` (filters of the first group;
  then 2, 4, 8, 8 times as many), `c64.M.128.M` (any layout, M for a max pool; the depth is the number of convolutions
  plus 3), `f512.512` (hidden linear layers), `nobn`, `nobias`.
- `fasterrcnn_resnet18_fpn` and `fcn_resnet18`: detection and segmentation on a narrow ResNet-18 with a feature pyramid,
  for images of about 100 pixels; `num_classes` counts the background.
- `gpt4-w128`: a small GPT-2 of 4 blocks, 128 values wide; tokens are bytes.
- `lenet5` (tanh and average pooling), `lenet5-relu` (ReLU and max pooling); they take 32x32 images only, all others
  any size from 8x8.

`cifar:` may stand in front of any of these, and has to for `cifar:resnet50` and `cifar:resnet152`, whose bare names
mean other networks to most people. Others are `torchvision:NAME`, `timm:NAME`, `hf:NAME` (a configuration file of
transformers, its folder, or a type of model), `package.module:factory` and `file.py:factory`.

`MODELS` maps families to builders, `resolve` builds any network by name; `variants` has the rows of He 2016's tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import nn

from resnet_probe.factories import suggest

from .detection import faster_rcnn
from .external import factory_model, timm_model, torchvision_model, torchvision_names
from .gpt import GPT, gpt
from .huggingface import huggingface_model
from .lenet import LeNet5, lenet
from .names import DENSE, LeNetSpec, ResNetSpec, VGGSpec, family_of, parse_gpt, parse_lenet, parse_resnet, parse_vgg
from .resnet import ResNet, resnet
from .segmentation import fcn
from .vgg import VGG, vgg

__all__ = [
    "DENSE",
    "GPT",
    "MODELS",
    "VGG",
    "LeNet5",
    "LeNetSpec",
    "ResNet",
    "ResNetSpec",
    "VGGSpec",
    "family_of",
    "parse_gpt",
    "parse_lenet",
    "parse_resnet",
    "parse_vgg",
    "resolve",
]

MODELS: dict[str, Callable[..., nn.Module]] = {
    "resnet": resnet,
    "plain": resnet,
    "vgg": vgg,
    "lenet": lenet,
    "gpt": gpt,
    "fasterrcnn": faster_rcnn,
    "fcn": fcn,
}

_LIBRARIES: dict[str, Callable[..., nn.Module]] = {
    "torchvision": torchvision_model,
    "timm": timm_model,
    "hf": huggingface_model,
}
_EXAMPLES = [f"{family}{depth}" for family in ("resnet", "plain") for depth in (20, 32, 44, 56, 110, 1202)]
_EXAMPLES += ["resnet164-bottleneck", "resnet110-preact", "vgg11", "vgg13", "vgg16", "vgg19", "lenet5", *DENSE]


def resolve(arch: str, *, num_classes: int | None = None, in_channels: int | None = None) -> nn.Module:
    """Build the network called `arch` with random weights, in training mode.

    The weights are drawn from torch's global generator, as those of every `nn.Module`. `num_classes` and `in_channels`
    default to 10 and 3 for our own networks of images, and to their own defaults for all others. Our own have the
    attributes `arch` (canonical name), `num_classes` and `in_channels`. Raises LookupError for an unknown name (with
    the closest known ones), ValueError for a known family with details that do not exist.
    """
    if arch.endswith(".py"):
        return factory_model(f"{arch}:")  # which tells what the file has
    if family := family_of(arch):
        sizes = {"num_classes": num_classes, "in_channels": in_channels}
        return MODELS[family](arch, **{name: value for name, value in sizes.items() if value is not None})
    prefix, colon, rest = arch.partition(":")
    if prefix in _LIBRARIES and rest:
        return _LIBRARIES[prefix](rest, num_classes=num_classes, in_channels=in_channels)
    if colon and prefix != "cifar":
        return factory_model(arch, num_classes=num_classes, in_channels=in_channels)
    name = rest if prefix == "cifar" else arch
    hint = suggest(name, [*_EXAMPLES, *torchvision_names()])
    for theirs in torchvision_names():
        hint = re.sub(rf" {theirs}\b", f" torchvision:{theirs}", hint)
    raise LookupError(
        f"unknown network {arch!r}{hint} (also timm:NAME, hf:NAME, package.module:factory and file.py:factory)"
    )
