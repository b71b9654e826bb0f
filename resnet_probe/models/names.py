"""Names of the package's networks: what `resnet110-preact` or `vgg16-w32` stands for, and back.

A name is a family with a depth, then tokens joined by `-` in any order. `ResNetSpec`, `VGGSpec` and `LeNetSpec` are
what a name means; `parse_resnet`, `parse_vgg` and `parse_lenet` read a name, and the `name` of a spec is its canonical
spelling. The grammar is in the docstring of `resnet_probe.models`. Nothing here needs torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from resnet_probe.limits import DEEPEST, MOST_STAGES, WIDEST

SHORTCUTS = {
    "A": "strided slicing and zero channels, no parameters",
    "B": "1x1 projection where the shape changes, identity elsewhere",
    "B3x3": "3x3 projection where the shape changes, identity elsewhere",
    "C": "1x1 projection in every block",
}
ORDERS = {  # post-activation, the addition before the activation (He 2015), has no token
    "bnafter": "batch norm after the addition, then ReLU (He 2016, Fig. 4b)",
    "relubefore": "ReLU at the end of the branch, nothing after the addition (Fig. 4c)",
    "relupre": "ReLU before each convolution, BN after it; shared with the shortcut where preact shares (Fig. 4d)",
    "preact": "full pre-activation, in the first block and where the shape changes shared with the shortcut (He 2016)",
    "preactraw": "full pre-activation inside the branch; every shortcut takes the block's raw input",
    "preactopen": "full pre-activation, shared only where the shortcut is a projection; no BN-ReLU at the end",
}
JOINS = {  # what stands in place of shortcut + branch (He 2016, Table 1); each with an example of its number
    "h0.5": "the shortcut times 0.5",
    "f0.5": "the residual branch times 0.5",
    "gate6": "exclusive gating: (1 - g) shortcut + g branch; g a 1x1 convolution and a sigmoid, bias -6 at first",
    "shortgate6": "shortcut-only gating: (1 - g) shortcut + branch",
    "dropout0.5": "dropout on the shortcut, of half the values",
}
VGG_GROUPS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}  # Simonyan 2015, Table 1
DENSE = {  # what answers for places in an image, not for the image; each is one network
    "fasterrcnn_resnet18_fpn": "fasterrcnn",
    "fcn_resnet18": "fcn",
}
_IMAGENET = (18, 34, 50, 101, 152)  # He 2015, Table 1: bare names that mean torchvision's networks to most people


@dataclass(frozen=True)
class ResNetSpec:
    """A residual network for small images, or, with the shortcut `none`, the plain network of the same layers.

    `blocks`: residual blocks per stage. `widths`: filters of the 3x3 convolutions per stage (a bottleneck block puts
    out four times as many). `block`: `basic` or `bottleneck`. `shortcut`: a key of `SHORTCUTS`, or `none`. `order`:
    `post` or a key of `ORDERS`. At most one of the following differs from its default, and then only with the order
    `post`: `factors` of shortcut and branch; `gate` (`exclusive` or `shortcut`) with `gate_bias`, what the biases of
    the gates start from, 0 or less; `dropout`, the share of the shortcut's values that training drops.
    """

    blocks: tuple[int, ...]
    widths: tuple[int, ...] = (16, 32, 64)
    block: str = "basic"
    shortcut: str = "A"
    order: str = "post"
    factors: tuple[float, float] = (1.0, 1.0)
    gate: str = ""
    gate_bias: int = 0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if len(self.blocks) > MOST_STAGES or self.depth > DEEPEST or max(self.widths) > WIDEST:
            raise ValueError(
                f"{self.depth} layers in {len(self.blocks)} stages, {max(self.widths)} channels; give at most "
                f"{DEEPEST:,} layers, {MOST_STAGES} stages and {WIDEST:,} channels"
            )
        if len(self.widths) != len(self.blocks) or min(self.blocks + self.widths) < 1:
            raise ValueError(
                f"blocks {self.blocks} and widths {self.widths} per stage; give as many of both, each 1 or more"
            )
        if self.shortcut == "none" and self.order != "post":
            raise ValueError(
                f"a plain network with order {self.order}; plain networks have post-activation only, drop the token"
            )
        joins = self._joins
        if len(joins) > 1 + ("h" in joins and "f" in joins):
            raise ValueError(f"{' and '.join(joins.values())} exclude each other; give one of them")
        if joins and (self.shortcut == "none" or self.order != "post"):
            where = "a plain network" if self.shortcut == "none" else f"order {self.order}"
            raise ValueError(
                f"{where} with {'-'.join(joins.values())}; that goes with post-activation residual networks only"
            )
        if not all(0 < factor < 1000 and round(factor, 4) == factor for factor in self.factors):
            raise ValueError(
                f"factors {self.factors} of shortcut and branch; give numbers above 0 with at most 4 decimals "
                "(without its shortcut the network is a plain one)"
            )
        if not (0 <= self.dropout < 1 and round(self.dropout, 4) == self.dropout):
            raise ValueError(f"dropout {self.dropout:g}; give a ratio from 0 to below 1 with at most 4 decimals")
        if self.gate not in ("", "exclusive", "shortcut") or self.gate_bias > 0 or (self.gate_bias and not self.gate):
            raise ValueError(
                f"gate {self.gate!r} with bias {self.gate_bias}; give exclusive or shortcut with a bias of 0 or less"
            )

    @property
    def _joins(self) -> dict[str, str]:
        """Tokens of what differs from the plain sum of shortcut and branch, by kind."""
        tokens = {}
        for kind, factor in zip("hf", self.factors, strict=True):
            if factor != 1:
                tokens[kind] = f"{kind}{_decimal(factor)}"
        if self.gate:
            tokens["gate"] = f"{'gate' if self.gate == 'exclusive' else 'shortgate'}{-self.gate_bias}"
        if self.dropout:
            tokens["dropout"] = f"dropout{_decimal(self.dropout)}"
        return tokens

    @property
    def layers_per_block(self) -> int:
        """Convolutions in one residual branch."""
        return 2 if self.block == "basic" else 3

    @property
    def expansion(self) -> int:
        """Output channels of a block, in multiples of its width."""
        return 1 if self.block == "basic" else 4

    @property
    def depth(self) -> int:
        """Weighted layers: the first convolution, those of the branches, and the classifier."""
        return self.layers_per_block * sum(self.blocks) + 2

    @property
    def name(self) -> str:
        """The canonical name, which `parse_resnet` reads back to an equal spec."""
        plain = self.shortcut == "none"
        tokens = []
        if len(self.blocks) != 3 or len(set(self.blocks)) != 1:
            tokens.append("s" + _dotted(self.blocks))
        if self.widths != _doubling(self.widths[0], len(self.blocks)):
            tokens.append("w" + _dotted(self.widths))
        elif self.widths[0] != 16:
            tokens.append(f"w{self.widths[0]}")
        if self.block == "bottleneck":
            tokens.append("bottleneck")
        if not plain and self.shortcut != _default_shortcut(self.block):
            tokens.append(self.shortcut)
        if self.order != "post":
            tokens.append(self.order)
        tokens += self._joins.values()
        prefix = "cifar:" if not plain and not tokens and self.depth in _IMAGENET else ""
        return prefix + "-".join([f"{'plain' if plain else 'resnet'}{self.depth}", *tokens])


@dataclass(frozen=True)
class VGGSpec:
    """A VGG network for small images.

    `layout`: widths of the 3x3 convolutions in order, 0 for a 2x2 max pool; `hidden`: widths of hidden linear layers.
    """

    layout: tuple[int, ...]
    hidden: tuple[int, ...] = ()
    norm: bool = True
    bias: bool = True

    def __post_init__(self) -> None:
        if len(self.layout) + len(self.hidden) > DEEPEST or max(self.layout + self.hidden) > WIDEST:
            raise ValueError(
                f"{self.depth} layers, {max(self.layout + self.hidden)} channels; give at most {DEEPEST:,} layers and "
                f"{WIDEST:,} channels"
            )

    @property
    def depth(self) -> int:
        """Convolutions plus 3: VGG networks are named with the paper's three linear layers, whatever the classifier."""
        return sum(width > 0 for width in self.layout) + 3

    @property
    def name(self) -> str:
        """The canonical name, which `parse_vgg` reads back to an equal spec."""
        tokens = []
        if self.depth in VGG_GROUPS and self.layout == vgg_layout(self.depth, self.layout[0]):
            if self.layout[0] != 64:
                tokens.append(f"w{self.layout[0]}")
        else:
            tokens.append("c" + ".".join(str(width) if width else "M" for width in self.layout))
        if self.hidden:
            tokens.append("f" + _dotted(self.hidden))
        tokens += [token for token, absent in (("nobn", not self.norm), ("nobias", not self.bias)) if absent]
        return "-".join([f"vgg{self.depth}", *tokens])


@dataclass(frozen=True)
class LeNetSpec:
    """LeNet-5; `relu`: ReLU and max pooling, as in tutorials, where the paper has tanh and averages."""

    relu: bool = False

    @property
    def name(self) -> str:
        """The canonical name."""
        return "lenet5-relu" if self.relu else "lenet5"


@dataclass(frozen=True)
class GPTSpec:
    """A small GPT of `depth` blocks, each attention and linear layers, `width` values wide."""

    depth: int
    width: int = 128

    @property
    def heads(self) -> int:
        """Of the attention, 32 values each."""
        return self.width // 32

    @property
    def name(self) -> str:
        """The canonical name."""
        return f"gpt{self.depth}-w{self.width}"


def vgg_layout(depth: int, width: int = 64) -> tuple[int, ...]:
    """Layout of VGG-`depth` (11, 13, 16, 19) whose first convolution has `width` filters.

    The five groups have width, 2, 4, 8 and 8 times as many filters, and a pool (0) after each.
    """
    groups = zip(VGG_GROUPS[depth], (1, 2, 4, 8, 8), strict=True)
    return tuple(entry for count, factor in groups for entry in (factor * width,) * count + (0,))


def parse_resnet(name: str) -> ResNetSpec:
    """Read a `resnet…` or `plain…` name.

    Raises ValueError for a depth that does not exist and for an unknown or repeated token.
    """
    family, depth, tokens = _split(name)
    plain = family == "plain"
    allowed = {"s": r"s\d+(\.\d+)*", "w": r"w\d+(\.\d+)*", "block": "bottleneck"}
    listed = "s2.2.2 (blocks per stage), w32 (first width), bottleneck"
    if not plain:
        allowed |= {"shortcut": "|".join(SHORTCUTS), "order": "|".join(ORDERS)}
        number = r"\d{1,3}(\.\d{1,4})?"
        allowed |= {"h": f"h{number}", "f": f"f{number}", "gate": r"(short)?gate\d{1,3}", "dropout": f"dropout{number}"}
        listed += f", {', '.join(SHORTCUTS)}, {', '.join(ORDERS)}, {', '.join(JOINS)}"
    given = _tokens(name, tokens, allowed, listed)
    if depth in _IMAGENET and not plain and not tokens and not name.startswith("cifar:"):
        raise ValueError(f"resnet{depth} is a network for ImageNet; give {_ours(depth)} or torchvision:resnet{depth}")
    block = given.get("block", "basic")
    blocks = _numbers(given["s"]) if "s" in given else _equal_stages(name, family, depth, block)
    widths = _numbers(given.get("w", "w16"))
    if len(widths) == 1:
        widths = _doubling(widths[0], len(blocks))
    shortcut = "none" if plain else given.get("shortcut", _default_shortcut(block))
    try:
        spec = ResNetSpec(blocks, widths, block, shortcut, given.get("order", "post"), **_joined(given))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if spec.depth != depth:
        raise ValueError(
            f"{name}: {sum(blocks)} {block} blocks make depth {spec.depth}; write {family}{spec.depth}-{given['s']}"
        )
    return spec


def parse_vgg(name: str) -> VGGSpec:
    """Read a `vgg…` name.

    Raises ValueError for a depth other than 11, 13, 16, 19 without a layout, and for an unknown or repeated token.
    """
    _, depth, tokens = _split(name)
    allowed = {"w": r"w\d+", "c": r"c\d+(\.(\d+|M))*", "f": r"f\d+(\.\d+)*", "nobn": "nobn", "nobias": "nobias"}
    given = _tokens(
        name, tokens, allowed, "w32 (first width), c64.M.128.M (layout), f512.512 (hidden linear layers), nobn, nobias"
    )
    if "c" in given:
        layout = tuple(0 if entry == "M" else int(entry) for entry in given["c"][1:].split("."))
        if "w" in given or VGGSpec(layout).depth != depth:
            right = f"vgg{VGGSpec(layout).depth}-{given['c']}"
            raise ValueError(f"{name}: depth or width do not go with the layout; write {right}, without a width")
    elif depth not in VGG_GROUPS:
        raise ValueError(
            f"{name}: there is no vgg{depth}; depths are 11, 13, 16 and 19, or give the layout, as in vgg5-c64.M.128.M"
        )
    else:
        layout = vgg_layout(depth, int(given.get("w", "w64")[1:]))
    if 0 in (int(entry) for token in ("w", "c", "f") for entry in re.findall(r"\d+", given.get(token, ""))):
        raise ValueError(f"{name}: a width of 0; give widths of 1 or more")
    return VGGSpec(layout, _numbers(given["f"]) if "f" in given else (), "nobn" not in given, "nobias" not in given)


def parse_lenet(name: str) -> LeNetSpec:
    """Read `lenet5` or `lenet5-relu`. Raises ValueError otherwise."""
    _, depth, tokens = _split(name)
    if depth != 5:
        raise ValueError(f"{name}: there is no lenet{depth}; the network is lenet5")
    return LeNetSpec("relu" in _tokens(name, tokens, {"relu": "relu"}, "relu"))


def parse_gpt(name: str) -> GPTSpec:
    """Read `gpt…`, such as `gpt4-w128`. Raises ValueError for a width that 32 does not divide, and as for all names."""
    _, depth, tokens = _split(name)
    given = _tokens(name, tokens, {"w": r"w\d+"}, "w and a width, such as w128")
    width = int(given.get("w", "w128")[1:])
    if width % 32 or not 0 < width <= WIDEST or not 0 < depth <= DEEPEST:
        raise ValueError(f"{name}: depth {depth} and width {width}; give a depth of 1 or more and a multiple of 32")
    return GPTSpec(depth, width)


def family_of(name: str) -> str | None:
    """The family of a name of ours, right or wrong in its details; None for anything else.

    `resnet`, `plain`, `vgg`, `lenet`, `gpt`; or `fasterrcnn` and `fcn`, whose one network is in DENSE.
    """
    if name in DENSE:
        return DENSE[name]
    match = re.fullmatch(r"(?:cifar:)?(resnet|plain|vgg|lenet|gpt)\d+(-.*)?", name)
    return match.group(1) if match else None


def _split(name: str) -> tuple[str, int, list[str]]:
    head, *tokens = name.removeprefix("cifar:").split("-")
    match = re.fullmatch(r"([a-z]+)(\d+)", head)
    if match is None:
        raise ValueError(f"{name}: a name is a family with a depth and tokens, such as resnet56-B or vgg16-w32")
    return match.group(1), int(match.group(2)), tokens


def _tokens(name: str, tokens: list[str], allowed: dict[str, str], listed: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for token in tokens:
        kind = next((kind for kind, pattern in allowed.items() if re.fullmatch(pattern, token)), None)
        if kind is None:
            raise ValueError(f"{name}: unknown token {token!r}; allowed are {listed}")
        if kind in given:
            raise ValueError(f"{name}: {given[kind]} and {token} exclude each other; give one")
        given[kind] = token
    return given


def _equal_stages(name: str, family: str, depth: int, block: str) -> tuple[int, ...]:
    step = 3 * (2 if block == "basic" else 3)
    blocks, rest = divmod(depth - 2, step)
    if rest == 0 and blocks >= 1:
        return (blocks,) * 3
    near = " and ".join(str(step * n + 2) for n in (blocks, blocks + 1) if n >= 1)
    other = f"; give {_ours(depth)} or torchvision:resnet{depth}" if depth in _IMAGENET and family == "resnet" else ""
    raise ValueError(
        f"{name}: no {family} network of {block} blocks has {depth} layers; depths are {step}n+2, near {near}{other}"
    )


def _ours(depth: int) -> str:
    """The network for small images that may be meant by the name of an ImageNet network."""
    if (depth - 2) % 6 == 0:
        return f"cifar:resnet{depth} (6n+2 layers)"
    stages = {18: "2.2.2.2", 34: "3.4.6.3", 101: "3.4.23.3"}[depth]
    return f"resnet{depth}-s{stages}-w64-{'B' if depth < 50 else 'bottleneck'} (the same stages for small images)"


def _joined(given: dict[str, str]) -> dict[str, Any]:
    """The fields of a spec that the tokens of `JOINS` set."""
    gate = given.get("gate", "")
    return {
        "factors": (float(given.get("h", "h1")[1:]), float(given.get("f", "f1")[1:])),
        "gate": "" if not gate else "shortcut" if gate.startswith("short") else "exclusive",
        "gate_bias": -int(gate.removeprefix("short").removeprefix("gate") or 0),
        "dropout": float(given.get("dropout", "dropout0").removeprefix("dropout")),
    }


def _decimal(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _default_shortcut(block: str) -> str:
    return "A" if block == "basic" else "B"


def _doubling(first: int, stages: int) -> tuple[int, ...]:
    return tuple(first * 2**stage for stage in range(stages))


def _numbers(token: str) -> tuple[int, ...]:
    return tuple(int(number) for number in token[1:].split("."))


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
