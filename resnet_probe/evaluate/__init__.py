"""Evaluate many variants of a network over a data set in one shared pass.

tree.py        variants -> a prefix tree in which common beginnings are run once
fast.py        units with batch norm folded, channels-last, in lower precision
engine.py      the tree over a batch of images
executors.py   how a tree is run: made ready once, then chunk by chunk
placed.py      a part of a model in its place, with the rest of the model around it
calibrate.py   how many images to run at a time, within the memory budget
sweep.py       the tree over a data set, shard by shard
journal.py     finished shards in SQLite, so that a sweep goes on where it stopped
identity.py    weights and code of a network as one hash
precision.py   how many predictions a lower precision changes
recalibrate.py batch-norm statistics re-estimated after each edit
workers.py     the processes that share a sweep
timing.py      milliseconds per batch
baseline.py    the unlesioned error, and whether the normalisation is the right one
"""

from resnet_probe.evaluate.engine import run_tree
from resnet_probe.evaluate.executors import CompiledExecutor, Executor
from resnet_probe.evaluate.fast import PRECISIONS, FastUnits
from resnet_probe.evaluate.identity import fingerprint, has_statistics
from resnet_probe.evaluate.journal import Journal, JournalError
from resnet_probe.evaluate.precision import changed_by_precision
from resnet_probe.evaluate.recalibrate import evaluate_recalibrated, recalibrate
from resnet_probe.evaluate.sweep import Sweep, evaluate
from resnet_probe.evaluate.tree import Tree, branches_in, grow, saving
from resnet_probe.evaluate.workers import SOLO, Workers
from resnet_probe.tasks import Score

__all__ = [
    "PRECISIONS",
    "SOLO",
    "CompiledExecutor",
    "Executor",
    "FastUnits",
    "Journal",
    "JournalError",
    "Score",
    "Sweep",
    "Tree",
    "Workers",
    "branches_in",
    "changed_by_precision",
    "evaluate",
    "evaluate_recalibrated",
    "fingerprint",
    "grow",
    "has_statistics",
    "recalibrate",
    "run_tree",
    "saving",
]
