import copy
import itertools
import random
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import VisionTransformer

from resnet_probe.anatomy import UntraceableError
from resnet_probe.models import resolve
from resnet_probe.unraveled import Step, UnraveledNetwork, unravel
from tests.anatomy.test_tracing import BranchesOnData, Dense, WritesItsInput, same, snapshot
from tests.networks import MADE, SHAPE, Blocks, Projections, Random, Small, Tokens, conv, images, make, trained

SEEDS = range(20)


def run(model, x=None):
    with torch.no_grad():
        return model(images() if x is None else x)


@pytest.fixture(scope="module")
def resnet():
    """A CIFAR ResNet with two blocks per stage, its batch statistics as after training."""
    return trained(lambda: resolve("resnet14-w3"))


@pytest.fixture(scope="module")
def net(resnet):
    return unravel(resnet, (3, 8, 8))


# -- the chain is the model -------------------------------------------------------------------------------------------


@cache
def unraveled(which):
    """A small network, and its chain."""
    model = trained(lambda: Random(which)) if isinstance(which, int) else make(which)
    return model, unravel(model, SHAPE)


@pytest.mark.parametrize("which", [*MADE, *SEEDS])
def test_chain_and_module_are_bit_equal_to_the_model(which):
    model, net = unraveled(which)
    expected = run(model)
    assert torch.equal(run(net), expected)
    assert torch.equal(run(net.to_module()), expected)
    assert net.certificate.chain_error == 0
    assert net.certificate.failed == ()
    assert list(net.certificate.block_errors) == [unit.name for unit in net.blocks]
    assert net.input_shape == SHAPE


@pytest.mark.parametrize("which", [*MADE, *SEEDS])
def test_a_block_is_its_shortcut_plus_its_branch(which):
    (_, net), x = unraveled(which), images()
    for unit in net.units:
        y = run(unit.module(), x)
        if unit.kind == "block":
            total = run(unit.module("shortcut"), x) + run(unit.module("branch"), x)
            torch.testing.assert_close(total, y, rtol=1e-5, atol=1e-5)
            assert not unit.has_identity_shortcut or torch.equal(run(unit.module("shortcut"), x), x)
        x = y


@pytest.mark.parametrize("example", [SHAPE, torch.Size(SHAPE), [*SHAPE], images(), images(1)])
def test_a_batch_or_a_shape_will_do(example):
    assert [unit.name for unit in unravel(make("flat"), example).blocks] == ["one", "three"]


def test_without_values_there_is_a_chain_and_no_certificate():
    with torch.device("meta"):
        net = unravel(Blocks(), SHAPE)
    assert net.certificate is None
    assert [unit.name for unit in net.blocks] == ["blocks.0", "blocks.1"]
    assert run(net, torch.empty(7, *SHAPE, device="meta")).shape == (7, 5)
    assert run(net.delete("blocks.0").to_module(), torch.empty(7, *SHAPE, device="meta")).shape == (7, 5)


def test_wrapped_models_are_unraveled():
    model = make("blocks")
    assert torch.equal(run(unravel(nn.DataParallel(model), SHAPE)), run(model))


@pytest.mark.parametrize("make_output", [lambda y: (y,), lambda y: {"logits": y, "none": None}, lambda y: [[y], y]])
def test_one_tensor_may_come_in_a_container(make_output):
    class Contained(Small):
        def middle(self, x):
            return x + self.one(x)

        def forward(self, x):
            return make_output(super().forward(x))

    model = trained(lambda: Contained(one=conv()))
    assert torch.equal(run(unravel(model, SHAPE)), Small.forward(model, images()))


def test_a_unit_counts_its_parameters(resnet, net):
    counts = {unit.name: unit.parameters for unit in net.units}
    assert counts["layer2.1"] == sum(p.numel() for p in resnet.layer2[1].parameters())
    assert counts["conv1"] == sum(p.numel() for m in (resnet.conv1, resnet.bn1) for p in m.parameters())
    assert sum(counts.values()) == sum(p.numel() for p in resnet.parameters())


def test_a_unit_says_what_it_is(net):
    assert repr(net.units[1]) == "Unit('layer1.0', block, (3, 8, 8) -> (3, 8, 8))"


# -- nothing is done to the model -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["blocks", "projections", "tokens", "buffers", "in place, method"])
def test_the_callers_model_and_the_random_state_are_not_changed(name):
    model, fired = make(name).train(), []
    next(model.children()).eval()
    if name != "in place, method":  # torch cannot go back through that
        model(images()).sum().backward()
    model.head.register_forward_hook(lambda *_: fired.append("forward"))
    model.head.register_forward_pre_hook(lambda *_: fired.append("before"))
    example = images()
    before, random_state = snapshot(model), torch.random.get_rng_state()
    net = unravel(model, example)
    edited = net.delete(net.surgical[0].name).scale({unit.name: 0.5 for unit in net.blocks})
    run(edited)
    run(edited.to_module())
    assert fired == []
    assert same(snapshot(model), before)
    assert torch.equal(torch.random.get_rng_state(), random_state)
    assert torch.equal(example, images())


def test_a_model_that_writes_into_its_input_writes_into_no_one_elses():
    class Net(WritesItsInput):
        def middle(self, x):
            return x + self.one(x)

    model, example = trained(lambda: Net(one=conv())), images()
    net = unravel(model, example)
    assert torch.equal(example, images())
    assert torch.equal(run(net, example), run(model))
    assert torch.equal(example, images())


def test_a_forward_that_draws_random_numbers_is_refused_and_draws_none_of_the_callers():
    class Noisy(Small):
        def middle(self, x):
            return F.dropout(x, 0.5)  # always on

    model, random_state = trained(Noisy), torch.random.get_rng_state()
    with pytest.raises(ValueError, match=r"differs from Noisy by .*: its forward has side effects or randomness"):
        unravel(model, SHAPE)
    assert torch.equal(torch.random.get_rng_state(), random_state)


def test_dropout_is_off_in_a_model_that_was_left_in_training_mode():
    model = make("tokens")
    expected = run(model)
    assert torch.equal(run(unravel(model.train(), SHAPE)), expected)
    assert model.training


def test_weights_are_shared(resnet, net):
    module = net.delete("layer1.0").to_module()
    theirs = dict(resnet.named_parameters())
    assert all(parameter is theirs[name] for name, parameter in module.named_parameters())
    block = net.unit("layer1.0").module()
    assert {id(p) for p in block.parameters()} == {id(p) for p in resnet.layer1[0].parameters()}


# -- deletion ---------------------------------------------------------------------------------------------------------


def without(model, *names):
    """The model with the forward of some blocks replaced by their shortcut, by hand."""
    model = copy.deepcopy(model)
    for name in names:
        block = model.get_submodule(name)
        shortcut = block.downsample or nn.Identity()
        block.forward = lambda x, shortcut=shortcut, block=block: block.relu(shortcut(x))
    return model


@pytest.mark.parametrize("arch", ["resnet14-w3", "resnet14-w3-B", "resnet8-w3-C", "resnet11-w2-bottleneck"])
def test_deleting_is_the_shortcut_alone(arch):
    """Against a second way: replace the forward of the block by its shortcut (and the ReLU after the addition)."""
    model = trained(lambda: resolve(arch))
    net = unravel(model, SHAPE)
    for unit in net.blocks:
        assert torch.equal(run(net.delete(unit.name)), run(without(model, unit.name)))
    for pair in itertools.combinations([unit.name for unit in net.blocks], 2):
        assert torch.equal(run(net.delete(*pair)), run(without(model, *pair)))


@pytest.mark.parametrize("arch", ["resnet8-w3", "resnet8-w3-B", "resnet8-w3-preact"])
def test_deleting_a_block_whose_branch_is_zero_changes_nothing(arch):
    model = trained(lambda: resolve(arch))
    last = {name: module for name, module in model.named_modules() if name.endswith(("bn2", "conv2"))}
    for unit in unravel(model, SHAPE).blocks:
        silenced = copy.deepcopy(model)
        end = f"{unit.name}.conv2" if arch.endswith("preact") else f"{unit.name}.bn2"
        assert end in last
        for parameter in silenced.get_submodule(end).parameters():
            nn.init.zeros_(parameter)
        net = unravel(silenced, SHAPE)
        assert torch.equal(run(net.delete(unit.name)), run(silenced))
        assert torch.equal(run(net), run(silenced))
        assert not torch.equal(run(silenced), run(model))


def test_after_deleting_the_network_is_still_there(resnet, net):
    before = net.steps
    edited = net.delete("layer1.0", "layer2.1")
    run(edited)
    assert torch.equal(run(net), run(resnet))
    assert net.steps is before
    assert edited.units is net.units
    assert edited.certificate is net.certificate


def test_deleting_is_idempotent_and_its_order_does_not_matter(net):
    once = net.delete("layer1.0").delete("layer3.1")
    assert once.steps == net.delete("layer3.1", "layer1.0", "layer1.0").steps == once.delete("layer1.0").steps
    assert net.delete().steps == net.steps


def test_deleted_identity_shortcuts_cost_nothing(net):
    edited = net.delete("layer1.0", "layer2.0")
    idle = [edited.units[step.unit].name for step in edited.steps if edited.is_identity(step)]
    assert idle == ["layer1.0"]
    assert not any(net.is_identity(step) for step in net.steps)


def test_layers_of_a_network_without_blocks_can_be_deleted():
    model = make("plain")
    net, x = unravel(model, SHAPE), images()
    assert net.surgical == net.layers
    assert [unit.name for unit in net.layers] == ["0", "4", "7"]

    def by_hand(gone):
        parts = list(model)
        y = F.pad(x, (0, 0, 0, 0, 0, 1)) if "0" in gone else nn.Sequential(*parts[:3])(x)
        y = parts[3](y)
        y = F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1)) if "4" in gone else nn.Sequential(*parts[4:7])(y)
        y = y[:, :5] if "7" in gone else nn.Sequential(*parts[7:9])(y)
        return nn.Sequential(*parts[9:])(y)

    for count in range(4):
        for gone in itertools.combinations(["0", "4", "7"], count):
            with torch.no_grad():
                assert torch.equal(run(net.delete(*gone)), by_hand(gone))


def test_without_convolutions_all_layers_but_the_last_can_be_deleted():
    net = unravel(nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), (6,))
    assert [unit.name for unit in net.layers] == ["0", "2"]
    assert run(net.delete("0", "2"), torch.ones(3, 6)).shape == (3, 2)
    net = unravel(nn.Sequential(nn.Conv1d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(32, 8), nn.Linear(8, 2)), (3, 8))
    assert [unit.name for unit in net.layers] == ["0"]


def test_paths_through_a_step_are_those_of_what_it_runs(net):
    """Of a block y = x + conv(relu(conv(x))), by branches and by layers; none of the others' paths."""
    index = {unit.name: i for i, unit in enumerate(net.units)}
    block = index["layer1.0"]
    assert net.polynomials(Step(block)) == ((1, 1), (1, 0, 1))
    assert net.polynomials(Step(block, "shortcut")) == ((1,), (1,))
    assert net.polynomials(Step(block, "branch")) == ((0, 1), (0, 0, 1))
    assert net.polynomials(Step(index["conv1"])) == ((1,), (0, 1))
    assert net.polynomials(Step(index["conv1"], "bypass")) == ((1,), (1,))


# -- scaling ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["blocks", "projections", "tokens", "three terms", "gated"])
def test_scaling_by_zero_is_deletion_and_by_one_nothing(name):
    model, net = unraveled(name)
    for unit in net.blocks:
        assert torch.equal(run(net.scale({unit.name: 0})), run(net.delete(unit.name)))
        assert torch.equal(run(net.scale({unit.name: 1.0})), run(model))
    assert net.scale({net.blocks[0].name: 1.0}).steps == net.steps


def test_scaling_is_shortcut_plus_scaled_branch(resnet, net):
    """Against a second way: the last norm of the branch is scaled."""
    for factor in (0.5, -2.0):
        other = copy.deepcopy(resnet)
        for parameter in other.layer2[0].bn2.parameters():
            parameter.data *= factor
        assert torch.equal(run(net.scale({"layer2.0": factor})), run(other))


def test_factors_multiply(net):
    twice = net.scale({"layer1.0": 0.5}).scale({"layer1.0": 0.5, "layer3.0": 3})
    assert twice.steps == net.scale({"layer3.0": 3, "layer1.0": 0.25}).steps


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({"conv1": 2}, "conv1 is no residual block, so it has no branch to scale"),
        ({"layer1.0": float("nan")}, "the factor of layer1.0 is nan; it must be a finite number"),
        ({"layer1.0": float("inf")}, "the factor of layer1.0 is inf; it must be a finite number"),
    ],
)
def test_factors_that_make_no_sense_are_refused(net, factors, message):
    with pytest.raises(ValueError, match=message):
        net.scale(factors)


# -- reordering -------------------------------------------------------------------------------------------------------


def test_blocks_in_another_order_are_run_in_that_order(resnet, net):
    """Against a second way: the modules change places."""
    other = copy.deepcopy(resnet)
    other.layer1[0], other.layer1[1] = other.layer1[1], other.layer1[0]
    assert torch.equal(run(net.reorder(["layer1.1", "layer1.0"])), run(other))
    assert not torch.equal(run(other), run(resnet))


def test_there_and_back_is_the_identity(net):
    assert net.reorder(["layer2.1"]).steps == net.steps
    swapped = net.reorder(["layer1.1", "layer1.0"])
    assert swapped.steps != net.steps
    assert swapped.reorder(["layer1.0", "layer1.1"]).steps == net.steps
    assert net.reorder([]).steps == net.steps


def test_any_permutation_can_be_undone():
    net = unravel(trained(lambda: resolve("resnet26-w2")), SHAPE)
    names = [unit.name for unit in net.blocks if unit.name.startswith("layer1")]
    draw = random.Random(0)
    for _ in range(10):
        first, second = draw.sample(names, len(names)), draw.sample(names, 3)
        shuffled = net.reorder(first)
        order = [net.units[step.unit].name for step in shuffled.steps if net.units[step.unit].name in names]
        assert order == first
        again = shuffled.reorder(second)
        order = [net.units[step.unit].name for step in again.steps if net.units[step.unit].name in names]
        left = iter(second)
        assert order == [next(left) if name in second else name for name in first]
        assert again.reorder(names).steps == net.steps


def test_blocks_keep_their_edits_when_they_move(net):
    edited = net.scale({"layer1.0": 0.5}).delete("layer1.1").reorder(["layer1.1", "layer1.0"])
    moved = [step for step in edited.steps if net.units[step.unit].name.startswith("layer1") and step.mode != "whole"]
    assert [net.units[step.unit].name for step in moved] == ["layer1.1"]
    assert edited.reorder(["layer1.0", "layer1.1"]).steps == net.scale({"layer1.0": 0.5}).delete("layer1.1").steps


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (["layer1.1", "layer1.1"], "a block is named twice in the order"),
        (
            ["layer3.1", "layer1.1"],
            r"layer3.1 maps \(12, 2, 2\) to \(12, 2, 2\) and cannot stand in the place of layer1.1, which maps \(3, 8",
        ),
        (["layer2.1", "layer2.0"], r"layer2.1 maps \(6, 4, 4\) to .* in the place of layer2.0, which maps \(3, 8, 8\)"),
    ],
)
def test_orders_that_cannot_be_are_refused_in_one_line(net, order, message):
    with pytest.raises(ValueError, match=message) as caught:
        net.reorder(order)
    assert "\n" not in str(caught.value)


# -- edits as a recipe keeps them -------------------------------------------------------------------------------------


def test_a_recipe_is_applied_in_its_order(net):
    recipe = [{"delete": ["layer2.1"]}, {"scale": {"layer1.0": 0.5}}, {"reorder": ["layer1.1", "layer1.0"]}]
    expected = net.delete("layer2.1").scale({"layer1.0": 0.5}).reorder(["layer1.1", "layer1.0"])
    assert net.edit(recipe).steps == expected.steps
    assert net.edit([]).steps == net.steps


@pytest.mark.parametrize(
    "edit", [{"remove": ["conv1"]}, {"delete": "conv1"}, {"delete": [], "scale": {}}, {"scale": ["layer1.0"]}, {}]
)
def test_edits_of_another_form_are_refused(net, edit):
    with pytest.raises(ValueError, match=r"unknown edit .*: give delete and a list, scale and a mapping, or"):
        net.edit([edit])


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", [lambda n: n.unit, lambda n: n.delete, lambda n: lambda name: n.scale({name: 0})])
def test_an_unknown_name_is_answered_with_the_closest(net, ask):
    with pytest.raises(LookupError, match=r"no block or layer named 'layer1.7': did you mean layer1.1, layer1.0"):
        ask(net)("layer1.7")


def test_a_name_that_is_close_to_none_is_answered_with_some(net):
    with pytest.raises(LookupError, match=r"named '%': there are layer1.0, layer1.1, .*`resnet-probe inspect`"):
        net.unit("%")


# -- one module -------------------------------------------------------------------------------------------------------

EDITS = [
    [],
    [{"delete": ["layer1.0"]}],
    [{"delete": ["layer2.0", "layer3.1", "conv1"]}],
    [{"scale": {"layer1.1": 0.3, "layer3.0": -1}}],
    [{"reorder": ["layer1.1", "layer1.0"]}],
    [{"delete": ["layer3.1"]}, {"scale": {"layer1.0": 2}}, {"reorder": ["layer1.1", "layer1.0"]}],
]


@pytest.mark.parametrize("edits", EDITS)
def test_the_module_of_a_chain_is_bit_equal_to_the_chain(resnet, net, edits):
    edited = net.edit(edits)
    module = edited.to_module()
    for batch in (1, 5):
        assert torch.equal(run(module, images(batch)), run(edited, images(batch)))
    assert not module.training
    theirs = resnet.state_dict()
    gone = {"delete": [], **(edits[0] if edits else {})}["delete"]
    left = [name for name in theirs if not name.startswith(tuple(f"{unit}." for unit in gone))]
    expected = [name for name in left if "conv1" not in gone or not name.startswith("bn1.")]
    assert sorted(module.state_dict()) == sorted(expected)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize("name", MADE)
def test_the_module_saves_under_the_models_own_names(name):
    model, net = unraveled(name)
    module = net.to_module()
    assert set(module.state_dict()) == set(model.state_dict())
    module.load_state_dict(model.state_dict())


def test_a_copy_of_the_module_owns_its_weights(resnet, net):
    module = copy.deepcopy(net.to_module())
    nn.init.zeros_(module.conv1.weight)
    assert resnet.conv1.weight.any()
    assert torch.equal(run(net), run(resnet))


@pytest.mark.parametrize("edits", EDITS)
def test_an_edited_module_can_be_unraveled_again(net, edits):
    edited = net.edit(edits)
    again = unravel(edited.to_module(), SHAPE)
    assert torch.equal(run(again), run(edited))
    left = {net.units[step.unit].name for step in edited.steps if step.mode == "whole"}
    assert {unit.name for unit in again.blocks} <= left


def test_blocks_keep_their_names_when_others_of_the_same_module_are_gone():
    net = unravel(make("tokens"), SHAPE)
    for gone in ("layers.0.attention", "layers.0.mlp", "layers.1.attention"):
        edited = net.delete(gone)
        again = unravel(edited.to_module(), SHAPE)
        left = [unit.name for unit in net.blocks if unit.name != gone]
        assert [unit.name for unit in again.blocks] == left
        for name in left:
            assert torch.equal(run(again.delete(name)), run(edited.delete(name)))


def test_a_module_can_be_trained_and_the_chain_stays_in_evaluation_mode(resnet):
    net = unravel(copy.deepcopy(resnet), SHAPE)
    module = copy.deepcopy(net.delete("layer1.0").to_module()).train()
    module(images(4)).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    net.to_module().train()
    assert torch.equal(run(net), run(resnet))
    assert torch.equal(run(net.to_module()), run(resnet))


# -- certificate and errors -------------------------------------------------------------------------------------------


def test_a_block_that_is_no_sum_is_named_and_not_offered(resnet, net):
    """The certificate is the last word; break a branch to see that it looks."""
    net = unravel(resnet, SHAPE)
    unit = net.unit("layer2.1")
    whole = unit.module("branch")
    unit._modules[Step(0, "branch")] = lambda x: whole(x) * 1.001
    broken = UnraveledNetwork(net.anatomy, net.units, net.steps, net.certify(resnet, images()))
    assert broken.certificate.failed == ("layer2.1",)
    assert 1e-5 < broken.certificate.block_errors["layer2.1"] < 1e-2
    assert "layer2.1" not in [unit.name for unit in broken.blocks]
    with pytest.raises(LookupError, match=r"block 'layer2.1' is not the sum of its shortcut and branch"):
        broken.delete("layer2.1")


def test_a_chain_that_is_not_the_model_is_refused(resnet, net):
    other = copy.deepcopy(resnet)
    other.fc.bias.data[0] += 1
    with pytest.raises(ValueError, match=r"network differs from ResNet by .* \(relative\), more than 1e-05"):
        net.certify(other, images())
    assert net.certify(other, images(), tolerance=10).chain_error > 1e-5


def test_a_view_that_is_written_into_is_refused():
    """What torch.fx cannot see, the certificate does."""

    class Aliased(Small):
        def middle(self, x):
            x.flatten(1).relu_()
            return x

    with pytest.raises(ValueError, match="differs from Aliased"):
        unravel(trained(Aliased), SHAPE)


def test_a_very_deep_network_that_overflows_is_still_unraveled():
    class Growing(Small):
        def middle(self, x):
            for factor in (1e30, 1e30):
                x = x + self.one(x) * factor
            return x

    model = trained(lambda: Growing(one=conv()))
    assert not run(model).isfinite().any()
    net = unravel(model, SHAPE)
    assert net.certificate.chain_error == 0
    assert net.certificate.failed == ()
    other = copy.deepcopy(model)
    nn.init.zeros_(other.one.weight)
    nn.init.zeros_(other.one.bias)
    with pytest.raises(ValueError, match="differs from Growing by inf"):
        net.certify(other, images())


def test_an_untraceable_model_is_one_line_that_says_where():
    with pytest.raises(UntraceableError, match=r"cannot trace BranchesOnData: line \d+ of .*tracing.py, `if y.sum"):
        unravel(trained(BranchesOnData), SHAPE)


def test_a_module_that_cannot_be_traced_is_kept_as_one_operation():
    class Holder(Small):
        def middle(self, x):
            return x + self.leaf(x)

    model = trained(lambda: Holder(leaf=Dense()))
    with pytest.raises(UntraceableError):
        unravel(model, SHAPE, trace="fx")
    net = unravel(model, SHAPE, leaves=["leaf"])
    assert [unit.name for unit in net.blocks] == ["leaf"]
    with torch.no_grad():
        assert torch.equal(run(net.delete("leaf")), model.head(model.stem(images()).mean((2, 3))))


def test_steps_can_be_put_together_freely(net):
    names = {unit.name: i for i, unit in enumerate(net.units)}
    head, tail = net.steps[: names["layer1.1"]], net.steps[names["layer2.0"] :]
    repeated = net.with_steps([*head, Step(names["layer1.0"]), Step(names["layer1.0"], scale=0.5), *tail])
    x = images()
    for step in repeated.steps:
        x = run(lambda value, step=step: repeated.run_step(step, value), x)
    assert torch.equal(run(repeated), x)
    assert torch.equal(run(repeated.to_module()), x)


def test_units_know_whether_batches_can_be_stacked():
    kinds = {unit.name: unit.is_batch_first for unit in unravel(make("tokens first"), SHAPE).units}
    assert kinds == {"flatten": False, "embed": False, "one": False, "two": False, "mean": False, "head": True}
    for model in (Projections(), Tokens(), make("batch sizes")):
        assert all(unit.is_batch_first for unit in unravel(model.eval(), SHAPE).units)


# -- networks of other libraries --------------------------------------------------------------------------------------

TORCHVISION = {  # with the smallest input each takes
    **{"resnet18": 32, "resnet50": 32, "vgg11_bn": 32, "mobilenet_v2": 32, "mobilenet_v3_small": 32},
    **{"efficientnet_b0": 32, "convnext_tiny": 32, "vit": 32, "swin_t": 64, "regnet_y_400mf": 32},
    **{"googlenet": 64, "densenet121": 32, "wide_resnet50_2": 32, "resnext50_32x4d": 32},
}
QUICK = {"resnet18", "vit"}


def of_torchvision(name):
    """One of torchvision's networks, none of its weights zero; of its transformer, a small one."""
    if name == "vit":
        sizes = {"num_layers": 3, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 24}
        model = VisionTransformer(image_size=32, patch_size=8, **sizes)
    else:
        model = resolve(f"torchvision:{name}")
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return model


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in TORCHVISION])
def test_torchvisions_networks_are_their_chains(name):
    model = trained(lambda: of_torchvision(name))
    shape = (3, TORCHVISION[name], TORCHVISION[name])
    net, x = unravel(model, shape), images(2, shape)
    expected = run(model, x)
    assert net.certificate.failed == ()
    assert torch.equal(run(net, x), expected)
    module = net.to_module()
    assert torch.equal(run(module, x), expected)
    assert set(module.state_dict()) <= set(model.state_dict())
    unused = {name.split(".")[0] for name in set(model.state_dict()) - set(module.state_dict())}
    assert unused <= {"aux1", "aux2"}
    if net.blocks:
        name = net.blocks[-1].name
        edited = net.delete(name)
        assert not torch.equal(run(edited, x), expected)
        assert torch.equal(run(edited.to_module(), x), run(edited, x))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # timm's own
@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("resnet26d", 8),
        ("vit_tiny_patch16_224", 24),
        ("regnety_002", 13),
        ("poolformer_s12", 24),
        ("repvgg_a0", 0),  # a norm beside two convolutions: one linear map in three parts
    ],
)
def test_timms_networks_are_their_chains(name, blocks):
    pytest.importorskip("timm")
    model = trained(lambda: resolve(f"timm:{name}"))
    net, x = unravel(model, (3, 224, 224)), images(1, (3, 224, 224))
    assert len(net.blocks) == blocks
    assert torch.equal(run(net, x), run(model, x))
