"""What PyTorch's safe loader would do with a file, counted beforehand: it runs no code, but memory and time are free.

`check` follows the loader step by step with sizes in place of values. It refuses what weights never need (other calls,
a `bytearray` of 5 GB, encodings that take quadratic time) and what costs more than the file is large (tuples in tuples
that double 64 times, compressed entries). Where the loader itself will refuse a file, it stops without a word.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from resnet_probe.limits import MOST_STEPS, most_bytes

PICKLES = 5  # at the start of a legacy file: magic number, version, system, content, keys of the storages
FOLDER = 0x10  # attribute of a zip entry; torch reads none of its bytes and gives back memory as it was
START = 2**16  # bytes that are looked at first; files with longer pickles are read again

BUILDERS = {  # what weights and the numbers beside them are made with
    *("collections.OrderedDict", "collections.Counter", "_codecs.encode", "torch.Size", "torch.device"),
    *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in ("set", "complex")),
    *("torch.nn.parameter.Parameter", "torch.serialization._get_layout"),
    *(f"torch._utils._rebuild_{kind}tensor" for kind in ("", "sparse_", "q", "nested_")),
    *("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3", "torch._utils._rebuild_parameter"),
    *("torch._utils._rebuild_parameter_with_state", "torch._utils._rebuild_meta_tensor_no_storage"),
}
_COPIES = {f"{module}.bytearray" for module in ("builtins", "__builtin__")}  # of bytes that are in the file
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    LookupError,
    ValueError,
    OSError,
    EOFError,
)
_BROKEN = (IndexError, KeyError, TypeError, ValueError, AttributeError)  # what a bad pickle leads to, here as there
_ROOM = re.compile(r".*\.bytearray|torch\.(\w+\.)*\w*(Tensor|Storage)")  # the loader would give them any size


class CostlyError(Exception):
    """A file that asks for more than weights need, or has less; says what, in a few words."""


def check(path: Path, inert: Iterable[str] = ()) -> None:
    """Refuse a PyTorch file, zip or legacy, that costs more than its size explains, or whose tensors would not be read.

    Args:
        path: the file.
        inert: classes that cost nothing, since the loader is told to put an empty object in their place.

    Raises:
        CostlyError: it does.
        OSError: it cannot be read.
    """
    size, names = path.stat().st_size, {*BUILDERS, *inert}
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            # An archive that is damaged is told by the loader.
            with suppress(*DAMAGED), unpacked(path) as archive:
                for name in archive.namelist():
                    if name.endswith("data.pkl"):
                        _follow_all(archive.read(name), 1, names, most_bytes(size), None)
            return
        length = START
        while True:
            file.seek(0)
            data = file.read(length)
            try:
                _follow_all(data, PICKLES, names, most_bytes(size), size)
            except EOFError:
                if len(data) == length:
                    length *= 8
                    continue
            return


@contextmanager
def unpacked(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip archive whose entries together are no larger than its size explains; those with content are files.

    Raises:
        CostlyError: they are larger, or one with content is marked as a folder.
        zipfile.BadZipFile: it is no archive.
    """
    with zipfile.ZipFile(path) as archive:
        content, most = sum(entry.file_size for entry in archive.infolist()), most_bytes(path.stat().st_size)
        if content > most:
            raise CostlyError(f"its entries unpack to {content:,} bytes, more than {most:,}")
        for entry in archive.infolist():
            if entry.file_size and (entry.is_dir() or entry.external_attr & FOLDER):
                raise CostlyError(f"its entry {entry.filename!r:.200} is marked as a folder, and would not be read")
        yield archive


class _Name(str):
    """A class or function on the stack."""

    __slots__ = ()


class _Group:
    """A tuple with its items and how many they are with all in them; or a list or dict and how many it has."""

    __slots__ = ("items", "size")

    def __init__(self, items: list[Any] | None, size: int) -> None:
        self.items, self.size = items, size


def _size(value: Any) -> int:
    return value.size if isinstance(value, _Group) else len(value) if isinstance(value, bytes) else 1


def _refused(name: str) -> CostlyError:
    could = "take any memory" if _ROOM.fullmatch(name) else "run code"
    why = "weights do not need" if name.startswith("torch.") and could == "run code" else f"could {could}"
    return CostlyError(f"its pickle names {name}, which {why}")


def _follow_all(data: bytes, pickles: int, names: set[str], most: int, elements: int | None) -> None:
    """Follow so many pickles, one after the other.

    Raises:
        EOFError: the data ends before they do.
    """
    machine, end = _Machine(data, names, most, elements), 0
    try:
        for _ in range(pickles):
            end = machine.follow(end)
    except _BROKEN:
        return  # the loader comes to the same place, and refuses it


class _Machine:
    """The loader's stack machine; values are whole numbers, texts as bytes, names and groups."""

    def __init__(self, data: bytes, names: set[str], most: int, elements: int | None) -> None:
        self.data, self.end = data + b"." * 9, len(data)  # so that the last instruction has its operand
        self.names, self.most, self.elements = names, most, elements
        self.work, self.steps = 0, iter(range(MOST_STEPS))
        self.storages: set[bytes] = set()
        self.claimed = 0

    def follow(self, at: int) -> int:  # noqa: PLR0912, PLR0915 - one branch for each instruction
        """Follow the pickle at a position of the data, and return where it ends.

        Raises:
            EOFError: the data ends before.
            CostlyError: it asks for too much.
            Exception: one of _BROKEN, where the loader will refuse it.
        """
        data, end = self.data, self.end
        stack: list[Any] = []
        stacks: list[list[Any]] = []
        memo: dict[int, Any] = {}
        for _ in self.steps:
            code = data[at]
            at += 1
            if code == 0x72:  # LONG_BINPUT
                memo[int.from_bytes(data[at : at + 4], "little")] = stack[-1]
                at += 4
            elif code == 0x71:  # BINPUT
                memo[data[at]] = stack[-1]
                at += 1
            elif code == 0x4B:  # BININT1
                stack.append(data[at])
                at += 1
            elif code == 0x58:  # BINUNICODE
                start = at + 4
                at = start + int.from_bytes(data[at:start], "little")
                if at > end:
                    raise EOFError
                stack.append(data[start:at])
            elif code == 0x68:  # BINGET
                stack.append(memo[data[at]])
                at += 1
            elif code == 0x28:  # MARK
                stacks.append(stack)
                stack = []
            elif code == 0x74:  # TUPLE
                items, stack = stack, stacks.pop()
                stack.append(self._tuple(items))
            elif 0x85 <= code <= 0x87:  # TUPLE1, TUPLE2, TUPLE3
                count = code - 0x84
                if len(stack) < count:
                    raise IndexError
                stack[-count:] = [self._tuple(stack[-count:])]
            elif code in (0x52, 0x81):  # REDUCE, NEWOBJ
                arguments = stack.pop()
                stack[-1] = self._called(stack[-1], arguments)
            elif code in b"N\x88\x89":  # NONE, NEWTRUE, NEWFALSE
                stack.append(1)
            elif code == 0x51:  # BINPERSID
                stack[-1] = self._storage(stack[-1])
            elif code == 0x4D:  # BININT2
                stack.append(int.from_bytes(data[at : at + 2], "little"))
                at += 2
            elif code == 0x4A:  # BININT
                stack.append(int.from_bytes(data[at : at + 4], "little", signed=True))
                at += 4
            elif code == 0x6A:  # LONG_BINGET
                stack.append(memo[int.from_bytes(data[at : at + 4], "little")])
                at += 4
            elif code in (0x8A, 0x55):  # LONG1, SHORT_BINSTRING
                start, at = at + 1, at + 1 + data[at]
                if at > end:
                    raise EOFError
                value = data[start:at]
                stack.append(int.from_bytes(value, "little", signed=True) if code == 0x8A else value)
            elif code == 0x47:  # BINFLOAT
                stack.append(1)
                at += 8
            elif code in b"]})\x8f":  # EMPTY_LIST, EMPTY_DICT, EMPTY_TUPLE, EMPTY_SET
                stack.append(_Group([] if code == 0x29 else None, 0))
            elif code == 0x61:  # APPEND
                stack.pop()
                stack[-1].size += 1
            elif code == 0x65:  # APPENDS
                items, stack = stack, stacks.pop()
                stack[-1].size += len(items)
            elif code == 0x73:  # SETITEM
                stack[-2:], items = [], stack[-2:]
                self._keys(stack[-1], items)
            elif code == 0x75:  # SETITEMS
                items, stack = stack, stacks.pop()
                self._keys(stack[-1], items)
            elif code == 0x62:  # BUILD
                self._pay(_size(stack.pop()))
            elif code == 0x63:  # GLOBAL
                module = data.find(b"\n", at)
                name = data.find(b"\n", module + 1)
                if min(module, name) < 0:
                    raise EOFError
                stack.append(self._named(f"{data[at:module].decode()}.{data[module + 1 : name].decode()}"))
                at = name + 1
            elif code == 0x93:  # STACK_GLOBAL
                stack[-2:] = [self._named(b".".join(stack[-2:]).decode())]
            elif code == 0x8C:  # SHORT_BINUNICODE
                start, at = at + 1, at + 1 + data[at]
                stack.append(data[start:at])
            elif code == 0x94:  # MEMOIZE
                memo[len(memo)] = stack[-1]
            elif code == 0x95:  # FRAME
                at += 8
            elif code == 0x80:  # PROTO
                at += 1
            elif code == 0x2E:  # STOP
                if at > end:
                    raise EOFError
                return at
            else:
                raise KeyError(code)
        raise CostlyError(f"its pickle has more than {MOST_STEPS:,} instructions")

    def _named(self, name: str) -> _Name:
        """A class or function; those of torch may be values, such as types and storages."""
        if not name.startswith(("torch.", "__torch__.")) and name not in self.names | _COPIES:
            raise _refused(name)
        return _Name(name)

    def _tuple(self, items: list[Any]) -> _Group:
        size = 1
        for item in items:
            size += item.size if type(item) is _Group else 1
        if size > self.most:
            raise CostlyError(f"its pickle nests {size:,} values in each other")
        return _Group(items, size)

    def _called(self, called: Any, arguments: Any) -> _Group:
        if not isinstance(called, _Name):
            raise CostlyError("its pickle calls what is no function")
        if called.startswith("__torch__."):
            raise KeyError(called)  # a TorchScript program
        if called == "torch._tensor._rebuild_from_type_v2":  # a builder, its arguments, and attributes of the tensor
            builder, _, inner, *_ = arguments.items
            self._pay(arguments.size)
            return self._called(builder, inner)
        copied = called in _COPIES and all(isinstance(item, bytes | _Group) for item in arguments.items)
        if called not in self.names and not copied:
            raise _refused(called)
        size = arguments.size
        for item in arguments.items[:8]:
            size += _size(item)
        if called == "_codecs.encode" and arguments.items[1:] not in ([b"latin1"], [b"latin-1"]):
            raise CostlyError("its pickle has text in an encoding other than latin1")
        self._pay(size)
        return _Group(None, size)

    def _storage(self, name: Any) -> int:
        _, _, key, _, elements, *_ = name.items
        if type(key) is not bytes or type(elements) is not int:
            raise CostlyError("its pickle has a storage without a name or a size")
        if self.elements is not None and key not in self.storages:  # in an archive the entries say what they take
            self.storages.add(key)
            self.claimed += max(elements, 0)
            if self.claimed > self.elements:
                raise CostlyError(f"its tensors have {self.claimed:,} values, more than the file has bytes")
        return 1

    def _keys(self, target: Any, items: list[Any]) -> None:
        target.size += len(items) // 2
        for key in items[::2]:
            if type(key) is _Group:
                self._pay(key.size)

    def _pay(self, cost: int) -> None:
        self.work += cost
        if self.work > self.most:
            raise CostlyError(f"its pickle takes {self.work:,} steps, more than {self.most:,}")
