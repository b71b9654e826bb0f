"""One paragraph in plain words for each kind of table, made from its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from statistics import fmean, median
from typing import Any

from resnet_probe.tables import SavedTable

__all__ = ["PARAGRAPHS", "exactly", "paragraph"]

Row = Mapping[str, Any]

# As in the figure of the ranks, which this cannot import without its analysis.
MEASURES = {
    "ratio": "|F(h)| / |h|", "cos_gradient": "cos(F(h), dL/dh)", "cos_gradient_out": "cos(F(h), dL/dh) at output",
    "cos_input": "cos(F(h), h)", "influence": "block influence", "angular": "angular distance",
}  # fmt: skip
MOST_TOLD = 4  # networks that a paragraph goes through one by one


def paragraph(table: SavedTable) -> str:
    """What the table says; of a table that no words are known for, or that lacks a column, how much there is of it."""
    tell = PARAGRAPHS.get(table.name)
    try:
        told = " ".join(sentence for sentence in tell(table)) if tell else ""
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError):
        told = ""
    rows = len(table.result.rows)
    return told or f"The table has {rows:,} row{'s' if rows != 1 else ''}."


def exactly(count: int) -> str:
    """A count in full where that can be read, else rounded."""
    return f"{count:,}" if count < 10**15 else f"{Decimal(count):.3e}"


def _lesion(table: SavedTable) -> list[str]:
    told = []
    for network in table.networks[:MOST_TOLD]:
        intact, *deleted = table.rows(network)
        errors = [row["error"] for row in deleted]
        worst = max(deleted, key=lambda row: row["error"])
        what = "blocks" if all(row.get("kind") == "block" for row in deleted) else "layers"
        told.append(
            f"Intact, {network} gets {intact['error']:.3g} % of {intact['images']:,} images wrong. "
            + (
                f"With any one of its {len(deleted)} {what} deleted it is {min(errors):.3g} to {max(errors):.3g} %, "
                f"with a median of {median(errors):.3g} %; the worst to lose is {worst['block']}."
                if len(deleted) > 1
                else f"With {worst['block']} deleted, its one {what[:-1]}, it is {errors[0]:.3g} %."
            )
        )
        kinds = {kind: [row["error"] for row in deleted if bool(row["resizes"]) is kind] for kind in (True, False)}
        if kinds[True] and kinds[False]:
            told.append(
                f"The {len(kinds[True])} that resize give {fmean(kinds[True]):.3g} % on average, the others "
                f"{fmean(kinds[False]):.3g} %."
            )
        again = [row["error_recalibrated"] for row in deleted if row.get("error_recalibrated") is not None]
        if again:
            told.append(f"With batch-norm statistics measured anew the median is {median(again):.3g} %.")
    if more := table.networks[MOST_TOLD:]:
        told.append(f"The numbers of {_many(len(more), 'more network')} are in the table.")
    return told


def _multi(table: SavedTable) -> list[str]:
    told = []
    for network in table.networks:
        rows = table.rows(network)
        numbers = sorted({row["deleted"] for row in rows} - {0})
        means = {k: fmean(row["error"] for row in rows if row["deleted"] == k) for k in numbers}
        middle = numbers[len(numbers) // 2]
        told.append(
            f"With {_many(numbers[0], 'block')} of {network} deleted at random the mean error is "
            f"{means[numbers[0]]:.3g} %, with {middle} deleted {means[middle]:.3g} %, with {numbers[-1]} deleted "
            f"{means[numbers[-1]]:.3g} %."
        )
        told += _ranked(table, "the number of deleted blocks")
    return told


def _means(table: SavedTable) -> list[str]:
    return [
        "The mean error by number of deleted blocks, with two 95 % intervals: over the images (the same draws on other "
        "images), and over the draws (other draws on the same images)."
    ]


def _pairs(table: SavedTable) -> list[str]:
    rows = sorted(table.result.rows, key=lambda row: row["interaction"])
    apart = [row for row in rows if (row.get("interaction_low") or 0) > 0]
    least, most = rows[0], rows[-1]
    return [
        f"Of {len(rows)} pairs, {len(apart)} lose more together than one by one, by their 95 % intervals (chance "
        f"alone would give about {0.025 * len(rows):.0f}).",
        f"The strongest interaction is {most['interaction']:+.3g} points ({most['block_a']} with {most['block_b']}), "
        f"the weakest {least['interaction']:+.3g} ({least['block_a']} with {least['block_b']}).",
    ]


def _reorder(table: SavedTable) -> list[str]:
    told = []
    for network in table.networks:
        trained, *orders = table.rows(network)
        worst = max(orders, key=lambda row: row["error"])
        told.append(
            f"In the trained order {network} has {trained['error']:.3g} % error. The {len(orders)} random orders give "
            f"{min(row['error'] for row in orders):.3g} to {worst['error']:.3g} %, the worst at a Kendall's tau of "
            f"{worst['kendall_tau']:.2f} with the trained order."
        )
        told += _ranked(table, "disorder")
    return told


def _ranked(table: SavedTable, what: str) -> list[str]:
    rank, low, high = (table.result.settings.get(key) for key in ("spearman", "spearman_low", "spearman_high"))
    if rank is None or low is None or high is None:
        return []
    return [f"The rank correlation of {what} and error is {rank:.2f} (95 % interval {low:.2f} to {high:.2f})."]


def _paths(table: SavedTable) -> list[str]:
    told = []
    for network in table.networks:
        counts = {row["length"]: row["count"] for row in table.rows(network) if row["unit"] == "module"}
        total = sum(counts.values())
        if total <= 1:
            told.append(f"There is one way through {network}: it has no residual block and no parallel branch.")
            continue
        mean = sum(length * count for length, count in counts.items()) / total
        power = f", 2 to the power of {total.bit_length() - 1}" if total & (total - 1) == 0 else ""
        told.append(
            f"{network} is {exactly(total)} paths{power}. They go through {mean:.4g} residual branches on average, "
            f"from {min(counts)} to {max(counts)}."
        )
    return told


def _gradients(table: SavedTable) -> list[str]:
    told = []
    for network, found in table.result.settings["networks"].items():
        blocks = found.get("blocks")
        if not blocks:
            told.append(f"{network} has no residual block, so one path carries the whole gradient.")
            continue
        told.append(
            f"Paths through {found['peak']} of the {blocks} branches of {network} add up to the largest gradient."
        )
        if found.get("exact"):
            told.append(
                f"Taken exactly, {100 * found['exact']['holds']:.3g} % of the gradient lies on paths of "
                f"{found['exact']['low']} to {found['exact']['high']} branches."
            )
        if found.get("decay"):
            line = found["decay"]
            told.append(
                f"A single path carries less the longer it is: ln(norm) changes by {line['slope']:.3g} per branch "
                f"(R2 {line['r2']:.2f})."
            )
        if found.get("identity_error") is not None:
            told.append(
                f"The classes add up to the ordinary gradient to {found['identity_error']:.1e} of its size, on "
                f"{found['images']} images."
            )
    return told


def _responses(table: SavedTable) -> list[str]:
    told = []
    for network in table.networks:
        rows = table.rows(network)
        strongest, weakest = (pick(rows, key=lambda row: row["std"]) for pick in (max, min))
        told.append(
            f"Over {len(rows)} layers of {network} the standard deviation of the responses is {weakest['std']:.3g} "
            f"({weakest['layer']}) to {strongest['std']:.3g} ({strongest['layer']}), with a "
            f"median of {median(row['std'] for row in rows):.3g}."
        )
    return told


def _iterative(table: SavedTable) -> list[str]:
    told = []
    for network in table.networks:
        rows = table.rows(network)
        ratios = [row["ratio"] for row in rows if row["ratio"] is not None]
        told.append(
            f"Taking the median over the {len(rows)} blocks of {network}, a branch changes its input by "
            f"{median(ratios):.3g} of its length."
        )
        cosines = [row["cos_gradient"] for row in rows if row["cos_gradient"] is not None]
        if cosines:
            told.append(
                f"{sum(value < 0 for value in cosines)} of the {len(cosines)} blocks that keep the shape move against "
                "the gradient of the loss on average."
            )
        exits = [row for row in rows if row["exit_accuracy"] is not None]
        if len(exits) > 1:
            told.append(
                f"Read after {exits[0]['block']} the network's own classifier is right in "
                f"{exits[0]['exit_accuracy']:.3g} % of cases, after "
                f"{exits[-1]['block']} in {exits[-1]['exit_accuracy']:.3g} %."
            )
    return told


def _ranks(table: SavedTable) -> list[str]:
    rows = [row for row in table.result.rows if row["damage"] == "error" and row["subset"] == "all"]
    if not rows:
        return []
    best = max(rows, key=lambda row: abs(row["rho"]))
    name = MEASURES.get(best["measure"], best["measure"].replace("_", " "))
    return [
        f"Of {_many(len(rows), 'measure')}, {name} goes along best with the damage of a deletion: "
        f"rank correlation {best['rho']:+.2f} (95 % interval {best['low']:+.2f} to {best['high']:+.2f}) over "
        f"{best['blocks']} blocks."
    ]


def _inspect(table: SavedTable) -> list[str]:
    told = []
    for network in table.networks:
        rows = table.rows(network)
        blocks = [row for row in rows if row["kind"] == "block"]
        resizing = sum(bool(row["resizes"]) for row in blocks)
        parts = f"{_many(len(blocks), 'residual block')}, {resizing} of which resize" if blocks else "no residual block"
        adds = sum(row["multiply_adds"] for row in rows)
        parameters = table.result.settings.get("parameters", sum(row["parameters"] for row in rows))
        told.append(
            f"{network} is a chain of {len(rows)} units with {parts}. It has {parameters:,} parameters and needs "
            f"{adds:,} multiply-adds for one input of {rows[0]['in_shape'].replace('x', ' x ')}."
        )
    return told


def _compare(table: SavedTable) -> list[str]:
    told = []
    for row in table.result.rows:
        told.append(f"{row['network']} has {row['parameters']:,} parameters")
        if row.get("error") is not None and row.get("median_lesion") is not None:
            told[-1] += (
                f" and {row['error']:.3g} % error; with one unit deleted the median error is "
                f"{row['median_lesion']:.3g} %, the worst {row['worst_lesion']:.3g} %"
            )
        told[-1] += "."
    return told


def _grid(table: SavedTable) -> list[str]:
    done: Sequence[Row] = [row for row in table.result.rows if row.get("test_error") is not None]
    best = min(done, key=lambda row: row["test_error"])
    return [
        f"{len(done)} of {len(table.result.rows)} networks are trained. The lowest test error is "
        f"{best['test_error']:.3g} % ({best['arch']}, seed {best['seed']}), the highest "
        f"{max(row['test_error'] for row in done):.3g} %."
    ]


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


PARAGRAPHS: dict[str, Callable[[SavedTable], list[str]]] = {
    "lesion": _lesion,
    "lesion_multi": _multi,
    "lesion_multi_summary": _means,
    "lesion_pairs": _pairs,
    "reorder": _reorder,
    "paths": _paths,
    "gradients": _gradients,
    "responses": _responses,
    "iterative": _iterative,
    "iterative_ranks": _ranks,
    "inspect": _inspect,
    "compare": _compare,
    "grid": _grid,
}
