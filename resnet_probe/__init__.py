"""Open up trained residual networks: unravel them into paths, delete blocks, measure what that does.

The names below are the public vocabulary. Each is imported when it is first used, so that
`import resnet_probe` costs nothing and does not import torch.
"""

from typing import TYPE_CHECKING

from resnet_probe.lazy import lazily

if TYPE_CHECKING:
    from resnet_probe.checkpoint import Checkpoint as Checkpoint
    from resnet_probe.checkpoint import load as load_checkpoint
    from resnet_probe.data import Data as Data
    from resnet_probe.data import load_data as load_data
    from resnet_probe.lab import lab as lab
    from resnet_probe.models import resolve as resolve
    from resnet_probe.probes import Moments as Moments
    from resnet_probe.probes import record as record
    from resnet_probe.tables import Result as Result
    from resnet_probe.tables import read as read
    from resnet_probe.unraveled import UnraveledNetwork as UnraveledNetwork
    from resnet_probe.unraveled import unravel as unravel

__version__ = "0.1.0"

VOCABULARY = {
    "Checkpoint": "resnet_probe.checkpoint:Checkpoint",
    "load_checkpoint": "resnet_probe.checkpoint:load",
    "Data": "resnet_probe.data:Data",
    "load_data": "resnet_probe.data:load_data",
    "lab": "resnet_probe.lab:lab",
    "resolve": "resnet_probe.models:resolve",
    "Moments": "resnet_probe.probes:Moments",
    "record": "resnet_probe.probes:record",
    "Result": "resnet_probe.tables:Result",
    "read": "resnet_probe.tables:read",
    "UnraveledNetwork": "resnet_probe.unraveled:UnraveledNetwork",
    "unravel": "resnet_probe.unraveled:unravel",
}

__all__ = [
    "Checkpoint",
    "Data",
    "Moments",
    "Result",
    "UnraveledNetwork",
    "__version__",
    "lab",
    "load_checkpoint",
    "load_data",
    "read",
    "record",
    "resolve",
    "unravel",
]


__getattr__, __dir__ = lazily(__name__, VOCABULARY)
