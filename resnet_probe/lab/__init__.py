"""The lab: a network in the browser, whose blocks are deleted, scaled and reordered, and what that does.

engine.py   measures edited networks, chunk by chunk
about.py    what the page is told of a network, an edit, a run
server.py   pages, answers as they come, and files under one folder
static/     the page, without a build step; d3 beside its licence in static/vendor

    resnet_probe.lab(net, data)   # in a notebook: the lab in a cell
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnet_probe.data import Data
    from resnet_probe.unraveled import UnraveledNetwork

__all__ = ["Frame", "lab", "show"]

MISSING = "the lab needs starlette and uvicorn; install them with pip install 'resnet-probe[lab]'"


class Frame:
    """A lab that runs beside a notebook, and is shown where it is the value of a cell.

    Attributes:
        url: its address.
    """

    def __init__(self, url: str, server: Any, height: int) -> None:
        self.url, self._server, self._height = url, server, height

    def close(self) -> None:
        """Stop the server."""
        self._server.should_exit = True

    def _repr_html_(self) -> str:
        return (
            f'<iframe src="{escape(self.url)}" title="resnet-probe lab" width="100%" height="{self._height}" '
            'style="border: 1px solid #888"></iframe>'
        )


def show(
    net: UnraveledNetwork, data: Data, *, name: str = "network", out: str | Path = "results/lab", height: int = 900
) -> Frame:
    """The lab of a network, in a notebook: `resnet_probe.lab(net, data)`.

    The server listens on this machine only, and ends with the notebook.

    Args:
        net: unraveled network, on the CPU.
        data: labelled images.
        name: of the network, on the page.
        out: folder for what is saved.
        height: of the frame, in pixels.

    Raises:
        ValueError: network and images do not fit.
        ImportError: starlette or uvicorn is not installed.

    Examples:
        >>> resnet_probe.lab(unravel(model, (3, 32, 32)), load_data("cifar10"))
    """
    try:
        from resnet_probe.lab.server import Bench, Lab, start  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ImportError(MISSING) from error
    from resnet_probe.analyses.subject import Subject  # noqa: PLC0415 - torch
    from resnet_probe.lab.engine import Engine  # noqa: PLC0415

    made = Lab([Bench(Engine(Subject(name, net, data)))], Path(out), framed=True)
    return Frame(*start(made), height)


class _Callable(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Frame:
        return show(*args, **options)


# The package has the name that notebooks call: whichever is imported first, `resnet_probe.lab` is this module.
sys.modules[__name__].__class__ = _Callable
lab: Any = sys.modules[__name__]
__qualname__ = "show"  # where the docs of what is called stand
__module__ = __name__
