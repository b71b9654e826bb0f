"""Tables made up for the rules: each says what a run would have found."""

from pathlib import Path

from resnet_probe.tables import Result, Run, SavedTable

CIFAR = {"data_set": {"name": "cifar10", "split": "test", "images": 10_000, "folder": False}, "classes": 10}
DIGITS = {"data_set": {"name": "digits", "split": "test", "images": 355, "folder": False}, "classes": 10}


def table(name, rows, **settings):
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    return SavedTable(
        Path("run"), Result(name, columns, tuple({c: row.get(c) for c in columns} for row in rows), settings)
    )


def run(*tables):
    return Run((Path("run"),), tables)


def lesions(intact, deleted, *, images=1000, network="net", arch="resnet20", kind="block", resizes=(), **settings):
    """Wrong predictions of the intact network and by deleted unit; predictions change no more than they must."""
    rows = [{"network": network, "block": "(intact)", "wrong": intact, "changed": 0, "kind": None, "resizes": None}]
    for name, wrong in deleted.items():
        rows.append(
            {
                "network": network, "block": name, "wrong": wrong, "changed": abs(wrong - intact), "kind": kind,
                "resizes": name in resizes,
            }
        )  # fmt: skip
    rows = [row | {"images": images, "error": 100 * row["wrong"] / images} for row in rows]
    return table("lesion", rows, arch=arch, **(CIFAR | settings))
