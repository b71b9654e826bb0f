"""Anatomy: from a model's `torch.fx` graph to its trunk and the chain of units along it.

tracing.py   model -> graph with the shape of every value
symbolic.py  the first way of tracing, torch.fx
exporting.py the second, torch.export
inputs.py    what a network takes and returns
recording.py graph -> what every node yields; what a forward asks about sizes
cleaning.py  graph -> the same without checks, identities and in-place operations
summands.py  sums in other words than `a + b` -> what is added
operation.py node -> what it calls and which kind of layer it is
trunk.py     graph -> dominators of the output, regions between them
residual.py  sums -> residual blocks wherever they stand, or why they are none
ways.py      graph -> what a path is, and how many there are of each length
units.py     regions -> named units: blocks, layers, parallel regions with the blocks inside them
parts.py     part of a larger model -> the values that reach it, and what is put in its place
links.py     unit -> what can be run of it, whole or in part; a chain's steps
certificate.py chain -> what was checked on a batch
extract.py   unit -> runnable piece of graph: whole, shortcut, branch, bypass
rewriting.py graph -> the same with taps on its values, or faster
"""

from .certificate import Certificate, certify
from .cleaning import UntraceableError
from .extract import Mode, Piece, bypass, emit, runnable
from .inputs import batch_of, each_tensor, is_shape, named_outputs, run, scores_in, tensors_in
from .links import Step, Unit
from .operation import Operation, layers_in, parameters_in
from .parts import Tapped, part_at, reaching, replaced
from .recording import BATCHES
from .residual import regions
from .rewriting import for_inference, functional_batch_norm, overwrite_where_unshared, with_taps
from .tracing import Traced, assemble, share_tensors, trace, unwrap
from .trunk import Region, data_flow
from .units import Anatomy, Kind, UnitPlan, dissect
from .ways import count_paths

__all__ = [
    "BATCHES",
    "Anatomy",
    "Certificate",
    "Kind",
    "Mode",
    "Operation",
    "Piece",
    "Region",
    "Step",
    "Tapped",
    "Traced",
    "Unit",
    "UnitPlan",
    "UntraceableError",
    "assemble",
    "batch_of",
    "bypass",
    "certify",
    "count_paths",
    "data_flow",
    "dissect",
    "each_tensor",
    "emit",
    "for_inference",
    "functional_batch_norm",
    "is_shape",
    "layers_in",
    "named_outputs",
    "overwrite_where_unshared",
    "parameters_in",
    "part_at",
    "reaching",
    "regions",
    "replaced",
    "run",
    "runnable",
    "scores_in",
    "share_tensors",
    "tensors_in",
    "trace",
    "unwrap",
    "with_taps",
]
