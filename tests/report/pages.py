"""Run folders for the page: real tables where they cost nothing, and pages read back without a browser."""

from html.parser import HTMLParser

from resnet_probe.analyses import paths
from resnet_probe.claims import judge
from resnet_probe.report import build
from resnet_probe.tables import Result, read_run
from tests.claims.runs import DIGITS, lesions

SETTINGS = {
    **DIGITS, "arch": "resnet8", "checkpoint_sha256": "ab" * 32, "data_fingerprint": "cd" * 32, "device": "cpu",
    "command": "resnet-probe lesion --ckpt net.pt", "time": "2026-01-02T03:04:05+00:00",
    "versions": {"torch": "2.9"}, "platform": "Linux",
    "arguments": {"ckpts": ["my net.pt"], "data": "digits", "limit": 100},
}  # fmt: skip


def page(folder, *more):
    run = read_run([folder, *more])
    return build(run, claims=judge(run))


def save_lesion(folder, network="net", **settings):
    """Three blocks, one of which resizes."""
    found = lesions(5, {"a": 6, "b": 30, "c": 9}, images=100, network=network, resizes=("b",)).result
    rows = [
        {
            **row, "index": i - 1 if i else None, "stage": 1 + (i > 1) if i else None, "loss": 0.1,
            "shortcut": "identity", "error_low": row["error"] - 1, "error_high": row["error"] + 1,
        }
        for i, row in enumerate(found.rows)
    ]  # fmt: skip
    Result("lesion", tuple(rows[0]), tuple(rows), SETTINGS | settings).save(folder)


def save_inspect(folder, network="net"):
    columns = ("network", "unit", "kind", "stage", "shortcut", "resizes", "in_shape", "out_shape", "parameters")
    rows = [
        ("conv1", "layer", 1, None, True, "1x8x8", "16x8x8", 144),
        ("relu", "other", 1, None, False, "16x8x8", "16x8x8", 0),
        ("a", "block", 1, "identity", False, "16x8x8", "16x8x8", 4672),
        ("b", "block", 2, "zero-pad", True, "16x8x8", "32x4x4", 14000),
        ("c", "block", 2, "identity", False, "32x4x4", "32x4x4", 18000),
        ("fc", "layer", 2, None, True, "32", "10", 330),
    ]  # fmt: skip
    described = [dict(zip(columns, (network, *row), strict=True)) for row in rows]
    described = [row | {"multiply_adds": 10, "paths": 2 if row["kind"] == "block" else 1} for row in described]
    table = Result("inspect", (*columns, "multiply_adds", "paths"), tuple(described), {"parameters": 37146, **SETTINGS})
    table.save(folder)


def save_paths(folder, blocks=3, network="net"):
    paths.counted({"module": [(1, 1)] * blocks, "layer": [(0, 1), *[(1, 0, 1)] * blocks]}, network).save(folder)


class Reader(HTMLParser):
    """Elements of a page as (tag, attributes), its text, and the ids."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self.hidden = [], [], 0
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())
        self.ids = [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.hidden += tag in ("script", "style")

    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style")

    def handle_data(self, data):
        if not self.hidden:
            self.words.append(data)

    def all(self, tag, **wanted):
        return [found for name, found in self.elements if name == tag and wanted.items() <= found.items()]
