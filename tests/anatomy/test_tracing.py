import copy
import inspect
import logging

import networkx as nx
import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

from resnet_probe.anatomy import BATCHES, UntraceableError, share_tensors, trace, unwrap
from resnet_probe.anatomy.cleaning import IN_PLACE_OPERATORS
from tests.networks import IN_PLACE, MADE, SHAPE, Block, Buffers, InPlace, Small, Tokens, conv, images, make, trained


def operations(traced):
    return [(node.op, node.target) for node in traced.module.graph.nodes]


def run(traced, x):
    with torch.no_grad():
        return traced.module(x)


@pytest.mark.parametrize("name", MADE)
def test_the_traced_copy_computes_what_the_model_computes_and_leaves_its_input_alone(name):
    model, x = make(name), images()
    with torch.no_grad():
        expected = model(x.clone())
    traced, before = trace(model, SHAPE), x.clone()
    assert torch.equal(run(traced, x), expected)
    assert torch.equal(x, before)


@pytest.mark.parametrize("write", IN_PLACE)
def test_no_in_place_operation_is_left(write):
    traced = trace(make(lambda: InPlace(write)), SHAPE)
    written = {}  # every value is made once and never changed
    with torch.no_grad():
        interpreter = torch.fx.Interpreter(traced.module)
        interpreter.garbage_collect_values = False
        interpreter.run(images())
        for node, value in interpreter.env.items():
            if isinstance(value, torch.Tensor):
                written[node] = value._version
    assert set(written.values()) == {0}
    assert not {target for _, target in operations(traced)} & set(IN_PLACE_OPERATORS)


class WritesItsInput(Small):
    def forward(self, x):
        x.sub_(0.5).div_(0.25)
        return super().forward(x)

    def middle(self, x):
        return x


def test_a_model_that_writes_into_its_input_is_traced_without_that():
    model, x = trained(WritesItsInput), images()
    traced, before = trace(model, SHAPE), x.clone()
    result = run(traced, x)
    assert torch.equal(x, before)
    assert torch.equal(result, model(x))
    assert not torch.equal(x, before)


class Counts(Small):
    """Numbers change with `+=` as well, but a number is no tensor: its other names keep the old value."""

    def middle(self, x):
        n = x.shape[1]
        m = n
        n += 2
        h = x.size(2)
        h //= 2
        return x.reshape(-1, m, h, 2, x.dim() * n // 3).flatten(2).reshape(x.shape)


def test_numbers_that_change_are_not_tensors_that_change():
    model = trained(Counts)
    assert torch.equal(run(trace(model, SHAPE), images()), model(images()))


def snapshot(model):
    """Everything about a model that could be changed by accident."""
    return {
        "tensors": {
            name: (t.data_ptr(), t._version, t.clone()) for name, t in model.state_dict(keep_vars=True).items()
        },
        "grads": {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()},
        "needs": {name: p.requires_grad for name, p in model.named_parameters()},
        "modes": {name: module.training for name, module in model.named_modules()},
        "inplace": {name: getattr(module, "inplace", None) for name, module in model.named_modules()},
        "hooks": {
            name: {key: list(v) for key, v in vars(m).items() if key.endswith("_hooks")}
            for name, m in model.named_modules()
        },
        "attributes": {name: sorted(vars(module)) for name, module in model.named_modules()},
    }


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize("name", ["blocks", "tokens", "buffers", "in place, positional"])
def test_the_callers_model_is_not_changed(name):
    model = make(name).train()
    next(model.children()).eval().weight.requires_grad_(False)
    model.head.register_forward_hook(lambda *_: None)
    model(images()).sum().backward()
    before, random_state = snapshot(model), torch.random.get_rng_state()
    trace(model, SHAPE)
    assert same(snapshot(model), before)
    assert torch.equal(torch.random.get_rng_state(), random_state)


def test_tensors_are_shared_and_the_callers_hooks_are_not():
    model, fired = make("blocks"), []
    model.stem.register_forward_hook(lambda *_: fired.append("forward"))
    model.blocks.register_forward_pre_hook(lambda *_: fired.append("before"))
    model.head.register_full_backward_hook(lambda *_: fired.append("backward"))
    clone = share_tensors(model)
    clone(images())
    assert fired == []
    ours, theirs = clone.state_dict(keep_vars=True), model.state_dict(keep_vars=True)
    assert ours.keys() == theirs.keys()
    assert all(ours[name] is theirs[name] for name in theirs)
    assert not any(a is b for a, b in zip(clone.modules(), model.modules(), strict=True))
    traced = trace(model, SHAPE)
    run(traced, images())
    assert fired == []
    assert traced.module.stem.weight is model.stem.weight


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.spectral_norm, nn.utils.parametrizations.weight_norm])
def test_hooks_that_compute_a_weight_are_kept(norm):
    model = trained(lambda: Small(one=norm(conv())))
    model.middle = model.one
    with torch.no_grad():
        for parameter in model.one.parameters():
            parameter.mul_(2)  # the weight that the hook left behind at first is stale now
    clone = share_tensors(model)
    with torch.no_grad():
        assert torch.equal(clone.one(images(2, (4, 8, 8))), model.one(images(2, (4, 8, 8))))


def test_wrappers_are_taken_off():
    model = make("flat")
    assert unwrap(nn.DataParallel(torch.compile(nn.DataParallel(model)))) is model
    assert unwrap(model) is model
    traced = trace(nn.DataParallel(model), SHAPE)
    assert traced.module.stem.weight is model.stem.weight


def test_values_are_known_for_two_batch_sizes():
    traced = trace(make("batch sizes"), SHAPE)
    by_name = {node.name: node for node in traced.module.graph.nodes}
    assert [traced.shape(by_name["stem"], batch) for batch in (0, 1)] == [(BATCHES[0], 4, 8, 8), (BATCHES[1], 4, 8, 8)]
    sizes = [node for node, values in traced.values.items() if isinstance(values[0], int) and values == BATCHES]
    assert len(sizes) == 1
    assert not any(traced.carries_data(node) or traced.shape(node) for node in sizes)
    assert traced.carries_data(traced.result)
    assert traced.shape(traced.result) == (BATCHES[0], 5)


def test_tensors_made_from_sizes_carry_no_data():
    traced = trace(make("positions"), SHAPE)
    (ones,) = [node for node in traced.values if node.name.startswith("ones_like")]
    assert not traced.carries_data(ones)
    assert traced.shape(ones) == (BATCHES[0], 4, 8, 8)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_no_values_are_kept(device):
    with torch.device(device):
        model = Tokens().eval()
    traced = trace(model, SHAPE)
    for node, (value, _) in traced.values.items():
        if isinstance(value, torch.Tensor) and node.op != "get_attr":
            assert value.is_meta or isinstance(value, torch._subclasses.FakeTensor)
    assert traced.shape(traced.result) == (2, 5)


def test_precision_and_inputs_other_than_images_are_the_models():
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)).double().eval()
    traced = trace(model, (6,))
    assert traced.values[traced.source][0].dtype is torch.float64
    assert traced.input_shape == (6,)


def test_batch_norm_is_given_its_shape_without_being_run():
    """A shortcut in the recording: compare with what every module yields on real images."""
    model, seen = make("blocks"), {}
    for name, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda m, a, y, name=name: seen.setdefault(name, []).append(tuple(y.shape)))
    traced, told = trace(model, SHAPE), {}
    model(images(BATCHES[1]))
    for node in traced.values:
        if node.op == "call_module":
            told.setdefault(node.target, []).append(traced.shape(node, 1))
    assert told == seen


def test_what_is_saved_is_what_the_model_saves():
    model = trained(Buffers)
    traced = trace(model, SHAPE)
    assert traced.module.state_dict().keys() == model.state_dict().keys() == traced.saved
    again = trace(traced.module, SHAPE)
    assert again.module.state_dict().keys() == traced.saved


def test_names_survive_a_second_trace():
    traced = trace(make("blocks"), SHAPE)
    again = trace(traced.module, SHAPE)
    stacks = [
        [list(n.meta.get("nn_module_stack") or {}) for n in t.module.graph.nodes if n.op == "call_module"]
        for t in (traced, again)
    ]
    assert stacks[0] == stacks[1]
    assert ["blocks", "blocks.0", "blocks.0.conv1"] in [stack[-3:] for stack in stacks[0]]


def test_identities_checks_and_dead_ends_are_gone():
    class Idle(Small):
        def middle(self, x):
            torch._assert(x.shape[1] == 4, "four channels")
            self.unused(x)
            return self.idle(x) + sum([self.idle(x)])

    traced = trace(trained(lambda: Idle(idle=nn.Identity(), unused=conv())), SHAPE)
    assert [node.name for node in traced.module.graph.nodes] == ["x", "stem", "add_1", "mean", "head", "output"]


class Dense(nn.Module):
    """Writes the parts of its output one after the other: code that torch.fx cannot follow."""

    def __init__(self):
        super().__init__()
        self.conv = conv()

    def forward(self, x):
        out = torch.zeros_like(x)
        out[:, :2] = self.conv(x)[:, :2]
        return out


@pytest.mark.parametrize("leaf", ["dense", Dense])
def test_modules_that_cannot_be_traced_can_be_kept_whole(leaf):
    class Holder(Small):
        def middle(self, x):
            return x + self.dense(x)

    model = trained(lambda: Holder(dense=Dense()))
    with pytest.raises(UntraceableError):
        trace(model, SHAPE, way="fx")
    traced = trace(model, SHAPE, leaves=[leaf])
    assert ("call_module", "dense") in operations(traced)
    assert torch.equal(run(traced, images()), model(images()))


def test_a_module_kept_whole_does_not_overwrite_its_input():
    class Holder(Small):
        def middle(self, x):
            return x + self.inner(x)

    model = trained(lambda: Holder(inner=nn.ModuleDict({"all": nn.Sequential(nn.ReLU(inplace=True), conv())})["all"]))
    traced, seen = trace(model, SHAPE, leaves=["inner"]), []
    traced.module.inner.register_forward_pre_hook(lambda _, args: seen.append((args[0], args[0].clone())))
    run(traced, images())
    ((after, before),) = seen
    assert torch.equal(after, before)
    assert model.inner[0].inplace


# -- what is asked about sizes ---------------------------------------------------------------------------------------


class Asks(Small):
    """Its own forward asks for the shape in many ways."""

    def forward(self, x):
        assert x.ndim == 4, "a batch"
        assert x.dim() == 4
        assert len(x.shape) == 4
        assert x.shape[1:] == (3, 8, 8)
        assert tuple(x.shape[2:]) == (8, 8)
        if x.shape[1] not in (1, 3) or x.size(-1) != x.size(2):
            raise ValueError(f"images, not {tuple(x.shape)}")
        h, w = x.shape[-2:]
        if h < 4 or (h, w) == (32, 32):
            x = x * 2
        return super().forward(x)

    def middle(self, x):
        if x.shape[-1] > 4:
            x = x[..., : int(x.shape[-1] / 2)]
        for size in x.shape[2:]:
            if size == 4:
                x = x + self.one(x)
        return x.view(*x.shape[:2], -1).unsqueeze(2)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_a_forward_asks_about_sizes_is_answered(device):
    model = trained(lambda: Asks(one=conv())).to(device)
    before = snapshot(model) if device == "cpu" else None
    traced = trace(model, SHAPE)
    assert [node.target for node in traced.module.graph.nodes if node.op == "call_module"] == ["stem", "one", "head"]
    if device == "cpu":
        assert torch.equal(run(traced, images(5)), model(images(5)))
        assert same(snapshot(model), before)
    else:
        assert traced.shape(traced.result) == (BATCHES[0], 5)


class Resizes(Small):
    def middle(self, x):
        if x.shape[-1] != 8:
            x = F.interpolate(x, 8)
        return x


def test_answers_are_those_for_the_shape_that_is_given():
    model = trained(Resizes)
    for side, resized in ((8, False), (12, True)):
        traced = trace(model, (3, side, side))
        assert any(target is F.interpolate for _, target in operations(traced)) == resized
        x = images(2, (3, side, side))
        assert torch.equal(run(traced, x), model(x))


class Counter(Small):
    """Changes a weight before it asks."""

    asks = True

    def middle(self, x):
        x = x * self.seen.add_(1)
        assert not self.asks or x.ndim == 4
        return x


class Silent(Counter):
    asks = False


def test_an_answer_changes_no_tensor_of_the_model():
    models = [kind(seen=nn.Parameter(torch.zeros(()), requires_grad=False)).eval() for kind in (Counter, Silent)]
    state = torch.random.get_rng_state()
    for model in models:
        trace(model, SHAPE)
    assert models[0].seen == models[1].seen
    assert torch.equal(torch.random.get_rng_state(), state)


VALUES, NUMBER = "depends on values of the images", "depends on the number of images"


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        (lambda x: x.shape[0] == 1, NUMBER),
        (lambda x: len(x) > 1, NUMBER),
        (lambda x: x.numel() > 100, NUMBER),
        (lambda x: x.shape == (2, 4, 8, 8), NUMBER),
        (lambda x: x[x > 0].shape[0] > 3, "cannot be run on shapes alone"),
        (lambda x: x.shape[1] * x.mean() > 0, VALUES),
        (lambda x: torch.ones(4).new_ones(x.shape[1]).mean() > 0, VALUES),
    ],
)
def test_what_depends_on_values_or_on_the_number_of_images_is_not_decided(condition, reason):
    class Asker(Small):
        def middle(self, x):
            return x * 2 if condition(x) else x

    with pytest.raises(UntraceableError, match=reason):
        trace(trained(Asker), SHAPE, way="fx")


def test_a_shape_that_the_model_refuses_is_no_fault_of_its_code():
    with pytest.raises(
        ValueError, match=r"Asks does not accept inputs of shape \(1, 8, 8\): line \d+ of .*`assert"
    ) as e:
        trace(trained(lambda: Asks(one=conv())), (1, 8, 8))
    assert "give the size" in str(e.value)
    assert "leaf" not in str(e.value)


# -- what cannot be traced --------------------------------------------------------------------------------------------


class BranchesOnData(Small):
    def middle(self, x):
        y = x * 2
        if y.sum() > 0:  # the line
            return y
        return x


class LoopsOverData(Small):
    def middle(self, x):
        return sum(row for row in x)  # the line


class AssignsToSlice(Small):
    def middle(self, x):
        x[:, 0] = 0  # the line
        return x


class UsesNumbers(Small):
    def middle(self, x):
        return x[:, : int(x.abs().max())]  # the line


class Deep(Small):
    """The offending line is in a module inside the model."""

    def __init__(self):
        super().__init__(block=BranchesOnData())

    def middle(self, x):
        return self.block.middle(x)


@pytest.mark.parametrize("factory", [BranchesOnData, LoopsOverData, AssignsToSlice, UsesNumbers, Deep])
def test_the_line_that_stops_the_trace_is_named(factory):
    owner = BranchesOnData if factory is Deep else factory
    lines, first = inspect.getsourcelines(owner)
    (number,) = [first + i for i, line in enumerate(lines) if "# the line" in line]
    code = lines[number - first].split("#")[0].strip()
    with pytest.raises(UntraceableError) as caught:
        trace(trained(factory), SHAPE, way="fx")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"cannot trace {factory.__name__}: line {number} of {__file__}, `{code}")
    assert "--leaf PATH, or unravel(..., leaves=" in message


def test_the_module_that_can_be_kept_whole_is_named():
    class Inner(nn.Module):
        def forward(self, x):
            return x * 2 if x.sum() > 0 else x

    model = trained(lambda: nn.Sequential(conv(3), nn.Sequential(Inner(), conv())))
    with pytest.raises(UntraceableError, match=r"--leaf 1\.0, or unravel\(\.\.\., leaves=\['1\.0'\]\)"):
        trace(model, SHAPE)
    assert trace(model, SHAPE, leaves=["1.0"]).result.target == "1.1"


def no_input(net):
    return net.head.weight


def any_inputs(net, *x):
    return net.stem(x[0])


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda net, x: 3, "returns no tensor"),
        (lambda net, x: F.relu(net.stem(x)).zero_(), "zero_(), which has no out-of-place counterpart"),
        (no_input, "names no first argument"),
        (any_inputs, "names no first argument"),
    ],
)
def test_models_of_another_form_are_refused_in_one_line(forward, message):
    model = trained(type("Model", (Small,), {"forward": forward}))
    with pytest.raises(UntraceableError, match=message.replace("(", r"\(").replace(")", r"\)")) as caught:
        trace(model, SHAPE, way="fx")
    assert "\n" not in str(caught.value)


def test_an_input_of_the_wrong_shape_is_named_and_torch_logs_nothing(caplog, capfd):
    with pytest.raises(
        ValueError, match=r"Tokens does not accept inputs of shape \(3, 12, 12\): .*; give the size"
    ) as e:
        trace(make("tokens"), (3, 12, 12))
    assert "\n" not in str(e.value)
    assert not caplog.records
    assert capfd.readouterr().err == ""
    assert not logging.getLogger("torch._subclasses.fake_tensor").disabled


def test_an_unknown_leaf_is_named():
    with pytest.raises(UntraceableError, match=r"no module 'blocks\.7'"):
        trace(make("blocks"), SHAPE, leaves=["blocks.7"])


class Choosy(nn.TransformerEncoderLayer):
    def forward(self, src, src_mask=None, src_key_padding_mask=None, is_causal=False):
        return super().forward(src) if bool(src.sum() > 0) else src


def test_a_block_of_torch_that_cannot_be_opened_is_kept_whole():
    model = nn.Sequential(nn.Linear(4, 4), Choosy(4, 1, 8, batch_first=True)).eval()
    traced = trace(model, (3, 4))
    assert [node.target for node in traced.module.graph.nodes if node.op == "call_module"] == ["0", "1"]


def test_torch_and_python_are_not_blamed():
    with pytest.raises(UntraceableError) as caught:
        trace(torch.jit.script(nn.Sequential(conv(3))), SHAPE)
    assert "inspect.py" not in str(caught.value)
    assert str(caught.value).startswith("cannot trace")


def test_an_error_in_the_model_leaves_it_as_it_was():
    model = trained(BranchesOnData).train()
    before, code = snapshot(model), copy.copy(type(model).forward)
    with pytest.raises(UntraceableError):
        trace(model, SHAPE)
    assert same(snapshot(model), before)
    assert type(model).forward is code


def test_the_graph_is_in_topological_order():
    traced = trace(trained(lambda: nn.Sequential(conv(3), Block())), SHAPE)
    order = {node: i for i, node in enumerate(traced.module.graph.nodes)}
    edges = [(before, node) for node in order for before in node.all_input_nodes]
    assert all(order[a] < order[b] for a, b in edges)
    assert nx.is_directed_acyclic_graph(nx.DiGraph(edges))


@fx.wrap
def first_of(sizes):
    sizes[0] += 1  # of a list of its own
    return sizes[0]


class Changes(nn.Module):
    """Hands a list to a function that changes it, as torchvision's video Swin does."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.conv(x) * first_of([1, 2])


def test_a_function_may_change_its_list():
    model = Changes().eval()
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(trace(model, (3, 4, 4)).module(x), 2 * model.conv(x))
