"""The networks of the papers, counted, beside what was printed about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.compare import ZOO_TABLE
from resnet_probe.analyses.compare.published import ZOO, Published

if TYPE_CHECKING:
    from torch import nn

    from resnet_probe.tables import Result

UNIT = "multiply-adds (one multiplication and its addition) for one input"


def run_zoo(*, entries: tuple[Published, ...] = ZOO, progress: Callable[[int, int], None] | None = None) -> Result:
    """Count parameters, multiply-adds and depth of the papers' networks, and set them beside the printed numbers.

    Everything happens on the meta device: no weights are drawn and nothing is computed but shapes.

    Returns:
        Table `zoo`, one row per network. `*_ratio` is counted over printed; `as_counted_*` is the network that the
        source counted where that is another one, with its ratio of multiply-adds to the printed ones.
    """
    rows = []
    for number, entry in enumerate(entries, start=1):
        rows.append(_row(entry))
        if progress:
            progress(number, len(entries))
    return ZOO_TABLE.result(rows, unit_of_multiply_adds=UNIT)


def _row(entry: Published) -> dict[str, Any]:
    import torch  # noqa: PLC0415 - importing this module must not import torch

    from resnet_probe.analyses.compare.counts import costs  # noqa: PLC0415
    from resnet_probe.models import resolve  # noqa: PLC0415
    from resnet_probe.unraveled import unravel  # noqa: PLC0415

    ours = not entry.arch.startswith("torchvision:")
    with torch.device("meta"):
        model = resolve(entry.arch, in_channels=entry.shape[0] if ours else None)
        found = costs(unravel(model.eval(), entry.shape))
        counted = AS_COUNTED[entry.as_counted](entry.shape) if entry.as_counted else None
    return {
        "network": entry.arch,
        "title": entry.title,
        "input": "x".join(map(str, entry.shape)),
        "depth": found.depth,
        "parameters": found.parameters,
        "published_parameters": entry.parameters,
        "parameters_ratio": _ratio(found.parameters, entry.parameters),
        "multiply_adds": found.multiply_adds,
        "published_multiply_adds": entry.multiply_adds,
        "multiply_adds_ratio": _ratio(found.multiply_adds, entry.multiply_adds),
        "as_counted_parameters": counted[0] if counted else None,
        "as_counted_multiply_adds": counted[1] if counted else None,
        "as_counted_ratio": _ratio(counted[1], entry.multiply_adds) if counted else None,
        "parameters_source": entry.parameters_source,
        "multiply_adds_source": entry.multiply_adds_source,
        "note": entry.note,
    }


def _ratio(counted: int, printed: float | None) -> float | None:
    return None if printed is None else counted / printed


Counts = tuple[int, int]


def _count(model: nn.Module, shape: tuple[int, ...]) -> Counts:
    import torch  # noqa: PLC0415

    from resnet_probe.anatomy.multiply_adds import counted  # noqa: PLC0415

    return sum(p.numel() for p in model.parameters()), counted(model.eval(), torch.zeros(1, *shape))[1]


def _lenet5(shape: tuple[int, ...]) -> Counts:
    import torch  # noqa: PLC0415

    from resnet_probe.analyses.compare import variants  # noqa: PLC0415

    model = variants.PaperLeNet5()
    return model.trainable, variants.multiply_adds_with_biases(model, torch.zeros(1, *shape))


def _variant(function: str, name: str) -> Callable[[tuple[int, ...]], Counts]:
    def build(shape: tuple[int, ...]) -> Counts:
        from resnet_probe.analyses.compare import variants  # noqa: PLC0415

        return _count(getattr(variants, function)(name), shape)

    return build


# What sources counted -> parameters and multiply-adds of it, for an input of that shape, on the current device.
AS_COUNTED: dict[str, Callable[[tuple[int, ...]], Counts]] = {
    "lenet5": _lenet5,
    "vgg16": _variant("vgg_convolutions", "vgg16"),
    "resnet18": _variant("resnet_with_option_a", "resnet18"),
    "resnet34": _variant("resnet_with_option_a", "resnet34"),
    "resnet50": _variant("resnet_with_early_stride", "resnet50"),
    "resnet101": _variant("resnet_with_early_stride", "resnet101"),
    "resnet152": _variant("resnet_with_early_stride", "resnet152"),
}
