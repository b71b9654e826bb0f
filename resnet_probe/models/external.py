"""Networks of other libraries and of the user's own code.

Their names are `torchvision:NAME`, `timm:NAME`, `package.module:factory` and `file.py:factory`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from resnet_probe.factories import call, find_factory, suggest

# Without it these two warn of a coming change of initialisation, and draw their weights from a slow truncated normal.
_TORCHVISION_OPTIONS: dict[str, dict[str, Any]] = {
    "googlenet": {"init_weights": False},
    "inception_v3": {"init_weights": False},
}


def torchvision_model(name: str, *, num_classes: int | None = None, in_channels: int | None = None) -> nn.Module:
    """Build torchvision's classification network `name` with random weights; nothing is downloaded.

    Raises LookupError for an unknown name, ValueError for anything but 3 input channels.
    """
    import torchvision  # noqa: PLC0415  # seconds, since it imports torch's compiler

    names = torchvision_names()
    if name not in names:
        raise LookupError(f"torchvision has no classification network {name!r}{suggest(name, names)}")
    if in_channels not in (None, 3):
        raise ValueError(
            f"torchvision:{name} for {in_channels} input channels; torchvision's networks take 3, "
            "give the network as file.py:factory"
        )
    options = dict(_TORCHVISION_OPTIONS.get(name, {}))
    if num_classes is not None:
        options["num_classes"] = num_classes
    return torchvision.models.get_model(name, weights=None, **options)


def torchvision_names() -> list[str]:
    """Names of torchvision's classification networks."""
    import torchvision  # noqa: PLC0415

    return torchvision.models.list_models(module=torchvision.models)


def timm_model(name: str, *, num_classes: int | None = None, in_channels: int | None = None) -> nn.Module:
    """Build timm's network `name` with random weights; nothing is downloaded.

    Raises LookupError if timm is missing or does not know the name.
    """
    try:
        timm = importlib.import_module("timm")
    except ImportError:
        raise LookupError(f"timm:{name} needs the package timm; install resnet-probe[timm]") from None
    if not timm.is_model(name):  # keeps out `hf-hub:…`, which would download
        raise LookupError(f"timm has no network {name!r}{suggest(name, timm.list_models())}")
    options = {"num_classes": num_classes, "in_chans": in_channels}
    return timm.create_model(
        name, pretrained=False, **{key: value for key, value in options.items() if value is not None}
    )


def factory_model(arch: str, *, num_classes: int | None = None, in_channels: int | None = None) -> nn.Module:
    """Build a network with the user's own code, `package.module:factory` or `file.py:factory`.

    The factory is called with `num_classes` and with `in_channels` (or `in_chans`) as far as these are given and it
    has parameters of these names. The module's code runs: call this only with a name that the user typed, never with
    one that came out of a file. Raises LookupError if module or factory is missing, ValueError if it fails or returns
    no `nn.Module`.
    """
    factory = find_factory(arch, "network")
    options = _accepted(factory, {"num_classes": num_classes, "in_channels": in_channels, "in_chans": in_channels})
    model = call(arch, factory, **options)
    if not isinstance(model, nn.Module):
        raise ValueError(f"{arch} returned {type(model).__name__}; a factory must return a torch.nn.Module")
    return model


def _accepted(factory: Callable[..., Any], options: dict[str, int | None]) -> dict[str, int]:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # some built-in callables have no signature
        return {}
    names = {parameter.name for parameter in parameters}
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        names.add("num_classes")  # the usual meaning of **kwargs in a factory: they go to the network's class
    return {name: value for name, value in options.items() if value is not None and name in names}
