"""Small made-up tables for every figure that `replot` draws, of one network or of several with long names."""

from math import comb, sin

from resnet_probe.analyses.iterative import MEASURES
from resnet_probe.analyses.prune import ORDERS
from resnet_probe.analyses.registry import plots
from resnet_probe.tables import Result

ONE = ("resnet20",)
SEVERAL = ("resnet56-4bfd9763-200-epochs-seed3-best", "vgg16_half_jpeg_augmented", "plain56-without-shortcuts")
FIGURES = {name: (plot.draw, (table.name, *plot.takes)) for name, (table, plot) in plots().items()}


def wave(*numbers):
    """A number between 0 and 1 that looks random and is the same everywhere."""
    return 0.5 + 0.5 * sin(sum((k + 1.7) * 12.9898 * number for k, number in enumerate(numbers)) + 1)


def table(name, rows, **settings):
    rows = list(rows)
    return Result(name, tuple(rows[0]), tuple(rows), settings)


def lesion(names):
    rows = []
    for n, name in enumerate(names):
        intact = {"block": "(intact)", "index": None, "stage": None, "resizes": None, "error": 7.0 + 3 * n}
        found = [intact]
        for i in range(9):
            stage = f"layer{i // 3 + 1}"
            error = 95.0 if i == 0 else 10 + 3 * n + 25 * wave(i, n) * (n + 1)
            found.append(
                {"block": f"{stage}.{i % 3}", "index": i, "stage": stage, "resizes": i in (3, 6), "error": error}
            )
        for row in found:
            error = row["error"]
            more = {"kind": "layer" if "vgg" in name else "block", "error_low": 0.9 * error, "error_high": 1.04 * error}
            rows.append({"network": name, **row, **more, "error_recalibrated": None})
    return table("lesion", rows, classes=10)


def lesion_by(names):
    blocks = ["(intact)", *(f"layer{i // 3 + 1}.{i % 3}" for i in range(9))]
    rows = [
        {"network": names[0], "block": block, "index": b - 1 if b else None, "group": f"class {k}",
         "difference": 60 * wave(b, k) ** 3 - 5 if b else None, "q": (0.01 if wave(b, k) > 0.6 else 0.4) if b else None}
        for b, block in enumerate(blocks) for k in range(10)
    ]  # fmt: skip
    return table("lesion_by", rows)


def lesion_multi(names):
    rows = [
        {"network": name, "deleted": k, "draw": d, "error": min(90.0, 7 + 3 * n + 9 * k * (0.6 + 0.8 * wave(k, d, n))),
         "error_recalibrated": None if n else 7 + 4 * k}
        for n, name in enumerate(names) for k in range(9) for d in range(1 if k == 0 else 8)
    ]  # fmt: skip
    return table("lesion_multi", rows, classes=10)


def lesion_pairs(names):
    blocks = [f"layer{i // 3 + 1}.{i % 3}" for i in range(9)]
    rows = [
        {"network": names[0], "block_a": blocks[i], "block_b": blocks[j], "interaction": 40 * wave(i, j) - 15,
         "q": 0.01 if abs(wave(i, j) - 0.4) > 0.3 else 0.5, "past_chance": wave(i, j) < 0.1}
        for i in range(9) for j in range(i + 1, 9)
    ]  # fmt: skip
    return table("lesion_pairs", rows)


def lesion_scales(names):
    rows = [
        {"network": names[0], "block": f"layer{b // 3 + 1}.{b % 3}", "index": b, "alpha": k / 8,
         "loss": 0.3 + (1 + wave(b)) * (1 - k / 8) ** 2}
        for b in range(9) for k in range(13)
    ]  # fmt: skip
    return table("lesion_scales", rows)


def importance(names):
    rows = []
    for n, name in enumerate(names):
        for measure, unit in (("loss", 0.3), ("accuracy", 9.0)):
            for b in range(9):
                row = {"network": name, "block": f"layer{b // 3 + 1}.{b % 3}", "index": b, "measure": measure}
                for key, value in (("shapley", unit * wave(b, n)), ("lesion", unit * (2 * wave(b, n, 1) - 0.3))):
                    row |= {key: value, f"{key}_low": value - unit / 8, f"{key}_high": value + unit / 6}
                rows.append(row)
    return table("importance", rows)


def importance_subsets(names):
    rows = [
        {"network": names[0], "kept": kept, "blocks": str(s), "error": e, "error_low": 0.9 * e, "error_high": 1.05 * e}
        for kept in range(6, -1, -1) for s in range(comb(6, kept)) for e in [90 - 80 * wave(s, kept) * (kept / 6) ** 2]
    ]  # fmt: skip
    return table("importance_subsets", rows, classes=10)


def importance_pairs(names):
    blocks = [f"layer{i // 3 + 1}.{i % 3}" for i in range(9)]
    rows = [
        {"network": names[0], "block_a": blocks[i], "block_b": blocks[j], "measure": measure, "interaction": value,
         "interaction_low": value - 0.2, "interaction_high": value + 0.2}
        for i in range(9) for j in range(i + 1, 9) for measure in ("loss", "accuracy") for value in [2 * wave(i, j) - 1]
    ]  # fmt: skip
    return table("importance_pairs", rows)


def prune(names):
    players = [f"layer{i // 3 + 1}.{i % 3}" for i in range(9)]
    base = {"network": names[0], "images": 1000}
    intact = {"order": "(intact)", "removed": 0, "blocks": None, "parameters": 272_000, "draw": None, "healing": None}
    rows = [base | intact | {"error": 8.0, "error_low": 6.5, "error_high": 9.9}]
    for o, order in enumerate(ORDERS):
        for draw in range(3 if order == "random" else 1):
            gone = sorted(players, key=lambda name, o=o, draw=draw: wave(players.index(name), o, draw))
            for k in range(1, 10):
                error = min(90.0, 8 + (1 + o / 4 + draw / 2) * k**1.6)
                row = base | {"order": order, "removed": k, "blocks": " ".join(gone[:k]), "healing": None, "draw": draw}
                ends = {"error": error, "error_low": 0.9 * error, "error_high": min(95.0, 1.1 * error)}
                rows.append(row | {"parameters": 272_000 - 27_000 * k} | ends)
    rows += [
        row | {"healing": healing, "error": e, "error_low": 0.9 * e, "error_high": 1.1 * e}
        for row in rows if (row["order"], row["removed"]) in {("greedy", 2), ("greedy", 4), ("greedy", 6)}
        for healing, share in (("statistics", 0.8), ("trained", 0.4)) for e in [share * row["error"]]
    ]  # fmt: skip
    split = {"images": 1000, "split": "train"}
    about = {"players": players, "stages": [i // 3 + 1 for i in range(9)], "choose": split, "report": split}
    return table("prune", rows, classes=10, same_images=True, **about)


def reorder(names):
    rows = [
        {"network": name, "kendall_tau": 1 - 0.02 * d, "order": str(d),
         "error": 7 + 3 * n + (1.4 + 0.5 * wave(d, n)) * d * (0.6 + n / 4)}
        for n, name in enumerate(names) for d in range(45)
    ]  # fmt: skip
    return table("reorder", rows)


def paths(names):
    rows = []
    for name in names:
        blocks = 1 if "vgg" in name or "plain" in name else 9
        for unit, step, first in (("module", 1, 0), ("layer", 2, 2)):
            for k in range(blocks + 1 if blocks > 1 else 1):
                count = comb(blocks, k) if blocks > 1 else 1
                length = first + step * k if blocks > 1 else (0 if unit == "module" else 16)
                rows.append({"network": name, "unit": unit, "length": length, "count": count,
                             "fraction": count / 2**blocks if blocks > 1 else 1.0})  # fmt: skip
    return table("paths", rows)


def gradients(names):
    rows = []
    for n, name in enumerate(names):
        for k in range(10):
            path = 10 ** (-2 - (0.3 + 0.05 * n) * k)
            share = comb(9, k) * 0.5**k
            rows.append({
                "network": name, "length": k, "count": comb(9, k), "class_norm": 0.8 * comb(9, k) * path,
                "class_share": share / 1.5**9, "path_norm": path, "path_norm_std": 0.6 * path, "samples": 40,
                "cancellation_ratio": 0.9 * (0.8 - 0.05 * n) ** k, "effective_share": share / 1.5**9 * 0.9,
            })  # fmt: skip
    return table("gradients", rows)


def survival(names):
    rows = [
        {"network": name, "unit": "module", "length": k, "count": comb(9, k), "surviving": comb(9 - d, k),
         "share": comb(9 - d, k) / comb(9, k), "expected": comb(9 - d, k) / comb(9, k), "blocks": 9, "deleted": d}
        for d, name in enumerate(names, 2) for k in range(10)
    ]  # fmt: skip
    return table("survival", rows)


def responses(names):
    rows = []
    for n, name in enumerate(names):
        values = [0.2 + 1.2 * wave(i, n) for i in range(19)]
        for i, value in enumerate(values):
            rank = sorted(values, reverse=True).index(value)
            part = "shortcut" if i in (7, 13) else "branch"
            rows.append({"network": name, "index": i, "rank": rank, "std": value, "part": part})
    return table("responses", rows)


def evaluate(names):
    rows = [
        {"network": name, "view": view, "top1_error": e, "top1_low": 0.9 * e, "top1_high": 1.12 * e}
        for n, name in enumerate(names) for v, view in enumerate(("single", "10-crop"))
        for e in [8.0 + 3 * n - 1.3 * v]
    ]  # fmt: skip
    return table("evaluate", rows)


def evaluate_classes(names):
    rows = [
        {"network": name, "view": "single", "class": c, "index": i,
         "error": e, "error_low": 0.7 * e, "error_high": 1.5 * e}
        for n, name in enumerate(names) for i, c in enumerate(("airplane", "automobile", "bird", "cat", "deer"))
        for e in [3 + 14 * wave(i, n)]
    ]  # fmt: skip
    return table("evaluate_classes", rows)


def evaluate_reliability(names):
    rows = []
    for n, name in enumerate(names):
        for b in range(10):
            images = 4 if b < 2 else 10 * b * b
            right = min(0.98, 0.1 * b + 0.02 + 0.06 * wave(b, n))
            rows.append({
                "network": name, "view": "single", "low": b / 10, "high": (b + 1) / 10, "images": images,
                "confidence": b / 10 + 0.06, "accuracy": right, "accuracy_low": 0.9 * right,
                "accuracy_high": min(1.0, 1.08 * right),
            })  # fmt: skip
    return table("evaluate_reliability", rows)


def iterative(names):
    rows = []
    for n, network in enumerate(names):
        for i in range(9):
            row = {"network": network, "block": f"layer{i // 3 + 1}.{i % 3}", "index": i, "stage": f"layer{i // 3 + 1}",
                   "resizes": i in (3, 6), "images": 500, "lesion_loss": 0.4 * wave(i, 3 + n)}  # fmt: skip
            for k, name in enumerate(MEASURES):
                value = (10 + 9 * i - n) if name.endswith("accuracy") else wave(i, k + n)
                row[name] = value
                row.setdefault(f"{name}_std", 0.1 * value)
            rows.append(row)
    return table("iterative", rows, error=8.0)


def iterative_ranks(names):
    rows = []
    for n, network in enumerate(names):
        for k, name in enumerate(MEASURES):
            for s, subset in enumerate(("all", "keep shape")):
                rho = 1.6 * wave(k, s + n) - 0.8
                rows.append({"network": network, "measure": name, "damage": "error", "subset": subset,
                             "blocks": 9 - 2 * s, "rho": rho, "low": rho - 0.2, "high": rho + 0.15})  # fmt: skip
    return table("iterative_ranks", rows)


def cells(names):
    """(arch, family, depth, variant, style, seed) of a grid; with one name a single depth in several styles."""
    if len(names) == 1:
        return [("resnet20", "resnet", 20, None, style, s) for style in ("normal", "stochastic-depth") for s in (0, 1)]
    return [(f"{f}{d}", f, d, None, "normal", s) for f in ("plain", "resnet") for d in (20, 32, 56) for s in (0, 1)]


def curves(names):
    rows = []
    for arch, family, depth, variant, style, seed in cells(names):
        for step in range(1, 9):
            error = 60 / step + (depth / 8 if family == "plain" else 200 / depth) + 2 * wave(depth, seed, step)
            rows.append({"cell": f"{arch}-{style}-{seed}", "iteration": 1000 * step, "train_error": 0.8 * error,
                         "test_error": error, "arch": arch, "family": family, "depth": depth, "variant": variant,
                         "style": style, "seed": seed})  # fmt: skip
    return table("curves", rows)


def grid(names):
    rows = [
        {"cell": f"{arch}-{style}-{seed}", "arch": arch, "family": family, "depth": depth, "variant": variant,
         "style": style, "seed": seed, "train_error": e, "test_error": 1.5 * e + 2}
        for arch, family, depth, variant, style, seed in cells(names)
        for e in [(depth / 8 if family == "plain" else 150 / depth) + wave(depth, seed)]
    ]  # fmt: skip
    return table("grid", rows)


def grid_lesions(names):
    some = [cell for cell in cells(names) if cell[2] == 20]
    rows = [
        {"cell": f"{arch}-{style}-{seed}", "arch": arch, "style": style, "seed": seed, "index": i,
         "resizes": i in (3, 6), "increase": 40 * wave(i, seed, len(style), len(arch))}
        for arch, _, _, _, style, seed in some for i in range(9)
    ]  # fmt: skip
    return table("grid_lesions", rows)


def compare(names):
    rows = []
    for n, name in enumerate(names):
        rows.append({
            "network": name, "parameters": 860_000 * 4**n, "flops": 125_000_000 * 2**n, "error": 7.0 + 3 * n,
            "error_low": 6.0 + 3 * n, "error_high": 8.2 + 3 * n, "chance": 90.0, "batch_size": 64,
            "forward_ms": 30.0 + 20 * n, "forward_ms_std": 2.0, "backward_ms": 90.0 + 40 * n, "backward_ms_std": 6.0,
        })  # fmt: skip
    return table("compare", rows)


def zoo(_):
    """Not made up, but few: counted and printed numbers of networks of each family."""
    known = [
        ("ResNet-18", 224, 18, 11_689_512, 1_814_073_344, 1.8e9),
        ("ResNet-50", 224, 50, 25_557_032, 4_089_184_256, 3.8e9),
        ("ResNet-56", 32, 56, 855_770, 125_485_696, None),
        ("Plain-56", 32, 56, 855_770, 125_485_696, None),
        ("VGG-16", 224, 16, 138_357_544, 15_470_264_320, 15.3e9),
        ("GoogLeNet", 224, 22, 6_624_904, 1_498_365_952, 1.5e9),
        ("AlexNet", 224, 8, 61_100_840, 714_188_480, 7.2e8),
        ("LeNet-5", 32, 5, 61_706, 416_520, None),
    ]
    rows = [
        {"network": title.lower(), "title": title, "input": f"3x{side}x{side}", "depth": depth, "parameters": weights,
         "published_parameters": None if side == 32 else weights, "multiply_adds": adds,
         "published_multiply_adds": printed, "multiply_adds_ratio": adds / printed if printed else None,
         "as_counted_ratio": 1.01 if title == "ResNet-50" else None}
        for title, side, depth, weights, adds, printed in known
    ]  # fmt: skip
    return table("zoo", rows)


def over_seeds(name, key):
    """What five checkpoints of each architecture have in common, position by position."""

    def made(names):
        rows = [
            {"network": arch, key: f"layer{i}" if key != "length" else i, **({} if key == "length" else {"index": i}),
             "measure": "error", "seeds": 5, "mean": 10 + 5 * n + 30 * (i == 3), "std": 2.0 + n, "low": 8 + 4 * n,
             "high": 50 + 5 * n}
            for n, arch in enumerate(names) for i in range(9)
        ]  # fmt: skip
        return table(name, rows)

    return made


TABLES = {
    maker.__name__: maker
    for maker in (
        lesion, lesion_by, lesion_multi, lesion_pairs, lesion_scales, importance, importance_subsets,
        importance_pairs, prune, reorder, paths, gradients, survival, responses, evaluate, evaluate_classes,
        evaluate_reliability, iterative, iterative_ranks, curves, grid, grid_lesions, compare, zoo,
    )
}  # fmt: skip
SEEDS = (("lesion_seeds", "block"), ("responses_seeds", "layer"), ("gradients_seeds", "length"),
         ("iterative_seeds", "block"))  # fmt: skip
TABLES |= {name: over_seeds(name, key) for name, key in SEEDS}
