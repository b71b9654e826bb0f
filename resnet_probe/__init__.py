"""Open up trained residual networks: unravel them into paths, delete blocks, measure what that does.

The names below are the public vocabulary. Each is imported when it is first used, so that
`import resnet_probe` costs nothing and does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnet_probe.results import Result as Result
    from resnet_probe.results import read as read

__version__ = "0.1.0"

VOCABULARY = {
    "Result": "resnet_probe.results:Result",
    "read": "resnet_probe.results:read",
}

__all__ = [*VOCABULARY, "__version__"]  # noqa: PLE0604 - the names are the keys of the literal dict above


def __getattr__(name: str) -> Any:
    if name not in VOCABULARY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(VOCABULARY)}")
    module, attribute = VOCABULARY[name].split(":")
    value = getattr(import_module(module), attribute)
    globals()[name] = value  # the next access finds it without coming here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *VOCABULARY})
