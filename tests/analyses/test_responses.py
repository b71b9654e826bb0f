"""Responses against hooks that keep everything and two passes in float64; where each layer is measured."""

from types import SimpleNamespace

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from resnet_probe.analyses import responses
from resnet_probe.analyses.responses.points import AFTER_BN, AFTER_NORM, OUTPUT, is_preactivated, measured_layers
from resnet_probe.data import Data
from resnet_probe.models import resolve
from resnet_probe.tables import Result, together
from resnet_probe.unraveled import unravel
from tests.analyses.running import tables as tables_of
from tests.networks import trained


def run(network, data, **how):
    found = tables_of("responses", network, data, **how)
    return SimpleNamespace(layers=found["responses"], channels=found.get("responses_channels"))


def network(arch, size=8, seed=0):
    """A network with statistics and affine parameters that are not those of the initialisation."""
    model = trained(lambda: resolve(arch), seed)
    return model, unravel(model, (3, size, size))


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (30, 3, 8, 8), dtype=torch.uint8, generator=generator)
    return Data("noise", "test", images, torch.arange(30) % 10, tuple("abcdefghij"), "imagenet")


def kept(model, names, data):
    """Mean, std and number of what each module yields, from copies of it all."""
    seen = {name: [] for name in names}
    handles = [
        model.get_submodule(name).register_forward_hook(lambda m, a, out, name=name: seen[name].append(out.clone()))
        for name in names
    ]
    with torch.no_grad():
        for images, _ in data.batches(len(data)):
            model(images)
    for handle in handles:
        handle.remove()
    return {name: torch.cat(parts).double() for name, parts in seen.items()}


def check(rows, expected, rel=1e-6):
    for row, x in zip(rows, expected, strict=True):
        assert row["values"] == x.numel()
        assert row["std"] == pytest.approx(x.std(correction=0).item(), rel=rel)
        assert row["mean"] == pytest.approx(x.mean().item(), rel=rel, abs=rel * row["std"])
        if row.get("std_error") is not None:  # of a layer in mode eval
            assert row["std_error"] == pytest.approx(standard_error(x), rel=1e-4)


def standard_error(x):
    """Of the standard deviation over images, by linearising it: each image's mean square about the mean of all."""
    each = (x - x.mean()).square().flatten(1).mean(1)
    return each.std().item() / len(x) ** 0.5 / (2 * x.std(correction=0).item())


def norms_of(layers):
    return [layer.replace("conv", "bn") for layer in layers]


@pytest.mark.parametrize("arch", ["resnet14-w4", "plain8-w4"])
def test_every_3x3_layer_is_measured_after_its_norm(arch, data):
    model, unraveled = network(arch)
    table = run(unraveled, data, name="it", batch_size=7).layers
    layers = [name for name, m in model.named_modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert [row["layer"] for row in table.rows] == layers
    assert layers[0] == "conv1"
    assert {row["point"] for row in table.rows} == {AFTER_BN}
    check(table.rows, kept(model, norms_of(layers), data).values())
    assert all(row["std_error"] is not None for row in table.rows)
    assert table.columns[:7] == ("network", "layer", "index", "rank", "mean", "std", "values")
    assert [row["index"] for row in table.rows] == list(range(len(layers)))
    by_rank = sorted(table.rows, key=lambda row: row["rank"])
    assert [row["rank"] for row in by_rank] == list(range(len(layers)))
    assert [row["std"] for row in by_rank] == sorted((row["std"] for row in table.rows), reverse=True)


def test_a_vgg_is_measured_by_the_data_flow_and_not_by_names(data):
    model, unraveled = network("vgg11-w4")
    table = run(unraveled, data, name="vgg").layers
    after = {row["layer"]: f"features.{int(row['layer'].split('.')[1]) + 1}" for row in table.rows}
    check(table.rows, kept(model, after.values(), data).values())
    assert len(table.rows) == 8
    assert {row["part"] for row in table.rows} == {"trunk"}


def test_batches_that_share_statistics_have_no_standard_error(data):
    _, unraveled = network("resnet8-w4")
    rows = run(unraveled, data, name="it", mode="train", batch_size=10).layers.rows
    assert {row["std_error"] for row in rows} == {None}


@pytest.mark.slow
def test_windows_of_an_image_are_no_images(data):
    timm = pytest.importorskip("timm")
    model = timm.create_model("swin_tiny_patch4_window7_224", img_size=56).eval()
    images = torch.randint(0, 256, (3, 3, 56, 56), dtype=torch.uint8)
    some = Data("noise", "test", images, torch.arange(3), tuple(map(str, range(1000))), "imagenet")
    rows = run(unravel(model, (3, 56, 56)), some, name="swin", layers="all").layers.rows
    known = {row["layer"]: row["std_error"] is not None for row in rows}
    assert known["patch_embed.proj"]
    assert not known["layers.0.blocks.0.attn.qkv"]


def test_batch_size_and_order_make_no_difference(data):
    _, unraveled = network("resnet8-w4")
    whole = run(unraveled, data, name="it", batch_size=30).layers
    for other, size in ((data, 4), (data.subset(list(range(29, -1, -1))), 11)):
        again = run(unraveled, other, name="it", batch_size=size).layers
        for a, b in zip(whole.rows, again.rows, strict=True):
            assert (a["layer"], a["rank"], a["values"]) == (b["layer"], b["rank"], b["values"])
            assert a["std"] == pytest.approx(b["std"], rel=1e-6)
            assert a["mean"] == pytest.approx(b["mean"], rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("arch", ["resnet14-w4-preact", "resnet14-w4-preactraw"])
def test_a_preactivation_network_is_measured_at_the_layers_own_output_and_says_so(arch, data):
    model, unraveled = network(arch)
    found = run(unraveled, data, name="pre").layers
    assert {row["point"] for row in found.rows} == {OUTPUT}
    assert "pre-activation network" in found.settings["measured"]
    check(found.rows, kept(model, [row["layer"] for row in found.rows], data).values())


def test_a_network_without_normalisation_is_measured_at_the_layers_own_output_and_says_so(data):
    model, unraveled = network("vgg11-w4-nobn")
    found = run(unraveled, data, name="plain").layers
    assert {row["point"] for row in found.rows} == {OUTPUT}
    assert found.settings["measured"].startswith("no normalisation follows the layers")
    check(found.rows, kept(model, [row["layer"] for row in found.rows], data).values())


@pytest.mark.parametrize("tokens", ["", "-B", "-B3x3", "-bottleneck"])
@pytest.mark.parametrize("order", ["", "-preact", "-preactraw", "-preactopen"])
def test_pre_activation_is_told_from_post_activation(tokens, order):
    depth = 20 if "bottleneck" in tokens else 14
    assert is_preactivated(network(f"resnet{depth}-w4{tokens}{order}")[1]) == bool(order)
    if order in ("", "-preact"):  # blocks that all begin a stage, and share their first norm with the shortcut
        depth = 11 if "bottleneck" in tokens else 8
        assert is_preactivated(network(f"resnet{depth}-w4{tokens}{order}")[1]) == bool(order)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "expected"), [("densenet121", True), ("googlenet", False), ("mobilenet_v2", False)])
def test_pre_activation_of_torchvisions_networks(name, expected):
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    with torch.device("meta"):
        model = torchvision.models.get_model(name, **options)
    assert is_preactivated(unravel(model, (3, 64, 64))) == expected


class Odd(nn.Module):
    """Norms called directly, a layer read twice, a group norm, a depthwise layer, one convolution used twice."""

    def __init__(self):
        super().__init__()
        self.bn, self.gn = nn.BatchNorm2d(4), nn.GroupNorm(2, 4)
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.third, self.fourth = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.weight = nn.Parameter(torch.randn(4, 4, 3, 3))
        self.fc = nn.Linear(4, 10)

    def forward(self, x):
        x = F.relu(F.batch_norm(self.first(x), self.bn.running_mean, self.bn.running_var, self.bn.weight), inplace=True)
        x = F.relu_(self.gn(self.second(x)))
        x = self.third(self.third(x).relu_())
        x = self.fourth(x).sigmoid() * x
        x = F.conv2d(F.conv2d(x, self.weight), self.weight)
        return self.fc(x.mean((2, 3)))


def test_points_that_are_no_modules_output(data):
    torch.manual_seed(0)
    model = Odd().eval()
    unraveled = unravel(model, (3, 8, 8))
    layers, reason = measured_layers(unraveled, "conv3x3")
    assert [(layer.name, layer.point) for layer in layers] == [
        ("first", AFTER_BN), ("second", AFTER_NORM), ("third", OUTPUT), ("third@1", OUTPUT), ("conv2d", OUTPUT),
        ("conv2d@1", OUTPUT),
    ]  # fmt: skip
    assert reason == (
        "measured after batch norm and after normalisation, before nonlinearity or addition; layers that no "
        "normalisation follows at their own output"
    )
    table = run(unraveled, data, name="odd").layers
    with torch.no_grad():
        x = torch.cat([images for images, _ in data.batches(30)])
        a = F.batch_norm(model.first(x), model.bn.running_mean, model.bn.running_var, model.bn.weight)
        b = model.gn(model.second(a.relu()))
        c = model.third(b.relu())
        d = model.third(c.relu())
        e = F.conv2d(model.fourth(d).sigmoid() * d, model.weight)
        f = F.conv2d(e, model.weight)
    check(table.rows, [t.double() for t in (a, b, c, d, e, f)])


@pytest.mark.parametrize(("kind", "number"), [("conv3x3", 1 + 6), ("conv", 1 + 18 + 3), ("all", 1 + 18 + 3 + 1)])
def test_kinds_of_layers(kind, number, data):
    model, unraveled = network("resnet20-w4-bottleneck")
    rows = run(unraveled, data, name="it", layers=kind).layers.rows
    assert len(rows) == number
    wanted = {
        name
        for name, module in model.named_modules()
        if (kind == "all" and isinstance(module, nn.Linear))
        or (isinstance(module, nn.Conv2d) and (kind != "conv3x3" or module.kernel_size == (3, 3)))
    }
    assert {row["layer"] for row in rows} == wanted
    assert {r["layer"] for r in rows if r["part"] == "shortcut"} == {name for name in wanted if "downsample" in name}
    assert {r["part"] for r in rows if r["layer"] in ("conv1", "fc")} == {"trunk"}


def test_all_layers_of_torchvisions_resnet18():
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=10).eval()
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    data = Data("noise", "test", images, torch.arange(3), tuple("abcdefghij"), "imagenet")
    table = run(unravel(model, (3, 32, 32)), data, name="r18", layers="all", channels=True)
    rows = {row["layer"]: row for row in table.layers.rows}
    assert len(rows) == 21
    assert rows["fc"]["point"] == OUTPUT
    names = {"conv1": "bn1", "layer2.0.downsample.0": "layer2.0.downsample.1", "layer4.1.conv2": "layer4.1.bn2"}
    check([rows[name] for name in names], kept(model, names.values(), data).values())
    logits = kept(model, ["fc"], data)["fc"]
    channels = [row for row in table.channels.rows if row["layer"] == "fc"]
    check(channels, logits.unbind(1))


def test_channels_agree_with_copies_and_with_the_layers(data):
    model, unraveled = network("resnet8-w4")
    both = run(unraveled, data, name="it", batch_size=8, channels=True)
    alone = run(unraveled, data, name="it", batch_size=8)
    assert alone.channels is None
    for a, b in zip(both.layers.rows, alone.layers.rows, strict=True):
        assert a["std"] == pytest.approx(b["std"], rel=1e-6)
    copies = kept(model, ["layer2.0.bn1"], data)["layer2.0.bn1"]
    rows = [row for row in both.channels.rows if row["layer"] == "layer2.0.conv1"]
    assert [row["channel"] for row in rows] == list(range(8))
    check(rows, copies.unbind(1))


def test_training_mode_uses_each_batch_and_changes_nothing(data):
    model, unraveled = network("resnet8-w4")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    table = run(unraveled, data, name="it", mode="train", batch_size=30, seed=3).layers
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.training
    twin, _ = network("resnet8-w4")
    twin.train()
    check(table.rows, kept(twin, norms_of(row["layer"] for row in table.rows), data).values(), rel=2e-5)
    assert table.settings["batch_size"] == 30
    again = run(unraveled, data, name="it", mode="train", batch_size=10, seed=3).layers
    other = run(unraveled, data, name="it", mode="train", batch_size=10, seed=4).layers
    assert again.rows[0]["std"] != other.rows[0]["std"]


def test_the_callers_model_keeps_its_hooks_and_mode(data):
    model, unraveled = network("resnet8-w4")
    model.bn1.register_forward_hook(lambda *_: None)
    model.train()
    run(unraveled, data, name="it")
    assert model.training
    assert sum(len(m._forward_hooks) for m in model.modules()) == 1


def test_progress_is_told(data):
    told = []
    run(network("resnet8-w4")[1], data, name="it", batch_size=20, progress=lambda *a: told.append(a))
    assert told == [(20, 30), (30, 30)]


def test_wrong_use(data):
    _, unraveled = network("resnet8-w4")
    with pytest.raises(ValueError, match="unknown kind of layers 'conv5'"):
        run(unraveled, data, name="it", layers="conv5")
    with pytest.raises(ValueError, match="unknown mode 'test'"):
        run(unraveled, data, name="it", mode="test")
    with pytest.raises(ValueError, match="noise has no images"):
        run(unraveled, data.subset([]), name="it")
    linear = unravel(nn.Sequential(nn.Flatten(), nn.Linear(192, 10)), (3, 8, 8))
    with pytest.raises(ValueError, match="no layer of kind conv3x3; give all"):
        run(linear, data, name="it")


def test_several_networks_in_one_table(data):
    tables = [run(network(a)[1], data, name=a).layers for a in ("resnet8-w4", "plain8-w4")]
    joined = together(tables)
    assert joined.rows == tables[0].rows + tables[1].rows
    assert all(joined.about(a)["measured"] for a in ("resnet8-w4", "plain8-w4"))
    with pytest.raises(ValueError, match="two networks are called 'resnet8-w4'"):
        together([tables[0], tables[0]])
    figure = responses.plot(joined)
    above, below = figure.axes
    for axes in (above, below):
        drawn = [line.get_ydata() for line in axes.lines if len(line.get_xdata())]
        assert [len(y) for y in drawn] == [7, 7]
    sorted_y = below.lines[0].get_ydata()
    assert list(sorted_y) == sorted(sorted_y, reverse=True)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "resnet8-w4 (7 layers)", "plain8-w4 (7 layers)",
    ]  # fmt: skip


@pytest.mark.parametrize(("deeper", "relative"), [(4, False), (5, True)])
def test_networks_of_unequal_depth_are_drawn_over_relative_position(deeper, relative):
    rows = [
        {"network": name, "index": i, "rank": i, "std": 2.0 - 0.1 * i, "part": "trunk"}
        for name, layers in (("shallow", 4), ("deep", deeper)) for i in range(layers)
    ]  # fmt: skip
    for axes in responses.plot(Result("responses", tuple(rows[0]), tuple(rows), {})).axes:
        ends = [line.get_xdata()[-1] for line in axes.lines if len(line.get_xdata())]
        assert ends == ([1, 1] if relative else [3, deeper - 1])
        assert ("0 first, 1 last" in axes.get_xlabel()) == relative


def test_a_table_that_is_none_cannot_be_drawn():
    with pytest.raises(ValueError, match="needs rows with the columns index, network, rank, std"):
        responses.plot(Result("responses", ("network",), (), {}))
