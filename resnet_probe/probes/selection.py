"""Which modules of a network are probed."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase

from torch import nn

from resnet_probe.anatomy import unwrap

Where = str | Iterable[str] | type[nn.Module] | Callable[[str, nn.Module], bool]


def select(model: nn.Module, where: Where) -> dict[str, nn.Module]:
    """The modules that `where` means, by name, in the network's own order.

    Names are those of the network itself: `module.` and `_orig_mod.`, which `DistributedDataParallel` and
    `torch.compile` put in front, are left out. A module that has several names is listed once, under its first.

    Args:
        model: any network, wrapped or not.
        where: a name (`"layer1.0.bn2"`; `""` is the network itself), a glob (`"*.bn2"`; `*` crosses dots), a list of
            both, a class (`nn.ReLU`), or a predicate of name and module. Globs, classes and predicates do not
            consider the network itself.

    Raises:
        LookupError: nothing matches, or one entry of a list matches nothing; the closest names are given.

    Examples:
        >>> list(select(torchvision.models.resnet18(), "layer4.*.conv?"))
        ['layer4.0.conv1', 'layer4.0.conv2', 'layer4.1.conv1', 'layer4.1.conv2']
    """
    names = _names(model)
    if isinstance(where, str):
        chosen = _matching(names, where)
    elif isinstance(where, type):
        chosen = {id(m) for name, m in names if name and isinstance(m, where)}
        if not chosen:
            raise LookupError(f"no module is a {where.__name__}; there are {_kinds(names)}")
    elif callable(where):
        chosen = {id(m) for name, m in names if name and where(name, m)}
        if not chosen:
            raise LookupError(f"the predicate is true for none of {len(names) - 1} modules; there are {_kinds(names)}")
    else:
        entries = list(where)
        if not entries:
            raise LookupError("an empty list of names was given; give at least one name or glob")
        chosen = set().union(*(_matching(names, entry) for entry in entries))
    found: dict[str, nn.Module] = {}
    for name, module in names:
        if id(module) in chosen:
            found[name] = module
            chosen.discard(id(module))
    return found


def _names(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Every module under each of its names, wrappers seen through."""
    return list(_walk(unwrap(model), "", frozenset()))


def _walk(module: nn.Module, prefix: str, above: frozenset[int]) -> Iterator[tuple[str, nn.Module]]:
    yield prefix, module
    for name, child in module._modules.items():  # named_children() leaves second names out
        if child is not None and id(child) not in above:  # a module may hold itself
            yield from _walk(unwrap(child), f"{prefix}.{name}" if prefix else name, above | {id(module)})


def _matching(names: list[tuple[str, nn.Module]], pattern: str) -> set[int]:
    exact = {id(module) for name, module in names if name == pattern}
    if exact:
        return exact
    matched = {id(module) for name, module in names if name and fnmatchcase(name, pattern)}
    if matched:
        return matched
    close = difflib.get_close_matches(pattern, [name for name, _ in names if name], n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(close)}?" if close else f"there are {', '.join(n for n, _ in names[1:7])}, ..."
    raise LookupError(f"no module is called {pattern!r}: {hint} A glob such as '*.bn2' selects several")


def _kinds(names: list[tuple[str, nn.Module]]) -> str:
    kinds = list(dict.fromkeys(type(module).__name__ for name, module in names if name))
    return ", ".join(kinds[:8]) + (", ..." if len(kinds) > 8 else "")
