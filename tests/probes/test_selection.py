import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from resnet_probe.probes import select


@pytest.fixture(scope="module")
def model():
    with torch.device("meta"):
        return resnet18()


def test_a_name_is_one_module_and_the_empty_name_the_network(model):
    assert select(model, "layer1.0.bn2") == {"layer1.0.bn2": model.layer1[0].bn2}
    assert select(model, "") == {"": model}


def test_a_glob_crosses_dots_and_keeps_the_networks_order(model):
    expected = [f"layer{stage}.{block}.bn2" for stage in range(1, 5) for block in range(2)]
    assert list(select(model, "*.bn2")) == expected
    assert list(select(model, "layer4.*.conv?")) == [f"layer4.{b}.conv{c}" for b in range(2) for c in (1, 2)]
    assert "" not in select(model, "*")


def test_a_list_is_the_union_in_the_networks_order(model):
    assert list(select(model, ["fc", "*.1.bn1", "layer1.1.bn1", "conv1"])) == [
        "conv1", *(f"layer{stage}.1.bn1" for stage in range(1, 5)), "fc",
    ]  # fmt: skip


def test_a_class_and_a_predicate(model):
    relus = [name for name, module in model.named_modules() if isinstance(module, nn.ReLU)]
    assert list(select(model, nn.ReLU)) == relus
    assert list(select(model, lambda name, module: name.endswith("relu"))) == relus


@pytest.mark.parametrize("where", ["layer1.0.bn3", ["conv1", "layer1.0.bn3"]])
def test_a_miss_names_the_closest(model, where):
    with pytest.raises(LookupError, match=r"no module is called 'layer1.0.bn3': did you mean layer1.0.bn[12]"):
        select(model, where)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (nn.GELU, "no module is a GELU; there are Conv2d, BatchNorm2d, ReLU"),
        (lambda name, module: False, "the predicate is true for none of 67 modules"),
        ([], "an empty list"),
        ("zzz*", "there are conv1, bn1, relu, maxpool"),
    ],
)
def test_nothing_selected_is_an_error(model, where, message):
    with pytest.raises(LookupError, match=message):
        select(model, where)


def test_wrappers_do_not_show_in_names():
    inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.ReLU()))
    inner[1] = torch.compile(inner[1])
    outer = torch.compile(inner)
    assert list(select(outer, "*")) == ["0", "1", "1.0"]
    assert select(outer, "1.0")["1.0"] is inner[1]._orig_mod[0]


def test_a_shared_module_is_listed_once_and_found_under_each_name():
    relu = nn.ReLU()
    model = nn.Sequential(nn.Linear(2, 2), relu, nn.Linear(2, 2), relu)
    assert select(model, nn.ReLU) == {"1": relu}
    assert select(model, "3") == {"1": relu}
