"""What the tables of a grid say."""

from __future__ import annotations

from resnet_probe.analyses.declaration import Fact
from resnet_probe.tables import Result


def cells(table: Result, network: str) -> list[Fact]:
    """How many networks are trained, and the best and the worst of them."""
    done = [row for row in table.rows if row["test_error"] is not None]
    told = [Fact("trained networks", f"{len(done)} of {len(table.rows)}", len(done))]
    for what, pick in (("lowest test error", min), ("highest test error", max)):
        if done:
            row = pick(done, key=lambda row: row["test_error"])
            text = f"{row['test_error']:.4g} % ({row['arch']}, seed {row['seed']})"
            told.append(Fact(what, text, row["test_error"], unit="%"))
    return told


def means(table: Result, network: str) -> list[Fact]:
    """The mean errors of each network and style over its seeds."""
    told = []
    for row in table.rows:
        name = row["arch"] if row["style"] == "normal" else f"{row['arch']}, {row['style']}"
        spread = f" +- {row['test_error_std']:.3g}" if row["test_error_std"] is not None else ""
        text = f"test error {row['test_error']:.4g}{spread} %, training {row['train_error']:.4g} % (n = {row['seeds']})"
        told.append(Fact(name, text, row["test_error"], unit="%"))
    return told
