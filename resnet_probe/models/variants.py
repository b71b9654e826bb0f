"""The networks of both tables of He 2016, by the names that the paper gives to their rows.

    HE2016_TABLE1["exclusive gating, b = -6"].arch(110)      # 'resnet110-gate6'
    HE2016_TABLE2["full pre-activation"].arch(164, bottleneck=True)
    HE2016_TABLE2["full pre-activation"].error(164)          # 5.46

Source: He, Zhang, Ren, Sun 2016 (arXiv 1603.05027), Tables 1 and 2: test error on CIFAR-10 in percent, median of five
runs. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .names import parse_resnet

FAILS_ABOVE = 20.0  # the paper prints "fail" for an error above this, in percent


@dataclass(frozen=True)
class Variant:
    """A row of a table.

    Attributes:
        tokens: what follows `resnet` and the depth in the network's name; empty for the original.
        published: printed error in percent by depth, 110 with basic and 164 with bottleneck blocks; None is "fail".
        family: `resnet`, or `plain` where the shortcut is multiplied by 0.
    """

    tokens: str
    published: Mapping[int, float | None] = field(default_factory=dict)
    family: str = "resnet"

    def arch(self, depth: int, *, bottleneck: bool = False) -> str:
        """Canonical name of the row's network with `depth` layers.

        Raises:
            ValueError: there is no such network of that depth (6n+2 layers, with bottleneck blocks 9n+2).
        """
        tokens = [f"{self.family}{depth}", "bottleneck" if bottleneck else "", self.tokens]
        return parse_resnet("cifar:" + "-".join(token for token in tokens if token)).name

    def error(self, depth: int) -> float | None:
        """The printed error in percent; None is "fail", an error above 20 %.

        Raises:
            LookupError: the paper prints nothing for this depth.
        """
        if depth not in self.published:
            printed = ", ".join(map(str, self.published)) or "no depth"
            raise LookupError(f"no printed error at depth {depth}; the paper has {printed}")
        return self.published[depth]


# Table 1: shortcuts of the post-activation network. The first factor is the shortcut's, the second the branch's.
HE2016_TABLE1: dict[str, Variant] = {
    "original": Variant("", {110: 6.61}),
    "constant scaling, 0 and 1": Variant("", {110: None}, family="plain"),
    "constant scaling, 0.5 and 1": Variant("h0.5", {110: None}),
    "constant scaling, 0.5 and 0.5": Variant("h0.5-f0.5", {110: 12.35}),
    "exclusive gating, b = 0": Variant("gate0", {110: None}),
    "exclusive gating, b = -1": Variant("gate1", {110: None}),
    "exclusive gating, b = -2": Variant("gate2", {110: None}),
    "exclusive gating, b = -3": Variant("gate3", {110: None}),
    "exclusive gating, b = -4": Variant("gate4", {110: None}),
    "exclusive gating, b = -5": Variant("gate5", {110: None}),
    "exclusive gating, b = -6": Variant("gate6", {110: 8.70}),
    "shortcut-only gating, b = 0": Variant("shortgate0", {110: 12.86}),
    "shortcut-only gating, b = -6": Variant("shortgate6", {110: 6.91}),
    "1x1 conv shortcut": Variant("C", {110: 12.22}),
    "dropout shortcut, 0.5": Variant("dropout0.5", {110: None}),
}

# Table 2: where batch norm and ReLU stand.
HE2016_TABLE2: dict[str, Variant] = {
    "original": Variant("", {110: 6.61, 164: 5.93}),
    "BN after addition": Variant("bnafter", {110: 8.17, 164: 6.50}),
    "ReLU before addition": Variant("relubefore", {110: 7.84, 164: 6.14}),
    "ReLU-only pre-activation": Variant("relupre", {110: 6.71, 164: 5.91}),
    "full pre-activation": Variant("preact", {110: 6.37, 164: 5.46}),
}
