"""The grids of the papers, as literal data; every part can be given another value.

A preset names networks with `{depth}` in their names, styles, depths and seeds; `cells_of` makes the cells of all
combinations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnet_probe.analyses.grid.cells import Cell


@dataclass(frozen=True)
class Preset:
    """A grid. archs: names with `{depth}`; source: what it repeats."""

    archs: tuple[str, ...]
    depths: tuple[int, ...]
    source: str
    recipe: str = "he2015"
    styles: tuple[str, ...] = ("normal",)
    seeds: int = 5
    lesions: bool = False  # how each network bears the deletion of blocks is measured at the end


PRESETS: dict[str, Preset] = {
    "degradation": Preset(
        ("plain{depth}", "resnet{depth}"), (20, 32, 44, 56, 110), "He et al. 2015, section 4.2, Figs. 1 and 6"
    ),
    "shortcuts": Preset(
        (
            "resnet{depth}", "plain{depth}", "resnet{depth}-h0.5", "resnet{depth}-h0.5-f0.5", "resnet{depth}-gate0",
            "resnet{depth}-gate1", "resnet{depth}-gate2", "resnet{depth}-gate3", "resnet{depth}-gate4",
            "resnet{depth}-gate5", "resnet{depth}-gate6", "resnet{depth}-shortgate0", "resnet{depth}-shortgate6",
            "resnet{depth}-C", "resnet{depth}-dropout0.5",
        ),
        (110,), "He et al. 2016, Table 1", recipe="he2016",
    ),
    "activations": Preset(
        (
            "resnet{depth}", "resnet{depth}-bnafter", "resnet{depth}-relubefore", "resnet{depth}-relupre",
            "resnet{depth}-preact",
        ),
        (110,), "He et al. 2016, Table 2", recipe="he2016",
    ),
    "styles": Preset(
        ("resnet{depth}-preact",), (110,),
        "Huang et al. 2016, section 4; Veit et al. 2016, section 4.3",
        recipe="veit2016", styles=("normal", "stochastic-depth", "effective-paths"), lesions=True,
    ),
}  # fmt: skip


def adapted(preset: Preset, **values: Any) -> Preset:
    """The preset with other values; those that are None stay."""
    return replace(preset, **{key: value for key, value in values.items() if value is not None})


def cells_of(preset: Preset, values: Mapping[str, Any], seeds: Sequence[int]) -> list[Cell]:
    """All cells of a grid: seeds go last, so that an interrupted grid has whole rows.

    Raises:
        TrainingError: the recipe cannot be. ValueError, LookupError: a network cannot be.
    """
    from resnet_probe.analyses.grid.cells import Cell, describe  # noqa: PLC0415 - torch
    from resnet_probe.training import recipe_for  # noqa: PLC0415

    cells: dict[str, Cell] = {}
    for seed in seeds:
        for pattern in preset.archs:
            depths: tuple[int | None, ...] = preset.depths if "{depth}" in pattern else (None,)
            for depth in depths:
                arch = pattern.format(depth=depth)
                known = describe(arch).depth
                for style in preset.styles:
                    recipe = recipe_for(preset.recipe, depth=known, **{**values, "seed": seed, "style": style})
                    end = "" if style == "normal" else f"-{style}"
                    name = f"{''.join(c if c.isalnum() or c in '-_.' else '-' for c in arch)}{end}-seed{seed}"
                    cells[name] = Cell(name, arch, recipe)
    return list(cells.values())
