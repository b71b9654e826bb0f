import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from resnet_probe.gradients import Budget, class_gradients, class_norms, exact, path_norms
from tests.gradients.networks import NETWORKS, batch, data_of, model_of, network_of

BRANCHED = [name for name in NETWORKS if not name.startswith("vgg")]


def gradient_of_path(network, images, labels, taken, modules=None):
    """One path by another route: a single graph in which the other part of every block is cut off."""
    leaf = images.clone().requires_grad_()
    value, block = leaf, 0
    for unit in network.units:
        run = modules or (lambda unit, part: unit.module(part))
        if unit in network.blocks:
            around = value if unit.has_identity_shortcut else run(unit, "shortcut")(value)
            through = run(unit, "branch")(value)
            value = around.detach() + through if taken[block] else around + through.detach()
            block += 1
        else:
            value = run(unit, "whole")(value)
    loss = F.cross_entropy(value, labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, leaf, allow_unused=True)
    return gradient


def brute_force(network, images, labels):
    blocks = len(network.blocks)
    classes = torch.zeros((blocks + 1, *images.shape), dtype=images.dtype)
    for taken in itertools.product((False, True), repeat=blocks):
        classes[sum(taken)] += gradient_of_path(network, images, labels, taken)
    return classes


def close(got, expected):
    assert float((got - expected).norm()) <= 1e-5 * float(expected.norm())


@pytest.mark.parametrize("name", NETWORKS)
def test_classes_equal_the_sums_over_all_paths(name):
    network = network_of(name)
    images, labels = batch()
    found = class_gradients(network, images, labels)
    expected = brute_force(network, images, labels)
    assert found.at["input"].shape == expected.shape
    for got, wanted in zip(found.at["input"], expected, strict=True):
        close(got, wanted)
    assert found.identity_error < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("batch_norm", ["eval", "train"])
def test_classes_add_up_to_the_gradient_of_the_model_itself(name, batch_norm):
    model = model_of(name)
    images, labels = batch(4)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = class_gradients(network_of(name), images, labels, batch_norm=batch_norm)
    leaf = images.clone().requires_grad_()
    if batch_norm == "train":
        for part in model.modules():
            part.training = isinstance(part, torch.nn.BatchNorm2d)
    (expected,) = torch.autograd.grad(F.cross_entropy(model(leaf), labels, reduction="sum"), leaf)
    close(found.at["input"].sum(0), expected)
    close(found.total, expected)
    if batch_norm == "eval":
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_nothing_of_the_callers_model_changes():
    network = network_of("resnet8-w4")
    module = network.anatomy.traced.module
    before = {key: value.clone() for key, value in module.state_dict().items()}
    state = torch.random.get_rng_state()
    class_norms(network, data_of(), batch_norm="train", batch_size=4)
    class_gradients(network, *batch(), parameters=["layer1.0"])
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert all(value.grad is None and value.requires_grad for value in module.parameters())
    assert not any(part.training for part in module.modules())
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("name", ["resnet8-B-w4", "resnet8-preact-w4", "transformer", "shared"])
def test_gradients_at_trunk_points_equal_those_of_the_rest_of_the_network(name):
    network = network_of(name)
    images, labels = batch()
    names = [unit.name for unit in network.units]
    found = class_gradients(network, images, labels, at=names)
    value = images
    for position, unit in enumerate(network.units):
        leaf = value.detach().requires_grad_()
        rest = leaf
        for later in network.units[position:]:
            rest = later.module()(rest)
        (expected,) = torch.autograd.grad(F.cross_entropy(rest, labels, reduction="sum"), leaf)
        close(found.at[unit.name].sum(0), expected)
        assert len(found.at[unit.name]) == 1 + sum(later in network.blocks for later in network.units[position:])
        value = unit.module()(value)


@pytest.mark.parametrize("name", ["resnet8-B-w4", "resnet8-preact-w4", "mobilenet", "transformer"])
def test_parameter_gradients_add_up_to_those_of_the_model(name):
    network, model = network_of(name), model_of(name)
    images, labels = batch()
    found = class_gradients(network, images, labels, parameters=[unit.name for unit in network.units])
    F.cross_entropy(model(images), labels, reduction="sum").backward()
    expected = {key: value.grad for key, value in model.named_parameters()}
    seen = set()
    for unit, parts in found.parameters.items():
        for key, gradient in parts.items():
            close(gradient.sum(0), expected[key])
            assert len(gradient) <= len(network.blocks) + 1
            if unit in [block.name for block in network.blocks] and "downsample" not in key:
                assert not gradient[0].any()  # who stands in a branch is one branch away from the loss at least
            seen.add(key)
    assert len(seen) >= 0.9 * len(expected)


def test_weights_that_several_blocks_share_are_split_by_block():
    network, model = network_of("shared"), model_of("shared")
    images, labels = batch()
    units = [unit.name for unit in network.blocks]
    found = class_gradients(network, images, labels, parameters=units)
    F.cross_entropy(model(images), labels, reduction="sum").backward()
    total = sum(found.parameters[unit]["shared.weight"].sum(0) for unit in units)
    close(total, model.shared.weight.grad)


@pytest.mark.parametrize("stack", [1, 3, 7, 64])
@pytest.mark.parametrize("name", ["resnet8-B-w4", "transformer"])
def test_how_many_vectors_go_together_does_not_matter(name, stack):
    network = network_of(name)
    images, labels = batch()
    expected = class_gradients(network, images, labels, stack=3, parameters=[network.blocks[0].name])
    found = class_gradients(network, images, labels, stack=stack, parameters=[network.blocks[0].name])
    close(found.at["input"], expected.at["input"])
    for key, value in expected.parameters[network.blocks[0].name].items():
        close(found.parameters[network.blocks[0].name][key], value)


def test_an_edited_chain_has_the_classes_of_what_remains():
    network = network_of("resnet8-w4")
    images, labels = batch()
    lesioned = class_gradients(network.delete("layer2.0"), images, labels)
    assert len(lesioned.at["input"]) == 3
    scaled = class_gradients(network.scale({"layer2.0": 0.0}), images, labels)
    close(scaled.at["input"][:3], lesioned.at["input"])
    assert not scaled.at["input"][3].any()


def test_streamed_norms_do_not_depend_on_how_images_are_batched():
    network, data = network_of("resnet8-w4"), data_of(10)
    ((images, labels),) = data.batches(10)
    found = class_gradients(network, images, labels)
    for size in (1, 3, 10, 50):
        norms = class_norms(network, data, batch_size=size)
        torch.testing.assert_close(norms.norms, found.at["input"].flatten(2).norm(dim=2).double(), rtol=1e-4, atol=0)
        expected = (found.at["input"] * found.total).sum((1, 2, 3, 4)) / found.total.square().sum()
        torch.testing.assert_close(norms.shares.float(), expected, rtol=1e-4, atol=1e-6)
        assert float(norms.shares.sum()) == pytest.approx(1, abs=1e-5)
    assert norms.images_at_a_time == 10


@pytest.mark.parametrize("gap", [0.0, 5.0, 17.0, 40.0, 80.0])
def test_gradient_at_the_output_keeps_its_digits_where_the_network_is_sure(gap):
    scores = torch.tensor([[gap, 0.0, -1.5], [1.0, gap, 2.0]])
    labels = torch.tensor([0, 1])
    wide = scores.double().requires_grad_()
    (expected,) = torch.autograd.grad(torch.nn.functional.cross_entropy(wide, labels, reduction="sum"), wide)
    expected[[0, 1], labels] = -(expected.sum(1) - expected[[0, 1], labels])  # float64 ends at a gap of 37
    torch.testing.assert_close(exact.loss_gradient(scores, labels).double(), expected, rtol=1e-5, atol=0)


def test_streamed_norms_take_a_loss_of_ones_own():
    network, data = network_of("resnet8-w4"), data_of(10)
    ((images, labels),) = data.batches(10)

    def score(output, labels):
        return output[:, 3] ** 2

    found = class_gradients(network, images, labels, loss=score)
    norms = class_norms(network, data, batch_size=3, loss=score)
    torch.testing.assert_close(norms.norms, found.at["input"].flatten(2).norm(dim=2).double(), rtol=1e-4, atol=0)


def test_a_network_without_blocks_has_one_class():
    norms = class_norms(network_of("vgg11-w4"), data_of(4))
    assert norms.norms.shape == (1, 4)
    assert norms.shares.tolist() == pytest.approx([1], abs=1e-6)


def test_float64_is_exact_to_its_own_precision():
    network = network_of("resnet8-preact-w4", dtype=torch.float64)
    assert class_gradients(network, *batch(dtype=torch.float64)).identity_error < 1e-14
    assert class_norms(network, data_of(3)).identity_error < 1e-14


def test_gradients_that_do_not_add_up_are_refused(monkeypatch):
    network = network_of("resnet8-w4")
    right = exact.back

    def wrong(tape, link, classes):
        return [value * 1.001 for value in right(tape, link, classes)]

    monkeypatch.setattr(exact, "back", wrong)
    with pytest.raises(RuntimeError, match=r"relative error of 0\.\d+, above 1e-05"):
        class_gradients(network, *batch())


def test_nan_weights_and_images_are_named():
    network = network_of("resnet8-w4")
    images, labels = batch()
    images[1, 0, 0, 0] = math.nan
    with pytest.raises(RuntimeError, match="not finite; look for NaN"):
        class_gradients(network, images, labels)
    with pytest.raises(RuntimeError, match="not finite; look for NaN"):
        path_norms(network, images, labels, torch.zeros((1, 1, 3), dtype=torch.bool))
    next(network.anatomy.traced.module.parameters()).data[0] = math.nan
    with pytest.raises(RuntimeError, match="not finite; look for NaN"):
        class_norms(network, data_of(2))


def test_wrong_questions_are_answered():
    network = network_of("resnet8-w4")
    images, labels = batch()
    with pytest.raises(LookupError, match="no unit 'layer9' in the chain; give 'input' or one of conv1"):
        class_gradients(network, images, labels, at=["layer9"])
    with pytest.raises(LookupError, match="no unit 'input' in the chain; give one of conv1"):
        class_gradients(network, images, labels, parameters=["input"])
    with pytest.raises(LookupError, match="no batch norm mode 'both'; choose one of eval, train"):
        class_gradients(network, images, labels, batch_norm="both")
    with pytest.raises(ValueError, match="labels from 10 to 10 for a network of 10 classes"):
        class_gradients(network, images, torch.full_like(labels, 10))


def test_labels_that_are_all_wrong_are_only_another_question():
    network = network_of("resnet8-w4")
    images, labels = batch()
    with torch.no_grad():
        worst = network(images).argmin(1)
    found = class_gradients(network, images, worst)
    assert found.identity_error < 1e-5
    assert found.total.norm() > 0
    assert class_gradients(network, images[:1], labels[:1], batch_norm="train").identity_error < 1e-5


def test_budget_decides_how_many_images_go_together():
    network, data = network_of("resnet8-w4"), data_of(12)
    each = exact.image_bytes(network, vectors=4)
    assert class_norms(network, data, batch_size=12, budget=Budget(5 * each)).images_at_a_time == 5
    with pytest.raises(ValueError, match=r"one image needs about .* GiB, and the memory budget is"):
        class_norms(network, data, budget=Budget(each - 1))
    with pytest.raises(ValueError, match=r"a batch of 12 images needs .* give a larger budget or a smaller batch"):
        class_norms(network, data, batch_size=12, batch_norm="train", budget=Budget(5 * each))
    with pytest.raises(ValueError, match=r"a memory budget of .* GiB, but the machine has"):
        Budget(2**60)
    with pytest.raises(ValueError, match="it must be above 0"):
        Budget(0)


def score(output, labels):
    return output[:, 3]


def cross_entropy(output, labels):
    return F.cross_entropy(output, labels, reduction="none")


def to_target(output, targets):
    return (output - targets).square().sum(1)


@pytest.mark.parametrize(
    ("loss", "labels"), [(score, None), (cross_entropy, None), (to_target, torch.ones(3, 10))], ids=lambda each: None
)
def test_a_loss_of_ones_own(loss, labels):
    """Oracle: autograd through the undivided model, and through its part after the second block."""
    model, network = model_of("resnet8-B-w4"), network_of("resnet8-B-w4")
    images, usual = batch()
    labels = usual if labels is None else labels
    point = network.blocks[1].name
    found = class_gradients(network, images, labels, loss=loss, at=["input", point])
    leaf, value = images.clone().requires_grad_(), images
    (expected,) = torch.autograd.grad(loss(model(leaf), labels).sum(), leaf)
    close(found.at["input"].sum(0), expected)
    with torch.no_grad():
        for unit in network.units[: network.units.index(network.blocks[1])]:
            value = unit.module()(value)
    after = start = value.requires_grad_()
    for unit in network.units[network.units.index(network.blocks[1]) :]:
        after = unit.module()(after)
    (expected,) = torch.autograd.grad(loss(after, labels).sum(), start)
    close(found.at[point].sum(0), expected)
    if loss is cross_entropy:
        close(found.at["input"], class_gradients(network, images, labels).at["input"])


def test_a_loss_that_does_not_depend_on_the_output_is_refused():
    images, labels = batch()
    with pytest.raises(ValueError, match="does not depend on the output"):
        class_gradients(network_of("resnet8-B-w4"), images, labels, loss=lambda output, labels: labels.float())
