"""`make gpu ARGS=--tiny` from end to end, on any machine."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_part_measures(tmp_path):
    words = [sys.executable, "benchmarks/gpu.py", "--tiny", "--device", "cpu", "--out", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    parts = {part["part"]: part["rows"] for part in found["parts"]}
    assert list(parts) == [
        "tests", "ResNet-56, single deletions", "ResNet-110, single deletions", "training",
        "ResNet-56, several deletions", "ResNet-56, pairs", "ResNet-50 at 224 px", "ResNet-152 at 224 px",
        "gradients by path length", "probes",
    ]  # fmt: skip
    assert all(part["status"] == "done" and part["seconds"] > 0 for part in found["parts"])
    engines = 0
    for name, rows in parts.items():
        assert len(rows) >= (1 if name == "tests" else 3)
        for row in rows if name != "tests" else ():
            for key in ("seconds", "rate", "times", "of_ideal"):
                assert row[key] is None or all(0 < value < math.inf for value in row[key].values())
            assert row["n"] == 1
            if row["method"] == "engine, fp32":
                engines += 1
                assert row["differ"] == 0 < row["compared"]
                assert row["of_ideal"] is not None
    assert engines == 6
    assert "| engine, bf16 |" in (tmp_path / "gpu.md").read_text()
