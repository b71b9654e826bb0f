"""Anatomy: from a model's `torch.fx` graph to its trunk and the chain of units along it.

tracing.py   model -> graph with the shape of every value
recording.py graph -> what every node yields; what a forward asks about sizes
cleaning.py  graph -> the same without checks, identities and in-place operations
operation.py node -> what it calls and which kind of layer it is
trunk.py     graph -> dominators of the output, regions between them, residual blocks
units.py     regions -> named units: blocks, layers, parallel regions
extract.py   unit -> runnable piece of graph: whole, shortcut, branch, bypass
rewriting.py graph -> the same with taps on its values, or faster
"""

from .cleaning import UntraceableError
from .extract import Mode, bypass, emit, runnable
from .operation import Operation, layers_in
from .recording import BATCHES
from .rewriting import for_inference, functional_batch_norm, overwrite_where_unshared, with_taps
from .tracing import Traced, assemble, share_tensors, trace, unwrap
from .trunk import Region, count_paths, data_flow, regions
from .units import Anatomy, Kind, UnitPlan, dissect

__all__ = [
    "BATCHES",
    "Anatomy",
    "Kind",
    "Mode",
    "Operation",
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
    "for_inference",
    "functional_batch_norm",
    "layers_in",
    "overwrite_where_unshared",
    "regions",
    "runnable",
    "share_tensors",
    "trace",
    "unwrap",
    "with_taps",
]
