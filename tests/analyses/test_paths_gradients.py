import math

import pytest
import torch
from matplotlib.colors import to_hex

from resnet_probe import figures
from resnet_probe.analyses import paths
from resnet_probe.gradients import class_gradients, sample_norms
from resnet_probe.tables import Result, together
from tests.analyses.running import drawn_again
from tests.gradients.networks import data_of, network_of


@pytest.fixture(scope="module")
def measured():
    return paths.run_gradients(network_of("resnet14-w4"), data_of(8), name="resnet14", samples=24)


def test_table_has_the_columns_of_the_design_and_a_row_per_length(measured):
    first = ("network", "length", "count", "class_norm", "class_share", "path_norm", "path_norm_std", "samples")
    assert measured.columns[:8] == first
    assert [row["length"] for row in measured.rows] == list(range(7))
    assert [row["count"] for row in measured.rows] == [math.comb(6, k) for k in range(7)]
    assert {row["samples"] for row in measured.rows} == {24}
    assert sum(row["class_share"] for row in measured.rows) == pytest.approx(1, abs=1e-5)
    assert sum(row["effective_share"] for row in measured.rows) == pytest.approx(1)


def test_columns_are_what_they_say(measured):
    network, data = network_of("resnet14-w4"), data_of(8)
    ((images, labels),) = data.batches(8)
    found = class_gradients(network, images, labels)
    norms = found.at["input"].flatten(2).norm(dim=2)
    sampled = sample_norms(network, data, samples=24).norms
    for length, row in enumerate(measured.rows):
        assert row["class_norm"] == pytest.approx(float(norms[length].mean()), rel=1e-4)
        assert row["class_norm_std"] == pytest.approx(float(norms[length].std(correction=0)), rel=1e-3)
        assert row["class_mean_norm"] == pytest.approx(row["class_norm"] / row["count"])
        assert row["path_norm"] == pytest.approx(float(sampled[length].mean()), rel=1e-4)
        assert row["path_norm_std"] == pytest.approx(float(sampled[length].std()), rel=1e-3)
        assert row["cancellation_ratio"] == pytest.approx(row["class_mean_norm"] / row["path_norm"], rel=1e-4)
    # three samples for each of eight images: classes of a single path cannot cancel
    assert measured.rows[0]["cancellation_ratio"] == pytest.approx(1, rel=1e-4)
    assert measured.rows[6]["cancellation_ratio"] == pytest.approx(1, rel=1e-4)
    weights = [row["count"] * row["path_norm"] for row in measured.rows]
    assert [row["effective_share"] for row in measured.rows] == pytest.approx([w / sum(weights) for w in weights])


@pytest.mark.slow
@pytest.mark.parametrize(("samples", "mode", "size"), [(5, "eval", None), (11, "eval", 3), (3, "train", 4)])
def test_cancellation_compares_the_same_images(samples, mode, size):
    """More images than samples, or not a multiple of them: the norms of other images are not mixed in."""
    network, data = network_of("resnet14-w4"), data_of(8)
    how = {"batch_norm": mode, "batch_size": size}
    rows = paths.run_gradients(network, data, name="x", samples=samples, **how).rows
    assert [rows[k]["cancellation_ratio"] for k in (0, 6)] == pytest.approx([1, 1], rel=1e-4)  # a single path
    assert [rows[k]["cancellation_error"] for k in (0, 6)] == pytest.approx([0, 0], abs=1e-4)
    sampled = sample_norms(network, data, samples=samples, **how)
    for length, row in enumerate(rows):
        above, below = [], []
        for owners, norm in zip(sampled.images.tolist(), sampled.norms[length].tolist(), strict=True):
            first = owners[0] // 4 * 4
            shown = range(first, first + 4) if mode == "train" else owners  # in training mode the batch counts
            ((images, labels),) = data.subset(list(shown)).batches(len(shown))
            classes = class_gradients(network, images, labels, batch_norm=mode).at["input"]
            above.append(float(classes.flatten(2).norm(dim=2)[length].mean()) / row["count"])
            below.append(norm)
        assert row["cancellation_ratio"] == pytest.approx(sum(above) / sum(below), rel=1e-4)
        assert row["cancellation_error"] >= 0


def test_settings_name_what_was_checked_and_the_paper(measured):
    about = measured.settings
    assert 0 <= about["identity_error"] < 1e-5
    assert about["images"] == 8
    assert about["exact"]["holds"] >= 0.95
    assert about["decay"]["points"] == 7
    assert (measured.settings["paper"]["low"], measured.settings["paper"]["high"]) == (5, 17)
    assert paths.describe(measured.rows) == {key: about[key] for key in paths.describe(measured.rows)}


def test_seed_decides_the_samples_and_nothing_else(measured):
    network, data = network_of("resnet14-w4"), data_of(8)
    again = paths.run_gradients(network, data, name="resnet14", samples=24)
    assert again == measured
    other = paths.run_gradients(network, data, name="resnet14", samples=24, seed=1)
    assert [row["class_norm"] for row in other.rows] == [row["class_norm"] for row in measured.rows]
    assert [row["path_norm"] for row in other.rows] != [row["path_norm"] for row in measured.rows]


def test_exact_classes_alone():
    result = paths.run_gradients(network_of("resnet8-w4"), data_of(3), name="x", samples=0)
    assert all(row["path_norm"] is None and row["samples"] == 0 for row in result.rows)
    assert "effective" not in result.settings
    figure = paths.plot_gradients(result)
    assert len(figure.axes) == 3
    with pytest.raises(ValueError, match="-1 samples per length; give 0 for none"):
        paths.run_gradients(network_of("resnet8-w4"), data_of(3), name="x", samples=-1)


def test_a_network_without_blocks_is_one_class(tmp_path):
    result = paths.run_gradients(network_of("vgg11-w4"), data_of(3), name="vgg", samples=3)
    (row,) = result.rows
    assert (row["length"], row["count"]) == (0, 1)
    assert row["class_share"] == pytest.approx(1)
    assert row["cancellation_ratio"] == pytest.approx(1, rel=1e-5)
    exact = result.settings["exact"]
    assert (exact["low"], exact["high"], exact["share_of_paths"]) == (0, 0, 1)
    figures.save(paths.plot_gradients(result), tmp_path, "gradients", ["png"])


def test_deleted_blocks_are_no_classes():
    network = network_of("resnet8-w4").delete("layer1.0")
    result = paths.run_gradients(network, data_of(3), name="x", samples=2)
    assert [row["count"] for row in result.rows] == [1, 2, 1]


def test_progress_ends_at_its_total():
    seen = []
    network, data = network_of("resnet8-w4"), data_of(5)
    paths.run_gradients(network, data, name="x", samples=4, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (5 + 4 * 4, 5 + 4 * 4)


# -- figure ---------------------------------------------------------------------------------------------------------


def test_figure_draws_the_table(measured):
    lengths, norms, shares, cancellation = paths.plot_gradients(measured).axes
    assert [axis.get_title(loc="left")[0] for axis in (lengths, norms, shares, cancellation)] == list("abcd")
    assert not cancellation.texts  # what 1 means stands in the title, where no line goes through it
    assert "1: none" in cancellation.get_title(loc="left")
    lengths.figure.draw_without_rendering()
    assert cancellation.yaxis.label.get_window_extent().height < cancellation.get_window_extent().height
    column = {name: [row[name] for row in measured.rows] for name in measured.columns}
    assert norms.get_yscale() == cancellation.get_yscale() == "log"
    drawn, fit, classes = norms.get_lines()
    assert list(drawn.get_ydata()) == column["path_norm"]
    assert list(classes.get_ydata()) == column["class_norm"]
    decay = measured.settings["decay"]
    expected = [math.exp(decay["intercept"] + decay["slope"] * k) for k in range(7)]
    assert fit.get_ydata() == pytest.approx(expected)
    lines = {line.get_label(): line.get_ydata() for line in shares.get_lines()}
    exact = measured.settings["exact"]
    assert lines[f"exact: {exact['low']} to {exact['high']} hold {100 * exact['holds']:.0f} %"] == pytest.approx(
        [100 * value for value in column["class_share"]]
    )
    (span,) = [
        patch for patch in shares.patches if to_hex(patch.get_facecolor()) == figures.PALETTE["vermillion"].lower()
    ]
    box = span.get_extents().transformed(shares.transData.inverted())
    assert (box.x0, box.x1) == pytest.approx((exact["low"] - 0.5, exact["high"] + 0.5))
    (dots,) = [line for line in cancellation.get_lines() if line.get_marker() == "o"]
    assert list(dots.get_ydata()) == column["cancellation_ratio"]
    assert sum(lengths.patches[0].get_data().values) == pytest.approx(100)


@pytest.mark.slow
def test_figure_is_a_page_wide_and_comes_from_the_table_alone(measured, tmp_path):
    assert drawn_again(paths.plot_gradients, measured, tmp_path) == pytest.approx(178)


def test_several_networks_have_a_colour_each(measured):
    other = paths.run_gradients(network_of("resnet8-w4"), data_of(3), name="untrained", samples=2)
    figure = paths.plot_gradients(together([measured, other]))
    axes, (legend,) = figure.axes, figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names[:2] == ["resnet14", "untrained"]
    assert len({to_hex(line.get_color()) for line in axes[3].get_lines()[:2]}) == 2


def test_what_holds_no_gradients_is_refused(measured):
    with pytest.raises(ValueError, match="has no column class_norm"):
        paths.plot_gradients(Result("gradients", ("network", "length", "count"), (), {}))
    with pytest.raises(ValueError, match="has no rows"):
        paths.plot_gradients(Result("gradients", measured.columns, (), {}))


def test_training_mode_takes_the_statistics_of_each_batch():
    network, data = network_of("resnet8-preact-w4"), data_of(8)
    state = torch.random.get_rng_state()
    result = paths.run_gradients(network, data, name="x", samples=4, batch_norm="train", batch_size=4)
    assert result.settings["identity_error"] < 1e-5
    assert torch.equal(torch.random.get_rng_state(), state)
    assert result.rows[0]["samples"] == 4
    halves = [class_gradients(network, *half, batch_norm="train").at["input"] for half in data.batches(4)]
    expected = torch.cat(halves, 1).flatten(2).norm(dim=2).mean(1)
    assert [row["class_norm"] for row in result.rows] == pytest.approx(expected.tolist(), rel=1e-4)
