"""The recorder, and the traps that users of other tools ran into, each as a test."""

import contextlib
import copy
import pickle
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.utils.checkpoint import checkpoint
from torchvision.models import resnet50

from resnet_probe.models import resolve
from resnet_probe.probes import Alignment, ChannelMoments, Extremes, Moments, Point, Summary, record

ROOT = Path(__file__).parents[2]


@pytest.fixture
def model():
    torch.manual_seed(0)
    network = resolve("resnet8-w4").eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return network


@pytest.fixture
def images():
    return torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def hooks(model):
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called",
             "_forward_pre_hooks_with_kwargs", "_backward_hooks", "_backward_pre_hooks")  # fmt: skip
    return {(name, kind): list(getattr(m, kind)) for name, m in model.named_modules() for kind in kinds}


def two_pass(x):
    x = x.double()
    return Summary(x.numel(), x.mean().item(), x.std(correction=0).item())


def close(found, expected, rel=1e-6):
    assert found.values == expected.values
    assert found.std == pytest.approx(expected.std, rel=rel)
    assert found.mean == pytest.approx(expected.mean, rel=rel, abs=rel * expected.std)


def kept(model, names, *inputs):
    """What a hook that copies everything sees: name -> calls, concatenated over the inputs."""
    seen = {}
    for x in inputs:
        each = {name: [] for name in names}
        handles = [
            model.get_submodule(name).register_forward_hook(
                lambda m, a, out, name=name, each=each: each[name].append(out.clone())
            )
            for name in names
        ]
        with torch.no_grad():
            model(x)
        for handle in handles:
            handle.remove()
        for name, calls in each.items():
            for number, call in enumerate(calls):
                seen.setdefault((name, number), []).append(call)
    return {point: torch.cat(parts) for point, parts in seen.items()}


def test_every_module_is_recorded_as_it_was_before_anything_overwrote_it(model, images):
    """In-place ReLUs follow the norms: what is recorded must be what the norm yielded (captum 156, shap 3466)."""
    names = [name for name, _ in model.named_modules() if name]
    expected = kept(model, names, images)
    with record(model, "*", Moments()) as rec, torch.no_grad():
        model(images)
    assert set(rec) == set(expected)
    for point, x in expected.items():
        close(rec[point], two_pass(x))
    assert rec["bn1"].mean < rec["layer1"].mean


def test_batches_make_no_difference_in_size_or_order(model, images):
    recordings = []
    for batches in (images.split(12), images.split(5), list(images.split(1))[::-1]):
        with record(model, "*.bn*", Moments()) as rec, torch.inference_mode():
            for x in batches:
                model(x)
        recordings.append(rec)
    for rec in recordings[1:]:
        assert list(rec) == list(recordings[0])
        for point in rec:
            close(rec[point], recordings[0][point])


def test_more_batches_than_are_kept_unmerged(model, images):
    with record(model, "bn1", Moments()) as rec, torch.no_grad():
        for _ in range(100):
            model(images[:2])
    assert max(len(states) for states in rec._states.values()) < 40
    assert rec.passes == 100
    assert rec["bn1"].values == 100 * 2 * 4 * 64


class Reuses(nn.Module):
    """One ReLU and one convolution, each used several times, as in many a block."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.alias = self.relu

    def forward(self, x):
        x = self.relu(self.conv(x))
        return self.alias(self.conv(x) - 0.1)


def test_a_module_called_twice_is_two_points():
    """distiller 393: statistics keyed by module mix the two calls."""
    torch.manual_seed(0)
    model, batches = Reuses(), [torch.randn(3, 2, 4, 4), torch.randn(5, 2, 4, 4)]
    expected = kept(model, ["conv", "relu"], *batches)
    with record(model, ["conv", "relu"], Moments()) as rec:
        for x in batches:
            model(x)
    assert list(rec) == [("conv", 0), ("relu", 0), ("conv", 1), ("relu", 1)]
    for point, x in expected.items():
        close(rec[point], two_pass(x))
    assert str(Point("relu")) == "relu"
    assert str(Point("relu", 1)) == "relu (call 1)"
    with pytest.raises(LookupError, match=r"relu is called 2 times in a pass; give one call, such as \('relu', 0\)"):
        rec["relu"]
    with pytest.raises(LookupError, match="fewer calls in a pass"):
        rec["relu", 2]


@pytest.fixture(scope="module")
def torchvision_resnet50():
    torch.manual_seed(0)
    return resnet50().eval()


def test_torchvision_resnet50(torchvision_resnet50):
    """Its one ReLU per block is called three times, in place, and its additions are in place too."""
    model, x = torchvision_resnet50, torch.randn(2, 3, 32, 32)
    names = ["layer1.0.relu", "layer1.0.bn3", "layer1.0.downsample.1", "layer4.2.bn2", "layer1.0"]
    expected = kept(model, names, x)
    with record(model, ["*.relu", "*.bn?", "*.downsample.1", "layer?.?"], Moments()) as rec, torch.no_grad():
        model(x)
    assert len(rec) == 3 * 16 + 3 * 16 + 4 + 16
    for point, value in expected.items():
        close(rec[point], two_pass(value))
    assert rec["layer1.0.relu", 2].std != rec["layer1.0.relu", 1].std


def test_the_output_of_the_network_is_not_touched(model, images):
    with torch.no_grad():
        before = model(images)
        with record(model, "*", ChannelMoments()), record(model, "*.conv1", Extremes()):
            inside = model(images)
        after = model(images)
    assert torch.equal(before, inside)
    assert torch.equal(before, after)


def test_gradients_flow_as_without_it(model, images):
    def gradient():
        x = images.clone().requires_grad_()
        model(x).sum().backward()
        return x.grad

    before = gradient()
    with record(model, "*.bn2", Moments()) as rec:
        inside = gradient()
    assert torch.equal(before, inside)
    assert not any(state.requires_grad for state in rec.states().values())


# -- hooks come, and go ------------------------------------------------------------------------------------------------


def test_nothing_is_attached_before_and_after_the_with(model, images):
    untouched = hooks(model)
    rec = record(model, "*", Moments())
    assert hooks(model) == untouched
    with rec:
        assert hooks(model) != untouched
        model(images)
    assert hooks(model) == untouched


class Fails(nn.Module):
    def forward(self, x):
        if x.shape[0] == 3:
            raise RuntimeError("three is too many")
        return x


def test_an_exception_in_a_pass_leaves_no_hook_and_no_half_pass(images):
    """TransformerLens 1323: hooks stay behind after an exception."""
    model = nn.Sequential(nn.Conv2d(3, 2, 1), Fails(), nn.ReLU())
    untouched = hooks(model)
    with record(model, "*", Moments()) as rec:
        model(images[:4])
        with pytest.raises(RuntimeError, match="three"):
            model(images[:3])
        model(images[:2])
    assert hooks(model) == untouched
    assert rec.passes == 2
    assert {rec[point].values for point in rec} == {6 * 2 * 64}
    with pytest.raises(RuntimeError, match="three"), record(model, ["1", "2"], Alignment()) as rec:
        model(images[:3])
    assert hooks(model) == untouched
    assert len(rec) == 0


def test_any_exception_in_the_with_leaves_no_hook(model, images):
    untouched = hooks(model)
    rec = record(model, "*", Moments())
    with contextlib.suppress(KeyboardInterrupt), rec:
        model(images)
        raise KeyboardInterrupt
    assert hooks(model) == untouched
    assert rec["bn1"].values == 12 * 4 * 64


def test_a_failure_while_attaching_leaves_no_hook(model, monkeypatch):
    untouched = hooks(model)

    def refuse(*_, **__):
        raise RuntimeError("no more hooks")

    monkeypatch.setattr(model.layer3[0].bn2, "register_forward_hook", refuse)
    with pytest.raises(RuntimeError, match="no more hooks"):
        record(model, "*", Moments()).__enter__()
    assert hooks(model) == untouched


def test_a_reducer_that_fails_leaves_no_hook(model, images):
    untouched = hooks(model)
    with (
        pytest.raises(ValueError, match=r"cannot record 2, a Linear: an activation of shape \(10,\) has no channels"),
        record(nn.Sequential(model.avgpool, nn.Flatten(0), model.fc), "2", ChannelMoments()) as rec,
    ):
        rec.run(images[:1, :1].expand(-1, model.fc.in_features, -1, -1))
    assert hooks(model) == untouched


def test_the_users_own_hooks_stay_and_what_they_change_is_recorded(model, images):
    """TransformerLens 1638: the clean-up takes the user's hooks along."""
    called = []
    before = model.bn1.register_forward_hook(lambda m, a, out: out * 2)
    plain = kept(model, ["bn1"], images)["bn1", 0]
    with record(model, "bn1", Moments()) as rec, torch.no_grad():
        inside = model.bn1.register_forward_hook(lambda m, a, out: called.append(1))
        model(images)
    close(rec["bn1"], two_pass(plain))
    model(images)
    assert called == [1, 1]
    assert list(model.bn1._forward_hooks) == [before.id, inside.id]
    before.remove()
    inside.remove()


def test_a_hook_removed_by_the_user_in_the_with_is_no_matter(model, images):
    with record(model, "bn1", Moments()):
        model.bn1._forward_hooks.clear()
        model(images)


def test_nested_recorders_do_not_see_each_other(model, images):
    untouched = hooks(model)
    with record(model, "bn1", Moments()) as outer:
        model(images[:4])
        with record(model, "bn1", Moments()) as inner, record(model, "*", Extremes()) as third:
            model(images[4:])
        model(images[:4])
    assert hooks(model) == untouched
    assert (outer.passes, inner.passes, third.passes) == (3, 1, 1)
    assert outer["bn1"].values == 16 * 4 * 64
    assert inner["bn1"].values == 8 * 4 * 64
    alone = record(model, "bn1", Moments())
    with alone:
        model(images[4:])
    assert inner["bn1"] == alone["bn1"]


def test_a_recording_may_be_entered_again_but_not_twice_at_once(model, images):
    rec = record(model, "bn1", Moments())
    for part in images.split(4):
        with rec:
            model(part)
    assert rec["bn1"].values == 12 * 4 * 64
    with rec, pytest.raises(RuntimeError, match="attached already"):
        rec.__enter__()
    assert "detached" in repr(rec)


def test_no_activation_is_kept(model, images):
    kept_alive = []
    model.bn1.register_forward_hook(lambda m, a, out: kept_alive.append(weakref.ref(out)))
    for reducer in (Moments(), ChannelMoments(), Extremes(), Alignment()):
        with record(model, "bn1", reducer) as rec, torch.no_grad():
            model(images)
            assert kept_alive.pop()() is None
            assert sum(state.numel() for states in rec._states.values() for state in states) <= 12


# -- reading -----------------------------------------------------------------------------------------------------------


def test_reading_during_the_with(model, images):
    with record(model, "bn1", Moments()) as rec:
        assert not rec
        with pytest.raises(LookupError, match="no pass through ResNet has come to its end"):
            rec["bn1"]
        model(images)
        assert rec["bn1"].values == 12 * 4 * 64
        model(images)
        assert rec["bn1"].values == 24 * 4 * 64
    assert "bn1" in rec
    assert Point("bn1") in rec
    assert "bn2" not in rec


def test_misses_say_why(model, images):
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.network, self.unused = model, nn.ReLU()

        def forward(self, x):
            return self.network(x)

    idle = Idle()
    with record(idle, ["unused", "network.bn1"], Moments()) as rec:
        idle(images)
    assert rec.silent == ("unused",)
    with pytest.raises(LookupError, match="unused was not called in 1 passes through Idle"):
        rec["unused"]
    with pytest.raises(LookupError, match=r"network.bn2 is not recorded; recorded are network.bn1"):
        rec["network.bn2"]


def test_calls_outside_a_pass_do_not_count_and_are_explained(model, images):
    with record(model, "layer1.0.bn1", Moments()) as rec:
        model.layer1(torch.randn(2, 4, 8, 8))
    assert len(rec) == 0
    with pytest.raises(LookupError, match="called only outside a pass through ResNet; record the module that you call"):
        rec["layer1.0.bn1"]


def test_recomputation_in_the_backward_pass_does_not_count(model, images):
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, x):
            return checkpoint(self.inner, x, use_reentrant=False)

    with record(Checkpointed(), "inner.bn1", Moments()) as rec:
        rec.run(images).sum().backward()
    assert list(rec) == [("inner.bn1", 0)]
    assert rec["inner.bn1"].values == 12 * 4 * 64


def test_outputs_that_are_no_single_tensor():
    attention = nn.MultiheadAttention(8, 2)
    x = torch.randn(5, 3, 8)
    with record(attention, "", Moments()) as rec:
        out, _ = attention(x, x, x)
    close(rec[""], two_pass(out))

    class Named(nn.Module):
        def forward(self, x):
            return {"out": x}

    with (
        record(nn.Sequential(Named()), "0", Moments()) as rec,
        pytest.raises(ValueError, match="cannot record 0, a Named: it yields dict, not a tensor; record a module insi"),
    ):
        rec.run(x)


# -- stopping ----------------------------------------------------------------------------------------------------------


def test_a_pass_stops_after_the_last_point_asked_for(model, images):
    reached = []
    model.fc.register_forward_hook(lambda *_: reached.append(1))
    with record(model, ["bn1", "layer1.0.relu"], Moments(), stop=True) as rec:
        outputs = [rec.run(part) for part in images.split(4)]
    assert [output is None for output in outputs] == [False, True, True]
    assert reached == [1]
    assert rec.passes == 3
    with record(model, ["bn1", "layer1.0.relu"], Moments()) as whole:
        for part in images.split(4):
            model(part)
    assert dict(rec) == dict(whole)
    assert list(rec) == [("bn1", 0), ("layer1.0.relu", 0), ("layer1.0.relu", 1)]


def test_a_plain_call_that_is_stopped_ends_the_with_quietly(model, images):
    untouched = hooks(model)
    with record(model, "bn1", Moments(), stop=True) as rec:
        model(images)
        model(images)
        pytest.fail("the second pass was to be stopped")
    assert rec.passes == 2
    assert hooks(model) == untouched


def test_a_stop_ends_the_with_of_the_recorder_that_asked_for_it(model, images):
    with record(model, "bn1", Moments(), stop=True) as outer:
        with record(model, "fc", Moments()) as inner:
            model(images)
            model(images)
        pytest.fail("the inner recorder took the stop for its own")
    assert (outer.passes, inner.passes) == (2, 1)


def test_stopping_one_of_two_recorders_does_not_end_the_other(model, images):
    with record(model, "bn1", Moments(), stop=True) as outer, record(model, "fc", Moments()) as inner:
        outer.run(images)
        outer.run(images)
        model.zero_grad()
    assert (outer.passes, inner.passes) == (2, 1)


# -- wrapped, compiled, in half precision, without data ----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["wrapper", "in place", "inner only", "compiled before"])
def test_compiled_models(model, images, how):
    """Compiled code ignores hooks that come later; silently, nothing would be recorded."""
    expected = kept(model, ["bn1", "layer2.0.bn2"], images)
    called = model
    torch.compiler.reset()
    if how == "wrapper":
        called = torch.compile(model, backend="eager")
    elif how == "in place":
        model.compile(backend="eager")
    elif how == "inner only":
        model.layer2 = torch.compile(model.layer2, backend="eager")
    else:
        called = torch.compile(model, backend="eager")
    with torch.no_grad():
        before = called(images)
        with record(model if how == "compiled before" else called, ["bn1", "*2.0.bn2"], Moments()) as rec:
            called(images)
        for point, x in expected.items():
            close(rec[point], two_pass(x))
        assert torch.allclose(called(images), before)
    assert rec.passes == 1
    torch.compiler.reset()


def test_the_network_inside_a_wrapper_may_be_called_itself(model, images):
    with record(torch.compile(model, backend="eager"), "bn1", Moments()) as rec:
        model(images)
    assert rec.passes == 1


def test_compiled_code_is_compiled_again_afterwards(model, images):
    compiled = []

    def backend(module, example):
        compiled.append(1)
        return module.forward

    torch.compiler.reset()
    fast = torch.compile(model, backend=backend)
    with contextlib.suppress(ZeroDivisionError), record(fast, "bn1", Moments()):
        fast(images)
        assert not compiled
        raise ZeroDivisionError
    fast(images)
    assert compiled
    torch.compiler.reset()


@pytest.fixture
def one_process():
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("one_process")
def test_distributed_data_parallel(model, images):
    expected = kept(model, ["bn1"], images)["bn1", 0]
    wrapped = nn.parallel.DistributedDataParallel(model)
    untouched = hooks(wrapped)
    with record(wrapped, ["bn1", "layer1.0.bn1"], Moments(), stop=True) as rec:
        wrapped(images[:5]).sum().backward()
        rec.run(images[5:])
    close(rec["bn1"], two_pass(expected))
    rec.gather()
    close(rec["bn1"], two_pass(expected))
    assert hooks(wrapped) == untouched
    wrapped(images).sum().backward()


PROGRAM = """
import sys, torch
from torch import distributed
from resnet_probe.models import resolve
from resnet_probe.probes import Moments, record
rank, store = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
torch.manual_seed(0)
model = resolve("resnet8-w4").eval()
images = torch.randn(7, 3, 8, 8, generator=torch.Generator().manual_seed(1))
with record(model, "*.bn2", Moments()) as rec, torch.no_grad():
    for x in images[rank::2].split(2):
        model(x)
rec.gather()
with record(model, "*.bn2", Moments()) as alone, torch.no_grad():
    model(images)
for point in alone:
    assert rec[point].values == alone[point].values
    assert abs(rec[point].std / alone[point].std - 1) < 1e-7, (rec[point], alone[point])
print([rec[point] for point in rec])
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    words = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    running = [
        subprocess.Popen([*words, str(rank), str(tmp_path / "store")], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert said[0] == said[1] != ""


def test_states_travel_and_merge(model, images):
    with record(model, "*.bn2", Moments()) as whole:
        model(images)
    parts = []
    for part in images.split(5):
        with record(model, "*.bn2", Moments()) as rec:
            model(part)
        parts.append(pickle.loads(pickle.dumps(rec.states())))
    for order in (parts, parts[::-1]):
        merged = record(copy.deepcopy(model), "*.bn2", Moments())
        for part in order:
            merged.merge(part)
        assert set(merged) == set(whole)
        for point in merged:
            close(merged[point], whole[point], rel=1e-7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions(model, images, dtype):
    model.to(dtype)
    expected = kept(model, ["bn1", "layer3.0.bn2"], images.to(dtype))
    with record(model, ["bn1", "*.bn2"], Moments()) as rec, torch.no_grad():
        model(images.to(dtype))
    for point, x in expected.items():
        close(rec[point], two_pass(x))


def test_autocast(model, images):
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        expected = kept(model, ["conv1"], images)["conv1", 0]
        with record(model, "conv1", Moments()) as rec:
            model(images)
    assert expected.dtype is torch.bfloat16
    close(rec["conv1"], two_pass(expected))


def test_empty_data(model, images):
    with record(model, "*.bn2", Moments()) as rec:
        pass
    assert len(rec) == rec.passes == 0
    with pytest.raises(LookupError, match="no pass through ResNet has come to its end"):
        rec["layer1.0.bn2"]
    with record(model, "*.bn2", Moments()) as rec, torch.no_grad():
        model(images[:0])
    assert rec["layer1.0.bn2"].values == 0
    assert str(rec["layer1.0.bn2"].std) == "nan"
    with rec, torch.no_grad():
        model(images)
    close(rec["layer1.0.bn2"], two_pass(kept(model, ["layer1.0.bn2"], images)["layer1.0.bn2", 0]))


def test_recording_in_inference_mode_and_reading_outside(model, images):
    with torch.inference_mode(), record(model, "bn1", Moments()) as rec:
        model(images)
    with rec:
        model(images)
    assert rec["bn1"].values == 24 * 4 * 64


def test_training_mode_is_left_alone(model, images):
    model.train()
    twin = copy.deepcopy(model)
    with record(model, "bn1", Moments()) as rec, torch.no_grad():
        model(images)
    twin(images)
    assert model.training
    assert torch.equal(model.bn1.running_mean, twin.bn1.running_mean)
    assert rec["bn1"].std > 0
