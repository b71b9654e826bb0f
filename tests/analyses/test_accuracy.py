"""Errors and calibration against torchmetrics, views against torchvision, averages and ensembles by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchmetrics.functional.classification as metrics
from scipy.stats import binomtest
from torch import nn
from torchvision.transforms import functional as TF

from resnet_probe.analyses import accuracy
from resnet_probe.analyses.accuracy.scoring import Predictions, Tally, average
from resnet_probe.data import Data, load_data
from resnet_probe.statistics import wilson
from resnet_probe.tables import Result


def logits_and_labels(images=400, classes=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (images,), generator=generator)
    logits = torch.randn(images, classes, generator=generator) + 2 * F.one_hot(labels, classes)
    return logits, labels


def outcome_of(logits, labels, batch=64):
    tally = Tally()
    for x, y in zip(logits.split(batch), labels.split(batch), strict=True):
        tally.add(x.log_softmax(1), y)
    return tally.finish()


class Linear(nn.Module):
    """Classes from pixels, any size: mean over a grid of 2 x 2, then a linear layer."""

    def __init__(self, classes=10, channels=1, seed=0):
        super().__init__()
        self.fc = nn.Linear(4 * channels, classes)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))

    def forward(self, x):
        return self.fc(F.adaptive_avg_pool2d(x, 2).flatten(1))


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", limit=150)


def inputs(data, normalization=None):
    data = data.with_normalization(normalization) if normalization else data
    (x, y), *_ = data.batches(len(data))
    return x, y


def test_measures_equal_torchmetrics():
    logits, labels = logits_and_labels()
    probabilities = logits.softmax(1)
    outcome = outcome_of(logits, labels)
    for k, found in ((1, outcome.wrong.mean()), (5, (~outcome.in_top5).mean())):
        right = metrics.multiclass_accuracy(probabilities, labels, num_classes=12, top_k=k, average="micro")
        assert found == pytest.approx(1 - right.item(), abs=1e-6)
    assert outcome.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6)
    expected = metrics.multiclass_calibration_error(probabilities, labels, num_classes=12, n_bins=15, norm="l1")
    assert outcome.calibration_error() == pytest.approx(100 * expected.item(), abs=1e-4)
    other = metrics.multiclass_calibration_error(probabilities, labels, num_classes=12, n_bins=7, norm="l1")
    assert outcome.calibration_error(7) == pytest.approx(100 * other.item(), abs=1e-4)


def test_bins_are_open_below_and_closed_above():
    confidence = np.array([1 / 15, 0.2, 0.21, 1.0])
    labels = np.array([0, 0, 1, 0])
    outcome = Predictions(labels, np.zeros(4, int), np.ones(4, bool), confidence, np.zeros(4))
    bins = outcome.bins()
    assert [b.images for b in bins] == [1, 0, 1, 1, *[0] * 10, 1]
    assert [b.accuracy for b in bins if b.images] == [1, 1, 0, 1]
    assert bins[0].confidence == pytest.approx(1 / 15)
    assert bins[1].confidence is None
    assert outcome.calibration_error() == pytest.approx(100 * (14 / 15 + 0.8 + 0.21 + 0) / 4)


@pytest.mark.parametrize(("height", "width", "crop", "padding"), [(8, 8, 8, 1), (11, 14, 6, 0), (9, 9, 8, 2)])
def test_ten_crops_equal_torchvision(height, width, crop, padding):
    x = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))
    view = accuracy.ten_crop(crop, padding=padding)
    expected = TF.ten_crop(TF.pad(x, [padding]) if padding else x, [crop])
    found = list(view.parts(x))
    assert len(found) == view.count == 10
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(("height", "width"), [(16, 16), (20, 31), (31, 20)])
def test_scales_equal_torchvision(height, width):
    x = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))
    found = list(accuracy.multi_scale([8, 16, 24]).parts(x))
    for side, one in zip((8, 16, 24), found, strict=True):
        assert min(one.shape[-2:]) == side
        expected = TF.resize(x, list(one.shape[-2:]), antialias=True)
        torch.testing.assert_close(one, expected)
        assert max(one.shape[-2:]) == pytest.approx(side * max(height, width) / min(height, width), abs=0.5)


def test_single_view_is_the_image_or_its_centre():
    x = torch.arange(2 * 9 * 9.0).view(2, 1, 9, 9)
    assert next(iter(accuracy.single().parts(x))) is x
    assert torch.equal(next(iter(accuracy.single(5).parts(x))), TF.center_crop(x, [5]))


def test_scales_of_the_paper_and_for_small_images():
    assert accuracy.scales_for(224) == (224, 256, 384, 480, 640)
    assert accuracy.scales_for(32) == (24, 28, 32, 36, 40)


def test_averages():
    a, b = logits_and_labels(seed=1)[0], logits_and_labels(seed=2)[0]
    torch.testing.assert_close(average([a, b]).exp(), (a.softmax(1) + b.softmax(1)) / 2)
    torch.testing.assert_close(average([a, b], "logits").exp(), ((a + b) / 2).softmax(1))
    torch.testing.assert_close(average([a]), a.log_softmax(1))


def test_rows_are_paired_with_the_first_on_the_same_images(digits):
    networks = {"a": Linear(seed=0), "b": Linear(seed=1)}
    found = accuracy.tabulate(networks, digits, views=[accuracy.single()], ensemble=True)
    wrong = {}
    for x, y in digits.batches(1000):
        outputs = {name: model(x).softmax(1) for name, model in networks.items()}
        outputs["(ensemble)"] = outputs["a"] + outputs["b"]
        wrong = {name: (out.argmax(1) != y).numpy() for name, out in outputs.items()}
    first, *others = found.table.rows
    assert (first["against"], first["newly_wrong"], first["p"]) == (None, None, None)
    for row in others:
        b, c = int((wrong[row["network"]] & ~wrong["a"]).sum()), int((~wrong[row["network"]] & wrong["a"]).sum())
        assert (row["newly_wrong"], row["newly_right"]) == (b, c)
        assert row["against"] == f"a, {first['view']}"
        assert row["increase"] == pytest.approx(row["top1_error"] - first["top1_error"])
        assert row["p"] == pytest.approx(binomtest(b, b + c).pvalue)


@pytest.mark.parametrize("how", ["softmax", "logits"])
def test_rows_by_hand(digits, how):
    networks = {"a": Linear(seed=0), "b": Linear(seed=1)}
    norms = {"a": "none", "b": "digits"}
    views = [accuracy.single(), accuracy.ten_crop(8, padding=1), accuracy.multi_scale([6, 8])]
    found = accuracy.tabulate(
        networks, digits, normalizations=norms, views=views, ensemble=True, average=how, batch_size=64
    )
    assert [(row["network"], row["view"]) for row in found.table.rows] == [
        (name, view) for name in ("a", "b", accuracy.ENSEMBLE) for view in ("single", "ten-crop", "multi-scale")
    ]
    assert found.table.columns[:7] == (
        *("network", "images", "top1_error", "top5_error", "loss", "calibration_error", "view"),
    )
    scores = {}
    for name, model in networks.items():
        x, y = inputs(digits, norms[name])
        parts = {
            "single": [x],
            "ten-crop": TF.ten_crop(TF.pad(x, [1]), [8]),
            "multi-scale": [TF.resize(x, [6, 6], antialias=True), x],
        }
        for view, images in parts.items():
            with torch.no_grad():
                mine = [model(image) for image in images]
            scores.setdefault((name, view), []).extend(mine)
            scores.setdefault((accuracy.ENSEMBLE, view), []).extend(mine)
    for row in found.table.rows:
        outputs = torch.stack(scores[row["network"], row["view"]])
        p = outputs.softmax(2).mean(0) if how == "softmax" else outputs.mean(0).softmax(1)
        wrong = int((p.argmax(1) != y).sum())
        missed = sum(int(label not in p[i].sort(descending=True).indices[:5]) for i, label in enumerate(y))
        assert (row["images"], row["wrong"], row["top1_error"]) == (150, wrong, 100 * wrong / 150)
        assert row["top5_error"] == pytest.approx(100 * missed / 150)
        assert (row["top1_low"], row["top1_high"]) == wilson(wrong, 150)
        assert (row["top5_low"], row["top5_high"]) == wilson(missed, 150)
        assert row["loss"] == pytest.approx(-p[torch.arange(150), y].log().mean().item(), rel=1e-4)
        expected = metrics.multiclass_calibration_error(p, y, num_classes=10, n_bins=15)
        assert row["calibration_error"] == pytest.approx(100 * expected.item(), abs=1e-3)
        mine = [r for r in found.classes.rows if (r["network"], r["view"]) == (row["network"], row["view"])]
        right = metrics.multiclass_accuracy(p, y, num_classes=10, average="none")
        assert [r["error"] for r in mine] == pytest.approx((100 - 100 * right).tolist(), abs=1e-3)
        assert sum(r["wrong"] for r in mine) == wrong
        bins = [r for r in found.reliability.rows if (r["network"], r["view"]) == (row["network"], row["view"])]
        gap = sum(r["images"] * abs(r["accuracy"] - r["confidence"]) for r in bins if r["images"])
        assert len(bins) == 15
        assert 100 * gap / 150 == pytest.approx(row["calibration_error"])


def test_batches_do_not_matter_and_pixels_are_read_once(digits, monkeypatch):
    passes = []
    original = Data.pixel_batches
    monkeypatch.setattr(Data, "pixel_batches", lambda self, *a, **k: passes.append(1) or original(self, *a, **k))
    networks = {"a": Linear(seed=0), "b": Linear(seed=1)}
    tables = [
        accuracy.tabulate(networks, digits, views=[accuracy.single()], ensemble=True, batch_size=size).table
        for size in (7, 150)
    ]
    assert len(passes) == 2
    for one, other in zip(tables[0].rows, tables[1].rows, strict=True):
        assert one["wrong"] == other["wrong"]
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)


def test_commonest_confusion():
    images = torch.zeros(6, 1, 8, 8, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.tensor([0, 1, 1, 2, 1, 1])
    data = Data("made", "test", images, torch.tensor([0, 0, 0, 0, 1, 2]), ("x", "y", "z", "never"), "none")

    class Reads(nn.Module):
        def forward(self, x):
            return 9.0 * F.one_hot((x[:, 0, 0, 0] * 255).round().long(), 4)

    found = accuracy.tabulate({"net": Reads()}, data, views=[accuracy.single()])
    told = [(row["class"], row["images"], row["wrong"], row["mostly_taken_for"]) for row in found.classes.rows]
    assert told == [("x", 4, 3, "y"), ("y", 1, 0, None), ("z", 1, 1, "y"), ("never", 0, 0, None)]
    assert found.classes.rows[3]["error"] is None
    assert found.table.rows[0]["top5_error"] is None  # of four classes five are always right


def test_wrong_use(digits):
    net, single = {"net": Linear()}, [accuracy.single()]
    for expected, call in {
        "0 views": lambda: accuracy.tabulate(net, digits, views=[]),
        "0 images": lambda: accuracy.tabulate(net, digits.subset(slice(0, 0)), views=single),
        "ensemble of one": lambda: accuracy.tabulate(net, digits, views=single, ensemble=True),
        "unknown average 'mean'": lambda: accuracy.tabulate(net, digits, views=single, average="mean"),
        r"net puts out \(7,\) values .* 10 classes": lambda: accuracy.tabulate(
            {"net": Linear(7)}, digits, views=single
        ),
        "net does not take the 6x6 inputs of view multi-scale": lambda: accuracy.tabulate(
            {"net": nn.Sequential(nn.Flatten(), nn.Linear(64, 10))}, digits, views=[accuracy.multi_scale([6])]
        ),
    }.items():
        with pytest.raises(ValueError, match=expected):
            call()


def test_figures_come_from_the_tables(digits):
    networks = {"resnet20": Linear(seed=0), "vgg16": Linear(seed=1)}
    found = accuracy.tabulate(
        networks, digits, views=[accuracy.single(), accuracy.ten_crop(8, padding=1)], ensemble=True
    )
    axes = accuracy.plot(found.table).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == ["resnet20, single", "resnet20, ten-crop"]
    legend = [text.get_text() for text in accuracy.plot_classes(found.classes).legends[0].get_texts()]
    assert legend[0] == "resnet20, single"
    assert len(legend) == 6
    above, below = accuracy.plot_reliability(found.reliability).axes
    rows = [row for row in found.reliability.rows if row["images"]]
    drawn = np.concatenate([dots.get_offsets() for dots in above.collections if dots.get_offsets().shape[0]])
    points = {(round(x, 9), round(y, 9)) for x, y in drawn.tolist()}
    assert {(round(row["confidence"], 9), round(row["accuracy"], 9)) for row in rows} <= points
    assert len(below.patches) == 6
    first = [row["images"] for row in rows if (row["network"], row["view"]) == ("resnet20", "single")]
    counts = below.patches[0].get_data().values
    assert counts[np.isfinite(counts)].tolist() == first


def test_one_view_needs_no_name(digits):
    found = accuracy.tabulate({"net": Linear(seed=0)}, digits, views=[accuracy.single()])
    (axes,) = accuracy.plot(found.table).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["net"]


@pytest.mark.parametrize("firm", [0, 1, 2])
def test_bins_of_few_images_are_open_and_too_few_bins_are_no_curve(firm):
    rows = [
        {"network": "net", "view": "single", "low": b / 4, "high": (b + 1) / 4, "images": 40 if b < firm else 3,
         "confidence": b / 4 + 0.1, "accuracy": b / 4, "accuracy_low": 0.0, "accuracy_high": 1.0}
        for b in range(4)
    ]  # fmt: skip
    figure = accuracy.plot_reliability(Result("evaluate_reliability", tuple(rows[0]), tuple(rows), {}))
    name, few = (text.get_text() for text in figure.legends[0].get_texts())
    assert name == ("net" if firm == 2 else "net: too few images for a curve")
    assert few == "bin of fewer than 10 images"


def test_figure_of_many_classes_and_wrong_tables():
    rows = tuple(
        {
            "network": "net", "view": "single", "class": f"c{i}", "index": i, "images": 9, "wrong": i % 9,
            "error": i % 9 / 0.09, "error_low": 0.0, "error_high": 100.0, "mostly_taken_for": None,
        }
        for i in range(40)
    )  # fmt: skip
    axes = accuracy.plot_classes(Result("evaluate_classes", accuracy.CLASSES.keys, rows, {})).axes[0]
    (line,) = axes.get_lines()
    assert line.get_ydata().tolist() == sorted((row["error"] for row in rows), reverse=True)
    for draw in (accuracy.plot, accuracy.plot_classes, accuracy.plot_reliability):
        with pytest.raises(ValueError, match="needs rows with the columns"):
            draw(Result("evaluate", ("network",), ({"network": "net"},), {}))
