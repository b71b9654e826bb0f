"""Functions of the user's own code by name: `package.module:factory` and `file.py:factory`.

find_factory   the function of such a name, whose module is imported, which runs its code
call, line     its answer, or an error of one line; an error's message as one line
suggest        the end of an error message about a name that is not known
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any


def find_factory(name: str, what: str) -> Callable[..., Any]:
    """The function called `name`, of which `what` is wanted, in a word for messages.

    The module's code runs: call this only with a name that the user typed, never with one that came out of a file.
    Raises LookupError if module or factory is missing.
    """
    source, _, its = name.rpartition(":")
    module = _import_file(Path(source)) if source.endswith(".py") else _import_module(source)
    factory = getattr(module, its, None)
    if callable(factory):
        return factory  # type: ignore[no-any-return]
    known = _factories(module)
    if its:
        raise LookupError(f"{source} has no factory {its!r}{suggest(its, known)}")
    way = f"with NAME one of {', '.join(known)}" if known else "of a function that returns it without arguments"
    raise LookupError(f"{source} given, which names no {what} in the file; give {source}:NAME {way}")


def call(name: str, function: Callable[..., Any], /, *args: Any, **options: Any) -> Any:
    """What the user's `function`, known as `name`, returns. Raises ValueError in one line if it fails."""
    try:
        return function(*args, **options)
    except Exception as error:
        raise ValueError(
            f"{name} failed with {type(error).__name__}: {line(error)}; a factory must work without further arguments"
        ) from error


def _factories(module: ModuleType) -> list[str]:
    """Functions and classes that a module itself defines and that can be called without arguments."""
    found = []
    for name, value in vars(module).items():
        if callable(value) and getattr(value, "__module__", None) == module.__name__ and not name.startswith("_"):
            with contextlib.suppress(TypeError, ValueError):  # a required argument; no signature
                inspect.signature(value).bind()
                found.append(name)
    return found


def suggest(name: str, known: Sequence[str]) -> str:
    """End of an error message: the known names closest to `name`, or the first ones."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; known are {', '.join(known[:5])}{', …' if len(known) > 5 else ''}" if known else ""


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise LookupError(
            f"cannot import {name!r} ({type(error).__name__}: {line(error)}); "
            "give an importable package.module:factory or file.py:factory"
        ) from error


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise LookupError(f"no file {path}; give the path of a Python file, as in path/to/net.py:factory")
    resolved = path.resolve()
    digest = hashlib.sha256(str(resolved).encode()).hexdigest()
    name = f"{path.stem}_{digest[:12]}"  # two files of one name must not replace each other
    spec = importlib.util.spec_from_file_location(name, resolved)
    if spec is None or spec.loader is None:
        raise LookupError(f"{path} is no Python file that can be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look a class's module up here
    sys.path.insert(0, str(resolved.parent))  # as when Python runs the file: it may import its neighbours
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise LookupError(
            f"cannot import {path} ({type(error).__name__}: {line(error)}); the file must import without errors"
        ) from error
    finally:
        sys.path.remove(str(resolved.parent))
    return module


def line(error: BaseException) -> str:
    """Its message in one line, not too long."""
    return " ".join(str(error).split())[:200]
