"""A network under study: its name, its chain of units, its images, and where all this comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from resnet_probe.anatomy import reaching
from resnet_probe.data import Data
from resnet_probe.tasks import CLASSIFICATION, EACH_LOSS, Task
from resnet_probe.unraveled import UnraveledNetwork

if TYPE_CHECKING:
    from resnet_probe.checkpoint import Checkpoint

_HOW = "give Subject(name, network, data) with an unraveled network and Data, as load_data makes of a name or a folder"


class Subject:
    """A network under study.

    Args:
        name: in all tables and figures.
        network: the unraveled network, or what unravels it, for a shape of inputs, when it is first needed.
        data: labelled images; None where none are needed.
        checkpoint: where the weights come from.
        trained: whether they are from a file, not random.
        images: loads another part of the data, normalised alike: `images(split=..., limit=..., whole=...)`.
        task: what is asked of the network.

    Examples:
        >>> subject = Subject("resnet20", unravel(model, (3, 32, 32)), data)
        >>> lesion.run(subject)
    """

    def __init__(
        self,
        name: str,
        network: UnraveledNetwork | Callable[[tuple[int, ...] | None], UnraveledNetwork],
        data: Data | None = None,
        *,
        checkpoint: Checkpoint | None = None,
        trained: bool = True,
        images: Callable[..., Data] | None = None,
        task: Task = CLASSIFICATION,
    ) -> None:
        if not isinstance(data, Data | None):
            raise ValueError(f"images of {name} are a {type(data).__name__}; {_HOW}")
        self.name, self.checkpoint, self.trained, self.task = name, checkpoint, trained, task
        self._unravel = (lambda shape: network) if isinstance(network, UnraveledNetwork) else network
        self._data, self._images = data, images
        self._output = ""

    @cached_property
    def network(self) -> UnraveledNetwork:
        """The network as a chain of units, for its images or for inputs of the size that it is made for.

        Raises:
            UntraceableError, ValueError: as `unraveled.unravel`.
        """
        return self.unraveled(None)

    def unraveled(self, shape: tuple[int, ...] | None) -> UnraveledNetwork:
        """The network as a chain of units for inputs of another shape `(C, H, W)`.

        Raises:
            UntraceableError, ValueError: as `unraveled.unravel`; ValueError if images are to be measured and the
                network returns several tensors.
        """
        network = self._unravel(shape)
        traced = network.anatomy.traced
        self._output = traced.output
        if self.has_data and traced.outputs > 1 and not self.task.outputs:
            names = ", ".join(traced.named_outputs)
            raise ValueError(
                f"{self.name} returns {traced.outputs} tensors ({names}) and one is needed: give unravel(..., "
                "output=NAME), or wrap the model so that forward returns the one to study, such as the class scores"
            )
        if self.has_data and not isinstance(traced.example, Tensor):
            raise ValueError(f"{self.name} takes several inputs, and images are one; give a network of one input")
        return network

    def tell_inside(self, say: Callable[[str], None], what: str) -> None:
        """Say that blocks inside a unit are not `what`, where there are some."""
        blocks, links = self.network.blocks, self.network.links
        if inside := len(blocks) - len(links):
            say(f"note: {inside} of {len(blocks)} residual blocks lie inside units of the chain and are not {what}")

    @property
    def has_data(self) -> bool:
        """Whether there are images."""
        return self._data is not None

    @property
    def data(self) -> Data:
        """The images.

        Raises:
            ValueError: there are none.
        """
        if self._data is None:
            raise ValueError(f"{self.name} is to be measured on images and none are given; give --data")
        return self._data

    def without_images(self) -> Subject:
        """The same network, to be measured without images."""
        return Subject(self.name, self.unraveled, checkpoint=self.checkpoint, trained=self.trained)

    def shuffled(self, seed: int) -> Subject:
        """The same network with its images in a random order."""
        generator = torch.Generator().manual_seed(seed)
        data = self.data.subset(torch.randperm(len(self.data), generator=generator))
        about: dict[str, Any] = {"checkpoint": self.checkpoint, "trained": self.trained, "task": self.task}
        return Subject(self.name, self.unraveled, data, **about)

    def images(self, **which: Any) -> Data:
        """Another part of the data, by `split`, `limit` and `whole`.

        Raises:
            ValueError: it is not known where the images come from.
        """
        if self._images is None:
            raise ValueError(f"no other images than those given are known of {self.name}")
        return self._images(**which)

    def inputs(self, size: int, device: str) -> Iterator[Any]:
        """The values that the network gets, `size` examples at a time; of a part of a model those that reach it."""
        place = self.network.place
        for given, _ in self.task.batches(self.data, min(size, self.task.most or size), torch.device(device)):
            yield given if place is None else reaching(*place, given)

    @property
    def task_of_each(self) -> Task:
        """The task with the loss of each example kept."""
        return EACH_LOSS if self.task.name == CLASSIFICATION.name else self.task

    def chance(self) -> dict[str, Any]:
        """The number of classes, for the settings of a table, where guessing means to pick one of them."""
        return {"classes": len(self.data.classes)} if self.task.name == CLASSIFICATION.name else {}

    def provenance(self) -> Mapping[str, Any]:
        """What the settings of a table say about the network."""
        about: dict[str, Any] = {}
        if self.checkpoint is not None:
            about = {
                "arch": self.checkpoint.arch,
                "checkpoint_sha256": self.checkpoint.sha256 or None,
                "notes": list(self.checkpoint.notes),
            }
            if self._output:
                about["output"] = self._output
            if self.checkpoint.chain is not None:
                about["edits"] = self.checkpoint.metadata["edits"]
        if self.task.name != CLASSIFICATION.name:
            about["task"] = self.task.name
        if self._data is not None:
            about["normalization"] = self._data.normalization
            about["data_fingerprint"] = self._data.fingerprint
            about["data_set"] = {
                "name": self._data.name, "split": self._data.split, "images": len(self._data),
                "folder": self._data.folder,
            }  # fmt: skip
            if self._data.resized:
                about["data_set"]["resized"] = self._data.resized
            if self._data.mapped:
                about["data_set"]["classes"] = len(self._data.labels.unique())
        return about


def require(subject: object, parameters: object, kind: type) -> None:
    """Refuse what is no subject with its parameters, such as a network and a data loader.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(subject, Subject) or not isinstance(parameters, kind):
        given = f"{type(subject).__name__} and {type(parameters).__name__}"
        raise ValueError(f"{given} given where an analysis takes a Subject and its Parameters; {_HOW}")
