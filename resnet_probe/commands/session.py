"""What commands load: checkpoints, images and traced networks, each once for as long as the session lasts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from resnet_probe.commands.images import check_fit, images_of, outputs_for, same_images
from resnet_probe.commands.loaded import Loaded, distinct, with_leaves

if TYPE_CHECKING:
    from resnet_probe.analyses.declaration import Needs
    from resnet_probe.analyses.subject import Subject
    from resnet_probe.commands.request import Request
    from resnet_probe.data import Data
    from resnet_probe.tasks import Task
    from resnet_probe.unraveled import UnraveledNetwork

AUTO = "auto"  # the architecture is read from the weights
NO_NETWORK = "no network given; give --ckpt FILE or --arch NAME"
NO_IMAGES = "no images given; give --data digits, cifar10, cifar100, fake, a folder or file.py:factory"
USUAL = 32  # pixels of a side, where nothing says of what size a network's images are


class Session:
    """Checkpoints, images and traces, each loaded once.

    Args:
        tell: prints a line; `tell(text, important=True)` one that should not be missed.
    """

    def __init__(self, tell: Callable[..., None] = lambda text, important=False: None) -> None:
        self.tell = tell
        self._kept: dict[Any, Any] = {}

    def _once(self, key: Any, make: Callable[[], Any], *about: Any) -> Any:
        """What was made for this key before, or is made now; `about` are objects whose identity is in the key."""
        key = (key, *(id(each) for each in about))
        if key not in self._kept:
            self._kept[key] = make(), about  # kept alive, so that no other object gets their identity
        return self._kept[key][0]

    # -- networks ------------------------------------------------------------------------------------------------------

    def load(self, path: Path | None, arch: str | None = None, *, seed: int = 0, size: int | None = None) -> Loaded:
        """A checkpoint, read as `arch` if that is given, or without one the network `arch` with random weights.

        `size`: side of its images, where the user has told it.

        Raises:
            click.UsageError: neither is given.
            ValueError, LookupError: as `checkpoint.load` and `models.resolve`.
        """
        from resnet_probe import checkpoint

        if path is not None:
            return Loaded(self._once((path.resolve(), arch), lambda: checkpoint.load(path, arch=arch, size=size)))
        if arch is None:
            raise click.UsageError(NO_NETWORK)
        return Loaded(self._once((arch, seed), lambda: checkpoint.untrained(arch, seed=seed)), trained=False)

    def networks(self, request: Request, needs: Needs) -> list[Loaded]:
        """The networks of a request: its checkpoints, then (or instead) untrained ones; their names all differ.

        Raises:
            click.UsageError: no network, one of them twice, or options that do not go together.
            ValueError, LookupError: as `load`.
        """
        found = self._side_by_side(request) if needs.side_by_side else self._alike(request, needs)
        return [replace(one, size=request.size, trace=request.trace) for one in with_leaves(found, request.leaf)]

    def _alike(self, request: Request, needs: Needs) -> list[Loaded]:
        ckpts, archs = request.ckpts, request.arch
        if len(ckpts) > 1 and archs:
            raise click.UsageError("--arch says what one checkpoint is; give it with a single --ckpt")
        arch = archs[0] if archs else None
        found = [self.load(path, arch, size=request.size) for path in ckpts]
        found = found or [self.load(None, arch, seed=request.seed)]
        found = distinct(found, ckpts)
        if request.untrained and not ckpts:
            raise click.UsageError("--untrained without --ckpt given; --arch NAME alone is an untrained network")
        if request.untrained:
            found = [each for number, one in enumerate(found) for each in (one, self._twin(one, 2 * number, request))]
        return found

    def _twin(self, one: Loaded, number: int, request: Request) -> Loaded:
        """The network with random weights, for the images of network `number`."""
        from resnet_probe.checkpoint import untrained

        arch, seed, names = one.checkpoint.arch, request.seed, one.checkpoint.names
        twin = self._once(("twin", seed), lambda: untrained(arch, seed=seed, names=names), one.checkpoint)
        if (twin.num_classes, twin.in_channels) != (one.checkpoint.num_classes, one.checkpoint.in_channels):
            raise click.UsageError(
                f"{one.name} has other classes or channels than {one.checkpoint.arch} has by default, so no untrained "
                "network can be set beside it; leave --untrained out"
            )
        known = {key: one.checkpoint.metadata[key] for key in ("arch", "format", "classes") if one.classes}
        twin = replace(twin, name=f"{one.name} untrained", metadata=known)
        return Loaded(twin, trained=False, like=number)

    def _side_by_side(self, request: Request) -> list[Loaded]:
        """Checkpoints, each read as one of `--read-as`, then untrained networks for the classes of the images."""
        from resnet_probe import checkpoint
        from resnet_probe.data import is_own, load_data

        ckpts, archs, read_as = request.ckpts, request.arch, request.read_as
        if not ckpts and not archs:
            raise click.UsageError("no network given; give --ckpt FILE or --arch NAME, several times, or --zoo")
        if len(set(archs)) < len(archs):
            raise click.UsageError(f"the same --arch given twice ({', '.join(archs)}); give each once")
        if len(read_as) not in (0, len(ckpts)):
            raise click.UsageError(
                f"{len(read_as)} times --read-as given for {len(ckpts)} checkpoints; give it once for each in their "
                f"order, {AUTO} where the weights tell"
            )
        kinds = [None if kind == AUTO else kind for kind in read_as or [AUTO] * len(ckpts)]
        pairs = zip(ckpts, kinds, strict=True)
        found = distinct([self.load(path, kind, size=request.size) for path, kind in pairs], ckpts)
        if not archs:
            return found
        spec = request.data or (found[0].images if found else None)
        if spec is None:
            raise click.UsageError(NO_IMAGES)
        limit = request.limit if is_own(spec) else 1  # the classes of one's own data may be those of its labels
        some = load_data(spec, root=request.data_root, split=request.split, limit=limit, size=32)
        taken, like = {each.name for each in found}, 0 if found else None
        for arch in archs:
            classes, channels = outputs_for(some, request), some.input_shape[0]
            made = checkpoint.untrained(arch, seed=request.seed, num_classes=classes, in_channels=channels)
            name = f"{made.name} untrained" if made.name in taken else made.name
            found.append(Loaded(replace(made, name=name), trained=False, like=like))
        return found

    def task(self, one: Loaded, request: Request) -> Task:
        """What is asked of a network: as the request says, or its file, or classification.

        Raises:
            LookupError, ValueError: as `tasks.task_called`.
        """
        from resnet_probe.tasks import CLASSIFICATION, task_called

        return task_called(request.task or one.own("task") or CLASSIFICATION.name)

    # -- images --------------------------------------------------------------------------------------------------------

    def subjects(
        self, networks: Sequence[Loaded], request: Request, needs: Needs, device: str, *, images: bool,
        check: Callable[[Subject], None] = lambda subject: None,
    ) -> list[Subject]:  # fmt: skip
        """Each network with its images, after a look at its error, and what unravels it when that is needed.

        Args:
            check: raises ValueError for a network that cannot be measured, before its images are.

        Raises:
            click.UsageError: no data is known, the classes do not fit a network, as many normalisations as neither one
                nor networks, or another normalisation than the default gives a clearly lower error.
            DataError: the data cannot be read.
        """
        import torch

        from resnet_probe.analyses.subject import Subject
        from resnet_probe.tasks import CLASSIFICATION

        given = request.normalize
        if len(given) not in (0, 1, len(networks)):
            raise click.UsageError(
                f"{len(given)} times --normalize given for {len(networks)} networks; give it once for all, or once for "
                "each in their order, checkpoints before architectures"
            )
        each = given if len(given) > 1 else [given[0] if given else None] * len(networks)
        found: list[Subject] = []
        for one, asked in zip(networks, each, strict=True):
            task = self.task(one, request)
            if task is not CLASSIFICATION and not needs.tasks:
                raise click.UsageError(f"{one.name} is for {task.name}, which this command does not measure")
            data, more = None, None
            if images:
                like = found[one.like] if one.like is not None else None
                spec = request.data or (networks[one.like] if one.like is not None else one).images
                normalize = asked or (like.data.normalization if like else None)
                data = self.images(one, request, spec, normalize, task.labels)
                if task is CLASSIFICATION:
                    check_fit(one, data)
                more = self._more(one, spec or "", data, request, task.labels)
            shape = data.input_shape if data else None
            unraveled = self._unraveler(one, shape, device)
            if data is not None and task is not CLASSIFICATION:
                ((inputs, _),) = task.batches(data.subset(slice(0, 1)), 1, torch.device(device))
                if part := task.part(one.checkpoint.model):
                    unraveled = partial(self._part, one, part, inputs, device)
                elif (example := task.example(inputs)) is not None:
                    unraveled = self._unraveler(replace(one, inputs=example), shape, device)
            found.append(
                Subject(
                    one.name, unraveled, data, checkpoint=one.with_its_leaves(), trained=one.trained, images=more,
                    task=task,
                )
            )  # fmt: skip
            check(found[-1])
            if data is not None and task is CLASSIFICATION:
                settled = (normalize or one.own("normalize")) is not None or not one.trained
                self._once("looked", partial(self._look, one, data, settled, device), one.checkpoint, data)
        if needs.side_by_side and found:
            same_images(found)
        return found

    def images(
        self, one: Loaded, request: Request, spec: str | None = None, normalize: str | None = None,
        labels: str = "classification",
    ) -> Data:  # fmt: skip
        """The images of a request as this network takes them, with labels for a task.

        Raises:
            click.UsageError: no data is known.
            DataError: the data cannot be read.
        """
        if one.example is not None and labels != "language":
            raise click.UsageError(
                f"{one.name} is a network of transformers, and no labelled images are measured with those; inspect and "
                "paths take it without --data"
            )
        spec = spec or request.data or one.images
        if spec is None:
            raise click.UsageError(NO_IMAGES)
        key = (
            spec, request.data_root, request.split, request.limit, normalize or one.own("normalize"), one.input_size,
            request.seed, request.classes, one.classes, one.checkpoint.num_classes, labels,
        )  # fmt: skip
        return self._once(  # type: ignore[no-any-return]
            ("images", *key), lambda: images_of(one, spec, request, normalize=normalize, labels=labels, tell=self.tell)
        )

    def _look(self, one: Loaded, data: Data, settled: bool, device: str) -> None:
        """Say the unlesioned error, and stop where another normalisation would give a clearly lower one."""
        from resnet_probe.evaluate import baseline as unlesioned

        measured = unlesioned.baseline(one.checkpoint.model.to(device), data, device=device, others=not settled)
        if measured.better is not None:
            raise click.UsageError(
                f"with normalisation {data.normalization!r} {one.name} has {measured.error:.1f} % error on "
                f"{measured.images} images, with {measured.better!r} {measured.errors[measured.better]:.1f} %; "
                f"give --normalize {measured.better} (or --normalize {data.normalization} to go on as it is)"
            )
        how = f"normalisation {data.normalization!r}" + ("" if settled else ", no other known one is clearly better")
        self.tell(f"{one.name}: {measured.error:.4g} % error on {measured.images} images of {data.name} ({how})")
        chance = 100 * (1 - 1 / len(data.classes))
        if one.trained and measured.error > 0.95 * chance:
            self.tell(
                f"note: that is about chance ({chance:.4g} %); check --data, --normalize and --arch, and that the "
                f"classes come in the order of the training ({', '.join(data.classes[:3])}"
                f"{', ...' if len(data.classes) > 3 else ''})",
                important=True,
            )
        if not one.trained:
            self.tell("note: no --ckpt is given, so the weights are random", important=True)
        self._once("notes", lambda: [self.tell(f"note: {note}") for note in one.checkpoint.notes], one.checkpoint)

    def _more(self, one: Loaded, spec: str, like: Data, request: Request, labels: str) -> Callable[..., Data]:
        """What loads other images of the same data, normalised alike."""

        def others(*, split: str = request.split, limit: int | None = request.limit, whole: bool = False) -> Data:
            its: dict[str, Any] = {"split": split, "limit": limit, "whole": whole}
            return images_of(one, spec, request, normalize=like.normalization, labels=labels, **its)

        return others

    def _unraveler(self, one: Loaded, usual: tuple[int, ...] | None, device: str) -> Callable[..., UnraveledNetwork]:
        """What unravels the network for inputs of a shape; where none is given, for usual ones, or of its own size."""

        from resnet_probe.anatomy import scores_in

        def unravel(shape: tuple[int, ...] | None) -> UnraveledNetwork:
            if shape is None and usual is None and one.input_size is None and one.example is None:
                self.tell(f"note: the size of the images of {one.name} is not known; it is traced at {USUAL} x {USUAL}")
            network = self.unraveled(one, shape or usual, device)
            named = network.anatomy.traced.named_outputs
            if usual is not None and len(named) > 1 and (output := scores_in(named)):
                self.tell(f"note: {one.name} returns {', '.join(named)}; {output} is measured")
                network = self.unraveled(one, shape or usual, device, output=output)
            return network

        return unravel

    def _part(
        self, one: Loaded, part: str, inputs: Any, device: str, shape: tuple[int, ...] | None
    ) -> UnraveledNetwork:
        """A part of a network that is measured as a whole; of several outputs the last, with the others on its way."""
        import torch

        from resnet_probe.anatomy import named_outputs, part_at
        from resnet_probe.unraveled import unravel

        def taken_apart() -> UnraveledNetwork:
            model, how = one.checkpoint.model.to(device), {"at": part, "leaves": one.leaves, "trace": one.trace}
            module, given = part_at(model, part, inputs)
            with torch.no_grad():
                *others, last = named_outputs(module(given))
            self.tell(f"{one.name}: {part} is taken apart, the rest is run as it is")
            chain = unravel(model, inputs, output=last if others else "", **how)  # type: ignore[arg-type]
            return chain if chain.taps else unravel(model, inputs, **how)  # type: ignore[arg-type]

        return self._once(  # type: ignore[no-any-return]
            ("part", part, device, one.leaves, one.trace), taken_apart, one.checkpoint.model
        )

    def unraveled(
        self, one: Loaded, shape: tuple[int, ...] | None = None, device: str = "cpu", output: str = ""
    ) -> UnraveledNetwork:
        """The network as a chain of units, for inputs of `shape`, or of the size that it is made for."""
        from resnet_probe.unraveled import unravel

        loaded = one.checkpoint
        size = one.input_size or USUAL
        shape = shape or (loaded.in_channels, size, size)
        example = shape if one.example is None else one.example
        return self._once(  # type: ignore[no-any-return]
            ("trace", shape, device, one.leaves, one.trace, output),
            lambda: unravel(loaded.model.to(device), example, leaves=one.leaves, trace=one.trace, output=output),
            loaded.model,
        )

    def sized(self, one: Loaded, size: int | None) -> UnraveledNetwork:
        """The network as a chain of units, for images of `size` pixels, or of the size that it is made for.

        Raises:
            click.UsageError: neither is known.
        """
        side = size or one.input_size or (USUAL if one.example is not None else None)
        if side is None:
            raise click.UsageError(f"the size of the images that {one.name} is made for is not known; give --size N")
        return self.unraveled(one, (one.checkpoint.in_channels, side, side))
