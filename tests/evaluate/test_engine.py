"""What `evaluate` makes of networks of every form, against a serial loop over the chains themselves."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from resnet_probe.data import Data
from resnet_probe.evaluate import Executor, FastUnits, Sweep, evaluate, grow, run_tree
from resnet_probe.evaluate.calibrate import ChunkPlan
from resnet_probe.tasks import CLASSIFICATION
from resnet_probe.unraveled import unravel
from tests.anatomy.test_tracing import same, snapshot
from tests.networks import IN_PLACE, MADE, SHAPE, Buffers, InPlace, Small, conv, images, make, trained

CLASSES = 5


def noise(count=11, classes=CLASSES):
    generator = torch.Generator().manual_seed(2)
    pixels = torch.randint(0, 256, (count, *SHAPE), generator=generator, dtype=torch.uint8)
    labels = torch.arange(count) % classes
    return Data("noise", "test", pixels, labels, tuple(map(str, range(classes))), "0.5;0.25")


def variants_of(net):
    """Single deletions, all of them at once, scales, and pairs in another order where that is possible."""
    names = [unit.name for unit in net.surgical]
    found = {"": net, **{name: net.delete(name) for name in names}, "all": net.delete(*names)}
    found |= {f"half {unit.name}": net.scale({unit.name: 0.5}) for unit in net.blocks}
    for one, other in zip(net.blocks, net.blocks[1:], strict=False):
        shapes = {(unit.plan.in_shape, unit.plan.out_shape) for unit in (one, other)}
        if len(shapes) == 1:
            found[f"{other.name} first"] = net.reorder([other.name, one.name])
    return found


class Reused(Small):
    """Convolution, norm and activation of the same branch are called twice."""

    def __init__(self):
        super().__init__(one=conv(), bn=nn.BatchNorm2d(4), relu=nn.ReLU())

    def middle(self, x):
        return x + self.bn(self.one(self.relu(self.bn(self.one(x)))))


class Tied(Small):
    """Two convolutions share one weight; one is followed by a norm, the other is not."""

    def __init__(self):
        super().__init__(one=conv(), two=conv(), bn=nn.BatchNorm2d(4))
        self.two.weight = self.one.weight

    def middle(self, x):
        x = x + self.bn(self.one(x))
        return x + self.two(x)


class ReadsBefore(Small):
    """What an activation and a norm get is read by something else too."""

    def __init__(self):
        super().__init__(one=conv(), bn=nn.BatchNorm2d(4), relu=nn.ReLU())

    def middle(self, x):
        y = self.one(x)
        return x + self.relu(y) + self.bn(y) + y


class AddsSizes(Small):
    def __init__(self):
        super().__init__(one=conv())

    def middle(self, x):
        n, m = x.shape[1], x.shape[2]
        return x + self.one(x + (n + m)) + (n + m)


FORMS = {**MADE, "reused": Reused, "tied": Tied, "reads before": ReadsBefore, "adds sizes": AddsSizes}


@cache
def chain(name):
    return unravel(trained(FORMS[name]), SHAPE)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_every_variant_scores_as_its_chain_does_alone(name):
    net, data = chain(name), noise(classes=10 if name == "tokens first" else CLASSES)
    variants = variants_of(net)
    with torch.no_grad():
        (x, y), *_ = data.batches(len(data))
        outputs = {key: variant(x) for key, variant in variants.items()}
    intact = outputs[""].argmax(1)
    scores = evaluate(net, {key: v.steps for key, v in variants.items()}, data, sweep=Sweep(batch_size=4))
    assert list(scores) == list(variants)
    for key, score in scores.items():
        predicted = outputs[key].argmax(1)
        assert (score.wrong, score.images) == ((predicted != y).sum(), len(data)), key
        assert score.changed == (predicted != intact).sum(), key
        assert score.loss == pytest.approx(F.cross_entropy(outputs[key], y).item(), rel=1e-5), key


@pytest.mark.parametrize("stack", [6, 1000])
@pytest.mark.parametrize("name", [*FORMS])
def test_stacking_does_not_mix_images_or_variants(name, stack):
    """Stacks of some variants, and all variants in one; stacks of one are in the test before."""
    net, x = chain(name), images(3)
    variants = variants_of(net)
    units = FastUnits(net, fold=False)
    tree = grow([variant.steps for variant in variants.values()], net.is_identity)
    with torch.no_grad():
        found = run_tree(tree, units, x, stack=stack)
        for output, variant in zip(found, variants.values(), strict=True):
            torch.testing.assert_close(output, variant(x), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["blocks", "tokens first", "concatenated", "plain"])
def test_neither_batch_size_nor_order_nor_company_matters(name, monkeypatch):
    net, data = unravel(make(name), SHAPE), noise(classes=10 if name == "tokens first" else CLASSES)
    variants = {key: variant.steps for key, variant in variants_of(net).items()}
    first = evaluate(net, variants, data, sweep=Sweep(batch_size=11))
    backwards = {"": variants[""], **dict(reversed(variants.items()))}
    for chunk, stack in ((1, 1), (4, 4), (3, 50), (11, 1000)):
        monkeypatch.setattr(Executor, "plan", lambda *_, cut=(chunk, stack), **__: ChunkPlan(*cut))
        for order in (variants, backwards):
            found = evaluate(net, order, data)
            assert {key: (s.wrong, s.changed, s.images) for key, s in found.items()} == {
                key: (s.wrong, s.changed, s.images) for key, s in first.items()
            }
            assert {key: s.loss for key, s in found.items()} == pytest.approx({k: s.loss for k, s in first.items()})
    alone = {key: evaluate(net, {"": net.steps, key: steps}, data)[key] for key, steps in variants.items()}
    assert {key: s.wrong for key, s in alone.items()} == {key: s.wrong for key, s in first.items()}


@pytest.mark.parametrize("factory", [lambda: InPlace(IN_PLACE[0]), Buffers, MADE["blocks"], Reused])
def test_the_model_is_not_changed(factory):
    model = trained(factory)
    net = unravel(model, SHAPE)
    before, random_state = snapshot(model), torch.random.get_rng_state()
    with torch.no_grad():
        before_it = net(images())
        evaluate(net, {key: v.steps for key, v in variants_of(net).items()}, noise())
        assert torch.equal(net(images()), before_it)
    assert same(snapshot(model), before)
    assert torch.equal(torch.random.get_rng_state(), random_state)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm, nn.utils.spectral_norm])
def test_weights_that_are_computed_are_evaluated_too(norm):
    class Normed(Small):
        def middle(self, x):
            return x + self.bn(self.one(x))

    net = unravel(trained(lambda: Normed(one=norm(conv()), bn=nn.BatchNorm2d(4))), SHAPE)
    score = evaluate(net, {"": net.steps}, noise())[""]
    (x, y), *_ = noise().batches(11)
    with torch.no_grad():
        assert score.loss == pytest.approx(F.cross_entropy(net(x), y).item(), rel=1e-5)


def test_precision_and_classes_are_checked():
    net = unravel(make("blocks"), SHAPE)
    with pytest.raises(ValueError, match="unknown precision 'fp8': give one of fp32, bf16, fp16"):
        evaluate(net, {"": net.steps}, noise(), sweep=Sweep(precision="fp8"))
    with pytest.raises(ValueError, match="the network has 5 classes and noise has 7"):
        evaluate(net, {"": net.steps}, noise(classes=7))
    with pytest.raises(ValueError, match="no variants to evaluate"):
        evaluate(net, {}, noise())


class Waits(TorchDispatchMode):
    """Counts what a device would make the host wait for: values that are read, and shapes that depend on values."""

    ops = ("_local_scalar_dense", "item", "nonzero", "masked_select", "equal", "is_nonzero", "unique")

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.found += [func.__name__] if func.__name__.partition(".")[0] in self.ops else []
        return func(*args, **(kwargs or {}))


def test_no_value_is_read_while_units_run():
    net = unravel(make(Reused), SHAPE)
    variants = [each.steps for each in variants_of(net).values()]
    tree, units, labels = grow(variants, net.is_identity), FastUnits(net), torch.zeros(6, dtype=torch.int64)
    x = images(6)
    with torch.inference_mode():
        outputs = run_tree(tree, units, x, stack=12)  # makes the units ready
        with Waits() as waits:
            for output in run_tree(tree, units, x, stack=12):
                CLASSIFICATION.measure(output, labels, outputs[0])
            assert waits.found == []
            outputs[0].max().item()
    assert len(waits.found) == 1
