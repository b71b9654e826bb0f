"""Claims 3, 5, 13, 15, 16 and 20: what the final errors of a trained grid say, over its seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import fmean
from typing import Any

from resnet_probe.claims.conditions import other_training
from resnet_probe.claims.published import AS_GOOD, EFFECTIVE_TRAINING, FAILS, LITTLE, MEDIAN_OF, PRECISE, VARIANTS
from resnet_probe.claims.verdicts import CANNOT_SAY, DOES_NOT_HOLD, HOLDS, Verdict, between
from resnet_probe.statistics import over_seeds, replication
from resnet_probe.tables import Run, SavedTable

NORMAL, EFFECTIVE, STOCHASTIC = "normal", "effective-paths", "stochastic-depth"
OPTIONS = ("A", "B", "C")


@dataclass(frozen=True)
class Mean:
    """A mean with its 95 % interval (Student's t); without an interval for a single value."""

    mean: float
    low: float | None
    high: float | None
    count: int

    def words(self, unit: str) -> str:
        """`6.6 % (6.3 to 6.9, 5 seeds)`."""
        interval = "no interval" if self.low is None or self.high is None else between(self.low, self.high)
        return f"{self.mean:.3g} {unit} ({interval}, {self.count} seed{'s' if self.count != 1 else ''})"


def mean_of(values: Sequence[float]) -> Mean:
    """The mean of independent values with its 95 % interval by Student's t."""
    found = over_seeds(values)
    return Mean(found.mean, found.low, found.high, found.count)


def difference(first: Mapping[int, float], second: Mapping[int, float]) -> Mean:
    """`second` minus `first`, paired by seed where two or more seeds are shared, else Welch's interval."""
    shared = sorted(first.keys() & second.keys())
    if len(shared) > 1:
        return mean_of([second[seed] - first[seed] for seed in shared])
    a, b = list(first.values()), list(second.values())
    middle = fmean(b) - fmean(a)
    if len(a) < 2 or len(b) < 2:
        return Mean(middle, None, None, min(len(a), len(b)))
    from scipy.stats import ttest_ind  # noqa: PLC0415

    interval = ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    return Mean(middle, float(interval.low), float(interval.high), min(len(a), len(b)))


def degradation(run: Run) -> Iterator[Verdict]:
    """Claim 3: training error of each plain network against the next deeper one."""
    for table in run.named("grid"):
        plain = [row for row in table.result.rows if row.get("family") == "plain" and _style(row) == NORMAL]
        cells = _by(plain, "depth", "train_error")
        for shallow, deep in pairwise(sorted(cells)):
            found = difference(cells[shallow], cells[deep])
            told = f"training error of plain-{deep} minus plain-{shallow}: {found.words('points')}"
            verdict, why = _sign(found, told, positive=HOLDS, negative=DOES_NOT_HOLD)
            verdict, why = _trained_otherwise(table, plain, verdict, why, told)
            yield _verdict(
                3, f"plain-{shallow} and plain-{deep}", verdict, why, found=found, table=table, unit="percentage points"
            )


def deeper(run: Run) -> Iterator[Verdict]:
    """Claim 15: training error of each residual network against the next deeper one of its kind."""
    for table in run.named("grid"):
        rows = [row for row in table.result.rows if row.get("family") == "resnet" and _style(row) == NORMAL]
        for variant in dict.fromkeys(row.get("variant") for row in rows):
            mine = [row for row in rows if row.get("variant") == variant]
            cells = _by(mine, "depth", "train_error")
            kind = f"resnet{{}}{f'-{variant}' if variant else ''}"
            for shallow, deep in pairwise(sorted(cells)):
                names = [kind.format(depth) for depth in (shallow, deep)]
                found = difference(cells[shallow], cells[deep])
                told = f"training error of {names[1]} minus {names[0]}: {found.words('points')}"
                verdict, why = _sign(found, told, positive=DOES_NOT_HOLD, negative=HOLDS)
                verdict, why = _trained_otherwise(table, mine, verdict, why, told)
                yield _verdict(
                    15, " and ".join(names), verdict, why, found=found, table=table, unit="percentage points"
                )


def options(run: Run) -> Iterator[Verdict]:
    """Claim 16: test errors of the same network with shortcuts of option A, B and C, by pairs."""
    for table in run.named("grid"):
        rows = [row for row in table.result.rows if row.get("family") == "resnet" and _style(row) == NORMAL]
        rows = [row for row in rows if (row.get("variant") or "A") in OPTIONS]
        for depth in dict.fromkeys(row["depth"] for row in rows):
            mine = [row | {"option": row.get("variant") or "A"} for row in rows if row["depth"] == depth]
            cells = _by(mine, "option", "test_error")
            for one, other in combinations(sorted(cells), 2):
                found = difference(cells[one], cells[other])
                told = f"test error with option {other} minus that with option {one}: {found.words('points')}"
                if found.low is None or found.high is None:
                    verdict, why = CANNOT_SAY, f"{told}: one seed shows no spread"
                elif max(-found.low, found.high) <= LITTLE:
                    verdict, why = HOLDS, f"{told}, at most {LITTLE:g} points either way"
                elif found.low > LITTLE or found.high < -LITTLE:
                    verdict, why = DOES_NOT_HOLD, f"{told}, more than {LITTLE:g} points"
                else:
                    verdict, why = CANNOT_SAY, f"{told}, which does not settle whether it is less than {LITTLE:g}"
                verdict, why = _trained_otherwise(table, mine, verdict, why, told)
                network = f"resnet{depth}, options {one} and {other}"
                yield _verdict(16, network, verdict, why, found=found, table=table, unit="percentage points")


def resilience(run: Run) -> Iterator[Verdict]:
    """Claim 20: mean damage of single deletions after normal training minus that after stochastic depth, over seeds."""
    for table in run.named("grid_lesions"):
        damage: dict[tuple[str, str], dict[int, float]] = {}
        for cell in dict.fromkeys(row["cell"] for row in table.result.rows):
            rows = [row for row in table.result.rows if row["cell"] == cell and not row["resizes"]]
            if rows:
                seeds = damage.setdefault((rows[0]["arch"], _style(rows[0])), {})
                seeds[rows[0]["seed"]] = fmean(row["increase"] for row in rows)
        for (arch, style), seeds in damage.items():
            if style != STOCHASTIC or (arch, NORMAL) not in damage:
                continue
            found = difference(seeds, damage[arch, NORMAL])
            told = f"a deletion adds {found.words('points')} more after normal training than after stochastic depth"
            verdict, why = _sign(found, told, positive=HOLDS, negative=DOES_NOT_HOLD)
            yield _verdict(20, arch, verdict, why, found=found, table=table, unit="percentage points")


def _trained_otherwise(
    table: SavedTable, rows: Sequence[Mapping[str, Any]], verdict: str, why: str, told: str
) -> tuple[str, str]:
    """An ordering can be tested on other images, as long as the reader is told; not after another training."""
    other = other_training(table, min((row["epochs"] for row in rows), default=None))
    if other and table.images() != "cifar10" and table.is_named():
        return verdict, f"{why}; {other}"
    return (CANNOT_SAY, f"{other}; here {told}") if other else (verdict, why)


def variants(run: Run) -> Iterator[Verdict]:
    """Claim 5: mean test error of every published variant over its seeds against the published error.

    The published error is itself the median of few runs, so its own spread belongs into the comparison.
    """
    published = {variant.arch: variant for variant in VARIANTS}
    for table in run.named("grid"):
        rows = [row for row in table.result.rows if row.get("arch") in published and _style(row) == NORMAL]
        for arch, errors in _by(rows, "arch", "test_error").items():
            variant, found = published[arch], mean_of(list(errors.values()))
            told = found.words("% test error")
            failed = variant.error is None
            value = f"failed (above {FAILS:g} %)" if failed else f"{variant.error} %"
            other = other_training(table, min(row["epochs"] for row in rows if row["arch"] == arch))
            if other:
                verdict, why = CANNOT_SAY, f"{other}; here {told}, published {value}"
            elif found.low is None or found.high is None:
                verdict, why = CANNOT_SAY, f"{told}: one seed shows no spread; published {value}"
            elif variant.error is None:
                verdict = HOLDS if found.low > FAILS else DOES_NOT_HOLD if found.high < FAILS else CANNOT_SAY
                why = f"{told}, published {value}"
            else:
                again = replication(list(errors.values()), variant.error, MEDIAN_OF, of="median", margin=PRECISE)
                verdict = again.verdict
                why = f"{told}, published {value}, the median of {MEDIAN_OF} runs"
                if again.low is not None and again.high is not None:
                    why += f": {again.difference:+.2g} points apart ({between(again.low, again.high)}"
                    why += f" with the spread of theirs), up to {PRECISE:g} count as the same"
            yield _verdict(
                5, arch, verdict, why, found=found, table=table, unit="percent", published=f"{variant.what}: {value}",
                published_value=variant.error, source=variant.source,
            )  # fmt: skip


def effective_training(run: Run) -> Iterator[Verdict]:
    """Claim 13: test error on effective paths minus that of normal training, for each architecture in both styles."""
    for table in run.named("grid"):
        styles = {style: _by(_styled(table, style), "arch", "test_error") for style in (NORMAL, EFFECTIVE)}
        for arch, effective in styles[EFFECTIVE].items():
            if arch not in styles[NORMAL]:
                why = f"{arch} was trained on effective paths only, with no normal training to compare with"
                yield Verdict(13, arch, CANNOT_SAY, why, table=str(table.path))
                continue
            found = difference(styles[NORMAL][arch], effective)
            told = f"test error on effective paths minus that of normal training: {found.words('points')}"
            both = [row for style in (NORMAL, EFFECTIVE) for row in _styled(table, style) if row["arch"] == arch]
            other = other_training(table, min(row["epochs"] for row in both))
            if other:
                verdict, why = CANNOT_SAY, f"{other}; here {told}"
            elif found.low is None or found.high is None:
                verdict, why = CANNOT_SAY, f"{told}: one seed shows no spread"
            elif found.high <= AS_GOOD:
                verdict, why = HOLDS, f"{told}, at most {AS_GOOD} points worse"
            elif found.low > AS_GOOD:
                verdict, why = DOES_NOT_HOLD, f"{told}, more than {AS_GOOD} points worse"
            else:
                verdict, why = CANNOT_SAY, f"{told}: the interval holds {AS_GOOD} points, which would be worse"
            value = EFFECTIVE_TRAINING[0] - EFFECTIVE_TRAINING[1]
            yield _verdict(
                13, arch, verdict, why, found=found, table=table, unit="percentage points", published_value=value
            )


def _verdict(
    claim: int, network: str, verdict: str, why: str, *, found: Mean, table: SavedTable, unit: str, **more: Any
) -> Verdict:
    return Verdict(
        claim, network, verdict, why, measured=found.words("%" if unit == "percent" else "points"),
        measured_value=found.mean, low=found.low, high=found.high, unit=unit, table=str(table.path), **more,
    )  # fmt: skip


def _sign(found: Mean, told: str, *, positive: str, negative: str) -> tuple[str, str]:
    if found.low is None or found.high is None:
        return CANNOT_SAY, f"{told}: one seed shows no spread"
    if found.low > 0:
        return positive, told
    if found.high < 0:
        return negative, told
    return CANNOT_SAY, f"{told}, whose interval holds 0"


def _style(row: Mapping[str, Any]) -> str:
    return str(row.get("style") or NORMAL)


def _styled(table: SavedTable, style: str) -> list[dict[str, Any]]:
    return [row for row in table.result.rows if _style(row) == style]


def _by(rows: Sequence[Mapping[str, Any]], key: str, value: str) -> dict[Any, dict[int, float]]:
    """key -> seed -> value; cells that have not been trained to their end are left out."""
    found: dict[Any, dict[int, float]] = {}
    for row in rows:
        if row.get(value) is not None and row.get(key) is not None:
            found.setdefault(row[key], {})[row["seed"]] = float(row[value])
    return found
