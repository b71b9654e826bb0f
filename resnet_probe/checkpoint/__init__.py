"""Checkpoints: from weights to a network and back.

loading.py        a file as a network, a network without weights, and saving in a format of our own
weights.py        the tensors of a file, read without running code from it
costs.py          what a description may ask for
architecture.py   which network the weights are of, from their names and shapes
pretrained.py     published weights by name, fetched once
renaming.py       a network under the names that a file has for its layers
"""

from resnet_probe.checkpoint.loading import Checkpoint, load, save, untrained
from resnet_probe.checkpoint.weights import CheckpointError, Weights, read_weights

__all__ = ["Checkpoint", "CheckpointError", "Weights", "load", "read_weights", "save", "untrained"]
