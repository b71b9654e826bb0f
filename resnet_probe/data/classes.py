"""Class maps: a folder of some of a network's classes gets that network's labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import torch

from resnet_probe.data.dataset import Data, are_classes
from resnet_probe.data.errors import DataError
from resnet_probe.files import regular

ClassMap = Sequence[str] | Mapping[str, int]


def read_classes(path: Path) -> ClassMap:
    """The class map in a file: the names of a network's outputs in their order, or output by class name.

    As text one name per line, where line k is output k, from 0; as JSON a list of names or an object
    {class name: output}.

    Raises DataError for any other content.
    """
    try:
        text = regular(path).read_text(encoding="utf-8").strip()
        content = json.loads(text) if text[:1] in ("[", "{") else text.splitlines()
    except (ValueError, RecursionError) as error:
        raise DataError(f"class map {path} cannot be read ({' '.join(str(error).split())[:200]})") from None
    outputs = isinstance(content, dict) and all(type(value) is int for value in content.values())
    names = isinstance(content, list) and all(isinstance(name, str) for name in content)
    if not content or not (outputs or names):
        raise DataError(
            f"class map {path} holds no names: give one per line or a JSON list, in the order of the network's "
            "outputs, or JSON {class name: output}"
        )
    return content if outputs else [name.strip() for name in content]  # type: ignore[no-any-return]


def with_classes(data: Data, classes: ClassMap, outputs: int) -> Data:
    """The same images with the labels of a network that has so many `outputs`, and with a name for each of these.

    Every class of the data goes to the output of its name. Data whose classes are mere numbers that are no names in
    `classes` keeps its labels.

    Raises DataError for another number of names than outputs, an output that does not exist, and a class of the data
    that is not in `classes` or there twice.
    """
    if not are_classes(data.labels):
        raise DataError(f"a class map for {data.name}, whose labels are no classes; leave it out")
    if isinstance(classes, Mapping):
        index, names = dict(classes), [str(output) for output in range(outputs)]
        if wrong := [name for name, output in index.items() if not 0 <= output < outputs]:
            raise DataError(f"class {wrong[0]!r} is output {index[wrong[0]]}; the network has 0 to {outputs - 1}")
        for name, output in index.items():
            names[output] = name
    else:
        index, names = {name: output for output, name in enumerate(classes)}, list(classes)
        if len(names) != outputs:
            raise DataError(f"{len(names)} class names for a network of {outputs} outputs; give one for each")
        if twice := [name for name in data.classes if names.count(name) > 1]:
            raise DataError(
                f"class {twice[0]!r} of {data.name} is the name of {names.count(twice[0])} outputs; give JSON "
                "{class name: output}"
            )
    if data.classes == tuple(map(str, range(len(data.classes)))) and not {*data.classes} & index.keys():
        index = {name: int(name) for name in data.classes if int(name) < outputs}
    if missing := [name for name in data.classes if name not in index]:
        close = get_close_matches(missing[0], index, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise DataError(
            f"class {missing[0]!r} of {data.name} is none of the {len(index)} in the class map: add it, or rename it"
            f"{hint}"
        )
    if tuple(names) == data.classes:
        return data
    new = torch.tensor([index[name] for name in data.classes], device=data.labels.device)
    return replace(data, labels=new[data.labels], classes=tuple(names), mapped=True)


def can_match(data: Data, names: Sequence[str]) -> bool:
    """Whether every class of the data has the name of exactly one output."""
    return are_classes(data.labels) and bool(data.classes) and all(names.count(name) == 1 for name in data.classes)
