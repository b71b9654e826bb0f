"""Whether a measurement was made under the published conditions: the network, the images, the training."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from resnet_probe.claims.published import AT_CHANCE, EFFECTIVE, LONG_ENOUGH, TEST_IMAGES, TRAINING_ITERATIONS
from resnet_probe.statistics import wilson
from resnet_probe.tables import SavedTable

BATCH = 128
VEIT_BLOCKS = EFFECTIVE.blocks
TRAINING_IMAGES = 50_000  # of CIFAR-10
RECIPES = ("he2015", "he2016", "veit2016")  # the papers', which train alike but for the warm-up


def family_of(arch: str) -> str:
    """`resnet`, `plain`, `vgg` or `lenet` for a name of this package's own networks, else an empty text."""
    # a pattern of its own, because importing the names of `models` imports torch
    found = re.fullmatch(r"(?:cifar:)?(resnet|plain|vgg|lenet)\d+(-.*)?", arch)
    return found.group(1) if found else ""


def depth_of(arch: str) -> tuple[int, str]:
    """Depth and tokens of a name: `resnet56-B` is (56, "B"); (0, "") for the names of others."""
    found = re.fullmatch(r"(?:cifar:)?[a-z]+(\d+)(?:-(.*))?", arch) if family_of(arch) else None
    return (int(found.group(1)), found.group(2) or "") if found else (0, "")


def other_images(table: SavedTable, network: str, images: int | None) -> str:
    """How the images differ from CIFAR-10's 10,000 test images, as part of a sentence; empty if they do not.

    Only CIFAR-10's own files count: what a folder of images holds cannot be seen from the tables.
    """
    described = table.about(network).get("data_set")
    name = table.images(network)
    if isinstance(described, Mapping):
        original = described.get("name") == "cifar10" and not described.get("folder")
    else:
        original = name == "cifar10"
    if not original:
        return f"these are {_many(images)} of {name}, not CIFAR-10's {TEST_IMAGES:,} test images"
    split = described.get("split") if isinstance(described, Mapping) else table.argument("split")
    if split not in (None, "test"):
        return f"this is CIFAR-10's {split} split, not its test split"
    if images != TEST_IMAGES:
        return f"these are {_many(images)} of CIFAR-10's {TEST_IMAGES:,} test images"
    return ""


def other_training(table: SavedTable, epochs: Any) -> str:
    """How training differs from 64,000 iterations on CIFAR-10, as part of a sentence; empty if it does not.

    What the settings do not say is taken to be as published.
    """
    name, settings = table.images(), table.result.settings
    if name != "cifar10":
        long = f", for {epochs:g} epochs" if isinstance(epochs, int | float) else ""
        return f"the networks were trained on {name}, not on CIFAR-10{long}"
    if settings.get("train_images") not in (None, TRAINING_IMAGES):
        seen = _many(settings["train_images"]).removesuffix(" images")
        return f"the networks were trained on {seen} of CIFAR-10's {TRAINING_IMAGES:,} training images"
    if settings.get("test_images") not in (None, TEST_IMAGES):
        return f"the errors were measured on {_many(settings['test_images'])}, not on CIFAR-10's {TEST_IMAGES:,}"
    if settings.get("recipe_name") not in (None, *RECIPES):
        return f"the networks were trained by the recipe {settings['recipe_name']}, not by a paper's"
    published = TRAINING_ITERATIONS * BATCH / TRAINING_IMAGES
    if not isinstance(epochs, int | float) or epochs < LONG_ENOUGH * published:
        given = f"{epochs:g}" if isinstance(epochs, int | float) else "an unknown number of"
        return f"the networks were trained for {given} epochs, the published ones for {published:.0f}"
    return ""


def chance(table: SavedTable, network: str) -> float | None:
    """Error of guessing in percent, with equally frequent classes; None where their number is not known."""
    classes = table.about(network).get("classes")
    return 100 * (1 - 1 / classes) if isinstance(classes, int) and classes > 1 else None


def standard_error(counted: float, images: int) -> float:
    """Of a share of images, in percentage points; one more of either kind, so that it is never nothing."""
    share = (counted + 1) / (images + 2)
    return 100 * math.sqrt(share * (1 - share) / images)


def untaught(table: SavedTable, *networks: str, intact: Mapping[str, Any] | None = None) -> str:
    """Why these networks show nothing about trained ones, as part of a sentence; empty if they do.

    The papers' claims are about trained networks: one with random weights, or one that guesses before anything is
    deleted, loses nothing by a deletion and stands at chance after it. Nor are they about a network whose blocks were
    deleted, scaled or reordered before it was measured.

    Args:
        table: that the networks are in.
        networks: their names.
        intact: the intact network's row, where the table has one, with `wrong` and `images`.
    """
    for network in networks:
        about = table.about(network)
        if about.get("arch") and "checkpoint_sha256" in about and not about["checkpoint_sha256"]:
            return f"the weights of {network} are random, and the claim is about trained networks"
        if about.get("edits"):
            return f"blocks of {network} were edited before it was measured, and the claim is about whole networks"
    guessing = chance(table, networks[0])
    if intact is None or guessing is None or intact.get("wrong") is None:
        return ""
    if wilson(intact["wrong"], intact["images"])[1] >= AT_CHANCE * guessing:
        return f"the intact network is at chance itself, with {intact['error']:.3g} % error"
    return ""


def unlike_veit(table: SavedTable, network: str, blocks: int | None) -> str:
    """How the network differs from the one that Veit et al. 2016 cut up, as part of a sentence; empty if it does not.

    Theirs is a pre-activation ResNet-110 with 54 blocks for CIFAR-10 (section 4).
    """
    order = "pre-activation" if "preact" in table.arch(network) else "post-activation"
    if blocks is None or (blocks == VEIT_BLOCKS and order == "pre-activation"):
        return ""
    return f"the paper's network has {VEIT_BLOCKS} pre-activation blocks, this one {blocks}" + (
        f" {order} blocks" if family_of(table.arch(network)) else ""
    )


def _many(images: int | None) -> str:
    return "an unknown number of images" if images is None else f"{images:,} images"
