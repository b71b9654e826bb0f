import json

import pytest
import torch
from torchvision.models import get_model_weights

from resnet_probe.analyses import compare
from resnet_probe.analyses.compare import variants
from resnet_probe.analyses.compare.published import ZOO
from resnet_probe.anatomy.multiply_adds import counted
from resnet_probe.tables import Result
from tests.evaluate.runs import once

QUICK = tuple(entry for entry in ZOO if entry.arch != "resnet1202")

pytestmark = pytest.mark.slow  # all networks of the papers are counted


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Seconds, once for all tests."""
    path = once(tmp_path_factory, "zoo", lambda folder: write(folder / "rows", compare.run_zoo(entries=QUICK).rows))
    return {row["network"]: row for row in json.loads((path / "rows").read_text(encoding="utf-8"))}


def write(path, rows):
    path.write_text(json.dumps([dict(row) for row in rows]), encoding="utf-8")


def cifar_resnet(depth):
    """Parameters and multiply-adds of a CIFAR ResNet with option A, written out from section 4.2 of He et al. 2015."""
    n = (depth - 2) // 6
    parameters, products = 3 * 9 * 16 + 2 * 16, 3 * 9 * 16 * 32**2
    before = 16
    for width, side in ((16, 32), (32, 16), (64, 8)):
        weights = before * 9 * width + (2 * n - 1) * width * 9 * width
        parameters += weights + 2 * n * 2 * width
        products += weights * side**2
        before = width
    return parameters + 64 * 10 + 10, products + 64 * 10


@pytest.mark.parametrize("arch", [entry.arch for entry in ZOO if entry.arch.startswith("torchvision:")])
def test_torchvision_networks_have_exactly_the_published_parameters_and_its_own_multiply_adds(rows, arch):
    (weights,) = [w for w in get_model_weights(arch.partition(":")[2]) if w.name == "IMAGENET1K_V1"]
    row = rows[arch]
    assert row["parameters"] == row["published_parameters"] == weights.meta["num_params"]
    assert row["multiply_adds"] / 1e9 == pytest.approx(weights.meta["_ops"], abs=6e-4)


@pytest.mark.parametrize("family", ["resnet", "plain"])
@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_cifar_networks_follow_from_the_paper(rows, family, depth):
    row = rows[f"{family}{depth}"]
    assert (row["parameters"], row["multiply_adds"]) == cifar_resnet(depth)
    assert row["depth"] == depth


def test_resnet1202_too():
    (row,) = compare.run_zoo(entries=tuple(entry for entry in ZOO if entry.arch == "resnet1202")).rows
    assert (row["parameters"], row["multiply_adds"]) == cifar_resnet(1202)
    assert row["parameters_ratio"] == pytest.approx(1, abs=0.02)


def test_what_was_printed_is_met_within_two_percent_by_what_its_source_counted(rows):
    compared = 0
    for row in rows.values():
        if row["published_multiply_adds"] is None:
            continue
        ratio = row["multiply_adds_ratio"] if row["as_counted_ratio"] is None else row["as_counted_ratio"]
        assert ratio == pytest.approx(1, abs=0.02), row["title"]
        assert row["multiply_adds_source"], row["title"]
        compared += 1
    assert compared == 15
    for row in rows.values():
        if row["multiply_adds_ratio"] is not None and abs(row["multiply_adds_ratio"] - 1) > 0.02:
            assert row["note"].startswith("as counted"), row["title"]


def test_printed_parameters_are_met_to_the_digits_of_the_print(rows):
    for row in rows.values():
        if row["published_parameters"] is not None and row["network"] != "lenet5":
            assert row["parameters_ratio"] == pytest.approx(1, abs=0.02), row["title"]
            assert row["parameters_source"], row["title"]
    assert rows["lenet5"]["as_counted_parameters"] == rows["lenet5"]["published_parameters"] == 60_000


def test_the_stride_of_the_paper_explains_resnet50(rows):
    row = rows["torchvision:resnet50"]
    assert row["multiply_adds"] == 4_089_184_256
    # the first 1x1 of stages 2 to 4 on a quarter of the pixels, and their 3x3 as before
    saved = sum(c * c // 2 * 3 * side**2 for c, side in ((256, 28), (512, 14), (1024, 7)))
    assert row["multiply_adds"] - row["as_counted_multiply_adds"] == saved
    assert row["as_counted_parameters"] == row["parameters"]


def test_option_a_takes_the_projections_out_of_resnet34(rows):
    row = rows["torchvision:resnet34"]
    projections = [(before, 2 * before, side) for before, side in ((64, 28), (128, 14), (256, 7))]
    assert row["multiply_adds"] - row["as_counted_multiply_adds"] == sum(i * o * s**2 for i, o, s in projections)
    assert row["parameters"] - row["as_counted_parameters"] == sum(i * o + 2 * o for i, o, _ in projections)


def test_variants_run_and_keep_the_shape():
    x = torch.zeros(1, 3, 64, 64)
    for build in (variants.resnet_with_option_a, variants.resnet_with_early_stride):
        name = "resnet18" if build is variants.resnet_with_option_a else "resnet50"
        assert build(name).eval()(x).shape == (1, 1000)


def test_lenet_has_the_connections_that_its_paper_prints_for_each_layer():
    model, printed = variants.PaperLeNet5(), {"c1": 122_304, "s2": 5_880, "s4": 2_000, "c5": 48_120, "f6": 10_164}
    assert variants.multiply_adds_with_biases(model, torch.zeros(1, 1, 32, 32)) == 340_908
    shapes = {"c1": (1, 32, 32), "s2": (6, 28, 28), "s4": (16, 10, 10), "c5": (16, 5, 5), "f6": (120,)}
    for name, connections in printed.items():
        assert variants.multiply_adds_with_biases(getattr(model, name), torch.zeros(1, *shapes[name])) == connections
    maps = torch.zeros(1, 6, 14, 14)
    c3 = sum(variants.multiply_adds_with_biases(c, maps[:, list(s)]) for c, s in zip(model.c3, model.SEEN, strict=True))
    assert c3 == 151_600
    assert all(len(set(seen)) == len(seen) for seen in model.SEEN)
    assert not [hook for module in model.modules() for hook in module._forward_hooks]


def test_counted_is_one_multiplication_and_its_addition():
    out, products = counted(torch.nn.Conv2d(2, 3, 3, padding=1), torch.zeros(4, 2, 5, 5))
    assert out.shape == (4, 3, 5, 5)
    assert products == 4 * 3 * 5 * 5 * 2 * 9


def test_the_figures_show_every_network_and_its_print(rows):
    result = Result("zoo", compare.ZOO_TABLE.keys, tuple(rows.values()), {})
    figure = compare.plot_zoo(result)
    for axes, quantity in zip(figure.axes, ("parameters", "multiply_adds"), strict=False):
        assert [bar.get_width() for bar in axes.patches][: len(rows)] == [row[quantity] for row in rows.values()]
        marks = [float(c.get_segments()[0][0][0]) for c in axes.collections]
        printed = [row[f"published_{quantity}"] for row in rows.values()]
        assert marks == [value for value in printed if value is not None]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[0] == "LeNet-5 (1x32x32)"
    (axes,) = compare.plot_zoo_scatter(result).axes
    drawn = [tuple(map(float, line.get_xydata()[0])) for line in axes.lines if len(line.get_xdata())]
    assert drawn == [(row["parameters"], row["multiply_adds"]) for row in rows.values()]
    for plot in (compare.plot_zoo, compare.plot_zoo_scatter):
        with pytest.raises(ValueError, match="table zoo has no rows"):
            plot(Result("zoo", compare.ZOO_TABLE.keys, (), {}))
