"""Ship a network: in a form that runs without this package.

    loaded = checkpoint.load("edited.safetensors")
    write("pt2", loaded, "edited.pt2")           # torch.export.load("edited.pt2").module()
    write("onnx", loaded, "edited.onnx")         # onnxruntime.InferenceSession("edited.onnx")
    write("state_dict", loaded, "edited.pth")    # and edited.py, which builds the network of torchvision or timm

The number of images in a batch stays free. What was done to the network goes along. Every file is read again and gives
the network's outputs before it takes its place; an export that fails leaves there what was there before.
"""

from __future__ import annotations

import json
import runpy
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from resnet_probe.checkpoint import Checkpoint
from resnet_probe.files import write_text
from resnet_probe.models import resolve
from resnet_probe.unraveled import Unit, UnraveledNetwork

__all__ = ["FORMS", "provenance", "write"]

FORMS = {"pt2": ".pt2", "onnx": ".onnx", "state_dict": ".pth"}
TOLERANCE = 1e-5  # of outputs, relative to the largest
BATCHES = (1, 5)  # images in the batches that a written file is tried with


def write(form: str, source: Checkpoint, path: str | Path, *, shape: tuple[int, ...] | None = None) -> tuple[Path, ...]:
    """Write a loaded network, edited or not, and try what was written.

    Args:
        form: a key of `FORMS`. `pt2`: `torch.export.save`, loads with torch alone; the recipe is its extra file
            `recipe.json`. `onnx`: needs the extra packages `resnet-probe[onnx]`; the recipe is in its metadata.
            `state_dict`: of torchvision's and timm's networks; tensors under the library's own names, and beside them a
            Python file that builds the network and loads them. Deleted blocks become `nn.Identity` where that is the
            same, else their branches have weights of zero.
        source: the network, as `checkpoint.load` returns it.
        path: file to write; the form's ending is appended if it has another.
        shape: of one input `(C, H, W)`, where the checkpoint does not say it.

    Returns:
        The files that were written.

    Raises:
        ValueError: unknown form; a network that the form cannot hold; a shape that nothing tells.
        LookupError: packages are missing.
        OSError: the file cannot be written.
    """
    if form not in FORMS:
        raise ValueError(f"no form {form!r} to export to; there are {', '.join(FORMS)}")
    if source.chain is not None:
        shape = source.chain.input_shape
    elif shape is None and source.input_size is not None:
        shape = (source.in_channels, source.input_size, source.input_size)
    if shape is None:
        raise ValueError(
            f"the size of the images that {source.name} is made for is not known; give the shape (C, H, W)"
        )
    path = Path(path)
    if path.suffix != FORMS[form]:
        path = path.with_name(path.name + FORMS[form])
    how: Callable[[Checkpoint, Path, Tensor], Callable[[Tensor], Tensor]]
    how = {"pt2": _pt2, "onnx": _onnx, "state_dict": _state_dict}[form]
    images = torch.rand(max(BATCHES), *shape, generator=torch.Generator().manual_seed(0))
    written = (path, path.with_suffix(".py")) if form == "state_dict" else (path,)
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        again = how(source, Path(folder) / path.name, images)
        with torch.no_grad():
            for batch in BATCHES:
                _require_equal(again(images[:batch]), source.model(images[:batch]), f"{source.name} as {form}")
        for file in written:
            (Path(folder) / file.name).replace(file)
    return written


def provenance(source: Checkpoint) -> dict[str, Any]:
    """What is known of a network, as JSON: architecture, edits, source, normalisation of its images."""
    kept = ("edits", "source", "leaves", "trace", "normalize", "data")
    known = {key: source.metadata[key] for key in kept if key in source.metadata}
    return {"arch": source.arch, **known, "checkpoint": {"name": source.name, "sha256": source.sha256}}


def _require_equal(found: Tensor, expected: Tensor, what: str) -> None:
    error = float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-30))
    if not error <= TOLERANCE:
        other = "onnx" if what.endswith("pt2") else "pt2"
        raise ValueError(
            f"{what} gives other outputs (they differ by {error:.2g} of the largest, allowed {TOLERANCE:.0e}), so it "
            f"is not written; export to another form, such as {other}"
        )


def _exported(source: Checkpoint, images: Tensor) -> torch.export.ExportedProgram:
    try:
        return torch.export.export(source.model, (images[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))
    except Exception as error:  # of many kinds, each on many lines
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")[:200]
        raise ValueError(f"torch.export cannot follow {source.name} ({type(error).__name__}: {reason})") from error


def _pt2(source: Checkpoint, path: Path, images: Tensor) -> Callable[[Tensor], Tensor]:
    recipe = json.dumps(provenance(source), indent=2)
    torch.export.save(_exported(source, images), path, extra_files={"recipe.json": recipe})
    return torch.export.load(path).module()  # type: ignore[no-any-return]


def _onnx(source: Checkpoint, path: Path, images: Tensor) -> Callable[[Tensor], Tensor]:
    try:
        import onnxruntime  # noqa: PLC0415
        import onnxscript  # noqa: F401, PLC0415 - torch.onnx needs it
    except ImportError as error:
        raise LookupError(f"ONNX needs the package {error.name}; install resnet-probe[onnx]") from None
    program = _exported(source, images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.onnx.export(program, dynamo=True, input_names=["images"], output_names=["outputs"], verbose=False)
    assert made is not None
    made.model.metadata_props["recipe"] = json.dumps(provenance(source))
    made.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"images": x.numpy()})[0])


LOADER = """# Written by resnet-probe, which this file does not need. What was done to the network:
# {recipe}
from pathlib import Path

import torch
import {library}

model = {call}
for name in {gone}:
    model.set_submodule(name, torch.nn.Identity())
model.load_state_dict(torch.load(Path(__file__).with_name({file!r}), weights_only=True))
model.eval()
"""


def check(form: str, source: Checkpoint) -> None:
    """Whether a form can hold a network, before anything is written.

    Raises:
        ValueError: it cannot.
    """
    if form == "state_dict" and not source.arch.startswith(("torchvision:", "timm:")):
        raise ValueError(
            f"{source.name} is a {source.arch}, which neither torchvision nor timm can build, so a plain state_dict "
            "would be of no use; export to pt2 or onnx"
        )


def _state_dict(source: Checkpoint, path: Path, images: Tensor) -> Callable[[Tensor], Tensor]:
    check("state_dict", source)
    library, _, name = source.arch.partition(":")
    sizes = {"num_classes": source.num_classes, "in_channels": source.in_channels}
    with torch.random.fork_rng(devices=[]):
        plain = resolve(source.arch, **sizes).state_dict()
    state, gone = _plain(source, plain)
    options = f"num_classes={source.num_classes}"
    options += f", in_chans={source.in_channels}" if library == "timm" and source.in_channels != 3 else ""
    make = "torchvision.models.get_model" if library == "torchvision" else "timm.create_model"
    torch.save({name: tensor.clone() for name, tensor in state.items()}, path)
    loader = path.with_suffix(".py")
    call, recipe = f"{make}({name!r}, {options})", json.dumps(provenance(source))
    write_text(loader, LOADER.format(recipe=recipe, library=library, call=call, gone=gone, file=path.name))
    return runpy.run_path(str(loader))["model"]  # type: ignore[no-any-return]


def _plain(source: Checkpoint, plain: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors under the names that the library's network has, and the modules that an identity takes the place of.

    A branch whose weights are zero adds nothing, so a deleted block that is no module of its own keeps its place.
    """
    kept, chain = source.model.state_dict(), source.chain
    if chain is None:
        return kept, []
    state = {name: kept.get(name, torch.zeros_like(tensor)) for name, tensor in plain.items()}
    deleted: dict[str, set[str]] = {}
    for here, step in zip(chain.units, chain.steps, strict=True):
        unit = chain.units[step.unit]
        if unit is not here:
            state |= {here.name + name.removeprefix(unit.name): kept[name] for name in kept if _inside(name, unit.name)}
        if chain.is_identity(step):
            deleted[here.name] = set(here.module().state_dict())
        elif step.mode == "whole" and step.scale != 1.0:
            for layer in _last_layers(unit, chain):
                for name in (f"{here.name}{layer.removeprefix(unit.name)}.{kind}" for kind in ("weight", "bias")):
                    if name in state:
                        state[name] = step.scale * state[name]
    unused = set().union(*deleted.values())
    gone = []
    for name, tensors in deleted.items():
        for path in (name, name.rpartition(".")[0]):  # the block may be all that is left of the module around it
            inside = {tensor for tensor in plain if _inside(tensor, path)}
            if path and path not in gone and inside and tensors <= inside <= unused:
                gone.append(path)
                break
    return {name: tensor for name, tensor in state.items() if not any(_inside(name, path) for path in gone)}, gone


def _inside(name: str, path: str) -> bool:
    return name.startswith(f"{path}.")


def _last_layers(unit: Unit, chain: UnraveledNetwork) -> list[str]:
    """Paths of the layers whose outputs add up to the unit's residual branch."""
    paths = []
    for end in unit.plan.regions[0].branch:
        node = end
        while not list((chain.anatomy.traced.operation(node).module or nn.Identity()).parameters(recurse=False)):
            if len(node.all_input_nodes) != 1:
                raise ValueError(
                    f"the branch of {unit.name} ends in no layer that could hold its factor; export to pt2 or onnx"
                )
            node = node.all_input_nodes[0]
        paths.append(chain.anatomy.traced.operation(node).name)
    return paths
