"""Weight files of other people, read without running any code of theirs.

`read_weights` takes legacy and zip PyTorch files and safetensors, finds the weights in them, cleans their names, and
checks that they are finite. PyTorch files are read with `weights_only=True` and nothing else: a file whose pickle
names a function or class that is not on PyTorch's list is refused, never loaded in some other way.
"""

from __future__ import annotations

import hashlib
import json
import math
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from resnet_probe.files import regular
from resnet_probe.limits import most_bytes
from resnet_probe.pickles import CostlyError, check

OWN_KEY = "resnet-probe"  # the one entry of a safetensors header that our own files have; its value is JSON

# Where training programs put the weights in what they save; the first that is there is taken.
NESTS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "state_dict_ema", "model_ema", "ema")
PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and torch.compile

_WEIGHTS_ALONE = "get the weights alone, as a safetensors file or saved with torch.save(model.state_dict(), …)"
_PLACEHOLDERS = (
    # Settings and numbers that often lie beside the weights. They are not built: an empty object takes their place.
    "argparse.Namespace",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
)


class CheckpointError(ValueError):
    """A weight file that cannot be used; one line says what was given, what is allowed and what to do."""


@dataclass(frozen=True)
class Weights:
    """What a weight file holds.

    `tensors`: float32 (or integer) tensors on the CPU by cleaned name. `metadata`: the JSON of our own format, or the
    plain values beside the weights (`best_prec1`, `epoch`). `own`: whether the file is of our own format. `sha256`:
    hash of the file. `notes`: what was decided on the way.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, Any]
    own: bool
    sha256: str
    notes: tuple[str, ...]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor by name."""
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}

    def unwrapped(self) -> Weights | None:
        """The weights without the first word of their names, where they share it, as those of a Lightning module do.

        What lies beside them is left out where it is small (no tensor of two dimensions or more), such as the class
        weights of a loss. None where the names share no word.
        """
        words = {name.partition(".")[0] for name, tensor in self.tensors.items() if tensor.dim() > 1}
        prefix = f"{words.pop()}." if len(words) == 1 else ""
        inside = {name.removeprefix(prefix): tensor for name, tensor in self.tensors.items() if name.startswith(prefix)}
        if not prefix or not inside or "" in inside:
            return None
        note = f"names of the weights begin with {prefix}, which is taken off"
        if beside := [name for name in self.tensors if not name.startswith(prefix)]:
            note += f"; left out beside them: {', '.join(beside[:5])}{', …' if len(beside) > 5 else ''}"
        return replace(self, tensors=inside, notes=(*self.notes, note))


def read_weights(path: Path) -> Weights:
    """Read the weight file `path`.

    Raises CheckpointError if it is none, is damaged, would run code, or has weights that are not finite.
    """
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; give a checkpoint file in it (.pt, .pth, .th, .safetensors)")
    if not path.exists():
        raise CheckpointError(f"no file {path}; give a checkpoint (.pt, .pth, .th, .safetensors)")
    try:
        with regular(path).open("rb") as file:
            start = file.read(512)
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise CheckpointError(str(error)) from None
    notes: list[str] = []
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 2**32:  # safetensors
        found, metadata, own = _read_safetensors(path)
    elif start.startswith((b"PK\x03\x04", b"\x80")):  # a zip archive; a pickle, which legacy files begin with
        found, metadata = _select(path, _read_torch(path), notes)
        own = False
    else:
        raise CheckpointError(f"{path} is no checkpoint but {_describe(start)}; PyTorch and safetensors files are read")
    tensors = {name: _usable(path, name, tensor) for name, tensor in _clean(path, found, notes).items()}
    if half := sorted({_type(tensor) for tensor in found.values() if _is_other_float(tensor)}):
        notes.append(f"weights are {' and '.join(half)}; used as float32")
    return Weights(tensors, metadata, own, sha256, tuple(notes))


def _describe(start: bytes) -> str:
    if not start:
        return "an empty file"
    try:
        text = start[:500].decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        if error.start < len(start[:500]) - 3:  # a character may be cut at the end
            return "a binary file of another kind"
        text = start[: error.start].decode("utf-8")
    return f"a text file that begins with {text.splitlines()[0][:40]!r}"


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any], bool]:
    try:
        with _utf8(path) as readable, safe_open(readable, framework="pt", device="cpu") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        own = OWN_KEY in header
        metadata = json.loads(header[OWN_KEY]) if own else dict(header)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is damaged or truncated ({_line(error)}); get the safetensors file again"
        ) from None
    if not isinstance(metadata, dict):
        raise CheckpointError(
            f"{path} is damaged: its description {str(metadata)[:40]!r} is no JSON object; save it again"
        )
    return tensors, metadata, own


@contextmanager
def _utf8(path: Path) -> Iterator[Path]:
    """The file under a name that is UTF-8, which the reader asks for."""
    if str(path).isprintable():  # halves of characters, which stand for other bytes, are not
        yield path
        return
    with TemporaryDirectory() as scratch:
        link = Path(scratch, "weights")
        link.symlink_to(path.absolute())
        yield link


class _Placeholder:
    """Takes the place of a value that is not needed, and swallows what the pickle says about it."""

    def __new__(cls, *_: object, **__: object) -> _Placeholder:
        return object.__new__(cls)

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _read_torch(path: Path) -> Any:
    inert = [(_Placeholder, name) for name in _PLACEHOLDERS]
    try:
        check(path, _PLACEHOLDERS)
        with warnings.catch_warnings(), torch.serialization.safe_globals(inert):  # type: ignore[arg-type]
            warnings.simplefilter("ignore")  # about pickle protocols: what matters comes as an exception
            return torch.load(path, map_location="cpu", weights_only=True)
    except CostlyError as error:
        raise CheckpointError(f"{path} is refused: {error}; {_WEIGHTS_ALONE}") from None
    except pickle.UnpicklingError as error:
        if name := re.search(r"GLOBAL (\S+) (?:was not an allowed|whose module)", str(error)):
            raise CheckpointError(
                f"{path} is refused: its pickle names {name[1]}, which could run code; {_WEIGHTS_ALONE}"
            ) from None
        if "Unsupported operand" in str(error):
            raise CheckpointError(
                f"{path} was saved with a pickle protocol above 2; save it again as torch.save does by default"
            ) from None
        raise CheckpointError(
            f"{path} is no PyTorch file that can be read safely ({_line(error)}); get it again"
        ) from None
    except Exception as error:  # a damaged pickle can fail anywhere
        if "TorchScript" in str(error):
            raise CheckpointError(
                f"{path} is a TorchScript program, which is code; give its weights (state_dict)"
            ) from None
        reason = f"{type(error).__name__}: {_line(error)}".removesuffix(": ")
        raise CheckpointError(f"{path} is damaged or truncated ({reason}); get it again") from None


def _select(path: Path, content: Any, notes: list[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Find the weights in what a training program saved, and the plain values beside them."""
    beside: dict[str, Any] = {}
    for _ in range(3):  # weights, nested weights, weights nested twice
        if not isinstance(content, Mapping):
            break
        nests = [name for name in NESTS if isinstance(content.get(name), Mapping) and content[name]]
        if not nests:
            tensors = {
                name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)
            }
            if not tensors:
                break
            if len(tensors) < len(content):
                others = [str(name) for name in content if name not in tensors]
                notes.append(f"not tensors, left out: {', '.join(others[:5])}{', …' if len(others) > 5 else ''}")
            return tensors, beside
        if len(nests) > 1:
            notes.append(f"the file has weights under {' and '.join(nests)}; those under {nests[0]} are read")
        plain = {name: value for name, value in content.items() if isinstance(value, (str, int, float))}
        beside = {**plain, **beside}
        content = content[nests[0]]
    held = (
        f"a dict of {', '.join(map(str, list(content)[:5]))}"
        if isinstance(content, Mapping)
        else type(content).__name__
    )
    raise CheckpointError(
        f"{path} has no weights but {held}; it must be a state dict, or have one under {', '.join(NESTS)}"
    )


def _clean(path: Path, found: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Drop the prefixes that all names share, and the counter of averaged models."""
    found = {name: tensor for name, tensor in found.items() if name != "n_averaged"}
    if not found:
        raise CheckpointError(f"{path} has no tensors; it must be a state dict")
    prefix = next((prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in found)), None)
    if prefix is None:
        return {name.replace("._orig_mod.", "."): tensor for name, tensor in found.items()}
    return _clean(path, {name.removeprefix(prefix): tensor for name, tensor in found.items()}, notes)


def _usable(path: Path, name: str, tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    if (
        tensor.layout is not torch.strided
        or tensor.is_quantized
        or tensor.is_meta
        or tensor.is_complex()
        or tensor.is_nested
    ):
        raise CheckpointError(
            f"{path}: {name} is no ordinary tensor (sparse, quantized, complex or without values); save dense weights"
        )
    claimed, stored = tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()
    if claimed > most_bytes(stored):
        raise CheckpointError(
            f"{path}: {name} claims {claimed:,} bytes and has {stored:,}; save it contiguous, or leave it out"
        )
    if _is_other_float(tensor):
        try:
            tensor = tensor.float()
        except RuntimeError:
            raise CheckpointError(
                f"{path}: {name} has numbers of type {_type(tensor)}, which cannot be read; save it as float32"
            ) from None
    if tensor.is_floating_point() and name.endswith("running_var") and bool((tensor < 0).any()):
        raise CheckpointError(f"{path}: {name} has negative variances; the file is damaged, get it again")
    # A sum is quicker than a look at each value; that of large values may be infinite where none of them is.
    if tensor.is_floating_point() and not math.isfinite(tensor.sum()) and not bool(tensor.isfinite().all()):
        bad = int((~tensor.isfinite()).sum())
        raise CheckpointError(
            f"{path}: {name} has NaN or infinite values ({bad} of {tensor.numel()}); "
            "the network diverged, take an earlier file"
        )
    return tensor


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _is_other_float(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.dtype != torch.float32


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text.split("WeightsUnpickler error: ")[-1].split(". ")[0][:160]
