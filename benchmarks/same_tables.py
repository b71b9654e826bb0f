"""Whether two commits write the same tables: every analysis by both, then the CSV files compared byte for byte.

    python benchmarks/same_tables.py --base cd27e6f --shared ../shared --work /tmp/tables

The other commit is checked out with `git worktree` and run by this environment. Columns that are times (`compare`) are
left out of the comparison. A column that only the newer commit has is told, and is no difference. Settings are not
compared, since they say when and by which version a table was made.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TIMES = {
    *("forward_ms", "forward_ms_std", "backward_ms", "backward_ms_std", "peak_memory_mb"),
    *("forward_ms_16", "forward_ms_16_std", "backward_ms_16", "backward_ms_16_std"),
}


def commands(shared: Path | None, digits: Path, vgg: Path) -> dict[str, list[str]]:
    """Name of a folder -> words of a command, without --out."""
    small = ["--ckpt", str(digits), "--data", "digits"]
    found = {
        "digits-inspect": ["inspect", str(digits)],
        "digits-lesion": ["lesion", *small],
        "digits-recalibrate": ["lesion", *small, "--recalibrate", "--recalibrate-limit", "300"],
        "digits-multi": ["lesion", *small, "--multi", "1:6", "--draws", "12"],
        "digits-multi-recalibrate": [
            *("lesion", *small, "--multi", "1:2", "--draws", "3"),
            *("--recalibrate", "--recalibrate-limit", "200"),
        ],
        "digits-pairs": ["lesion", *small, "--pairs"],
        "digits-reorder": ["reorder", *small, "--swaps", "1:8", "--draws", "6"],
        "digits-paths": ["paths", *small, "--limit", "60", "--samples", "40"],
        "digits-paths-deleted": ["paths", *small, "--limit", "40", "--samples", "20", "--delete", "layer1.1,layer2.1"],
        "digits-responses": ["responses", *small, "--channels"],
        "digits-responses-two": ["responses", *small, "--ckpt", str(vgg), "--layers", "all"],
        "digits-iterative": ["iterative", *small, "--limit", "200", "--adapter"],
        "digits-evaluate": ["evaluate", *small, "--ckpt", str(vgg), "--ensemble", "--ten-crop", "--scales", "auto"],
        "digits-compare": ["compare", *small, "--ckpt", str(vgg), "--arch", "resnet8", "--no-timing"],
        "digits-vgg": ["lesion", "--ckpt", str(vgg), "--data", "digits"],
        "fake-untrained": ["lesion", "--arch", "resnet14", "--data", "fake", "--limit", "60", "--seed", "3"],
        "depth": ["paths", "--depth", "110"],
        "depth-deleted": ["paths", "--depth", "20", "--delete", "layer1.1"],
        "arch": ["paths", "--arch", "torchvision:resnet50"],
        "zoo": ["compare", "--zoo"],
    }
    if shared:
        data = ["--data", str(shared / "data/cifar10"), "--normalize", "imagenet", "--limit", "250"]
        resnet = ["--ckpt", str(shared / "checkpoints/resnet20-12fca82f.th"), *data]
        vgg16 = ["--ckpt", str(shared / "checkpoints/vgg16_half_jpeg.pth")]
        found |= {
            "cifar-lesion": ["lesion", *resnet],
            "cifar-multi": ["lesion", *resnet, "--multi", "1:5", "--draws", "10"],
            "cifar-pairs": ["lesion", *resnet, "--pairs"],
            "cifar-reorder": ["reorder", *resnet, "--swaps", "1:6", "--draws", "6"],
            "cifar-paths": ["paths", *resnet, "--limit", "40", "--samples", "30"],
            "cifar-responses": ["responses", *resnet, *vgg16],
            "cifar-iterative": ["iterative", *resnet, "--limit", "100"],
            "cifar-evaluate": ["evaluate", *resnet, *vgg16, "--ensemble"],
            "cifar-compare": ["compare", *resnet, *vgg16, "--timing-batches", "2"],
            "cifar-study": [
                *("study", str(shared / "checkpoints/resnet20-12fca82f.th"), "--quick", *data[:4]),
                *("--against", str(shared / "checkpoints/vgg16_half_jpeg.pth"), "--format", "svg"),
            ],
        }
    return found


def run(package: Path, words: list[str], out: Path) -> str:
    """Run a command with the package of a checkout; the reason in one line if it failed."""
    out.mkdir(parents=True, exist_ok=True)
    place = {**os.environ, "PYTHONPATH": str(package), "MPLBACKEND": "agg"}
    formats = [] if "--format" in words else ["--format", "svg"] if words[0] != "inspect" else []
    done = subprocess.run(
        [sys.executable, "-m", "resnet_probe", *words, "--out", str(out), *formats],
        env=place, cwd=out, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "failed"


def cells(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        header, *lines = list(csv.reader(file))
    return header, lines


def difference(before: Path, after: Path) -> str:
    """In one line, or an empty text where the tables are the same, byte for byte or but for new columns and times."""
    if not after.is_file():
        return "missing"
    if before.read_bytes() == after.read_bytes():
        return ""
    (header, lines), (other, theirs) = cells(before), cells(after)
    if gone := [column for column in header if column not in other]:
        return f"columns gone: {', '.join(gone)}"
    if len(lines) != len(theirs):
        return f"{len(lines)} rows, then {len(theirs)}"
    changed: dict[str, int] = {}
    for line, its in zip(lines, theirs, strict=True):
        for column in header:
            if column not in TIMES and line[header.index(column)] != its[other.index(column)]:
                changed[column] = changed.get(column, 0) + 1
    return ", ".join(f"{column} in {rows} rows" for column, rows in changed.items())


def train(package: Path, folder: Path) -> tuple[Path, Path]:
    """Two small networks on digits, made once by the base commit."""
    resnet, vgg = folder / "resnet20-digits.safetensors", folder / "vgg11-digits.safetensors"
    for path, arch in ((resnet, "resnet20"), (vgg, "vgg11")):
        if not path.is_file():
            words = ["train", "--arch", arch, "--data", "digits", "--recipe", "digits", "--epochs", "6", "--seed", "1"]
            out = folder / arch
            if reason := run(package, words, out):
                raise SystemExit(f"training {arch} failed: {reason}")
            made = max(out.glob("*.safetensors"), key=lambda found: found.stat().st_mtime)
            made.rename(path)
    return resnet, vgg


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True, help="commit to compare with")
    parser.add_argument("--shared", type=Path, help="folder with real checkpoints and images")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkouts and tables")
    parser.add_argument("--only", default="", help="commands whose name has this in it")
    parser.add_argument("--base-only", action="store_true", help="make the tables of the base commit, compare nothing")
    given = parser.parse_args()
    work = given.work.resolve()
    base = work / "base"
    if not base.is_dir():
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(base)], check=True)
        subprocess.run(["git", "-C", str(base), "checkout", "--quiet", given.base], check=True)
    digits, vgg = train(base, work)
    worst = 0
    for name, words in commands(given.shared.resolve() if given.shared else None, digits, vgg).items():
        if given.only not in name:
            continue
        before, after = work / "before" / name, work / "after" / name
        if not any(before.rglob("*.csv")) and (reason := run(base, words, before)):
            print(f"{name}: base failed: {reason}", flush=True)
        if given.base_only:
            continue
        subprocess.run(["rm", "-rf", str(after)], check=True)
        reason = run(ROOT, words, after)
        tables = sorted(path.relative_to(before) for path in before.rglob("*.csv") if path.stem != "claims")
        found = {str(path): difference(before / path, after / path) for path in tables}
        different = {path: what for path, what in found.items() if what}
        more = sorted(str(p.relative_to(after)) for p in after.rglob("*.csv") if p.relative_to(after) not in tables)
        told = "; ".join(f"{path}: {what}" for path, what in different.items()) or f"{len(found)} tables the same"
        extra = [path for path in more if not path.endswith("claims.csv")]
        print(f"{name}: {told}{f'; new: {extra}' if extra else ''}{f'; {reason}' if reason else ''}", flush=True)
        worst = max(worst, bool(different) or bool(reason))
    return worst


if __name__ == "__main__":
    sys.exit(main())
