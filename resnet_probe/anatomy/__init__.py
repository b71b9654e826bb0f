"""Anatomy: from a model's `torch.fx` graph to its trunk and the chain of units along it.

tracing.py   model -> graph with the shape of every value
cleaning.py  graph -> the same without checks, identities and in-place operations
trunk.py     graph -> dominators of the output, regions between them, residual blocks
units.py     regions -> named units: blocks, layers, parallel regions
extract.py   unit -> runnable piece of graph: whole, shortcut, branch, bypass
"""

from .cleaning import UntraceableError
from .extract import Mode, bypass, emit
from .tracing import BATCHES, Traced, assemble, share_tensors, trace, unwrap
from .trunk import Region, count_paths, data_flow, layers_in, regions
from .units import Anatomy, Kind, UnitPlan, dissect

__all__ = [
    "BATCHES",
    "Anatomy",
    "Kind",
    "Mode",
    "Region",
    "Traced",
    "UnitPlan",
    "UntraceableError",
    "assemble",
    "bypass",
    "count_paths",
    "data_flow",
    "dissect",
    "emit",
    "layers_in",
    "regions",
    "share_tensors",
    "trace",
    "unwrap",
]
