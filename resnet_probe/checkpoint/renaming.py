"""A network of ours under the names that somebody's file has for its layers.

Our code finds its layers under our own names all the same, so it runs as before.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn


def rename(model: nn.Module, names: Mapping[str, str]) -> None:
    """Give layers the names that a file has for them; tables, options and the state dict have these from then on.

    A layer that is nested otherwise in the file keeps its name.

    Args:
        model: a network of `resnet_probe.models`.
        names: tensor of the file -> tensor of the model.
    """
    wanted: dict[str, dict[str, set[str]]] = {}  # path of a module -> our names in it -> theirs
    for theirs, ours in names.items():
        old, new = theirs.split(".")[:-1], ours.split(".")[:-1]
        for depth, (a, b) in enumerate(zip(old, new, strict=True) if len(old) == len(new) else ()):
            wanted.setdefault(".".join(new[:depth]), {}).setdefault(b, set()).add(a)
    for owner, asked in [(model.get_submodule(path), asked) for path, asked in wanted.items()]:
        children = {ours: theirs.pop() for ours, theirs in asked.items() if len(theirs) == 1}
        if all(ours == theirs for ours, theirs in children.items()) or len(set(children.values())) < len(children):
            continue
        listed = _numbered if isinstance(owner, nn.Sequential) else _named
        chosen = listed(list(owner._modules), children)
        moved = {ours: new for ours, new in zip(owner._modules, chosen, strict=True) if new != ours}
        if listed is _named:
            if owner._modules.keys() & moved.values():
                continue
            vars(owner).update({ours: owner._modules[ours] for ours in moved})  # attributes, and no more in state dicts
        modules = dict(zip(chosen, owner._modules.values(), strict=True))
        owner._modules.clear()
        owner._modules.update(modules)


def _named(ours: list[str], theirs: Mapping[str, str]) -> list[str]:
    return [theirs.get(name, name) for name in ours]


def _numbered(ours: list[str], theirs: Mapping[str, str]) -> list[str]:
    """A layer without weights is not in the file: it takes the number after the layer before it, where that is free."""
    names: list[str] = []
    for name in ours:
        before = names[-1].partition("_")[0] if names else "-1"
        after = str(int(before) + 1) if before.lstrip("-").isdigit() else name
        spare = after if after not in theirs.values() else f"{before}_{name}"
        names.append(theirs.get(name, spare))
    return names
