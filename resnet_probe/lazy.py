"""Names that a package gives at its top, imported when they are first used."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def named(place: str) -> Any:
    """What `module:name` stands for; the module is imported.

    Raises:
        ImportError: the module cannot be imported, or has no such name.
    """
    module, _, name = place.partition(":")
    try:
        return getattr(import_module(module), name)
    except AttributeError as error:
        raise ImportError(f"{module} has no {name}") from error


def lazily(
    package: str, elsewhere: Mapping[str, str] | None = None, **modules: tuple[str, ...]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose names stand in its modules.

    Args:
        package: its `__name__`.
        elsewhere: name -> `module:name`.
        modules: module of the package -> names in it.
    """
    places = dict(elsewhere or {})
    places |= {name: f"{package}.{module}:{name}" for module, names in modules.items() for name in names}

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {', '.join(places)}")
        value = named(places[name])
        setattr(import_module(package), name, value)  # the next access finds it without coming here
        return value

    return get, lambda: sorted({*vars(import_module(package)), *places})
