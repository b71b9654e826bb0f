"""Weights <-> network: load anyone's checkpoint, its architecture read from the weights; save and load our own.

    checkpoint = load("resnet56-4bfd9763.th")
    checkpoint.model, checkpoint.arch, checkpoint.notes

`load` reads the file safely (`weights`), names its network (`architecture`), builds it and
puts the weights in. `save` writes a safetensors file whose header says what the network is and how it came about, so
that nothing has to be guessed when it is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from resnet_probe.checkpoint import architecture
from resnet_probe.checkpoint.costs import require_affordable, require_small, size_of
from resnet_probe.checkpoint.renaming import rename
from resnet_probe.checkpoint.weights import OWN_KEY, CheckpointError, Weights, read_weights
from resnet_probe.files import whole
from resnet_probe.limits import MOST_CHANNELS, UNHELD_LAYERS, most_bytes
from resnet_probe.models import family_of, resolve
from resnet_probe.tables.cells import visible
from resnet_probe.unraveled import UnraveledNetwork, unravel

__all__ = ["Checkpoint", "CheckpointError", "load", "save", "untrained"]

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A network with its weights, and where both came from.

    `model`: in evaluation mode, on the CPU. `name`: the file's stem. `arch`: a name that `resnet_probe.models.resolve`
    takes. `sha256`: hash of the file. `notes`: what was ambiguous and how it was decided. `metadata`: of our own
    format, or plain values beside the weights (`best_prec1`). `input_size`: side of the images the network is made
    for, in pixels, where known. `chain`: of a network edited before, its chain over the units it had at first, to which
    the edits in the metadata refer. `names`: tensor of the file -> tensor of our network, where they differ.
    """

    model: nn.Module
    name: str
    arch: str
    sha256: str
    notes: tuple[str, ...]
    metadata: dict[str, Any]
    num_classes: int
    in_channels: int
    input_size: int | None
    chain: UnraveledNetwork | None = None
    names: Mapping[str, str] = field(default_factory=dict)


def load(path: str | Path, *, arch: str | None = None, size: int | None = None) -> Checkpoint:
    """Load the checkpoint `path`.

    `arch` settles what the network is, in place of the weights or of the file's own description. `size`: side of the
    images it will get, in pixels; where it is given, the file may say that its network is for images of any size.

    Nothing of the file is run, and torch's random state stays as it is. A factory named by `arch` is the user's code
    and does run. Raises CheckpointError if the file cannot be read safely, or if its weights fit no known network or
    not the one given; LookupError or ValueError as `resolve` does if `arch` is no network.
    """
    path = Path(path)
    weights, chosen, model, names, notes = _understood(path, read_weights(path), arch)
    shapes = _shapes(model)
    canonical = str(model.arch) if family_of(chosen) else chosen
    called = re.search(r"resnet[-_]?(\d+)", path.stem.lower())
    actual = re.match(r"(?:cifar:|torchvision:)?resnet(\d+)", canonical)
    if called and actual and called[1] != actual[1]:
        notes.append(f"the file is called {called[0]}, its weights are those of {canonical}")
    input_size = _input_size(canonical, model, weights)
    if weights.own and input_size is not None and size is None:
        require_affordable(path, model, (_channels(shapes), input_size, input_size))
    chain = _edited(path, model, weights.metadata) if weights.own and weights.metadata.get("edits") else None
    if chain is not None:
        notes.append(f"an edited {canonical}: {'; '.join(map(_words, weights.metadata['edits']))}")
    return Checkpoint(
        model=chain.to_module() if chain else model,
        name=visible(path.stem, line=True),
        arch=canonical,
        sha256=weights.sha256,
        notes=tuple(notes),
        metadata=weights.metadata,
        num_classes=_classes(shapes),
        in_channels=_channels(shapes),
        input_size=input_size,
        chain=chain,
        names=names,
    )


def untrained(arch: str, *, seed: int = 0, names: Mapping[str, str] | None = None, **sizes: int) -> Checkpoint:
    """The network `arch` with random weights, as if it came from a file; its `sha256` is empty.

    `names`: of another `Checkpoint`, whose names of layers it is to have. `sizes`: `num_classes` and `in_channels`, as
    `resolve` takes them. The same seed gives the same weights, and torch's random state stays as it is. Raises
    LookupError or ValueError as `resolve` does.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = resolve(arch, **sizes).eval()
    if family_of(arch):
        rename(model, names or {})
    shapes = _shapes(model)
    canonical = str(model.arch) if family_of(arch) else arch
    size = _input_size(canonical, model, None)
    return Checkpoint(model, arch, canonical, "", (), {}, _classes(shapes), _channels(shapes), size)


def save(
    path: str | Path, model_or_state: nn.Module | Mapping[str, Tensor], *, arch: str, metadata: Mapping[str, Any]
) -> Path:
    """Write weights and their description as safetensors; the same input gives the same bytes.

    `metadata`: anything JSON can hold, usually `normalize`, `recipe`, `data`, `error` (percent), `edits`,
    `input_size`. The file appears whole or not at all. Raises ValueError if the metadata is not JSON, CheckpointError
    if the file cannot be written.
    """
    path = Path(path)
    state = model_or_state.state_dict() if isinstance(model_or_state, nn.Module) else model_or_state
    tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in state.items()}
    try:
        description = json.dumps({**metadata, "arch": arch, "format": FORMAT}, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"metadata of {path.name} is not JSON ({error}); give strings, finite numbers, lists and dicts"
        ) from None
    # One entry only: safetensors writes several in random order.
    content = safetensors.torch.save(tensors, metadata={OWN_KEY: description})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise CheckpointError(
            f"cannot write {path}: {error.strerror}; give a file in a folder that can be written"
        ) from None
    return path


class _MisfitError(CheckpointError):
    """Weights that do not fit a network, in so many places."""

    def __init__(self, message: str, places: int) -> None:
        super().__init__(message)
        self.places = places


def _understood(
    path: Path, weights: Weights, arch: str | None
) -> tuple[Weights, str, nn.Module, dict[str, str], list[str]]:
    """The weights under the names that fit a network, its name, itself, names that differ, and notes.

    The names are tried as they are, then without the words that all of them begin with, since a network may have such a
    word itself. Raises as `load`: what is told is told of the names that fit best.
    """
    failed: list[_MisfitError] = []
    named: Weights | None = weights
    while named is not None:
        try:
            if reading := _reading(path, named, arch):
                model, names = _fitted(path, named, reading.arch, given=arch is not None)
                if family_of(reading.arch):
                    rename(model, names)
                notes = [*named.notes, *reading.notes, *_otherwise(model, names)]
                return named, reading.arch, model, {a: b for a, b in names.items() if a != b}, notes
        except _MisfitError as error:
            failed.append(error)
        except CheckpointError:
            raise
        except (LookupError, ValueError) as error:
            if arch is not None:
                raise
            raise CheckpointError(f"{path} is of a network that cannot be built: {error}") from error
        named = named.unwrapped()
    if failed:
        raise min(failed, key=lambda error: error.places)
    raise CheckpointError(f"{path}: {_unknown(weights)}")


def _reading(path: Path, weights: Weights, arch: str | None) -> architecture.Reading | None:
    """The network that is told, or that the file names, or that the weights show."""
    if arch is None:
        return _own_reading(path, weights) if weights.own else architecture.read(weights.shapes)
    if weights.own and weights.metadata.get("arch") != arch:
        note = f"the file names its network {weights.metadata.get('arch')}; read as {arch}, as told"
        return architecture.Reading(arch, (note,))
    return architecture.Reading(arch)


def _own_reading(path: Path, weights: Weights) -> architecture.Reading:
    arch, version = weights.metadata.get("arch"), weights.metadata.get("format")
    if not isinstance(arch, str) or version != FORMAT:
        raise CheckpointError(
            f"{path} has format {version} and network {arch}; this version reads format {FORMAT}: update resnet-probe"
        )
    if not family_of(arch) and not arch.startswith(("torchvision:", "timm:")):
        # The name is part of the file, and building it would run code that the file's author chose.
        raise CheckpointError(f"{path} names its network {arch}, which is code; if you trust it, give --arch {arch}")
    held = len(weights.tensors)
    if (named := re.search(r"\d+", arch)) and family_of(arch) and int(named[0][:9]) > UNHELD_LAYERS + 2 * held:
        raise CheckpointError(f"{path} names {arch} and holds {held} tensors; give the --arch they belong to")
    if arch.startswith("timm:"):  # built with values, since some cannot be built without
        require_small(path, arch, weights)
    return architecture.Reading(arch)


def _fitted(path: Path, weights: Weights, arch: str, *, given: bool) -> tuple[nn.Module, dict[str, str]]:
    """The network `arch` with the weights in it, and which tensor of the file is which of its own.

    Its numbers of classes and of channels are those of the weights.
    """
    shapes = weights.shapes
    model = _built(arch)
    expected = _shapes(model)
    gone = _left_out(weights)
    names = _own_names(weights, [*shapes, *sorted(gone)]) if weights.own else architecture.align(shapes, expected)
    tensors = {names[name]: tensor for name, tensor in weights.tensors.items()}
    sizes = {
        "num_classes": _size(tensors, architecture.head(expected), 0),
        "in_channels": _size(tensors, architecture.stem(expected), 1) or _edited_channels(weights),
    }
    if 0 in sizes.values():
        raise CheckpointError(f"{path} has weights of no classes or no channels; the file is damaged, get it again")
    default = {"num_classes": _classes(expected), "in_channels": _channels(expected)}
    different = {key: size for key, size in sizes.items() if size is not None and size != default[key]}
    if different:
        model = _built(arch, **different)
        expected = _shapes(model)
    empty = {names[name] for name in gone}
    left_out = {name: tensor for name, tensor in model.state_dict().items() if name in empty}
    if sum(map(size_of, left_out.values())) > most_bytes(sum(map(size_of, weights.tensors.values()))):
        raise CheckpointError(f"{path} leaves out most of {arch}, which is much larger; save the edited network again")
    for name, tensor in left_out.items():
        tensors.setdefault(name, torch.zeros_like(tensor, device="cpu"))
    for counter in expected:  # old files have none; it counts training steps and changes nothing in evaluation
        if counter.endswith("num_batches_tracked"):
            tensors.setdefault(counter, torch.zeros((), dtype=torch.int64))
    tensors |= {name: tensors[twin] for name, twin in _tied(model) if twin in tensors and name not in tensors}
    differences = _differences({name: tuple(tensor.shape) for name, tensor in tensors.items()}, expected)
    if len(tensors) < len(weights.tensors):
        differences.insert(0, "two tensors of the file have the same place")
    if differences:
        listed = "; ".join(differences[:3]) + (f"; and {len(differences) - 3} more" if len(differences) > 3 else "")
        if given or weights.own:
            message = f"{path}: the weights do not fit {arch}: {listed}; give the --arch they belong to"
        else:
            message = f"{path}: {_unknown(weights)} (closest {arch}: {listed})"
        raise _MisfitError(message, len(differences))
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not tensors[name].is_floating_point():
            kind = str(tensors[name].dtype).removeprefix("torch.")
            raise CheckpointError(f"{path}: {name} has numbers of type {kind}; save the weights as float32")
    model.load_state_dict(tensors, assign=True)
    return model.eval(), {theirs: ours for theirs, ours in names.items() if ours in expected}


def _otherwise(model: nn.Module, names: Mapping[str, str]) -> list[str]:
    """A note on layers that keep another name than the file has for them."""
    pairs: dict[str, str] = {}
    held = model.state_dict().keys()
    for theirs, ours in names.items():
        if theirs not in held:
            pairs.setdefault(ours.rpartition(".")[0], theirs.rpartition(".")[0])
    if not pairs:
        return []
    told = [f"{ours} ({theirs})" for ours, theirs in pairs.items()]
    more = f", and {len(told) - 8} more" if len(told) > 8 else ""
    return [f"layers with a name of ours, and in brackets the file's: {', '.join(told[:8])}{more}"]


def _built(arch: str, **sizes: int) -> nn.Module:
    """Build a network and leave the random state as it is; our own and torchvision's get no values at all."""
    if family_of(arch) or arch.startswith("torchvision:"):
        try:
            with torch.device("meta"):
                model = resolve(arch, **sizes)
            if not hasattr(model, "rpn") and not hasattr(model, "anchor_generator"):  # whose anchors are no weights
                return model
        except NotImplementedError:  # torchvision's RegNets compute their widths with tensors
            pass
    with torch.random.fork_rng(devices=[]):
        return resolve(arch, **sizes)


def _tied(model: nn.Module) -> list[tuple[str, str]]:
    """Pairs of names of one tensor, such as head and embedding of a GPT-2: safetensors holds it once."""
    first: dict[int, str] = {}
    pairs: list[tuple[str, str]] = []
    for name, tensor in model.state_dict().items():
        if tensor.numel() and not tensor.is_meta and (twin := first.setdefault(tensor.data_ptr(), name)) != name:
            pairs += [(name, twin), (twin, name)]
    return pairs


def _differences(found: architecture.Shapes, expected: architecture.Shapes) -> list[str]:
    differences = []
    for name, shape in expected.items():
        if name not in found:
            differences.append(f"no {name} ({_by(shape)})")
        elif found[name] != shape:
            differences.append(f"{name} is {_by(found[name])}, not {_by(shape)}")
    return differences + [f"{name} ({_by(found[name])}) has no place" for name in found if name not in expected]


def _unknown(weights: Weights) -> str:
    names = list(weights.tensors)
    return (
        f"weights of no known network ({len(names)} tensors: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}); "
        "name it with --arch, such as resnet56, torchvision:resnet50, timm:NAME or file.py:factory"
    )


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _classes(shapes: architecture.Shapes) -> int:
    return shapes[architecture.head(shapes)][0]


def _channels(shapes: architecture.Shapes) -> int:
    stem = architecture.stem(shapes)
    return shapes[stem][1] if stem else 3


def _size(tensors: Mapping[str, Tensor], name: str | None, dimension: int) -> int | None:
    shape = tensors[name].shape if name is not None and name in tensors else ()
    return shape[dimension] if len(shape) > dimension else None


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "one number"


def _own_names(weights: Weights, tensors: list[str]) -> dict[str, str]:
    """What our code calls the tensors of a file of ours, which may be made from one with other names."""
    known = weights.metadata.get("names")
    named = {name: known.get(name) for name in tensors} if isinstance(known, dict) else {}
    return {name: ours if isinstance(ours := named.get(name), str) else name for name in tensors}


def _left_out(weights: Weights) -> set[str]:
    """Tensors that an edit made needless; zeros stand in for them until the edit is made again."""
    names = weights.metadata.get("removed", []) if weights.own else []
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()


def _edited_channels(weights: Weights) -> int | None:
    """Channels of the input of an edited network, for an edit that took the first layer away."""
    shape = weights.metadata.get("input_shape") if weights.own else None
    channels = shape[0] if isinstance(shape, list) and shape else None
    return channels if isinstance(channels, int) and 0 < channels <= MOST_CHANNELS else None


def _words(edit: Mapping[str, Any]) -> str:
    """An edit as part of a sentence: `deleted layer2.2`, `layer1.1 scaled by 0.5`, `in the order ...`."""
    ((kind, what),) = edit.items()
    if kind == "scale":
        return ", ".join(f"{name} scaled by {factor:g}" for name, factor in what.items())
    return f"{'deleted' if kind == 'delete' else 'in the order'} {', '.join(what)}"


def _edited(path: Path, model: nn.Module, metadata: Mapping[str, Any]) -> UnraveledNetwork:
    """The network after the edits that its file names."""
    try:
        shape, leaves = tuple(metadata["input_shape"]), metadata.get("leaves", ())
        require_affordable(path, model, shape)
        return unravel(model, shape, leaves=leaves, trace=metadata.get("trace")).edit(metadata["edits"])
    except CheckpointError:
        raise
    except (LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} holds an edit that cannot be made again: {error}") from error


def _input_size(arch: str, model: nn.Module, weights: Weights | None) -> int | None:
    own = weights is not None and weights.own
    described = weights.metadata.get("input_size") if weights and own else getattr(model, "input_size", None)
    if isinstance(described, int) and not isinstance(described, bool):
        return described
    if arch.startswith("torchvision:"):
        return 299 if arch == "torchvision:inception_v3" else 224
    if arch.startswith("timm:"):
        size = getattr(model, "pretrained_cfg", {}).get("input_size")
        return int(size[-1]) if size else None
    return 32 if family_of(arch) and _channels(_shapes(model)) == 3 and not own else None
