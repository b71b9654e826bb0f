"""Points of a traced graph that are no module's output: an addition, a functional norm, a norm with an activation.

A tap is an `nn.Identity` that is given the value of one node. Hooks on the taps then see what hooks on the model's own
modules cannot.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from resnet_probe.anatomy import Operation, Traced, functional_batch_norm, with_taps


def tapped(traced: Traced, operations: Sequence[Operation], *, batch_statistics: bool = False) -> nn.Module:
    """A copy of a traced model in which the values of `operations` pass through `_taps.0`, `_taps.1`, ...

    Args:
        traced: the traced model, as `UnraveledNetwork.anatomy.traced`; it is not changed. Weights are shared.
        operations: operations of it that yield one tensor each.
        batch_statistics: let batch and instance norms use the statistics of each batch, as in training, without
            updating their running statistics.

    Raises:
        ValueError: a batch norm that is no module has its running statistics built in, and `batch_statistics` is set.

    Examples:
        >>> with record(tapped(traced, operations), "_taps.*", Moments()) as rec:
        ...     rec.run(images)
    """
    if batch_statistics and (name := functional_batch_norm(traced)):
        raise ValueError(
            f"{name} is a batch norm that calls torch directly, so its mode cannot be changed; "
            "measure in evaluation mode"
        )
    model = with_taps(traced, [operation.node for operation in operations])
    if batch_statistics:
        _use_batch_statistics(model)
    return model


def _use_batch_statistics(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, _NormBase):
            module.track_running_stats = False
            module.running_mean = module.running_var = None
