"""The images of a request as a network takes them: normalised, with its labels, and checked against it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import rich_click as click

CLASSES = "classification"

if TYPE_CHECKING:
    from resnet_probe.analyses.subject import Subject
    from resnet_probe.commands.loaded import Loaded
    from resnet_probe.commands.request import Request
    from resnet_probe.data import Data


def images_of(
    one: Loaded, spec: str, request: Request, *, normalize: str | None, labels: str = CLASSES,
    tell: Callable[[str], None] | None = None, **part: Any,
) -> Data:  # fmt: skip
    """The images `spec`, normalised by `normalize` or as the network's own file says, with the network's labels.

    Floats of one's own are normalised by whoever made them, unless the network was trained on them. `part` is another
    split, limit or `whole` than those of the request; `labels` is the task that they are for; `tell` gets what
    `load_data` notifies, and how classes are matched.

    Raises:
        DataError: they cannot be read, or their classes are not in `--classes`.
        click.UsageError: `--classes` for labels that are no classes.
    """
    from resnet_probe.data import can_match, is_own, load_data, read_classes, with_classes

    own = one.own("normalize")
    chosen = normalize or (None if is_own(spec) else own)
    which = {"split": request.split, "limit": request.limit, **part}
    size = None if labels == "detection" else one.input_size  # whose images keep their sizes
    data = load_data(
        spec, root=request.data_root, normalize=chosen, size=size, seed=request.seed, task=labels, notify=tell, **which
    )
    if chosen is None and own and (data.is_pixels or one.own("data") == data.name):
        data = data.with_normalization(own)
    if labels != CLASSES:
        if request.classes is not None:
            raise click.UsageError(f"--classes given, and labels of {data.name} are for {labels}; leave it out")
        return data
    outputs = one.checkpoint.num_classes
    if request.classes is not None:
        found = with_classes(data, read_classes(request.classes), outputs)
    else:
        # labels of one's own without names are outputs, though maybe none is of the last ones
        numbers = [str(output) for output in range(outputs)] if is_own(spec) else ()
        names = next((names for names in (one.classes, numbers) if can_match(data, names)), None)
        found = data if names is None else with_classes(data, names, outputs)
    if found.mapped and tell:
        tell(f"note: {data.name} has {len(data.classes)} of the {len(found.classes)} classes of {one.name}")
    return found


def outputs_for(data: Data, request: Request) -> int:
    """Outputs of a network that is made for these images: one for each of their classes, or of `--classes`."""
    from resnet_probe.data import read_classes

    if request.classes is None:
        return len(data.classes)
    known = read_classes(request.classes)
    return max(known.values()) + 1 if isinstance(known, dict) else len(known)


def check_fit(one: Loaded, data: Data) -> None:
    """Whether the network has the classes and the channels of the images.

    Raises:
        click.UsageError: it has not.
    """
    loaded, classes, shape = one.checkpoint, len(data.classes), data.input_shape
    if loaded.num_classes != classes:
        raise click.UsageError(
            f"{loaded.name} has {loaded.num_classes} classes and {data.name} has {classes}; "
            "give the data the network was trained for, or --classes FILE where these are some of its classes"
        )
    if len(shape) == 3 and loaded.in_channels != shape[0]:
        raise click.UsageError(
            f"{loaded.name} takes images of {loaded.in_channels} channels and {data.name} has {shape[0]}; "
            "give the data the network was trained for"
        )


def same_images(found: Sequence[Subject]) -> None:
    """Whether networks that are set side by side see the images of one data set.

    Raises:
        click.UsageError: they do not.
    """
    first = found[0].data
    for other in found[1:]:
        if (other.data.name, other.data.classes) != (first.name, first.classes):
            raise click.UsageError(
                f"{found[0].name} was trained for {first.name} and {other.name} for {other.data.name}; give --data, "
                "so that both see the same images"
            )
