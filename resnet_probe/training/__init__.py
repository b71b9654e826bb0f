"""Training by stochastic gradient descent, as the papers do it: reproducible, resumable, on one device or many.

fit              train a network on data -> History
Recipe           every value of a training; RECIPES has the papers', `recipe_for` gives one by name
DEMO_RECIPES     settings that were measured on the digits
Keeper           training states on disk, to go on from
fabric_for       the processes of a training on several devices or machines
Styled           stochastic depth, and training on effective paths only
seeded           a block of code with its own random numbers
"""

from resnet_probe.training.augment import pad_crop_flip
from resnet_probe.training.batches import Batches, steps_per_epoch
from resnet_probe.training.history import Epoch, History, Progress
from resnet_probe.training.recipe import (
    DEMO_RECIPES,
    OPTIMIZERS,
    RECIPES,
    SCHEDULES,
    STYLES,
    Recipe,
    TrainingError,
    idle,
    rate_factor,
    recipe_for,
)
from resnet_probe.training.seeding import seeded
from resnet_probe.training.state import Keeper, StateError
from resnet_probe.training.styles import Styled, fold
from resnet_probe.training.trainer import DivergedError, fabric_for, fit

__all__ = [
    "DEMO_RECIPES",
    "OPTIMIZERS",
    "RECIPES",
    "SCHEDULES",
    "STYLES",
    "Batches",
    "DivergedError",
    "Epoch",
    "History",
    "Keeper",
    "Progress",
    "Recipe",
    "StateError",
    "Styled",
    "TrainingError",
    "fabric_for",
    "fit",
    "fold",
    "idle",
    "pad_crop_flip",
    "rate_factor",
    "recipe_for",
    "seeded",
    "steps_per_epoch",
]
