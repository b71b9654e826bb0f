"""Parameters and multiply-adds that were printed somewhere, each with its source.

Printed numbers have the digits of the print: 0.27e6 is what "0.27M" says. What differs from them, and why, is in
`note`; `as_counted` builds the network that the source counted, where that is another one (see `variants`).
"""

from __future__ import annotations

from dataclasses import dataclass

HE15 = "He et al. 2015"
HE15_TABLE6 = "He et al. 2015, Table 6"
HE15_TABLE1 = "He et al. 2015, Table 1"
LI17 = "Li et al. 2017 (arXiv 1608.08710), Table 1"
TORCHVISION = "torchvision, documentation of its weights"
WRN = "Zagoruyko, Komodakis 2016 (arXiv 1605.07146), Table 5"

IMAGENET = (3, 224, 224)
CIFAR = (3, 32, 32)

OPTION_A = "zero-padding shortcuts, where torchvision's are 1x1 convolutions"
EARLY_STRIDE = "stride in the first 1x1 convolution of a stage, where torchvision's is in the 3x3"
SAME_AS_RESIDUAL = "the paper gives plain networks the parameters of the residual ones"


@dataclass(frozen=True)
class Published:
    """A network and what was printed about it.

    Attributes:
        title: its name in the papers.
        arch: its name for `models.resolve`.
        shape: `(C, H, W)` of an input.
        parameters, multiply_adds: as printed; None where no source prints them.
        parameters_source, multiply_adds_source: where.
        as_counted: key of `zoo.AS_COUNTED`: the network that the source of the multiply-adds counted, if another.
        note: what differs, and why.
    """

    title: str
    arch: str
    shape: tuple[int, int, int]
    parameters: float | None = None
    parameters_source: str | None = None
    multiply_adds: float | None = None
    multiply_adds_source: str | None = None
    as_counted: str | None = None
    note: str | None = None


ZOO: tuple[Published, ...] = (
    Published(
        "LeNet-5", "lenet5", (1, 32, 32), 60_000, "LeCun et al. 1998, section II.B",
        340_908, "LeCun et al. 1998, section II.B (connections, biases among them)", "lenet5",
        "as counted: maps of C3 see some maps of S2 only (Table I), pooling has weights and biases, biases count; ours "
        "has whole C3, free pooling and trains the output layer",
    ),
    Published(
        "AlexNet", "torchvision:alexnet", IMAGENET, 61_100_840, TORCHVISION, 0.714e9, TORCHVISION, None,
        "the one-tower network of Krizhevsky 2014 (arXiv 1404.5997), whose paper prints neither number",
    ),
    Published(
        "VGG-16", "torchvision:vgg16", IMAGENET, 138_357_544, TORCHVISION, 15.3e9, f"{HE15}, section 4.1", "vgg16",
        "as counted: convolutions alone, without the linear layers",
    ),
    Published(
        "VGG-19", "torchvision:vgg19", IMAGENET, 143_667_240, TORCHVISION, 19.6e9, f"{HE15}, section 3.3",
    ),
    Published(
        "GoogLeNet", "torchvision:googlenet", IMAGENET, 6_624_904, TORCHVISION,
        1.5e9, "Szegedy et al. 2014 (arXiv 1409.4842), section 1", None,
        "without the auxiliary heads; torchvision has 3x3 convolutions where the paper has 5x5, and batch norm",
    ),
    Published(
        "ResNet-18", "torchvision:resnet18", IMAGENET, 11_689_512, TORCHVISION, 1.8e9, HE15_TABLE1, "resnet18",
        f"as counted: {OPTION_A}",
    ),
    Published(
        "ResNet-34", "torchvision:resnet34", IMAGENET, 21_797_672, TORCHVISION, 3.6e9, HE15_TABLE1, "resnet34",
        f"as counted: {OPTION_A}",
    ),
    Published(
        "ResNet-50", "torchvision:resnet50", IMAGENET, 25_557_032, TORCHVISION, 3.8e9, HE15_TABLE1, "resnet50",
        f"as counted: {EARLY_STRIDE}",
    ),
    Published(
        "ResNet-101", "torchvision:resnet101", IMAGENET, 44_549_160, TORCHVISION, 7.6e9, HE15_TABLE1, "resnet101",
        f"as counted: {EARLY_STRIDE}",
    ),
    Published(
        "ResNet-152", "torchvision:resnet152", IMAGENET, 60_192_808, TORCHVISION, 11.3e9, HE15_TABLE1, "resnet152",
        f"as counted: {EARLY_STRIDE}",
    ),
    Published("ResNet-20", "resnet20", CIFAR, 0.27e6, HE15_TABLE6),
    Published("ResNet-32", "resnet32", CIFAR, 0.46e6, HE15_TABLE6),
    Published("ResNet-44", "resnet44", CIFAR, 0.66e6, HE15_TABLE6),
    Published("ResNet-56", "resnet56", CIFAR, 0.85e6, HE15_TABLE6, 1.25e8, LI17),
    Published("ResNet-110", "resnet110", CIFAR, 1.7e6, HE15_TABLE6, 2.53e8, LI17),
    Published("ResNet-1202", "resnet1202", CIFAR, 19.4e6, HE15_TABLE6),
    Published("Plain-20", "plain20", CIFAR, 0.27e6, HE15_TABLE6, note=SAME_AS_RESIDUAL),
    Published("Plain-32", "plain32", CIFAR, 0.46e6, HE15_TABLE6, note=SAME_AS_RESIDUAL),
    Published("Plain-44", "plain44", CIFAR, 0.66e6, HE15_TABLE6, note=SAME_AS_RESIDUAL),
    Published("Plain-56", "plain56", CIFAR, 0.85e6, HE15_TABLE6, 1.25e8, LI17, note=SAME_AS_RESIDUAL),
    Published("Plain-110", "plain110", CIFAR, 1.7e6, HE15_TABLE6, 2.53e8, LI17, note=SAME_AS_RESIDUAL),
    Published("ResNet-110, pre-activation", "resnet110-preact", CIFAR, 1.7e6, WRN),
    Published("ResNet-164, pre-activation", "resnet164-bottleneck-preact", CIFAR, 1.7e6, WRN),
    Published(
        "VGG-16, small images", "vgg16-f512", CIFAR, 15.0e6, LI17, 3.13e8, LI17,
        note="13 convolutions, one hidden linear layer of 512; 15 weighted layers",
    ),
    Published(
        "VGG-16, one linear layer", "vgg16", CIFAR, note="13 convolutions and the classifier; 14 weighted layers",
    ),
)  # fmt: skip
