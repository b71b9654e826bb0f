import copy
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import norm
from statsmodels.stats.contingency_tables import mcnemar
from torch import nn

from resnet_probe.analyses import lesion
from resnet_probe.analyses.lesion.facts import single
from resnet_probe.analyses.lesion.single import plot
from resnet_probe.analyses.runtime import Runtime
from resnet_probe.analyses.subject import Subject
from resnet_probe.data import Data
from resnet_probe.evaluate import Sweep, evaluate, recalibrate, sweep
from resnet_probe.models import resolve
from resnet_probe.statistics import confidence_sequence, paired_difference
from resnet_probe.tables import Result, read
from resnet_probe.unraveled import unravel
from tests.networks import make, trained

SHAPE = (3, 8, 8)
CLASSES = tuple("abcd")


def images(count=40):
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (count, *SHAPE), generator=generator, dtype=torch.uint8)
    return Data("noise", "test", pixels, torch.arange(count) % 4, CLASSES, "0.5;0.25")


def measured(model, data):
    """What a network does on the data, one image at a time."""
    predicted, loss = [], 0.0
    with torch.no_grad():
        for x, y in data.batches(1):
            output = model(x)
            predicted.append(int(output.argmax()))
            loss += F.cross_entropy(output, y).item()
    return predicted, loss / len(data)


def with_shortcut_for(model, name):
    """The model with one block's forward replaced by its shortcut."""
    model = copy.deepcopy(model)
    block = model.get_submodule(name)
    shortcut = block.downsample or nn.Identity()
    block.forward = lambda x: torch.relu(shortcut(x))
    return model


def lesioned(model, data, *, train=None, **how):
    parameters = lesion.Parameters(recalibrate=train is not None, recalibrate_split="train", recalibrate_limit=7)
    subject = Subject("net", unravel(model, SHAPE), data, images=train)
    (result,) = lesion.run(subject, parameters, Runtime(**how))
    return result


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["resnet20-w3", "resnet14-w3-B"])
def test_rows_are_those_of_a_loop_that_replaces_one_forward_after_the_other(arch):
    model, data = trained(lambda: resolve(arch, num_classes=4)), images()
    result = lesioned(model, data)
    names = [f"layer{stage}.{i}" for stage in (1, 2, 3) for i in range(3 if arch.startswith("resnet20") else 2)]
    intact, loss = measured(model, data)
    first, *rows = result.rows
    labels = data.labels.tolist()
    expected = {"network": "net", "block": "(intact)", "images": 40, "changed": 0}
    expected |= dict.fromkeys(("index", "stage", "resizes", "kind", "shortcut", "error_recalibrated"))
    wrong = sum(a != b for a, b in zip(intact, labels, strict=True))
    assert {key: first[key] for key in expected} == expected
    assert (first["wrong"], first["error"]) == (wrong, 100 * wrong / 40)
    assert first["loss"] == pytest.approx(loss, rel=1e-5)
    assert [row["block"] for row in rows] == names
    for index, row in enumerate(rows):
        predicted, loss = measured(with_shortcut_for(model, row["block"]), data)
        wrong = sum(a != b for a, b in zip(predicted, labels, strict=True))
        changed = sum(a != b for a, b in zip(predicted, intact, strict=True))
        assert (row["wrong"], row["changed"], row["images"]) == (wrong, changed, 40)
        assert row["error"] == 100 * wrong / 40
        before, after = ([a != b for a, b in zip(answers, labels, strict=True)] for answers in (intact, predicted))
        counts = [sum(b and not a for a, b in zip(*two, strict=True)) for two in ((before, after), (after, before))]
        assert [row["newly_wrong"], row["newly_right"]] == counts
        assert row["increase"] == pytest.approx(row["error"] - first["error"])
        assert row["p"] == pytest.approx(mcnemar([[0, counts[0]], [counts[1], 0]], exact=True).pvalue)
        assert (row["increase_low"], row["increase_high"]) == paired_difference(*counts, 40)[1:]
        assert [row[f"difference{end}"] for end in ("", "_low", "_high")] == list(paired_difference(*counts, 40))
        assert row["loss"] == pytest.approx(loss, rel=1e-5)
        assert row["index"] == index
        assert row["stage"] == int(row["block"][5])
        assert row["resizes"] == (row["block"] in ("layer2.0", "layer3.0"))
        assert row["kind"] == "block"
        resized = "conv1x1" if arch.endswith("B") else "zero-pad"
        assert row["shortcut"] == (resized if row["resizes"] else "identity")
    assert any(row["changed"] for row in rows)
    assert len({row["loss"] for row in result.rows}) == len(result.rows)
    assert result.settings == {"classes": 4}
    assert result.columns == lesion.LESION.keys


# -- images added until it is known -----------------------------------------------------------------------------------

LOOK = 25


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(sweep, "LOOK", LOOK)


def until(points, model, data, folder=None, **how):
    (result,) = lesion.run(
        Subject("net", unravel(model, SHAPE), data), lesion.Parameters(until=points), Runtime(folder=folder, **how)
    )
    return result


def stopped_by_hand(points, model, data, seed=0):
    """A plain run on the images up to the first look at which all intervals are narrow, and these intervals."""
    data = data.subset(torch.randperm(len(data), generator=torch.Generator().manual_seed(seed)))
    network = unravel(model, SHAPE)
    chains = [network.steps, *(network.delete(unit.name).steps for unit in network.blocks)]
    intact, *others = (score.flags for score in evaluate(network, dict(enumerate(chains)), data).values())
    for end in [*range(LOOK, len(data), LOOK), len(data)]:
        counts = [((flags > intact)[:end].sum(), (flags < intact)[:end].sum()) for flags in others]
        ends = [confidence_sequence(*pair, end) for pair in counts]
        if all(high - low <= 2 * points for _, low, high in ends):
            break
    return lesioned(model, data.subset(slice(0, end))).rows, ends


@pytest.mark.parametrize(("points", "images_used"), [(40.0, 50), (22.0, 100), (5.0, 190)])
def test_images_are_added_until_every_interval_is_narrow(often, points, images_used):
    model, data = trained(lambda: resolve("resnet8-w2", num_classes=4)), images(190)
    result = until(points, model, data)
    rows, ends = stopped_by_hand(points, model, data)
    assert {row["images"] for row in result.rows} == {images_used} == {rows[0]["images"]}
    same = ("block", "wrong", "error", "loss", "changed", "newly_wrong", "newly_right", "increase", "error_low")
    assert [[row[key] for key in same] for row in result.rows] == [[row[key] for key in same] for row in rows]
    for row, (difference, low, high) in zip(result.rows[1:], ends, strict=True):
        assert (row["difference"], row["difference_low"], row["difference_high"]) == (difference, low, high)
        assert (row["increase_low"], row["increase_high"], row["p"]) == (None, None, None)
    widest = max(high - low for _, low, high in ends) / 2
    assert result.settings["until"] == {"points": points, "widest": widest, "available": 190, "seed": 0}


def test_the_order_of_the_images_is_drawn_by_the_seed(often):
    model, data = trained(lambda: resolve("resnet8-w2", num_classes=4)), images(190)
    one, other = (until(40.0, model, data, seed=seed) for seed in (0, 1))
    assert one.rows != other.rows
    assert (one.settings["until"]["seed"], other.settings["until"]["seed"]) == (0, 1)


def test_a_run_that_was_interrupted_ends_in_the_same_table_and_a_narrower_one_goes_on(often, tmp_path):
    model, data, seen = trained(lambda: resolve("resnet8-w2", num_classes=4)), images(190), []

    def told(done, total):
        seen.append(done)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        until(40.0, model, data, tmp_path, progress=lambda what: nullcontext(told))
    wide, narrow = (until(points, model, data, tmp_path).rows for points in (40.0, 22.0))
    assert wide == until(40.0, model, data).rows
    assert narrow == until(22.0, model, data).rows
    computed = []
    again = until(40.0, model, data, tmp_path, progress=lambda what: nullcontext(lambda *d: computed.append(d)))
    assert again.rows == wide
    assert len(computed) == 1  # all was there


@pytest.mark.parametrize("more", [{"multi": range(1, 3)}, {"pairs": True}, {"recalibrate": True}])
def test_only_single_deletions_are_measured_until_they_are_known(more):
    with pytest.raises(ValueError, match=r"--until goes with single deletions, .*; leave out --\w+$"):
        lesion.Parameters(until=1.0, **more)


@pytest.mark.parametrize("points", [0, -1.0, 100.0, float("nan")])
def test_an_impossible_width_is_refused(points):
    with pytest.raises(ValueError, match=f"--until {points:g}: give percentage points above 0 and below 100"):
        lesion.Parameters(until=points)


def test_layers_are_deleted_where_there_are_no_blocks():
    model = make("plain")
    data = Data("noise", "test", images().images, images().labels, tuple("abcde"), "none")
    result = lesioned(model, data)
    assert [(row["block"], row["kind"], row["resizes"]) for row in result.rows] == [
        *[("(intact)", None, None), ("0", "layer", True), ("4", "layer", True), ("7", "layer", True)]
    ]
    without = copy.deepcopy(list(model))
    predicted, _ = measured(nn.Sequential(*without[:7], Keep(5), *without[9:]), data)
    wrong = sum(a != b for a, b in zip(predicted, data.labels.tolist(), strict=True))
    assert result.rows[3]["wrong"] == wrong


class Keep(nn.Module):
    """The first channels."""

    def __init__(self, channels):
        super().__init__()
        self.channels = channels

    def forward(self, x):
        return x[:, : self.channels]


def test_intervals_are_wilsons():
    """Wilson 1927: the errors p for which the measured share is 1.96 standard deviations away."""
    result = lesioned(trained(lambda: resolve("resnet8-w2", num_classes=4)), images())
    z = norm.ppf(0.975)
    for row in result.rows:
        share = row["wrong"] / row["images"]
        for end in ("error_low", "error_high"):
            p = row[end] / 100
            assert (share - p) ** 2 == pytest.approx(z**2 * p * (1 - p) / row["images"], abs=1e-9)
        assert row["error_low"] <= row["error"] <= row["error_high"]


def test_the_way_it_is_run_changes_nothing_and_is_reported():
    model, data, seen = trained(lambda: resolve("resnet8-w2", num_classes=4)), images(), []
    result = lesioned(
        model, data, sweep=Sweep(batch_size=7), progress=lambda what: nullcontext(lambda *d: seen.append(d))
    )
    other = lesioned(model, data, sweep=Sweep(batch_size=40))
    assert result.rows == other.rows
    assert seen[-1] == (160, 160)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_recalibrated_errors_are_those_of_networks_recalibrated_one_by_one():
    model, data, other, asked = trained(lambda: resolve("resnet8-w2", num_classes=4)), images(), images(24), []

    def train(**which):
        asked.append(which)
        return other

    result = lesioned(model, data, train=train)
    assert asked == [{"split": "train", "limit": 7}]
    network = unravel(model, SHAPE)
    for row in result.rows:
        edited = network if row["block"] == "(intact)" else network.delete(row["block"])
        module = copy.deepcopy(edited.to_module())
        recalibrate(module, other)
        predicted, _ = measured(module, data)
        wrong = sum(a != b for a, b in zip(predicted, data.labels.tolist(), strict=True))
        assert row["error_recalibrated"] == 100 * wrong / 40
    assert any(row["error_recalibrated"] != row["error"] for row in result.rows)


def test_a_network_without_anything_to_delete_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4)).eval()
    with pytest.raises(ValueError, match="net has no residual blocks and no layer that an identity could replace"):
        lesioned(model, images())


def test_the_table_is_the_same_after_it_was_saved(tmp_path):
    result = lesioned(trained(lambda: resolve("resnet8-w2", num_classes=4)), images())
    result.save(tmp_path)
    again = read(tmp_path, "lesion")
    assert again.rows == result.rows
    assert (
        (tmp_path / "lesion.csv")
        .read_text(encoding="utf-8")
        .startswith("network,block,index,stage,resizes,images,wrong,error,loss,changed,")
    )


# -- the figure -------------------------------------------------------------------------------------------------------


def table(networks=("net",), errors=(5, 40, 10, 6), kind="block", classes=10):
    rows = []
    for network in networks:
        for i, error in enumerate(errors):
            row = dict.fromkeys(lesion.LESION.keys)
            row |= {"network": network, "images": 100, "wrong": error, "error": float(error), "loss": 1.0, "changed": 0}
            row |= {"error_low": error - 2.0, "error_high": error + 3.0, "block": "(intact)"}
            if i:
                row |= {"block": f"layer{i}.0", "index": i - 1, "stage": 1 + i // 3, "resizes": i == 1, "kind": kind}
            rows.append(row)
    return Result("lesion", lesion.LESION.keys, tuple(rows), {"classes": classes})


def texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_points_are_the_errors_by_position_and_resizing_units_are_open():
    figure = plot(table())
    (axes,) = figure.axes
    points = next(c for c in axes.collections if len(c.get_offsets()) == 3)
    assert points.get_offsets().tolist() == [[0, 40], [1, 10], [2, 6]]
    open_, filled, _ = points.get_facecolors()
    assert open_[:3].tolist() == [1, 1, 1]
    assert filled[:3].tolist() != [1, 1, 1]
    assert "intact: 5 %" in texts(figure)
    assert "resizes" in texts(figure)
    assert axes.get_ylim()[0] == 0
    assert "deleted block" in axes.get_xlabel()


def test_whiskers_are_the_intervals():
    (axes,) = plot(table()).axes
    (bars,) = [c for c in axes.collections if type(c).__name__ == "LineCollection"]
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[38, 43], [8, 13], [4, 9]]


def test_chance_is_drawn_where_errors_come_near_it():
    assert "chance" not in texts(plot(table()))
    figure = plot(table(errors=(5, 88, 90)))
    assert "chance" in texts(figure)
    assert any(set(line.get_ydata()) == {90} for line in figure.axes[0].lines)


def test_several_networks_are_drawn_over_relative_position():
    figure = plot(table(("one", "two")))
    (axes,) = figure.axes
    assert "0 first, 1 last" in axes.get_xlabel()
    for points in (c for c in axes.collections if len(c.get_offsets()) == 3):
        assert points.get_offsets()[:, 0].tolist() == [0, 0.5, 1]
    assert texts(figure) == ["one", "two", "intact", "resizes"]
    chain = [line for line in axes.lines if len(line.get_xdata()) == 3]
    assert [line.get_linestyle() for line in chain] == ["-", "-"]  # dashed lines are the intact networks


def test_layers_are_called_layers():
    assert "deleted layer" in plot(table(kind="layer")).axes[0].get_xlabel()


def test_a_table_of_one_unit_is_drawn():
    assert plot(table(errors=(5, 10))).axes


# -- what it says -----------------------------------------------------------------------------------------------------


def test_facts_are_the_numbers_of_the_table():
    facts = {fact.label: fact for fact in single(table(), "net")}
    assert (facts["intact"].value, facts["intact"].low, facts["intact"].high) == (5, 3, 8)
    assert facts["median lesion"].value == 10
    assert (facts["worst lesion"].value, facts["mildest lesion"].value) == (40, 6)
    assert facts["units that resize"].value == 40
    assert facts["units that keep the shape"].value == 8
    assert len(facts) == 6
    assert all(f"{fact.value:.4g}" in fact.text for fact in facts.values())
