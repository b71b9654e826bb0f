"""The second way of tracing: what torch.export yields is what torch.fx yields, and what plain PyTorch computes."""

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_probe import unravel
from resnet_probe.anatomy import UntraceableError, dissect, for_inference, trace
from resnet_probe.models import resolve
from tests.networks import SHAPE, Small, conv, images, make, trained


def run(module, x=None):
    with torch.no_grad():
        return module(images() if x is None else x)


def snapshot(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()} | {"training": model.training}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) if k != "training" else a[k] == b[k] for k in a)


def layer():
    return nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU(inplace=True))


class Odd(Small):
    """Nothing here can be followed by torch.fx: lambdas, a padded odd size, slices that are written."""

    def __init__(self):
        super().__init__(blocks=nn.ModuleList([layer(), layer(), layer()]))

    def middle(self, x):
        if x.shape[-1] % 2:
            x = F.pad(x, (0, 1, 0, 1))
        for block in [lambda value, each=each: each(value) for each in self.blocks]:
            y = torch.zeros_like(x)
            y[:, :2], y[:, 2:] = x[:, :2], x[:, 2:]
            x = x + block(y)
        return x


def zeroed(model, path, *given):
    """What the model yields where one of its modules yields zeros."""
    hook = model.get_submodule(path).register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    try:
        with torch.no_grad():
            return model(*given)
    finally:
        hook.remove()


@pytest.fixture(scope="module")
def odd():
    model = trained(Odd)
    return model, unravel(model, SHAPE)


@pytest.mark.parametrize("arch", ["resnet8-w4", "vgg11-w4"])
def test_both_ways_find_the_same_units(arch):
    model = resolve(arch).eval()
    fx, export = (dissect(model, (3, 32, 32), way=way) for way in ("fx", "export"))
    for one, other in zip(fx.units, export.units, strict=True):
        assert one.kind == other.kind
        assert one.kind == "other" or one.name == other.name
        for what in ("in_shape", "out_shape", "stage", "shortcut", "module_polynomial", "layer_polynomial"):
            assert getattr(one, what) == getattr(other, what), (one.name, what)
    called = [[n.target for n in each.traced.module.graph.nodes if n.op == "call_module"] for each in (fx, export)]
    assert called[0] == called[1]
    assert (export.traced.way, export.traced.why) == ("export", "")


@pytest.mark.parametrize("side", [8, 7])
def test_deleting_a_block_is_what_zeroing_it_is(side, odd):
    model = odd[0]
    net = odd[1] if side == 8 else unravel(model, (3, side, side))
    assert [block.name for block in net.blocks] == ["blocks.0", "blocks.1", "blocks.2"]
    assert [block.plan.layer_polynomial for block in net.blocks] == [(1, 1)] * 3
    for block, x in product(net.blocks, [images(batch, (3, side, side)) for batch in (1, 2, 5)]):
        assert torch.allclose(run(net.delete(block.name), x), zeroed(model, block.name, x), atol=1e-6, rtol=0)
        assert not torch.allclose(run(net.delete(block.name), x), run(net, x))


def test_why_the_second_way_was_taken_is_known(odd):
    traced = odd[1].anatomy.traced
    assert traced.way == "export"
    assert traced.why.startswith("torch.fx cannot trace Odd: line")
    assert __file__ in traced.why
    with pytest.raises(UntraceableError):
        trace(trained(Odd), SHAPE, way="fx")


def test_parameters_are_the_models_own_and_the_model_stays_as_it_is():
    model = trained(Odd).train()
    before = snapshot(model)
    net = unravel(model, SHAPE)
    assert same(snapshot(model), before)
    edited = net.delete("blocks.1").to_module()
    own = dict(model.named_parameters())
    assert all(value is own[name] for name, value in edited.named_parameters())
    assert edited.state_dict().keys() == {name for name in model.state_dict() if not name.startswith("blocks.1")}
    assert same(dict(net.anatomy.traced.module.state_dict()), model.state_dict())
    before = run(edited)
    with torch.no_grad():
        model.head.bias += 1
    assert torch.allclose(run(edited), before + 1)


def test_gradients_and_training_go_through_its_layers():
    model, x = trained(Odd), images(4)
    edited = unravel(model, SHAPE).delete("blocks.1").to_module()
    model.blocks[1][1].weight.data, model.blocks[1][1].bias.data = torch.zeros(4), torch.zeros(4)
    for mode in (False, True):  # in training mode batch norms take the statistics of the batch, and keep them
        grads = [torch.autograd.grad(each.train(mode)(x).sum(), each.stem.weight)[0] for each in (edited, model)]
        assert torch.allclose(*grads, atol=1e-5)
    assert edited.get_submodule("blocks.0.1").num_batches_tracked == 2  # shared, and both have seen the batch


def test_batch_norm_is_folded_as_with_torch_fx(odd):
    net = odd[1]
    folded = for_inference(net.to_module(), fold=True)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
    assert torch.allclose(folded(images()), run(net), atol=1e-5)


@pytest.mark.parametrize("kind", ["tuple", "list", "dict", "dataclass", "named tuple"])
@pytest.mark.parametrize("way", ["fx", "export"])
def test_several_outputs_keep_their_structure(kind, way):
    model = trained(lambda: Several(kind))
    net = unravel(model, SHAPE, trace=way)
    found, expected = net.delete("one")(images()), zeroed(model, "one", images())
    assert type(found) is type(expected)
    read = {"dataclass": vars, "named tuple": lambda value: value._asdict()}.get(kind, lambda value: value)
    pairs = zip(*(v.values() if isinstance(v := read(value), dict) else v for value in (found, expected)), strict=True)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)
    assert net.anatomy.traced.outputs == 2


@dataclass
class Output:
    logits: Tensor
    features: Tensor


class Pair(NamedTuple):
    logits: Tensor
    features: Tensor


class Several(Small):
    def __init__(self, kind="dict"):
        super().__init__(one=conv())
        self.kind = kind

    def forward(self, x):
        x = self.stem(x)
        x = x + self.one(x)
        both = {"logits": self.head(x.mean((2, 3))), "features": x}
        if self.kind == "dataclass":
            return Output(**both)
        if self.kind == "named tuple":
            return Pair(*both.values())
        return both if self.kind == "dict" else {"tuple": tuple, "list": list}[self.kind](both.values())


class Tokens(nn.Module):
    """Two inputs, one of them integers; a mask that every block reads."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.one, self.two = (nn.Sequential(nn.Linear(8, 8), nn.GELU()) for _ in range(2))
        self.head = nn.Linear(8, 3)

    def forward(self, tokens, mask=None):
        assert not tokens.is_floating_point()
        x = self.embed(tokens)
        mask = torch.ones(tokens.shape) if mask is None else mask
        x = x + self.one(x) * mask[..., None]
        x = x + self.two(x) * mask[..., None]
        return self.head(x.mean(1))


TOKENS = torch.tensor([[1, 5, 10, 3], [0, 2, 2, 7], [9, 9, 1, 4]])
MASK = torch.tensor([[1.0, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]])


@pytest.mark.parametrize("given", [TOKENS, (TOKENS, MASK), {"mask": MASK, "tokens": TOKENS}, [TOKENS, MASK]])
def test_integers_and_several_inputs(given):
    torch.manual_seed(0)
    model = Tokens().eval()
    net = unravel(model, given)
    assert [block.name for block in net.blocks] == ["one", "two"]
    assert len(net.links) == (2 if given is TOKENS else 0)  # a mask passes by the blocks
    rest = () if given is TOKENS else (MASK,)
    for block in net.blocks:
        found, expected = run(net.delete(block.name), given), zeroed(model, block.name, TOKENS, *rest)
        assert torch.allclose(found, expected, atol=1e-6)
        assert torch.equal(net.delete(block.name).to_module()(given), found)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tokens": TOKENS, "mask": MASK[:2]}, r"batches of \[2, 3\] given"),
        ((TOKENS, 3), "a int given as an input"),
        (torch.tensor(3), "a single number given as an input"),
        ((TOKENS[:, :, None], MASK), "does not accept|torch.export stopped"),
    ],
)
def test_inputs_of_another_form_are_refused_in_one_line(given, message):
    with pytest.raises(ValueError, match=message) as caught:
        unravel(Tokens().eval(), given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(6,), (3, 16), (3, 4, 8, 8)])
def test_vectors_and_signals_and_volumes(shape):
    kinds = {1: nn.Linear, 2: nn.Conv1d, 4: nn.Conv3d}
    make_layer = kinds[len(shape)]
    options = {} if len(shape) == 1 else {"kernel_size": 3, "padding": 1}

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = make_layer(shape[0], shape[0], **options)

        def forward(self, x):
            return x + self.one(x)

    model = Net().eval()
    for way in ("fx", "export"):
        net = unravel(model, shape, trace=way)
        assert [block.name for block in net.blocks] == ["one"]
        assert torch.equal(run(net.delete("one"), images(5, shape)), images(5, shape))


def test_a_condition_on_the_number_of_inputs_is_refused_in_one_line():
    class Asker(Small):
        def middle(self, x):
            return x * 2 if x.shape[0] == 1 else x

    with pytest.raises(ValueError, match=r"on a batch of 1: .*asks for the number of inputs") as caught:
        unravel(trained(Asker), SHAPE)
    assert "\n" not in str(caught.value)


def test_what_neither_way_can_follow_is_told_as_torch_fx_tells_it():
    class Asker(Small):
        def middle(self, x):
            return x * 2 if x.sum() > 0 else x

    with pytest.raises(UntraceableError, match="depends on values"):
        unravel(trained(Asker), SHAPE)
    with pytest.raises(UntraceableError, match=r"torch\.export stopped: "):
        unravel(trained(Asker), SHAPE, trace="export")


def test_the_weights_need_no_values():
    traced = trace(make("blocks").to("meta"), SHAPE, way="export")
    assert traced.shape(traced.result) == (2, 5)


def test_modules_that_hold_layers_are_opened():
    class Closed(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(conv(), nn.ReLU())

        def forward(self, x):
            y = torch.zeros_like(x)
            y[:] = x
            return y + self.inner(y)

    model = trained(lambda: nn.Sequential(conv(3), Closed()))
    net = unravel(model, SHAPE)
    assert [block.name for block in net.blocks] == ["1"]
    assert not net.anatomy.unopened
    kept = unravel(model, SHAPE, leaves=["1"])
    assert kept.anatomy.traced.way == "fx"
    assert kept.anatomy.unopened == {"1": sum(p.numel() for p in model[1].parameters())}


@pytest.mark.parametrize("kind", ["dict", "dataclass", "tuple", "named tuple"])
def test_one_of_several_outputs_can_be_followed(kind):
    model, name = trained(lambda: Several(kind)), "0" if kind == "tuple" else "logits"
    net = unravel(model, SHAPE, output=name)
    x = model.stem(images())
    assert torch.allclose(run(net), model.head((x + model.one(x)).mean((2, 3))), atol=1e-6)
    assert torch.allclose(run(net.delete("one").to_module()), model.head(x.mean((2, 3))), atol=1e-6)
    assert net.anatomy.traced.outputs == 1
    with pytest.raises(LookupError, match="no output 'aux' of a tensor; there are"):
        unravel(model, SHAPE, output="aux")
