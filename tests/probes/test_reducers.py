"""Every reducer against numpy in float64, on awkward tensors, and cut into parts in every way."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from resnet_probe.probes import (
    Alignment,
    ChannelMoments,
    Extremes,
    Histogram,
    ImageMoments,
    Moments,
    Summary,
    combine_moments,
    moments,
    record,
)
from resnet_probe.probes.reducers import ROW, SMALL


def values(shape, *, mean=0.3, std=0.5, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * std + mean).to(dtype)


def once(reducer, output, given=None):
    return reducer.finish(reducer.reduce(given, output))


def two_pass(x):
    x = x.double().numpy()
    return Summary(x.size, x.mean(), x.std())


def close(found, expected, rel=1e-6):
    assert found.values == expected.values
    assert found.std == pytest.approx(expected.std, rel=rel, abs=1e-300)
    assert found.mean == pytest.approx(expected.mean, rel=rel, abs=rel * expected.std)


SHAPES = [(3, 4, 5, 5), (64, 16, 32, 32), (33, 7, 31, 29), (SMALL + 1,), (9, SMALL), (1,), (5, 3, 1)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("mean", "std"), [(0.3, 0.5), (0, 1e-3), (100, 0.5), (-1e4, 0.5), (0.0, 1e25), (3.0, 0.0)])
def test_moments_are_those_of_two_passes_in_float64(shape, mean, std):
    x = values(shape, mean=mean, std=std)
    close(once(Moments(), x), two_pass(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.bool, torch.uint8])
@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (20, 16, 32, 32)], ids=str)
def test_moments_of_other_types(dtype, shape):
    x = values(shape, mean=3, std=2).abs().to(dtype)
    close(once(Moments(), x), two_pass(x))


def test_half_precision_does_not_overflow():
    x = torch.full((20, 16, 32, 32), 6e4, dtype=torch.float16)
    x[::2] = -6e4
    close(once(Moments(), x), two_pass(x))


def views():
    x = values((20, 16, 34, 32))
    return {
        "channels last": x.to(memory_format=torch.channels_last),
        "strided": x[:, :, ::2, 1:],
        "transposed": x.transpose(0, 3),
        "expanded": x[:1].expand(20, -1, -1, -1),
        "narrow": x[:, 3:11],
        "flipped": x.permute(3, 1, 0, 2).flip(1),
    }


@pytest.mark.parametrize("name", views())
def test_moments_do_not_depend_on_the_memory_layout(name):
    x = views()[name]
    close(once(Moments(), x), two_pass(x), rel=1e-7)
    for found, channel in zip(once(ChannelMoments(), x), x.unbind(1), strict=True):
        close(found, two_pass(channel))


@pytest.mark.parametrize("shape", [(4, 3), (300, 256), (2, 3, 4, 4), (40, 7, 31, 29), (40, 64, 8, 8)], ids=str)
@pytest.mark.parametrize("mean", [0.3, 1e3])
def test_channel_moments(shape, mean):
    x = values(shape) + torch.arange(shape[1]).view(-1, *[1] * (len(shape) - 2)) * mean
    found = once(ChannelMoments(), x)
    assert len(found) == shape[1]
    for each, channel in zip(found, x.unbind(1), strict=True):
        close(each, two_pass(channel))


def test_channel_moments_of_tokens_and_of_a_vector():
    x = values((4, 9, 6))
    for each, channel in zip(once(ChannelMoments(dim=-1), x), x.unbind(2), strict=True):
        close(each, two_pass(channel))
    with pytest.raises(ValueError, match=r"shape \(5,\) has no channels; use Moments\(\)"):
        once(ChannelMoments(), torch.zeros(5))


def test_a_constant_channel_has_no_spread():
    x = values((64, 16, 32, 32))
    x[:, 3] = 2.5
    assert once(ChannelMoments(), x)[3] == Summary(64 * 1024, 2.5, 0.0)


def test_the_path_of_other_devices_gives_the_same(monkeypatch):
    """What runs on a GPU is run here, by hiding that the tensor is on the CPU."""
    x = values((20, 16, 32, 32), mean=100)
    row = x.view(1, -1, ROW)
    variance, mean = torch.var_mean(row, dim=-1, correction=0)
    state = combine_moments(torch.stack([torch.full_like(mean, ROW), mean, variance * ROW], -1).double().movedim(1, 0))
    close(Moments().finish(state[0]), two_pass(x))

    class Elsewhere(torch.Tensor):
        @property
        def device(self):
            return torch.device("meta")

    elsewhere = moments(row.as_subclass(Elsewhere))
    assert torch.equal(torch.Tensor(elsewhere.as_subclass(torch.Tensor)), state)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("shape", [(2, 3), (20, 16, 32, 32)], ids=str)
def test_nan_and_infinity_are_not_hidden(bad, shape):
    x = values(shape)
    x[-1, -1] = bad
    found = once(Moments(), x)
    assert not math.isfinite(found.mean)
    assert math.isnan(found.std)
    assert found.values == x.numel()


def standard_error(x):
    """Of the standard deviation, from its derivative by the weight of each image, which autograd finds."""
    x = x.double().reshape(len(x), -1)
    weights = torch.full((len(x),), 1 / len(x), dtype=torch.float64, requires_grad=True)
    spread = (weights @ x.square().mean(1) - (weights @ x.mean(1)) ** 2).sqrt()
    (influence,) = torch.autograd.grad(spread, weights)
    return influence.std().item() / math.sqrt(len(x))


@pytest.mark.parametrize("mean", [0.3, -2.0, 1e3])
@pytest.mark.parametrize("shape", [(50, 4, 5, 5), (70, 1500), (40, 3)], ids=str)
def test_standard_error_over_images_is_that_of_autograd_and_near_the_jackknife(shape, mean):
    strength = values((shape[0], *(1 for _ in shape[1:])), seed=3).exp()  # some images answer more strongly
    x = values(shape, mean=0) * strength + 0.1 * strength + mean
    found = once(ImageMoments(), x)
    assert tuple(found)[:3] == tuple(once(Moments(), x))
    assert found.std_error == pytest.approx(standard_error(x), rel=1e-4)
    wide = x.double().numpy()
    without = np.array([np.delete(wide, i, 0).std() for i in range(len(x))])
    jackknife = np.sqrt((len(x) - 1) / len(x) * ((without - without.mean()) ** 2).sum())
    assert found.std_error == pytest.approx(jackknife, rel=0.1)


@pytest.mark.parametrize("shape", [(1, 4, 5), (0, 4), (30,)], ids=str)
def test_one_image_or_no_spread_has_no_standard_error(shape):
    assert math.isnan(once(ImageMoments(), torch.ones(shape)).std_error)
    assert math.isnan(once(ImageMoments(), values((1, 4, 5))).std_error)


REDUCERS = {
    "moments": Moments(),
    "images": ImageMoments(),
    "channels": ChannelMoments(),
    "extremes": Extremes(),
    "histogram": Histogram(-1, 2, 30),
    "alignment": Alignment(),
}


def flat(value):
    return np.array([x for part in value for x in (flat(part) if isinstance(part, tuple) else [part])], dtype=float)


@pytest.mark.parametrize("name", REDUCERS)
@pytest.mark.parametrize("cuts", [[1] * 40, [17, 0, 20, 3], [39, 1], [40]], ids=str)
@pytest.mark.parametrize("order", [1, -1])
def test_parts_in_any_size_and_order_make_the_whole(name, cuts, order):
    reducer, given, output = REDUCERS[name], values((40, 6, 20, 20), seed=1), values((40, 6, 20, 20))
    parts = zip(given.split(cuts), output.split(cuts), strict=True)
    states = [reducer.reduce(a, b) for a, b in parts][::order]
    while len(states) > 1:  # in twos, so that states of states are combined as well
        states = [reducer.combine(torch.stack(states[i : i + 2])) for i in range(0, len(states), 2)]
    assert flat(reducer.finish(states[0])) == pytest.approx(flat(once(reducer, output, given)), rel=2e-7, abs=1e-8)


def test_counts_and_extremes_of_parts_are_exact():
    x = values((40, 6, 20, 20))
    for reducer in (Extremes(), Histogram(-1, 2, 30)):
        state = reducer.combine(torch.stack([reducer.reduce(None, part) for part in x.split(7)]))
        assert reducer.finish(state) == once(reducer, x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_extremes(dtype):
    x = values((4, 5, 6), dtype=dtype)
    assert once(Extremes(), x) == (x.double().min().item(), x.double().max().item())


def test_a_histogram_is_numpys_and_loses_no_value():
    x = values((40, 6, 20, 20))
    x[0, 0, 0, :3] = math.nan
    found = once(Histogram(-1, 1.5, 25), x)
    finite = x[~x.isnan()].double().numpy()
    counts, edges = np.histogram(finite, 25, (-1, 1.5))
    assert found.edges == pytest.approx(edges)
    assert np.abs(np.array(found.counts) - counts).max() <= 1  # a value on an edge, in float32
    assert (found.below, found.above, found.nan) == ((finite < -1).sum(), (finite > 1.5).sum(), 3)
    assert sum(found.counts) + found.below + found.above + found.nan == x.numel()


def test_a_histogram_includes_its_upper_end_and_takes_half_precision():
    found = once(Histogram(0, 1, 4), torch.tensor([0, 0.25, 0.5, 1, 2], dtype=torch.float16))
    assert (found.counts, found.above) == ((1, 1, 1, 1), 1)


@pytest.mark.parametrize("wrong", [(1, 1, 4), (0, math.inf, 4), (0, 1, 0), (math.nan, 1, 2)])
def test_a_histogram_needs_bins(wrong):
    with pytest.raises(ValueError, match="give finite low < high and bins >= 1"):
        Histogram(*wrong)


def test_alignment():
    given, output = values((30, 4, 5)), values((30, 20), seed=1)
    found = once(Alignment(), output, given)
    a, b = given.double().numpy().reshape(30, -1), output.double().numpy()
    norms = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    cosines, ratios = (a * b).sum(1) / (norms[0] * norms[1]), norms[1] / norms[0]
    assert found.cosine == pytest.approx((30, cosines.mean(), cosines.std()), rel=1e-6)
    assert found.ratio == pytest.approx((30, ratios.mean(), ratios.std()), rel=1e-6)


def test_alignment_with_zeros():
    found = once(Alignment(), torch.ones(2, 3), torch.tensor([[0.0, 0, 0], [2, 2, 2]]))
    assert found.cosine.mean == pytest.approx(0.5)
    assert found.ratio == Summary(1, 0.5, 0.0)


def test_alignment_sees_the_input_from_before_an_operation_in_place():
    model = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    x = values((8, 10))
    with record(model, "1", Alignment()) as rec:
        model(x.clone())
    assert rec["1"].ratio.mean == pytest.approx((x.relu().norm(dim=1) / x.norm(dim=1)).mean().item(), rel=1e-6)


def test_alignment_of_what_cannot_be_compared_names_the_point():
    model = nn.Sequential(nn.Linear(3, 4))
    with (
        record(model, "0", Alignment()),
        pytest.raises(ValueError, match=r"cannot record 0, a Linear: input \(2, 3\) and output \(2, 4\)"),
    ):
        model(torch.zeros(2, 3))


EMPTY = Summary(0, math.nan, math.nan)
NOTHING = {
    "moments": EMPTY,
    "images": (0, math.nan, math.nan, math.nan, 0),
    "channels": (EMPTY,) * 3,
    "extremes": (math.nan, math.nan),
    "histogram": once(Histogram(-1, 2, 30), torch.tensor([9.0]))._replace(above=0),
    "alignment": (EMPTY, EMPTY),
}


@pytest.mark.parametrize("name", REDUCERS)
def test_nothing_is_nothing_and_adds_nothing(name):
    reducer, x = REDUCERS[name], values((4, 3, 2, 2))
    nothing, something = reducer.reduce(x[:0], x[:0]), reducer.reduce(x, x)
    assert flat(reducer.finish(nothing)) == pytest.approx(flat(NOTHING[name]), nan_ok=True)
    nothing = reducer.combine(torch.stack([nothing, nothing]))
    both = reducer.combine(torch.stack([nothing, something, nothing]))
    assert flat(reducer.finish(both)) == pytest.approx(flat(reducer.finish(something)))
