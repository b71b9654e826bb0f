"""The grammar of network names: every name reads back, wrong ones say what is right."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnet_probe.models.names import (
    ORDERS,
    SHORTCUTS,
    LeNetSpec,
    ResNetSpec,
    VGGSpec,
    family_of,
    parse_lenet,
    parse_resnet,
    parse_vgg,
    vgg_layout,
)

counts = st.integers(1, 30)
stages = st.integers(1, 5)


@st.composite
def resnets(draw):
    n = draw(stages)
    blocks = tuple(draw(st.lists(counts, min_size=n, max_size=n)))
    widths = tuple(draw(st.lists(counts, min_size=n, max_size=n)))
    if draw(st.booleans()):
        blocks, widths = (draw(counts),) * 3, (16, 32, 64)
    shortcut = draw(st.sampled_from([*SHORTCUTS, "none"]))
    order = "post" if shortcut == "none" else draw(st.sampled_from(["post", *ORDERS]))
    return ResNetSpec(blocks, widths, draw(st.sampled_from(["basic", "bottleneck"])), shortcut, order)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(resnets())
def test_resnet_names_read_back(spec):
    assert parse_resnet(spec.name) == spec
    assert family_of(spec.name) == ("plain" if spec.shortcut == "none" else "resnet")


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(0, 70), min_size=1, max_size=9).filter(lambda layout: layout[0] > 0),
    st.lists(counts, max_size=2),
    st.booleans(),
    st.booleans(),
)
def test_vgg_names_read_back(layout, hidden, norm, bias):
    spec = VGGSpec(tuple(layout), tuple(hidden), norm, bias)
    assert parse_vgg(spec.name) == spec


def test_canonical_names():
    assert parse_resnet("cifar:resnet20-w32-B").name == parse_resnet("resnet20-B-w32").name == "resnet20-w32-B"
    assert parse_resnet("resnet56-A").name == "resnet56"
    assert parse_resnet("cifar:resnet50").name == "cifar:resnet50"
    assert parse_resnet("resnet20-s3.3.3").name == "resnet20"
    assert parse_resnet("resnet110-preact-bottleneck").name == "resnet110-bottleneck-preact"
    assert parse_vgg("vgg16-w64").name == "vgg16"
    assert parse_vgg("vgg11-c4.M.8.M.16.16.M.32.32.M.32.32.M").name == "vgg11-w4"
    assert parse_lenet("cifar:lenet5") == LeNetSpec()
    assert LeNetSpec(relu=True).name == "lenet5-relu"


def test_depths_of_the_papers():
    assert parse_resnet("resnet110").blocks == (18, 18, 18)
    assert parse_resnet("resnet164-bottleneck").blocks == (18, 18, 18)
    assert parse_resnet("resnet164-bottleneck").shortcut == "B"
    assert parse_resnet("resnet1001-bottleneck").blocks == (111, 111, 111)
    assert parse_resnet("resnet18-s2.2.2.2-w64-B").widths == (64, 128, 256, 512)
    assert vgg_layout(11, 2) == (2, 0, 4, 0, 8, 8, 0, 16, 16, 0, 16, 16, 0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet18", "torchvision:resnet18"),
        ("resnet34", "torchvision:resnet34"),
        ("resnet50", r"cifar:resnet50.*torchvision:resnet50"),
        ("resnet152", r"cifar:resnet152.*torchvision:resnet152"),
        ("cifar:resnet18", r"6n\+2, near 14 and 20.*torchvision:resnet18"),
        ("resnet111", r"depths are 6n\+2, near 110 and 116"),
        ("resnet2", r"near 8$"),
        ("resnet110-s2.2", r"4 basic blocks make depth 10; write resnet10-s2.2"),
        ("resnet101-bottleneck-q", r"unknown token 'q'; allowed are .*bottleneck.*preact"),
        ("resnet20-A-B", "A and B exclude each other"),
        ("resnet20-w0", "1 or more"),
        ("resnet20-w8.16", "as many of both"),
        ("plain20-B", "unknown token 'B'"),
        ("plain20-preact", "unknown token 'preact'"),
        ("resnet20-h0", "above 0.*plain"),
        ("resnet20-h0.5-gate6", "h0.5 and gate6 exclude each other"),
        ("resnet20-gate6-shortgate6", "gate6 and shortgate6 exclude each other"),
        ("resnet20-dropout0.5-f2", "exclude each other"),
        ("resnet20-dropout1", "from 0 to below 1"),
        ("resnet20-preact-gate6", "order preact with gate6"),
        ("resnet20-bnafter-preact", "bnafter and preact exclude each other"),
        ("plain20-h0.5", "unknown token 'h0.5'"),
        ("resnet20-gate-6", "unknown token 'gate'"),
        ("resnet20-h0.00001", "unknown token"),
        ("vgg12", "11, 13, 16 and 19"),
        ("vgg16-w0", "1 or more"),
        ("vgg16-c8.M", "write vgg4-c8.M"),
        ("vgg4-c8.M-w8", "without a width"),
        ("vgg16-B", "unknown token 'B'"),
    ],
)
def test_wrong_names(name, message):
    with pytest.raises(ValueError, match=message):
        (parse_vgg if name.startswith("vgg") else parse_resnet)(name)


def test_other_names():
    for name in ("torchvision:resnet50", "timm:resnet18", "resnet", "resnetv2", "net.py:resnet20", "Resnet20", ""):
        assert family_of(name) is None
    with pytest.raises(ValueError, match="lenet5"):
        parse_lenet("lenet4")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["resnet999999998", "plain99999998", "resnet8-w99999999"])
def test_a_name_may_not_ask_for_more_than_a_machine_has(name):
    with pytest.raises(ValueError, match="give at most 10,000 layers, 64 stages and 65,536 channels"):
        parse_resnet(name)
