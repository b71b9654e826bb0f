"""The table of iterative inference: one row per residual block."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.iterative import ITERATIVE, SPREADS, Parameters
from resnet_probe.analyses.iterative.ranks import rank
from resnet_probe.tables import Result, read

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_probe.analyses.runtime import Runtime
    from resnet_probe.analyses.subject import Subject

BATCH = 64


def run(subject: Subject, parameters: Parameters = Parameters(), runtime: Runtime | None = None) -> list[Result]:
    """Measure every residual block; where its damage is known, also which measure predicts it.

    Args:
        parameters: the table of damage, and whether early exits are adapted, which takes two more forward passes.

    Returns:
        Table `iterative`, one row per block, and with a lesion table `iterative_ranks`.

    Raises:
        ValueError: no residual blocks, no images, an adapter that does not fit the network, or a lesion table of
            another network.
    """
    from resnet_probe.analyses.runtime import Runtime  # noqa: PLC0415 - torch is needed to run, not to plot
    from resnet_probe.analyses.subject import require  # noqa: PLC0415

    require(subject, parameters, Parameters)
    check(subject, parameters)
    runtime = runtime or Runtime()
    file = parameters.lesion
    if file is None and runtime.folder is not None and (runtime.folder / "lesion.csv").is_file():
        file = runtime.folder / "lesion.csv"
        if subject.name not in read(file.parent, file.stem).networks:
            runtime.say(f"note: {file} is not of {subject.name}, so its damage is left out")
            file = None
    lesion = _lesion(file, subject) if file else None  # before anything is computed, so that a wrong one is found
    subject.tell_inside(runtime.say, "measured")
    result = _measured(subject, runtime, adapter=parameters.adapter)
    if lesion is None:
        return [result]
    same = lesion.about(subject.name).get("data_fingerprint") == subject.data.fingerprint
    about = {"lesion": str(file), "lesion_on_the_same_images": same}
    result = with_damage(result, lesion).with_settings(about)
    return [result, rank(result, seed=runtime.seed).with_settings(about)]


def check(subject: Subject, parameters: Parameters) -> None:
    """Whether there are blocks to measure.

    Raises:
        ValueError: there are none.
    """
    if not subject.network.links:
        raise ValueError(
            f"{subject.name} has no residual blocks along its chain, so there is no iterative inference to measure"
        )


def _lesion(file: Path, subject: Subject) -> Result:
    """A lesion table of this network."""
    if file.suffix != ".csv":
        raise ValueError(f"--lesion {file} is no CSV table; give the lesion.csv that `resnet-probe lesion` wrote")
    table, name = read(file.parent, file.stem), subject.name
    if name not in table.networks:
        raise ValueError(f"{file} is of {', '.join(table.networks) or 'no network'}, not of {name}; give its own table")
    theirs = table.about(name).get("checkpoint_sha256")
    ours = subject.checkpoint.sha256 if subject.checkpoint else ""
    if theirs and ours and ours not in theirs:
        raise ValueError(f"{file} was measured on another checkpoint called {name}; run lesion on this one")
    return table


def _measured(subject: Subject, runtime: Runtime, *, adapter: bool) -> Result:
    """Measure every residual block, streamed over the images: one forward and one backward pass per batch.

    With h a block's input, S(h) its shortcut (h itself, unless the block resizes) and F(h) its residual branch, each
    taken as one vector per image, and L the image's cross-entropy. Averages over images, with the population standard
    deviation over images in `..._std`:

    - `ratio` |F(h)| / |S(h)|, `cos_input` cos(F(h), S(h));
    - `cos_gradient` cos(F(h), dL/dh), empty where the block resizes; `cos_gradient_out` with the gradient at the
      block's output, before the activation that follows the addition;
    - `cos_exit` cos(F(h), dL/dh) where L is the loss of the network's own classifier reading h itself (last stage), as
      Jastrzebski et al. expand it (equations 2 to 4);
    - `first_order` -<dL/dh_out, F(h)> in nats, the first-order prediction of what deleting the block adds to the loss;
    - `agreement` the cosine of d(score)/dh for two images that follow one another in a random order (class folders come
      sorted), the score that of the first class: a scalar output, as Balduzzi et al. 2017 take it;
    - `influence` 1 - cos(S(h), h_next) with h_next the next block's input, and `angular` arccos(cos) / pi;
    - `estimation`, `estimation_std`: mean and standard deviation, over images, channels and positions, of h_next minus
      the same after the last block of the stage;
    - `estimation_bias`, `estimation_spread`: the same by feature, whose means of either sign cancel in the pooled one:
      root mean squares over features of each feature's mean and standard deviation;
    - `exit_accuracy`: percent right when the network's own classifier reads the output of this block (last stage);
      `adapter_accuracy`: through a least-squares map, for every stage (see `adapter.py`; half of the images);
    - `gradients`: images that have a gradient at all. `lesion_error` and `lesion_loss` are filled by `with_damage`.

    Source: Jastrzebski et al. 2018, section 4; Greff et al. 2017, section 3; ShortGPT 2024; Gromov et al. 2024.
    """
    import torch  # noqa: PLC0415 - torch is needed to run, not to plot

    from resnet_probe.analyses.iterative.adapter import adapted_exits  # noqa: PLC0415
    from resnet_probe.probes import combine_moments  # noqa: PLC0415
    from resnet_probe.probes.blocks import BlockSums, Chain, add_batch  # noqa: PLC0415

    data, name = subject.data, subject.name
    batch_size, device = runtime.batch_size or BATCH, runtime.device
    chain = Chain(subject.network)
    images = len(data)
    if not images:
        raise ValueError(f"{data.name} has no images, so there is nothing to measure; give some")
    total = images * (2 if adapter else 1)
    sums = [BlockSums() for _ in chain.blocks]
    done = wrong = 0
    loss = 0.0
    adapted: list[float | None] = [None] * len(sums)
    adapted_images = 0
    with runtime.progress(f"iterative inference of {name}") as report:
        mixed = data.subset(torch.randperm(images, generator=torch.Generator().manual_seed(runtime.seed)))
        for x, y in mixed.batches(batch_size, device=device):
            wrong_here, loss_here = add_batch(chain, sums, x, y)
            wrong, loss, done = wrong + wrong_here, loss + loss_here, done + len(y)
            report(done, total)
        if adapter:
            right, adapted_images = adapted_exits(
                chain, data, batch_size=batch_size, device=device, progress=lambda some, _: report(images + some, total)
            )
            adapted = [100 * count / adapted_images for count in right]
    rows = []
    for index, (unit, block) in enumerate(zip(chain.blocks, sums, strict=True)):
        states = dict(zip(SPREADS, block.measures(), strict=True))
        row: dict[str, Any] = dict.fromkeys(ITERATIVE.keys)
        place = subject.network.surgical.index(unit)
        row |= {"network": name, "block": unit.name, "index": place, "stage": unit.plan.stage}
        row |= {"resizes": unit.plan.resizes, "images": images}
        for measure in SPREADS:
            row[measure], row[f"{measure}_std"] = _mean_std(states[measure])
        if block.estimation:
            row["estimation"], row["estimation_std"] = _mean_std(combine_moments(torch.stack(block.estimation)))
            number, mean, deviations = combine_moments(torch.stack(block.features)).unbind(-1)
            row["estimation_bias"] = float(mean.square().mean().sqrt())
            row["estimation_spread"] = float((deviations / number).mean().sqrt())
        if chain.exits[index]:
            row["exit_accuracy"] = 100 * block.exits / images
        row["adapter_accuracy"] = adapted[index]
        row["gradients"] = int(states["cos_gradient_out"][0])
        rows.append(row)
    settings = {"error": 100 * wrong / images, "loss": loss / images, "images": images}
    return ITERATIVE.result(rows, **settings, adapter_images=adapted_images or None)


def with_damage(result: Result, lesion: Result) -> Result:
    """The table with the damage that a lesion study measured: increase of error (percentage points) and loss (nats).

    Raises:
        ValueError: the lesion table is of another network, or lacks a block, the intact network or a column.
    """
    needed = {"network", "block", "error", "loss"}
    if not needed <= set(lesion.columns):
        raise ValueError(f"the lesion table needs the columns {', '.join(sorted(needed))}; give one that lesion wrote")
    names = {row["network"] for row in result.rows}
    found = {row["block"]: row for row in lesion.rows if row["network"] in names}
    if not found:
        others = ", ".join(sorted({str(row["network"]) for row in lesion.rows}))
        raise ValueError(f"the lesion table is of {others or 'nothing'}, not of {', '.join(sorted(names))}")
    missing = [block for block in ("(intact)", *(row["block"] for row in result.rows)) if block not in found]
    if missing:
        raise ValueError(f"the lesion table has no row for {missing[0]}; run `resnet-probe lesion` on this checkpoint")
    intact = found["(intact)"]
    rows = tuple(
        {
            **row,
            "lesion_error": found[row["block"]]["error"] - intact["error"],
            "lesion_loss": found[row["block"]]["loss"] - intact["loss"],
        }
        for row in result.rows
    )
    return Result(result.name, result.columns, rows, {**result.settings, "lesion_images": intact.get("images")})


def _mean_std(state: Tensor) -> tuple[float | None, float | None]:
    number, mean, deviations = state.tolist()
    return (mean, math.sqrt(max(deviations, 0.0) / number)) if number else (None, None)
