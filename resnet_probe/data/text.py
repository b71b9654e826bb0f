"""Text for the task language: windows of tokens, each with the tokens that follow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from resnet_probe.data.dataset import Data
from resnet_probe.data.errors import DataError
from resnet_probe.files import regular
from resnet_probe.limits import MOST_TOKENS

CONTEXT = 128  # tokens of a window, where nothing says how many
VOCABULARY = 2**20  # tokens that there may be
TEST_SHARE = 10  # one part in so many is for tests: the last one of a text


def load_text(spec: str | Path, *, split: str = "test", limit: int | None = None, context: int | None = None) -> Data:
    """Return windows of text: `images` int64 (N, T) tokens, `labels` int64 (N, T) the token that follows each.

    spec: a file of text, whose bytes are the tokens; a file or folder of arrays of tokens, .npy; or "pydoc", the
        documentation of Python that comes with it.
    split: "train" or "test": the first nine tenths of the text, or the rest; of a folder with files of these names
        (train.npy, test.npy) the file.
    limit: keep this many windows, spread evenly over the text.
    context: tokens of a window; 128 by default. Windows do not overlap, and what is left at the end is dropped.

    Raises DataError for what cannot be read, or holds less than one window.
    """
    context = context or CONTEXT
    if split not in ("train", "test"):
        raise DataError(f"text has no split {split!r}: it has train, test")
    name, tokens, cut = _tokens(spec, split)
    # of both parts: the largest token may be in one of them only
    classes = tuple(map(repr, map(chr, range(256)))) if tokens.dtype == np.uint8 else _numbered(tokens)
    if cut:
        end = len(tokens) - len(tokens) // TEST_SHARE
        tokens = tokens[:end] if split == "train" else tokens[end:]
    windows = (len(tokens) - 1) // context
    if windows < 1:
        raise DataError(f"{spec} has {len(tokens)} tokens to {split}, and a window takes {context + 1}; give more text")
    used = torch.from_numpy(tokens[: windows * context + 1].astype(np.int64))
    inputs, following = (used[start : start + windows * context].reshape(windows, context) for start in (0, 1))
    if limit is not None and limit < windows:
        kept = torch.linspace(0, windows - 1, limit).round().long()
        inputs, following = inputs[kept], following[kept]
    return Data(name, split, inputs.clone(), following.clone(), classes, normalization="none")


def _tokens(spec: str | Path, split: str) -> tuple[str, np.ndarray, bool]:
    """Name and tokens of a text, and whether it is yet to be split."""
    if str(spec) == "pydoc":
        return "pydoc", np.frombuffer(_pydoc().encode(), np.uint8), True
    path = Path(spec).expanduser()
    if path.is_dir():
        file = path / f"{split}.npy"
        if not file.is_file():
            raise DataError(f"{path} has no {split}.npy; give a folder of train.npy and test.npy, or a file of text")
        return path.name, _array(file), False
    if not path.is_file():
        raise DataError(f"no text {str(spec)!r}: give pydoc, a file of text, or a folder of arrays of tokens")
    if path.suffix == ".npy":
        return path.stem, _array(path), True
    with regular(path).open("rb") as stream:
        content = stream.read(MOST_TOKENS + 1)
    if len(content) > MOST_TOKENS:
        raise DataError(f"{path} has more than {MOST_TOKENS:,} bytes; give a part of it")
    return path.stem, np.frombuffer(content, np.uint8), True


def _array(path: Path) -> np.ndarray:
    try:
        found = np.load(regular(path), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is no array that numpy reads ({' '.join(str(error).split())})") from error
    if found.dtype.kind not in "iu" or found.ndim != 1 or found.size > MOST_TOKENS:
        raise DataError(
            f"{path} holds {found.dtype} of shape {found.shape}; give at most {MOST_TOKENS:,} whole numbers (tokens,)"
        )
    tokens = np.asarray(found, dtype=np.int64)
    if tokens.size and (tokens.min() < 0 or tokens.max() >= VOCABULARY):
        raise DataError(f"{path} has tokens from {tokens.min()} to {tokens.max()}; give 0 to {VOCABULARY - 1:,}")
    return tokens


def _numbered(tokens: np.ndarray) -> tuple[str, ...]:
    return tuple(map(str, range(int(tokens.max(initial=-1)) + 1)))


def _pydoc() -> str:
    """What `help` says about the language; a part of every Python, another text in each version."""
    from pydoc_data.topics import topics  # noqa: PLC0415

    return "\n\n".join(topics[name] for name in sorted(topics))
