"""The rows of He 2016's tables against a forward pass from the weights alone, hand counts, and the unraveled chain."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_probe import checkpoint
from resnet_probe.checkpoint.architecture import read
from resnet_probe.models import resolve
from resnet_probe.models.names import ORDERS, ResNetSpec, parse_resnet
from resnet_probe.models.variants import FAILS_ABOVE, HE2016_TABLE1, HE2016_TABLE2
from resnet_probe.unraveled import unravel
from tests.models.test_resnet import build, images, parameters

ROWS = {
    **{f"1: {case}": row for case, row in HE2016_TABLE1.items()},
    **{f"2: {c}": r for c, r in HE2016_TABLE2.items()},
}
TOKENS = sorted({row.tokens for row in ROWS.values() if row.tokens} - {f"gate{bias}" for bias in range(6)})
BOTH = [(tokens, False) for tokens in TOKENS] + [("gate6", True), ("bnafter", True), ("relupre", True)]


def shapes(model):
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def by_hand(state, x, *, blocks, tokens, bottleneck):  # noqa: PLR0912 - it is the tables, written out
    """He 2016's Fig. 2 and 4 with option A (B where blocks are bottlenecks), block by block, in evaluation mode."""
    layers = 3 if bottleneck else 2
    preactivated = tokens == "preact"

    def norm(name, x):
        mean, var, gain, shift = (
            state[f"{name}.{key}"].view(1, -1, 1, 1) for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * gain + shift

    def conv(name, x, stride=1):
        weight = state[f"{name}.weight"]
        padding = (weight.shape[-1] - 1) // 2
        return F.conv2d(x, weight, state.get(f"{name}.bias"), stride, padding)

    def skip(name, x, width, stride):
        project = f"{name}.downsample.0.weight" in state
        if project:
            x = conv(f"{name}.downsample.0", x, stride)
            return norm(f"{name}.downsample.1", x) if tokens not in ("bnafter", "preact") else x
        if x.shape[1] != width:
            half = torch.zeros(len(x), (width - x.shape[1]) // 2, *x[:, :, ::stride, ::stride].shape[2:])
            return torch.cat([half, x[:, :, ::stride, ::stride], half], 1)
        return x

    x = conv("conv1", x)
    if not preactivated:
        x = norm("bn1", x)
    if tokens not in ("preact", "relupre"):
        x = x.relu()
    for number in range(3 * blocks):
        name = f"layer{number // blocks + 1}.{number % blocks}"
        stride = 2 if number in (blocks, 2 * blocks) else 1
        strides = [1] * layers
        strides[layers - 2] = stride
        width = state[f"{name}.conv{layers}.weight"].shape[0]
        changes = width != x.shape[1]
        branch = source = x
        if tokens == "relupre":
            branch = x.relu()
        if preactivated:
            branch = norm(f"{name}.bn1", x).relu()
        if tokens in ("relupre", "preact") and (number == 0 or changes):
            source = branch
        for layer in range(1, layers + 1):
            branch = conv(f"{name}.conv{layer}", branch, strides[layer - 1])
            last = layer == layers
            if preactivated:
                branch = branch if last else norm(f"{name}.bn{layer + 1}", branch).relu()
            else:
                if not (tokens == "bnafter" and last):
                    branch = norm(f"{name}.bn{layer}", branch)
                if not last or tokens == "relubefore":
                    branch = branch.relu()
        shortcut = skip(name, source, width, stride)
        if "gate" in tokens:
            g = 1 / (1 + torch.exp(-conv(f"{name}.join.gate", x, stride)))
            shortcut, branch = shortcut - g * shortcut, branch if tokens.startswith("short") else g * branch
        elif "h0.5" in tokens:
            shortcut = shortcut / 2
            branch = branch / 2 if "f0.5" in tokens else branch
        x = shortcut + branch
        if tokens == "bnafter":
            x = norm(f"{name}.norm", x)
        if tokens not in ("relubefore", "relupre", "preact"):
            x = x.relu()
    if preactivated:
        x = norm("norm", x)
    if tokens in ("preact", "relupre"):
        x = x.relu()
    return x.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("tokens", TOKENS)
def test_equals_the_forward_pass_by_hand(tokens, bottleneck):
    name = f"resnet{'20-bottleneck' if bottleneck else 14}-w4-{tokens}"
    model = build(name)
    expected = by_hand(model.state_dict(), images(), blocks=2, tokens=tokens, bottleneck=bottleneck)
    torch.testing.assert_close(model(images()), expected, atol=1e-4, rtol=1e-4)


def test_a_shortcut_times_zero_is_the_plain_network():
    row = HE2016_TABLE1["constant scaling, 0 and 1"]
    plain, block = build(row.arch(8)), build("resnet8-h0.5").layer1[0]
    block.load_state_dict(plain.layer1[0].state_dict())
    block.join.shortcut_factor = 0.0
    x = images(channels=16)
    assert torch.equal(block(x), plain.layer1[0](x))


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_rows_are_canonical_names_at_every_depth(row):
    for depth, bottleneck in ((20, False), (110, False), (164, True), (20, True)):
        name = row.arch(depth, bottleneck=bottleneck)
        assert parse_resnet(name).name == name
        assert parse_resnet(name).depth == depth
    with pytest.raises(ValueError, match="near"):
        row.arch(111)


def test_rows_differ_and_carry_the_printed_errors():
    for table in (HE2016_TABLE1, HE2016_TABLE2):
        assert len({row.arch(110) for row in table.values()}) == len(table)
    assert [row.error(110) for row in HE2016_TABLE2.values()] == [6.61, 8.17, 7.84, 6.71, 6.37]
    assert [row.error(164) for row in HE2016_TABLE2.values()] == [5.93, 6.50, 6.14, 5.91, 5.46]
    printed = {case: row.error(110) for case, row in HE2016_TABLE1.items() if row.error(110) is not None}
    assert list(printed.values()) == [6.61, 12.35, 8.70, 12.86, 6.91, 12.22]
    assert max(printed.values()) < FAILS_ABOVE
    assert HE2016_TABLE1["exclusive gating, b = -6"].arch(20) == "resnet20-gate6"
    with pytest.raises(LookupError, match=r"the paper has 110$"):
        HE2016_TABLE1["original"].error(164)


def test_parameter_counts_by_hand():
    base = 1_727_962  # He 2015, option A
    gates = 18 * (16**2 + 16) + (16 * 32 + 32) + 17 * (32**2 + 32) + (32 * 64 + 64) + 17 * (64**2 + 64)
    counts = {"gate6": base + gates, "shortgate0": base + gates}
    counts |= dict.fromkeys(["h0.5", "h0.5-f0.5", "dropout0.5", "relubefore", "relupre", "bnafter", "preact"], base)
    with torch.device("meta"):
        assert {tokens: parameters(resolve(f"resnet110-{tokens}")) for tokens in counts} == counts
        projections = (16 * 64) + (64 * 128) + (128 * 256)
        norms = 2 * (64 + 128 + 256)
        full = parameters(resolve("resnet164-bottleneck"))
        assert full - parameters(resolve("resnet164-bottleneck-bnafter")) == norms
        assert parameters(resolve("resnet164-bottleneck-relubefore")) == full
        without = parameters(resolve("resnet164-bottleneck-A"))
        assert full - without == projections + norms


@pytest.mark.parametrize(("name", "bias"), [("resnet8-gate6", -6), ("resnet8-shortgate0", 0)])
def test_gates_start_from_their_bias(name, bias):
    gates = [module for path, module in resolve(name).named_modules() if path.endswith("join.gate")]
    assert len(gates) == 3
    assert all(torch.equal(gate.bias, torch.full_like(gate.bias, bias)) for gate in gates)
    assert all(gate.weight.std() > 0.1 for gate in gates)


def test_dropout_acts_on_the_shortcut_in_training_only():
    block = build("resnet8-dropout0.5").layer1[0]
    nn.init.zeros_(block.bn2.weight), nn.init.zeros_(block.bn2.bias)
    x = images(channels=16).abs() + 1
    assert torch.equal(block.eval()(x), x)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        y = block.train()(x)
    kept = y != 0
    assert 0.45 < kept.float().mean() < 0.55
    torch.testing.assert_close(y[kept], 2 * x[kept])


@pytest.mark.parametrize(("tokens", "bottleneck"), BOTH)
def test_every_variant_unravels_into_its_blocks(tokens, bottleneck):
    name = f"resnet{'11-bottleneck' if bottleneck else 8}-w4-{tokens}"
    model = build(name)
    network = unravel(model, (3, 16, 16))
    assert [block.name for block in network.blocks] == ["layer1.0", "layer2.0", "layer3.0"]
    x = images()
    torch.testing.assert_close(network(x), model(x))


@pytest.mark.parametrize(
    ("tokens", "left"),
    [
        ("h0.5-f0.5", lambda block, x: (0.5 * x).relu()),
        ("gate1", lambda block, x: ((1 - torch.sigmoid(block.join.gate(x))) * x).relu()),
        ("shortgate1", lambda block, x: ((1 - torch.sigmoid(block.join.gate(x))) * x).relu()),
        ("dropout0.5", lambda block, x: x.relu()),
        ("bnafter", lambda block, x: block.norm(x).relu()),
        ("relubefore", lambda block, x: x),
        ("relupre", lambda block, x: x),
    ],
)
def test_what_is_left_of_a_deleted_block(tokens, left):
    model = build(f"resnet14-w4-{tokens}")
    deleted = unravel(model, (3, 16, 16)).delete("layer1.1").to_module()
    block = model.layer1[1]
    block.forward = lambda x: left(block, x)
    torch.testing.assert_close(deleted(images()), model(images()))


@pytest.mark.parametrize("tokens", TOKENS)
def test_checkpoints_load_by_the_name_in_the_file(tokens, tmp_path):
    name = f"resnet8-w4-{tokens}"
    model = build(name)
    path = checkpoint.save(tmp_path / "net.safetensors", model, arch=model.arch, metadata={})
    loaded = checkpoint.load(path)
    assert loaded.arch == model.arch
    assert torch.equal(loaded.model(images()), model(images()))


@pytest.mark.slow
def test_reading_weights_alone():
    assert read(shapes(resolve("resnet20-w4-bnafter"))).arch == "resnet20-w4-bnafter"
    assert read(shapes(resolve("resnet29-bottleneck-bnafter"))).arch == "resnet29-bottleneck-bnafter"
    for tokens in ("gate6", "shortgate6"):  # exclusive or not: the tensors do not say
        assert read(shapes(resolve(f"resnet20-w4-{tokens}"))) is None
    for tokens in ("h0.5", "dropout0.5", "relubefore", "relupre"):
        model = resolve(f"resnet8-w4-{tokens}")
        assert shapes(model) == shapes(resolve("resnet8-w4"))
        reading = read(shapes(model))
        assert reading.arch == "resnet8-w4"
        assert "scaled shortcuts, dropout and other places of ReLU" in reading.notes[0]


def test_gated_weights_without_a_name_need_arch(tmp_path):
    model = build("resnet8-w4-gate6")
    torch.save(model.state_dict(), tmp_path / "net.pth")
    with pytest.raises(checkpoint.CheckpointError, match="--arch"):
        checkpoint.load(tmp_path / "net.pth")
    loaded = checkpoint.load(tmp_path / "net.pth", arch="resnet8-w4-gate6")
    assert torch.equal(loaded.model(images()), model(images()))


def test_canonical_spelling():
    assert parse_resnet("resnet20-f0.50-h0.5").name == "resnet20-h0.5-f0.5"
    assert parse_resnet("resnet20-h1-f1").name == "resnet20"
    assert parse_resnet("resnet20-gate6-B").name == "resnet20-B-gate6"
    assert parse_resnet("resnet20-dropout0").name == "resnet20"
    assert {"bnafter", "relubefore", "relupre"} <= set(ORDERS)


def test_wrong_specs():
    for wrong in (
        {"gate_bias": -6},
        {"gate": "both"},
        {"gate": "exclusive", "gate_bias": 1},
        {"factors": (0.12345, 1)},
    ):
        with pytest.raises(ValueError, match="give"):
            ResNetSpec((1, 1, 1), **wrong)
