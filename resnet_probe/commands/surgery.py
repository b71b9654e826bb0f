"""`resnet-probe surgery`: delete, scale and reorder blocks, and save what remains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import rich_click as click

from resnet_probe.commands import options, output
from resnet_probe.commands.loaded import with_leaves
from resnet_probe.commands.session import Session


@click.command("surgery")
@options.ckpt
@options.arch
@options.leaf
@options.trace
@click.option("--delete", "deleted", multiple=True, metavar="BLOCK[,BLOCK...]", help="Blocks (or layers) to delete.")
@click.option("--scale", "scaled", multiple=True, metavar="BLOCK=FACTOR", help="Factor on a residual branch.")
@click.option(
    "--reorder",
    metavar="BLOCK,BLOCK,...",
    help="Blocks in their new order; they fill the places that these blocks have now.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="File to write, as safetensors."
)
@click.option(
    "--export",
    "forms",
    type=click.Choice(("pt2", "onnx", "state_dict")),
    multiple=True,
    help="Write it once more, in a form that needs no resnet-probe. Repeat for several.",
)
@options.size
@options.quiet
def command(
    *,
    ckpt: Path | None,
    arch: str | None,
    leaf: tuple[str, ...],
    trace: Literal["fx", "export"] | None,
    deleted: Sequence[str],
    scaled: Sequence[str],
    reorder: str | None,
    out: Path,
    forms: Sequence[str],
    size: int | None,
    quiet: bool,
) -> None:
    """Edit a network and save it: weights as safetensors, and the recipe beside them as JSON.

    The file loads again with --ckpt in every command, and gives the same outputs bit for bit. Edits are made in the
    order delete, scale, reorder. `resnet-probe inspect` lists the blocks.

    --export writes beside it: pt2 (torch.export, loads with torch alone), onnx, or state_dict (for networks of
    torchvision and timm: plain weights, and a Python file that loads them). Each is tried before it is kept.
    """
    if ckpt is None:
        raise click.UsageError("no checkpoint given; give --ckpt FILE")
    edits = _edits(deleted, scaled, reorder)
    if not edits and not forms:
        raise click.UsageError("nothing to do; give --delete BLOCK, --scale BLOCK=F, --reorder BLOCK,BLOCK or --export")
    if out.is_dir():
        raise click.UsageError(f"--out {out} is a folder; give the file to write, such as {out / 'edited.safetensors'}")
    if out.suffix not in ("", ".safetensors"):
        other = out.with_suffix(".safetensors")
        raise click.UsageError(f"--out {out}: weights are written as safetensors; give a name such as {other}")

    from resnet_probe import checkpoint
    from resnet_probe.export import FORMS, check, write
    from resnet_probe.surgery import export

    session = Session()
    (chosen,) = with_leaves([session.load(ckpt, arch, size=size)], leaf)
    chosen = replace(chosen, trace=trace)
    loader = [".py"] if "state_dict" in forms else []
    for ending in (".safetensors", *(FORMS[form] for form in forms), *loader):
        _refuse_other(out.with_suffix(ending), ckpt, chosen.checkpoint.sha256)
    for form in forms:
        check(form, chosen.checkpoint)
    network = chosen.checkpoint.chain
    given = {"--leaf": leaf, "--trace": trace, "--size": size}
    if network is not None and (idle := [name for name, value in given.items() if value]):
        raise click.UsageError(f"{chosen.name} was edited before, so its units are known; leave out {idle[0]}")
    network = network or session.sized(chosen, size)
    written = export(chosen.checkpoint, network, edits, out, leaves=leaf, trace=trace)
    made = [written.weights, written.recipe]
    if forms:
        edited = checkpoint.load(written.weights, arch=arch)
        for form in dict.fromkeys(forms):
            made += write(form, edited, written.weights.with_suffix(FORMS[form]))
    facts = [
        ("parameters", f"{written.parameters_before:,} -> {written.parameters_after:,}"),
        *(("edit", f"{kind}: {_text(what)}") for edit in edits for kind, what in edit.items()),
        *(("note", note) for note in chosen.checkpoint.notes),
        ("written", output.listing(made)),
    ]
    output.summarise(output.console(quiet), f"{chosen.name}, edited", facts)


def _refuse_other(out: Path, ckpt: Path, sha256: str) -> None:
    """Refuse to write over a file that was not made from this checkpoint.

    Raises:
        click.UsageError: it is there.
    """
    import json

    from resnet_probe.files import regular

    if out.exists():
        try:
            recipe = json.loads(regular(out.with_suffix(".recipe.json")).read_text(encoding="utf-8"))
            made_here = recipe["source"]["sha256"] == sha256 and out.resolve() != ckpt.resolve()
        except (OSError, ValueError, KeyError, TypeError):
            made_here = False
        if not made_here:
            raise click.UsageError(f"{out} is there and was not made from {ckpt}; give another --out, or remove it")


def _edits(deleted: Sequence[str], scaled: Sequence[str], reorder: str | None) -> list[dict[str, Any]]:
    edits: list[dict[str, Any]] = []
    if names := [name for entry in deleted for name in _names(entry)]:
        edits.append({"delete": names})
    if scaled:
        edits.append({"scale": dict(_factor(entry) for entry in scaled)})
    if reorder:
        edits.append({"reorder": _names(reorder)})
    return edits


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _factor(entry: str) -> tuple[str, float]:
    name, _, factor = entry.rpartition("=")
    try:
        if name.strip():
            return name.strip(), float(factor)
    except ValueError:
        pass
    raise click.UsageError(f"--scale {entry}: give BLOCK=FACTOR, such as layer2.3=0.5")


def _text(what: Any) -> str:
    return ", ".join(f"{k} x {v:g}" for k, v in what.items()) if isinstance(what, dict) else ", ".join(what)
