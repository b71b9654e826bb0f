"""Claims 1 and 2: parameters and test error of the published CIFAR ResNets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from resnet_probe.claims.conditions import depth_of, family_of, other_images, untaught
from resnet_probe.claims.published import ERRORS, PARAMETERS, PUBLISHED_RUNS, SPREAD, SPREAD_RUNS
from resnet_probe.claims.verdicts import CANNOT_SAY, DOES_NOT_HOLD, HOLDS, Verdict, between
from resnet_probe.statistics import wilson
from resnet_probe.tables import Run, SavedTable

# Tables that hold the error of the intact network -> how its row is known.
INTACT = {"lesion": ("block", "(intact)"), "lesion_multi": ("deleted", 0), "reorder": ("swaps", 0)}


def parameters(run: Run) -> Iterator[Verdict]:
    """Claim 1, exact: from `inspect`, and from `compare` for networks that have not been inspected."""
    judged: set[str] = set()
    for name in ("inspect", "compare"):
        for table, network in run.each(name):
            depth, tokens = depth_of(table.arch(network))
            if family_of(table.arch(network)) != "resnet" or tokens or depth not in PARAMETERS:
                continue
            if network in judged:
                continue
            rows = table.rows(network)
            measured = table.about(network).get("parameters") if name == "inspect" else rows[0].get("parameters")
            if isinstance(measured, int):
                judged.add(network)
                yield _parameters(table, network, depth, measured, rows)


def _parameters(table: SavedTable, network: str, depth: int, measured: int, rows: list[dict[str, Any]]) -> Verdict:
    published = PARAMETERS[depth]
    shape = str(rows[0].get("in_shape") or "").split("x")
    channels = int(shape[0]) if shape[0].isdigit() else None
    if measured == published:
        verdict, why = HOLDS, f"{measured:,} parameters, exactly the published number of ResNet-{depth}"
    elif channels is None:
        verdict = CANNOT_SAY
        why = (
            f"{measured:,} parameters, published are {published:,} for colour images, and this table does not say which"
        )
    elif channels != 3:
        extra = 16 * 9 * (channels - 3)  # weights of the first convolution
        verdict = CANNOT_SAY
        why = (
            f"{measured:,} parameters for images of {channels} channel{'s' if channels != 1 else ''}; "
            f"with 3 channels {measured - extra:,}, published are {published:,}"
        )
    else:
        verdict, why = DOES_NOT_HOLD, f"{measured:,} parameters, {measured - published:+,} against ResNet-{depth}"
    return Verdict(
        1, network, verdict, why, measured=f"{measured:,}", published=f"{published:,}", published_value=published,
        measured_value=measured, unit="parameters", table=str(table.path),
    )  # fmt: skip


def errors(run: Run) -> Iterator[Verdict]:
    """Claim 2: Wilson's interval of the intact network's error against the published error.

    The interval is over images. Another training has another error as well; how far it may lie above the published one
    follows from the published standard deviation over seeds, which is known for ResNet-110 alone and taken for all.
    """
    seen: set[tuple[str, Any]] = set()
    for name, (column, value) in INTACT.items():
        for table, network in run.each(name):
            depth, tokens = depth_of(table.arch(network))
            if family_of(table.arch(network)) != "resnet" or tokens or depth not in ERRORS:
                continue
            key = (network, table.about(network).get("data_fingerprint"))
            intact = next((row for row in table.rows(network) if row[column] == value), None)
            if intact is not None and key not in seen:
                seen.add(key)
                yield _error(table, network, depth, intact)


def _error(table: SavedTable, network: str, depth: int, intact: Mapping[str, Any]) -> Verdict:
    from scipy.special import stdtrit  # noqa: PLC0415

    published, measured = ERRORS[depth], float(intact["error"])
    low, high = wilson(intact["wrong"], intact["images"])
    interval = f"{between(low, high)} %"
    inside = low <= published <= high
    other = untaught(table, network) or other_images(table, network, intact["images"])
    compared = f"{measured:.4g} % ({interval}) against the published {published} %"
    if other:
        verdict = CANNOT_SAY
        fits = "which the interval holds too" if inside else "which the interval does not hold"
        why = f"{other}; there it has {compared}, {fits}"
    elif inside:
        verdict, why = HOLDS, f"{compared}, which lies in the interval over images"
    elif measured < published:
        verdict, why = HOLDS, f"{compared}: the network is better than published"
    else:
        runs = PUBLISHED_RUNS.get(depth, 1)
        seeds = float(stdtrit(SPREAD_RUNS - 1, 0.975)) * SPREAD * (1 + 1 / runs) ** 0.5
        verdict = CANNOT_SAY if measured - published <= seeds else DOES_NOT_HOLD
        why = f"{compared}: higher than published, {'no more' if verdict == CANNOT_SAY else 'more'} than another "
        why += f"training may be ({seeds:.2g} points, from the published spread over seeds)"
    return Verdict(
        2, network, verdict, why, measured=f"{measured:.4g} %", published=f"{published} %", published_value=published,
        measured_value=measured, low=low, high=high, unit="percent", table=str(table.path),
    )  # fmt: skip
