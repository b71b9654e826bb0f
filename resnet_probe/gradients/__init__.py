"""Gradients by path length: which paths carry the gradient from the loss back to the input.

Unravel a network of n residual blocks and its gradient is a sum over 2^n paths. Group them by how many residual
branches they take, and each group has a gradient of its own.

- `exact`: `class_gradients`, the gradient of every group at once, at the input, at any trunk point or for any unit's
  parameters; their sum is the ordinary gradient.
- `sampled`: `path_norms`, norms of single paths drawn at random, as Veit et al. measured them.
- `tape`: one forward pass recorded unit by unit, and vectors pulled back through whole units, shortcuts and branches.
- `statistics`: a unit with the batch's own normalisation statistics, without touching the model's.
- `budget`: how many images and vectors fit the memory that may be used.

Source: Veit, Wilber, Belongie 2016, arXiv 1605.06431, sections 3 and 5. The exact decomposition is ours
(docs/paths.md).
"""

from __future__ import annotations

from resnet_probe.gradients.budget import Budget, MemoryBudgetError, image_bytes
from resnet_probe.gradients.exact import IDENTITY_TOLERANCE, ClassGradients, ClassNorms, class_gradients, class_norms
from resnet_probe.gradients.sampled import PathNorms, draw_paths, path_norms, sample_norms
from resnet_probe.gradients.statistics import BATCH_NORMS, BatchNorm
from resnet_probe.gradients.tape import Tape, longest_path, record

__all__ = [
    "BATCH_NORMS",
    "IDENTITY_TOLERANCE",
    "BatchNorm",
    "Budget",
    "ClassGradients",
    "ClassNorms",
    "MemoryBudgetError",
    "PathNorms",
    "Tape",
    "class_gradients",
    "class_norms",
    "draw_paths",
    "image_bytes",
    "longest_path",
    "path_norms",
    "record",
    "sample_norms",
]
