"""What the tables of errors say."""

from __future__ import annotations

from resnet_probe.analyses.declaration import Fact
from resnet_probe.analyses.facts import paired_words
from resnet_probe.tables import Result


def errors(table: Result, network: str) -> list[Fact]:
    """Of each view the errors, the loss and the calibration error."""
    facts = []
    for row in table.of(network):
        text = (
            f"top-1 error {row['top1_error']:.4g} % (95 % interval {row['top1_low']:.4g} to {row['top1_high']:.4g} %)"
        )
        if row["top5_error"] is not None:
            text += f", top-5 {row['top5_error']:.4g} %"
        text += f", loss {row['loss']:.4g} nats, calibration error {row['calibration_error']:.3g} %"
        facts.append(Fact(row["view"], text, row["top1_error"], row["top1_low"], row["top1_high"], "%"))
        if row.get("against") is not None:
            interval = row["increase_low"], row["increase_high"]
            facts.append(Fact(f"{row['view']}, paired", paired_words(row), row["increase"], *interval, "points"))
    return facts


def classes(table: Result, network: str) -> list[Fact]:
    """Of each view the class with the highest error, and what it is taken for."""
    facts = []
    for view in dict.fromkeys(row["view"] for row in table.of(network)):
        rows = [row for row in table.of(network) if row["view"] == view and row["error"] is not None]
        if not rows:
            continue
        worst = max(rows, key=lambda row: row["error"])
        if worst["error"] == 0:
            facts.append(Fact(f"hardest class, {view}", "none: no image is wrong", 0, unit="%"))
            continue
        other = f", mostly taken for {worst['mostly_taken_for']}" if worst["mostly_taken_for"] else ""
        text = f"{worst['class']}, {worst['error']:.4g} % error{other}"
        facts.append(Fact(f"hardest class, {view}", text, worst["error"], worst["error_low"], worst["error_high"], "%"))
    return facts
