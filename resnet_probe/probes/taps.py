"""Points of a traced graph that are no module's output: an addition, a functional norm, a norm with an activation.

A tap is an `nn.Identity` that is given the value of one node. Hooks on the taps then see what hooks on the model's own
modules cannot.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import fx, nn
from torch.nn.modules.batchnorm import _NormBase

from resnet_probe.anatomy import Traced, share_tensors

__all__ = ["tapped"]

NAME = "_taps"


def tapped(traced: Traced, nodes: Sequence[fx.Node], *, batch_statistics: bool = False) -> nn.Module:
    """A copy of a traced model in which the values of `nodes` pass through `_taps.0`, `_taps.1`, ...

    Args:
        traced: the traced model, as `UnraveledNetwork.anatomy.traced`; it is not changed. Weights are shared.
        nodes: nodes of its graph that yield one tensor each.
        batch_statistics: let batch and instance norms use the statistics of each batch, as in training, without
            updating their running statistics.

    Raises:
        ValueError: a batch norm that is no module has its running statistics built in, and `batch_statistics` is set.

    Examples:
        >>> with record(tapped(traced, nodes), "_taps.*", Moments()) as rec:
        ...     rec.run(images)
    """
    root = share_tensors(traced.module)
    copies: dict[fx.Node, fx.Node] = {}
    graph = fx.Graph()
    output = graph.graph_copy(traced.module.graph, copies)
    graph.output(output)
    root.add_module(NAME, nn.ModuleList(nn.Identity() for _ in nodes))
    for number, node in enumerate(nodes):
        with graph.inserting_after(copies[node]):
            graph.create_node("call_module", f"{NAME}.{number}", (copies[node],))
    if batch_statistics:
        _use_batch_statistics(root, graph)
    return fx.GraphModule(root, graph, "Tapped").eval()


def _use_batch_statistics(root: nn.Module, graph: fx.Graph) -> None:
    for node in graph.nodes:
        if node.op == "call_function" and getattr(node.target, "__name__", "") == "batch_norm":
            raise ValueError(
                f"{node.name} is a batch norm that calls torch directly, so its mode cannot be changed; "
                "measure in evaluation mode"
            )
    for module in root.modules():
        if isinstance(module, _NormBase):
            module.track_running_stats = False
            module.running_mean = module.running_var = None
