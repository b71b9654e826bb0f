"""`resnet-probe reorder`: what happens when blocks change places."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from resnet_probe.commands import options, output, sweeping


@click.command("reorder")
@options.ckpt
@options.arch
@options.data
@options.data_root
@options.split
@options.limit
@options.normalize
@click.option("--swaps", callback=sweeping.numbers, default="1:20", show_default=True, metavar="K:K", help="Swaps.")
@click.option("--draws", type=click.IntRange(min=1), default=20, show_default=True, help="Random orders for each K.")
@sweeping.sweep_options
@options.device
@options.seed
@options.out
@options.formats
@options.quiet
def command(
    *,
    ckpt: Path | None,
    arch: str | None,
    data: str | None,
    data_root: Path | None,
    split: str,
    limit: int | None,
    normalize: str | None,
    swaps: range,
    draws: int,
    options: sweeping.Options,
    device: str,
    seed: int,
    out: Path | None,
    formats: Sequence[str],
    quiet: bool,
) -> None:
    """Swap residual blocks of equal shape and measure the error (Veit et al. 2016, Fig. 5b).

    Writes reorder.csv, reorder.json and the figure. Finished work is kept in reorder.journal: an interrupted run goes
    on where it stopped, --fresh starts over.
    """
    from resnet_probe.commands import subject

    chosen = subject.load(ckpt, arch, seed=seed)
    folder = output.run_folder(out, "reorder", chosen.name)
    workers, where = options.processes(subject.pick_device(device))
    screen = output.console(quiet or workers.rank > 0)
    wanted = subject.Wanted(data, data_root, normalize, seed)
    dataset = subject.images(chosen, screen, wanted, split=split, limit=limit, device=where)

    from resnet_probe.analyses import reorder

    network = subject.unraveled(chosen, dataset.input_shape, where)
    bench = sweeping.Bench(options, folder, where, workers, chosen, dataset, network, quiet)
    with bench.sweep("reorder", {"swaps": list(swaps), "draws": draws, "seed": seed}) as how:
        result = reorder.run(network, dataset, name=chosen.name, swaps=swaps, draws=draws, seed=seed, **how)
    if workers.rank > 0:
        return
    names = result.settings["blocks"]
    orders = [[names[int(place)] for place in row["order"].split()] for row in result.rows[1:]]
    result = result.with_settings(bench.origin(seed, [network.reorder(order) for order in orders]))
    files = output.write(result, [("reorder", reorder.plot(result))], folder, formats)
    told = []
    steps = result.settings["by_swaps"]
    for mean in (steps[0], steps[1], steps[len(steps) // 2], steps[-1]) if len(steps) > 3 else steps:
        told.append((f"{mean['swaps']} swaps", f"{mean['error']:.4g} % mean error, tau {mean['kendall_tau']:.3f}"))
    if result.settings["spearman"] is not None:
        low, high = result.settings["spearman_low"], result.settings["spearman_high"]
        told.append(
            ("rank correlation", f"{result.settings['spearman']:.3f} ({low:.3f} to {high:.3f}) of 1 - tau and error")
        )
    output.summarise(
        screen, f"{chosen.name}: {len(result.rows) - 1} orders", [*told, ("written", output.listing(files))]
    )
