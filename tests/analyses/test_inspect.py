import json

import pytest
import torch
from torch import nn
from torchvision.models import ResNet50_Weights, VisionTransformer, get_model_weights

from resnet_probe.analyses import inspect
from resnet_probe.models import resolve
from resnet_probe.tables import read
from resnet_probe.unraveled import unravel
from tests.networks import SHAPE, make, trained


def meta(arch):
    with torch.device("meta"):
        return resolve(arch)


def rows(model, shape, **by):
    found = inspect.run(unravel(model, shape), name="net")
    return [row for row in found.rows if all(row[key] == value for key, value in by.items())], found.settings


def test_resnet50_has_the_published_blocks_parameters_and_flops():
    blocks, settings = rows(meta("torchvision:resnet50"), (3, 224, 224), kind="block")
    everything, _ = rows(meta("torchvision:resnet50"), (3, 224, 224))
    published = ResNet50_Weights.IMAGENET1K_V1.meta
    assert settings == {"parameters": published["num_params"], "blocks": 16}
    assert sum(row["parameters"] for row in everything) == published["num_params"]
    assert sum(row["multiply_adds"] for row in everything) / 1e9 == pytest.approx(published["_ops"], abs=5e-4)
    assert [row["unit"] for row in blocks] == [f"layer{s}.{i}" for s, n in enumerate((3, 4, 6, 3), 1) for i in range(n)]
    assert [row["stage"] for row in blocks] == [1] * 3 + [2] * 4 + [3] * 6 + [4] * 3
    assert [row["index"] for row in blocks] == list(range(16))
    assert [row["unit"] for row in blocks if row["shortcut"] == "conv1x1"] == [f"layer{s}.0" for s in (1, 2, 3, 4)]
    assert {row["shortcut"] for row in blocks} == {"conv1x1", "identity"}
    assert [row["unit"] for row in blocks if row["resizes"]] == [f"layer{s}.0" for s in (1, 2, 3, 4)]
    assert blocks[0]["in_shape"] == "64x56x56"
    assert blocks[0]["out_shape"] == "256x56x56"
    # He 2015: 1x1 to 64, 3x3, 1x1 to 256 on 256 channels; and the six norms' scales and shifts
    assert blocks[1]["parameters"] == 69_632 + 2 * (64 + 64 + 256)
    assert blocks[1]["multiply_adds"] == 69_632 * 56 * 56


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["vgg11_bn", "mobilenet_v2", "efficientnet_b0", "convnext_tiny", "vit_b_16", "swin_t", "googlenet"]
)
def test_torchvisions_networks_have_the_published_parameters_and_flops(name):
    published = next(iter(get_model_weights(name))).meta
    found, settings = rows(meta(f"torchvision:{name}"), (3, 224, 224))
    assert settings["parameters"] == published["num_params"]
    assert sum(row["multiply_adds"] for row in found) / 1e9 == pytest.approx(published["_ops"], abs=5e-4)


@pytest.mark.parametrize(("depth", "parameters"), [(20, 269_722), (56, 853_018)])
def test_cifar_resnets_have_the_papers_parameters(depth, parameters):
    found, settings = rows(meta(f"resnet{depth}"), (3, 32, 32))
    assert settings == {"parameters": parameters, "blocks": 3 * (depth - 2) // 6}
    assert sum(row["parameters"] for row in found) == parameters
    stages = [row["stage"] for row in found if row["kind"] == "block"]
    assert stages == sorted((1, 2, 3) * ((depth - 2) // 6))


def by_hand(width=6, tokens=17):
    """Multiply-adds of one attention block: projections in, products with keys and values, projection out."""
    return tokens * width * 3 * width + 2 * tokens * tokens * width + tokens * width * width


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_attention_is_counted_with_all_its_products(device):
    """Fused kernels, which a CPU takes and the meta device does not, must not hide any."""
    with torch.device(device):
        model = VisionTransformer(image_size=16, patch_size=4, num_layers=1, num_heads=2, hidden_dim=6, mlp_dim=8)
    torch.backends.mha.set_fastpath_enabled(True)  # as it is by default
    found, _ = rows(model.eval(), (3, 16, 16), kind="block")
    assert [row["multiply_adds"] for row in found] == [by_hand(), 2 * 17 * 6 * 8]
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_network_of_layers_has_layers_and_no_blocks():
    found, settings = rows(meta("torchvision:vgg16_bn"), (3, 224, 224))
    assert settings["blocks"] == 0
    kinds = [row["kind"] for row in found]
    assert kinds.count("layer") == 16
    assert "block" not in kinds
    convolutions = [row for row in found if row["index"] is not None]
    assert [row["index"] for row in convolutions] == list(range(13))
    assert all(row["unit"].startswith("features.") for row in convolutions)
    assert {row["shortcut"] for row in found} == {None}


def test_layers_and_paths_are_those_of_the_unit():
    found = {row["unit"]: row for row in rows(make("concatenated"), SHAPE)[0]}
    assert (found["mixed"]["paths"], found["mixed"]["layers"]) == (2, 2)
    assert found["mixed"]["branches"] == "mixed.left, mixed.right"
    assert (found["stem"]["paths"], found["stem"]["layers"]) == (1, 1)
    assert (found["mean"]["paths"], found["mean"]["layers"]) == (1, 0)
    block = {row["unit"]: row for row in rows(make("blocks"), SHAPE)[0]}["blocks.0"]
    assert (block["paths"], block["layers"], block["branches"]) == (2, 2, None)


def test_shared_weights_are_counted_in_each_unit_and_once_in_all():
    found, settings = rows(make("shared block"), SHAPE)
    once = [row["parameters"] for row in found if row["unit"] in ("stem", "block", "head")]
    twice = [row["parameters"] for row in found if row["unit"] == "block@1"]
    assert settings["parameters"] == sum(once)
    assert twice == [once[1]]


def test_the_table_has_its_columns_and_can_be_read_again(tmp_path):
    model = trained(lambda: resolve("resnet8-w2"))
    result = inspect.run(unravel(model, (3, 8, 8)), name="tiny")
    assert result.name == "inspect"
    assert result.columns == inspect.INSPECT.keys
    assert {row["network"] for row in result.rows} == {"tiny"}
    result.save(tmp_path)
    assert read(tmp_path, "inspect").rows == result.rows
    json.loads((tmp_path / "inspect.json").read_text(encoding="utf-8"))


def test_inputs_of_another_precision_and_shape_are_the_networks():
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)).double().eval()
    found, _ = rows(model, (6,), kind="layer")
    assert [row["multiply_adds"] for row in found] == [24, 8]
    assert [row["in_shape"] for row in found] == ["6", "4"]
