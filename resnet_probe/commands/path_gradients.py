"""The part of `resnet-probe paths` that needs images: gradients by path length, and what they say in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.commands import output

if TYPE_CHECKING:
    from resnet_probe.commands.path_networks import PathNetwork
    from resnet_probe.data import Data
    from resnet_probe.tables import Result


def measure(
    networks: Sequence[tuple[PathNetwork, Data]],
    *,
    samples: int,
    seed: int,
    batch_size: int | None,
    batch_norm: str,
    memory: int | None,
    device: str,
    quiet: bool,
) -> Result:
    """Gradients of every network on its images, in one table."""
    from typing import cast

    from resnet_probe.analyses import paths
    from resnet_probe.commands import progress
    from resnet_probe.gradients import BatchNorm, Budget

    budget = Budget() if memory is None else Budget(memory)
    results = []
    for each, data in networks:
        assert each.network is not None
        with progress.bar(quiet, f"gradients of {each.name}") as report:
            results.append(
                paths.run_gradients(
                    each.network, data, name=each.name, samples=samples, seed=seed, batch_size=batch_size,
                    batch_norm=cast(BatchNorm, batch_norm), device=device, budget=budget, progress=report,
                )
            )  # fmt: skip
    return paths.together(results)


def write(result: Result, folder: Path, formats: Sequence[str]) -> list[Path]:
    """The table of gradients and its figure."""
    from resnet_probe.analyses import paths

    return output.write(result, [("gradients", paths.plot_gradients(result))], folder, formats)


def facts(result: Result, name: str) -> list[tuple[str, str]]:
    """What the gradients of one network say, with the paper's numbers beside them."""
    about: Mapping[str, Any] = result.settings["networks"][name]
    paper: Mapping[str, Any] = result.settings["paper"]
    n = about["blocks"]
    told = [
        (
            "identity",
            f"classes add up to autograd's gradient, relative error {about['identity_error']:.1e}"
            f" ({about['images']} images, batch norm in {about['batch_norm']} mode)",
        )
    ]
    if n == 0:
        return [*told, ("gradient", "no residual block: one class, which carries the whole gradient")]
    told.append(("largest class", f"{about['peak']} of {n} residual branches (exact class norm)"))
    told.append(("exact shares", _held(about["exact"], f"mean length {about['mean_length']:.3g}")))
    if "effective" in about:
        published = f"{paper['low']} to {paper['high']} of {paper['blocks']}, {100 * paper['share_of_paths']:.2g} % of"
        told.append(("count x norm", _held(about["effective"], f"mean length {about['effective_mean_length']:.3g}")))
        told.append(("", f"Veit et al. 2016, ResNet-110: {published} all paths"))
        told.append(("decay of a path", _decay(about["decay"], about["samples"])))
        told.append(("", f"Veit et al. 2016, implied: slope {paper['implied_slope']}, x{_factor(paper)} per branch"))
    return told


def lesion_facts(lesioned: PathNetwork, survival: Result) -> list[tuple[str, str]]:
    """Which paths a deletion leaves."""
    intact = lesioned.intact
    assert intact is not None
    rows = [row for row in survival.rows if row["network"] == lesioned.name and row["unit"] == "module"]
    before, after = sum(row["count"] for row in rows), sum(row["surviving"] for row in rows)
    gone = intact.blocks - lesioned.blocks
    told = [("deleted", f"{', '.join(lesioned.deleted)}: {100 * (after / before):.4g} % of all paths are left")]
    if gone and rows[-1]["expected"] is not None:
        difference = max(abs(row["share"] - (row["expected"] or 0.0)) for row in rows)
        told.append(
            ("", f"by length C(n-{gone}, x) / C(n, x) with n = {intact.blocks}; largest difference {difference:.1g}")
        )
    return told


def _held(interval: Mapping[str, Any] | None, more: str) -> str:
    if interval is None:
        return "no gradient at all, so no interval"
    share = 100 * interval["share_of_paths"]
    held = 100 * interval["holds"]
    return f"{held:.1f} % on {interval['low']} to {interval['high']} branches, {share:.3g} % of all paths; {more}"


def _decay(line: Mapping[str, Any] | None, samples: int) -> str:
    if line is None:
        return "fewer than two lengths with a norm above zero, so no fit"
    interval = (
        "" if line["slope_low"] is None else f" (95 % interval {line['slope_low']:.3g} to {line['slope_high']:.3g})"
    )
    return (
        f"slope {line['slope']:.3g}{interval} in ln(norm), x{math.exp(line['slope']):.2g} per branch,"
        f" R2 {line['r2']:.3f}, {samples} samples per length"
    )


def _factor(paper: Mapping[str, Any]) -> str:
    return f"{math.exp(paper['implied_slope']):.2g}"
