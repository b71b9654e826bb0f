"""The units of a CIFAR ResNet as polynomials, from its depth alone: nothing is built or traced."""

from dataclasses import dataclass

from resnet_probe.analyses.paths.lengths import Polynomial, known_unit
from resnet_probe.limits import DEEPEST

LAYERS_PER_BLOCK = {"basic": 2, "bottleneck": 3}


@dataclass(frozen=True)
class CifarResNet:
    """What the depth of a CIFAR ResNet says about it.

    Attributes:
        depth: layers with weights on the longest path: the first convolution, those of the blocks, and the classifier.
        block: "basic" (two 3x3 convolutions) or "bottleneck" (1x1, 3x3, 1x1).
        blocks: number of residual blocks, in three equal stages.
        note: how the depth was read where it can be read in two ways, else empty.
    """

    depth: int
    block: str
    blocks: int
    note: str = ""


def cifar_resnet(depth: int) -> CifarResNet:
    """Read a depth as 6n+2 (basic blocks), or else as 9n+2 (bottleneck blocks).

    Raises:
        ValueError: no CIFAR ResNet has this depth; the message names the nearest that exist.

    Source: He et al. 2015, arXiv 1512.03385, section 4.2 (6n+2); He et al. 2016, arXiv 1603.05027 (9n+2).
    """
    if depth > DEEPEST:
        raise ValueError(
            f"depth {depth} is above {DEEPEST}, the largest for which paths are counted; give a smaller one"
        )
    basic, bottleneck = (depth >= size + 2 and (depth - 2) % size == 0 for size in (6, 9))
    if not basic and not bottleneck:
        above_all = max(depth, 8) + 19  # at least one depth of either kind above
        exist = sorted({*range(8, above_all, 6), *range(11, above_all, 9)})
        below = [candidate for candidate in exist if candidate < depth][-1:]
        above = [candidate for candidate in exist if candidate > depth]
        nearest = " and ".join(str(candidate) for candidate in (below + above)[:2])
        raise ValueError(
            f"no CIFAR ResNet has depth {depth}; depths are 6n+2 (8, 14, 20, ...; two layers a block)"
            f" or 9n+2 (11, 20, 29, ...; three layers a block), and the nearest are {nearest}"
        )
    if not basic:
        return CifarResNet(depth, "bottleneck", (depth - 2) // 3)
    note = ""
    if bottleneck:
        note = (
            f"read as 6n+2, {(depth - 2) // 2} blocks of two layers;"
            f" for 9n+2, {(depth - 2) // 3} bottleneck blocks, use --arch resnet{depth}-bottleneck"
        )
    return CifarResNet(depth, "basic", (depth - 2) // 2, note)


def resnet_polynomials(depth: int, unit: str) -> tuple[Polynomial, ...]:
    """The units of a CIFAR ResNet with shortcuts without weights (option A), in order.

    A block adds one module to the paths that take its residual branch, and two or three layers. The first
    convolution and the classifier lie on every path: they are layers, but not modules.

    Args:
        depth: 6n+2, or else 9n+2.
        unit: "module" or "layer".

    Returns:
        One polynomial per unit; (1, 1) is a block that may be passed (length 0) or taken (length 1).

    Raises:
        ValueError: no such depth.
        LookupError: an unknown unit.

    Examples:
        >>> resnet_polynomials(8, "layer")
        ((0, 1), (1, 0, 1), (1, 0, 1), (1, 0, 1), (0, 1))
    """
    network = cifar_resnet(depth)
    if known_unit(unit) == "module":
        return ((1, 1),) * network.blocks
    block = (1, *[0] * (LAYERS_PER_BLOCK[network.block] - 1), 1)
    return ((0, 1), *[block] * network.blocks, (0, 1))
