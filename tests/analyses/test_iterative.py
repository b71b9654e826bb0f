"""Iterative inference against the blocks written out by hand in float64, finite differences, and deletions."""

import copy
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F

from resnet_probe.analyses import iterative
from resnet_probe.analyses.iterative import MEASURES
from resnet_probe.data import Data
from resnet_probe.models import resolve
from resnet_probe.tables import Result
from resnet_probe.unraveled import unravel
from tests.analyses.running import tables
from tests.networks import MADE, make, trained

CLASSES = tuple("abcdefghij")


def run(network, data, **how):
    return tables("iterative", network, data, **how)["iterative"]


def network(arch, seed=0):
    model = trained(lambda: resolve(arch), seed)
    return model, unravel(model, (3, 8, 8))


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (14, 3, 8, 8), dtype=torch.uint8, generator=generator)
    return Data("noise", "test", images, torch.arange(14) % 10, CLASSES, "imagenet")


def by_hand(block, h, pre):
    """Shortcut and branch of a basic block, from its own layers."""
    if pre:
        activated = h if block.shared else F.relu(block.bn1(h))
        branch = block.conv2(F.relu(block.bn2(block.conv1(activated))))
    else:
        branch = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(h)))))
    return h if block.downsample is None else block.downsample(h), branch


def oracle(model, data, *, pre):
    """Every measure of every image, one image at a time, in float64."""
    model = copy.deepcopy(model).double()
    blocks = [block for stage in (model.layer1, model.layer2, model.layer3) for block in stage]
    ends = np.cumsum([len(stage) for stage in (model.layer1, model.layer2, model.layer3)]) - 1
    found = [[] for _ in blocks]
    for x, y in data.batches(1):
        h = model.conv1(x.double())
        h = h if pre else F.relu(model.bn1(h))
        seen = []
        for block in blocks:
            if pre and block.shared:
                h = F.relu(block.bn1(h))  # the first norm stands before the split: the block begins after it
            s, f = by_hand(block, h, pre)
            out = s + f
            after = out if pre else F.relu(out)
            seen.append((h, s, f, out, after))
            h = after
        logits = head(model, h, pre)
        points = [t for h, _, _, out, _ in seen for t in (h, out)]
        gradients = torch.autograd.grad(cross_entropy(logits, y), points, retain_graph=True)
        scores = torch.autograd.grad(logits[0, 0], [h for h, *_ in seen], retain_graph=True)
        for i, (h, s, f, out, after) in enumerate(seen):
            flat = [t.detach().flatten().numpy() for t in (h, s, f, after, *gradients[2 * i : 2 * i + 2])]
            hv, sv, fv, av, g_in, g_out = flat
            reads = h.detach().requires_grad_() if i > ends[1] and h.shape == out.shape else None
            at_exit = (
                None if reads is None else torch.autograd.grad(cross_entropy(head(model, reads, pre), y), reads)[0]
            )
            last = seen[ends[np.searchsorted(ends, i)]][-1].detach().flatten().numpy()
            found[i].append(
                {
                    "ratio": np.linalg.norm(fv) / np.linalg.norm(sv),
                    "cos_input": cosine(fv, sv),
                    "cos_gradient": cosine(fv, g_in) if fv.shape == hv.shape and h.shape == out.shape else None,
                    "cos_gradient_out": cosine(fv, g_out),
                    "cos_exit": None if at_exit is None else cosine(fv, at_exit.flatten().numpy()),
                    "first_order": -(fv @ g_out),
                    "influence": 1 - cosine(sv, av),
                    "angular": math.acos(min(1, cosine(sv, av))) / math.pi,
                    "estimation": av - last,
                    "score": scores[i].flatten().numpy(),
                    "right": int(head(model, after, pre).argmax()) == int(y) if i > ends[1] else None,
                }
            )
    return found


def cross_entropy(logits, y):
    """Of one image, in the form that keeps its digits where the probability of the label is almost 1."""
    others = torch.arange(logits.shape[1]) != y
    return (logits[:, others] - logits[:, y]).exp().sum().log1p()


def head(model, h, pre):
    return model.fc((F.relu(model.norm(h)) if pre else h).mean((2, 3)))


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize("arch", ["resnet14-w4", "resnet14-w4-preact", "resnet14-w4-B"])
def test_every_measure_is_that_of_the_blocks_written_out(arch, data):
    model, unraveled = network(arch)
    table = run(unraveled, data, name=arch, batch_size=5)
    expected = oracle(model, data, pre="preact" in arch)
    assert [row["block"] for row in table.rows] == [f"layer{s}.{b}" for s in (1, 2, 3) for b in (0, 1)]
    assert [row["index"] for row in table.rows] == list(range(6))
    for row, images in zip(table.rows, expected, strict=True):
        assert (row["images"], row["gradients"]) == (14, 14)
        for measure in ("ratio", "cos_input", "cos_gradient_out", "first_order", "influence", "angular"):
            values = np.array([image[measure] for image in images])
            assert row[measure] == pytest.approx(values.mean(), rel=1e-4, abs=1e-6), measure
            assert row[f"{measure}_std"] == pytest.approx(values.std(), rel=1e-4, abs=1e-6), measure
        if row["resizes"]:
            assert row["cos_gradient"] is row["cos_gradient_std"] is None
        else:
            values = np.array([image["cos_gradient"] for image in images])
            assert row["cos_gradient"] == pytest.approx(values.mean(), rel=1e-4, abs=1e-6)
        exits = [image["cos_exit"] for image in images]
        if row["stage"] == 3 and not row["resizes"]:
            assert row["cos_exit"] == pytest.approx(np.mean(exits), rel=1e-4, abs=1e-6)
            assert row["cos_exit_std"] == pytest.approx(np.std(exits), rel=1e-4, abs=1e-6)
        else:
            assert exits == [None] * 14
            assert row["cos_exit"] is row["cos_exit_std"] is None
        mixed = torch.randperm(14, generator=torch.Generator().manual_seed(0)).tolist()
        agree = [cosine(images[a]["score"], images[b]["score"]) for a, b in pairwise(mixed)]
        assert (row["agreement"], row["agreement_std"]) == pytest.approx((np.mean(agree), np.std(agree)), rel=1e-4)
        errors = np.concatenate([image["estimation"] for image in images])
        assert row["estimation"] == pytest.approx(errors.mean(), rel=1e-4, abs=1e-6)
        assert row["estimation_std"] == pytest.approx(errors.std(), rel=1e-4, abs=1e-6)
        channels = unraveled.unit(row["block"]).plan.out_shape[0]
        by_feature = np.concatenate([image["estimation"].reshape(channels, -1) for image in images], axis=1)
        assert row["estimation_bias"] == pytest.approx(np.sqrt((by_feature.mean(1) ** 2).mean()), rel=1e-4, abs=1e-6)
        assert row["estimation_spread"] == pytest.approx(np.sqrt(by_feature.var(1).mean()), rel=1e-4, abs=1e-6)
        if row["stage"] == 3:
            assert row["exit_accuracy"] == pytest.approx(100 * np.mean([image["right"] for image in images]))
        else:
            assert row["exit_accuracy"] is None
    assert [row["resizes"] for row in table.rows] == [False, False, True, False, True, False]
    assert {table.rows[i]["estimation_std"] for i in (1, 3, 5)} == {0.0}


def test_images_that_the_network_is_sure_of_keep_the_direction_of_their_gradient(data):
    """In float32 their probability is 1 exactly, and less 1 it is 0."""
    model, unraveled = network("resnet14-w4")
    with torch.no_grad():
        ((images, _),) = data.batches(14)
        logits = model(images)
        order = logits.sort(1).values
        factor = 30 / float((order[:, -1] - order[:, -2]).median())
        model.fc.weight *= factor
        model.fc.bias *= factor
        sure = logits.mul(factor).softmax(1).amax(1) == 1
        assert 5 <= int(sure.sum()) < 14
    data = replace(data, labels=logits.argmax(1))
    for row, each in zip(run(unraveled, data, name="sure").rows, oracle(model, data, pre=False), strict=True):
        for measure in ("cos_gradient", "cos_gradient_out", "cos_exit", "first_order"):
            values = [image[measure] for image in each]
            if values[0] is None:
                assert row[measure] is None
            else:
                assert row[measure] == pytest.approx(np.mean(values), rel=1e-3, abs=1e-5), measure
        assert row["gradients"] == 14


def test_batch_size_makes_no_difference(data):
    _, unraveled = network("resnet8-w4")
    one = run(unraveled, data, name="it", batch_size=14)
    other = run(unraveled, data, name="it", batch_size=3)
    for a, b in zip(one.rows, other.rows, strict=True):
        for column, value in a.items():
            assert b[column] == pytest.approx(value, rel=1e-4, abs=1e-7) if isinstance(value, float) else True


def test_first_order_is_the_slope_of_the_loss_as_the_branch_fades(data):
    model, _ = network("resnet8-w4")
    unraveled = unravel(model.double(), (3, 8, 8))
    doubles = [(x.double(), y) for x, y in data.batches(14)]

    class Doubles(Data):
        def batches(self, *_, **__):
            return doubles

    table = run(unraveled, Doubles(**vars(data)), name="it")

    def loss(block, factor):
        return F.cross_entropy(unraveled.scale({block: factor})(doubles[0][0]), doubles[0][1]).item()

    for row in table.rows:
        slope = (loss(row["block"], 1 - 1e-5) - loss(row["block"], 1 + 1e-5)) / 2e-5
        assert row["first_order"] == pytest.approx(slope, rel=1e-5)
    assert table.settings["loss"] == pytest.approx(loss("layer1.0", 1.0))


@pytest.mark.parametrize("arch", ["resnet26-w4", "resnet26-w4-preact"])
def test_an_early_exit_is_the_network_without_the_blocks_after_it(arch, data):
    _, unraveled = network(arch)
    table = run(unraveled, data, name="it")
    last = [row for row in table.rows if row["stage"] == 3]
    with torch.no_grad():
        for i, row in enumerate(last):
            cut = unraveled.delete(*(after["block"] for after in last[i + 1 :]))
            right = sum(int((cut(x).argmax(1) == y).sum()) for x, y in data.batches(14))
            assert row["exit_accuracy"] == pytest.approx(100 * right / 14)
    assert last[-1]["exit_accuracy"] == pytest.approx(100 - table.settings["error"])


def test_a_block_without_a_branch_does_nothing(data):
    model, _ = network("resnet14-w4")
    nn.init.zeros_(model.layer2[1].bn2.weight)
    nn.init.zeros_(model.layer2[1].bn2.bias)
    row = run(unravel(model, (3, 8, 8)), data, name="it").rows[3]
    assert row["block"] == "layer2.1"
    assert row["ratio"] == row["first_order"] == 0
    assert row["influence"] == pytest.approx(0, abs=1e-12)
    assert row["angular"] == pytest.approx(0, abs=1e-7)
    assert row["cos_input"] is row["cos_gradient"] is None  # a vector of zeros has no direction


def test_adapted_exits_are_least_squares(data):
    model, unraveled = network("resnet14-w4")
    more = Data("noise", "test", data.images.repeat(6, 1, 1, 1), data.labels.repeat(6), CLASSES, "imagenet")
    noise = torch.randint(0, 40, more.images.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    more = Data("noise", "test", more.images // 2 + noise, more.labels, CLASSES, "imagenet")
    with torch.no_grad():  # centre the logits, so that the images differ in their predictions
        model.fc.bias -= model(next(more.batches(84))[0]).mean(0)
    told = []
    table = run(unraveled, more, name="it", adapter=True, batch_size=9, progress=lambda *both: told.append(both))
    assert told[-1] == (168, 168)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert table.settings["adapter_images"] == 42
    kept = {}
    for stage, block in ((1, 1), (2, 0), (3, 1)):
        module = model.get_submodule(f"layer{stage}.{block}")
        module.register_forward_hook(
            lambda m, a, out, key=f"layer{stage}.{block}": kept.__setitem__(key, out.mean((2, 3)).double())
        )
    model.fc.register_forward_hook(lambda m, a, out: kept.__setitem__("fc", a[0].double()))
    with torch.no_grad():
        images = torch.cat([x for x, _ in more.batches(100)])
        model(images)
        read = kept["fc"].numpy()
        for key in ("layer1.1", "layer2.0", "layer3.1"):
            x = np.concatenate([kept[key].numpy(), np.ones((84, 1))], 1)
            solution = np.linalg.lstsq(x[::2], read[::2], rcond=None)[0]
            logits = model.fc(torch.tensor(x[1::2] @ solution, dtype=torch.float32))
            right = (logits.argmax(1) == more.labels[1::2]).double().mean().item()
            row = next(row for row in table.rows if row["block"] == key)
            assert row["adapter_accuracy"] == pytest.approx(100 * right)
            labels = more.labels.clone()
            labels[1::2] = logits.argmax(1)  # whoever predicts otherwise for any image is now wrong
            judged = Data("noise", "test", more.images, labels, CLASSES, "imagenet")
            again = run(unraveled, judged, name="it", adapter=True)
            assert next(r for r in again.rows if r["block"] == key)["adapter_accuracy"] == 100


def test_transformers_have_blocks_too_but_no_adapter():
    images = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    data = Data("noise", "test", images, torch.arange(6) % 5, tuple("abcde"), "imagenet")
    unraveled = unravel(make("tokens"), (3, 8, 8))
    table = run(unraveled, data, name="tokens")
    assert len(table.rows) == 4
    assert all(row["exit_accuracy"] is not None for row in table.rows)
    assert table.rows[-1]["exit_accuracy"] == pytest.approx(100 - table.settings["error"])
    with pytest.raises(ValueError, match=r"yields \(5, 8\), not maps \(C, H, W\): leave out the adapter"):
        run(unraveled, data, name="tokens", adapter=True)


@pytest.mark.parametrize("name", ["flat", "blocks", "pre-activation", "three terms", "gated", "projections", "bare"])
def test_networks_of_every_style(name):
    images = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    data = Data("noise", "test", images, torch.arange(6) % 5, tuple("abcde"), "imagenet")
    assert name in MADE
    model = make(name)
    table = run(unravel(model, (3, 8, 8)), data, name=name)
    with torch.no_grad():
        x, y = next(data.batches(6))
        assert table.settings["error"] == pytest.approx(100 * (model(x).argmax(1) != y).double().mean().item())
    assert table.rows[-1]["exit_accuracy"] == pytest.approx(100 - table.settings["error"])
    assert all(row["estimation_std"] is not None for row in table.rows)


def test_the_callers_model_is_left_alone(data):
    model, unraveled = network("resnet8-w4")
    model.conv1.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run(unraveled, data, name="it", adapter=True)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.conv1.weight.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with torch.no_grad():
        run(unraveled, data, name="it")


def test_frozen_weights_are_no_obstacle(data):
    model, unraveled = network("resnet8-w4")
    one = run(unraveled, data, name="it")
    model.requires_grad_(False)
    assert run(unraveled, data, name="it").rows == one.rows


def test_wrong_use(data):
    _, unraveled = network("resnet8-w4")
    with pytest.raises(ValueError, match="noise has no images"):
        run(unraveled, data.subset([]), name="it")
    with pytest.raises(ValueError, match="needs images to fit and others"):
        run(unraveled, data.subset([0]), name="it", adapter=True)
    with pytest.raises(ValueError, match="no residual blocks"):
        run(network("vgg11-w4")[1], data, name="it")


# -- damage and ranks -----------------------------------------------------------------------------------------------


def lesion_of(table, name="it", scale=1.0):
    rows = [{"network": name, "block": "(intact)", "error": 10.0, "loss": 0.5, "images": 50}]
    for i, row in enumerate(table.rows):
        rows.append(
            {
                "network": name,
                "block": row["block"],
                "error": 11.0 + scale * row["ratio"],
                "loss": 0.6 + i,
                "images": 50,
            }
        )
    return Result("lesion", ("network", "block", "error", "loss", "images"), tuple(rows), {})


@pytest.fixture(scope="module")
def table(data):
    return run(network("resnet20-w4")[1], data, name="it")


def test_damage_is_what_deletion_adds(table):
    damaged = iterative.with_damage(table, lesion_of(table))
    for i, row in enumerate(damaged.rows):
        assert row["lesion_error"] == pytest.approx(1 + row["ratio"])
        assert row["lesion_loss"] == pytest.approx(0.1 + i)
    assert damaged.settings["lesion_images"] == 50
    assert table.rows[0]["lesion_error"] is None


def test_a_lesion_table_that_does_not_fit(table):
    fitting = lesion_of(table)
    with pytest.raises(ValueError, match="is of other, not of it"):
        iterative.with_damage(table, lesion_of(table, name="other"))
    with pytest.raises(ValueError, match=r"no row for layer3\.2"):
        iterative.with_damage(table, Result("lesion", fitting.columns, fitting.rows[:-1], {}))
    with pytest.raises(ValueError, match="needs the columns block, error, loss, network"):
        iterative.with_damage(table, Result("lesion", ("network",), (), {}))


def test_rank_correlations_are_scipys(table):
    damaged = iterative.with_damage(table, lesion_of(table))
    ranks = iterative.rank(damaged, draws=300)
    assert ranks.columns == iterative.RANKS.keys
    seen = set()
    for row in ranks.rows:
        rows = [
            r for r in damaged.rows if r[row["measure"]] is not None and (row["subset"] == "all" or not r["resizes"])
        ]
        column = "lesion_error" if row["damage"] == "error" else "lesion_loss"
        expected = stats.spearmanr([r[row["measure"]] for r in rows], [r[column] for r in rows]).statistic
        assert row["rho"] == pytest.approx(expected)
        assert row["blocks"] == len(rows)
        assert -1 <= row["low"] <= row["high"] <= 1
        seen.add((row["measure"], row["damage"], row["subset"]))
    sure = next(row for row in ranks.rows if row["measure"] == "ratio" and row["damage"] == "error")
    assert (sure["rho"], sure["low"], sure["high"]) == pytest.approx((1, 1, 1))
    few = {"exit_accuracy", "adapter_accuracy"}  # of some blocks only
    assert {measure for measure, _, _ in seen} >= set(MEASURES) - few
    assert ("adapter_accuracy", "error", "all") not in seen  # it was not measured
    assert ("exit_accuracy", "error", "all") not in seen  # three blocks only


def test_the_bootstrap_is_that_of_scipy_in_distribution(table):
    damaged = iterative.with_damage(table, lesion_of(table))
    rows = damaged.rows
    a, b = [r["angular"] for r in rows], [r["lesion_loss"] for r in rows]
    theirs = stats.bootstrap(
        (a, b), lambda x, y: stats.spearmanr(x, y).statistic, paired=True, vectorized=False, method="percentile",
        n_resamples=2000, rng=np.random.default_rng(7),
    ).confidence_interval  # fmt: skip
    ours = next(
        r for r in iterative.rank(damaged, draws=4000).rows
        if (r["measure"], r["damage"], r["subset"]) == ("angular", "loss", "all")
    )  # fmt: skip
    assert ours["low"] == pytest.approx(theirs.low, abs=0.08)
    assert ours["high"] == pytest.approx(theirs.high, abs=0.08)


def test_the_same_seed_gives_the_same_intervals(table):
    damaged = iterative.with_damage(table, lesion_of(table))
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - to see that it stays as it is
    assert iterative.rank(damaged, draws=50, seed=1) == iterative.rank(damaged, draws=50, seed=1)
    assert iterative.rank(damaged, draws=50, seed=1) != iterative.rank(damaged, draws=50, seed=2)
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_ranks_need_damage(table):
    with pytest.raises(ValueError, match="no measured damage; give a lesion table"):
        iterative.rank(table)
    alike = iterative.with_damage(table, lesion_of(table, scale=0.0))
    assert not [row for row in iterative.rank(alike, draws=10).rows if row["damage"] == "error"]


# -- figures --------------------------------------------------------------------------------------------------------


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


def drawn(axes):
    return [list(line.get_ydata()) for line in axes.lines if len(line.get_xdata()) > 2]


def test_the_figure_draws_the_table(table):
    damaged = iterative.with_damage(table, lesion_of(table))
    size, beside, gradient, exit_, influence, damage, estimation, exits = iterative.plot(damaged).axes
    assert drawn(size) == [[row["ratio"] for row in table.rows]]
    assert drawn(beside) == [[row["cos_input"] for row in table.rows]]
    assert drawn(gradient)[0] == [row["cos_gradient"] for row in table.rows if not row["resizes"]]
    assert exit_.get_ylabel() == "cos(F(h), exit's dL/dh)"
    assert drawn(damage)[1] == [row["lesion_loss"] for row in damaged.rows]
    assert drawn(exits) == [[row["exit_accuracy"] for row in table.rows if row["stage"] == 3]]
    assert "whole network" in lines(exits)
    assert {axes.get_title(loc="left") for axes in (influence, estimation)} == {
        "turn of h", "estimation error",
    }  # fmt: skip
    without = iterative.plot(table).axes[5]
    assert set(lines(without)) & {"measured", "first-order prediction"} == {"first-order prediction"}


def test_cosines_with_the_gradient_have_a_scale_of_their_own(table):
    """They are the claim, and small: cos(F, h) and the exit's must not flatten them."""
    small = {"cos_gradient": -0.01, "cos_gradient_std": 0.01, "cos_gradient_out": -0.02}
    rows = [row | {"cos_input": 0.8, "cos_exit": -0.9, **small, "resizes": False} for row in table.rows]
    gradient = iterative.plot(replace(table, rows=tuple(rows))).axes[2]
    low, high = gradient.get_ylim()
    assert -0.03 < low < -0.01 < high < 0.02


def test_of_several_networks_every_panel_has_a_line_for_each(table):
    from resnet_probe.tables import together

    shorter = replace(table, rows=tuple({**row, "network": "other"} for row in table.rows[:-1]))
    figure = iterative.plot(together([table, shorter]))
    turn = figure.axes[4]
    for line, rows in zip(turn.get_lines(), (table.rows, shorter.rows), strict=True):
        assert list(line.get_ydata()) == [row["influence"] for row in rows]
        assert (line.get_xdata()[0], line.get_xdata()[-1]) == (0, 1)  # of unequal depth: relative position
    assert [panel.get_title(loc="left") for panel in figure.axes if not panel.get_visible()] == ["damage of deletion"]


def test_the_figure_of_ranks(table):
    ranks = iterative.rank(iterative.with_damage(table, lesion_of(table)), draws=50)
    (axes,) = iterative.plot_ranks(ranks).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[-1] == "|F(h)| / |h|"
    points = axes.collections[1].get_offsets()
    some = [row for row in ranks.rows if (row["damage"], row["subset"]) == ("error", "all")]
    assert sorted(points[:, 0]) == pytest.approx(sorted(row["rho"] for row in some))


def test_tables_that_are_none_cannot_be_drawn(table):
    with pytest.raises(ValueError, match="needs rows with the measures of blocks"):
        iterative.plot(Result("iterative", ("network",), (), {}))
    with pytest.raises(ValueError, match="needs rows of rank correlations"):
        iterative.plot_ranks(Result("iterative_ranks", ("network",), (), {}))
