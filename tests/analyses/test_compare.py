from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torchvision.models import get_model_weights

from resnet_probe.analyses import compare, lesion, paths
from resnet_probe.analyses.compare.memory import LiveBytes, peak_memory
from resnet_probe.analyses.compare.table import INTACT
from resnet_probe.evaluate import timing
from resnet_probe.models import resolve
from resnet_probe.tables import Result
from resnet_probe.unraveled import unravel


def meta(arch, shape=(3, 32, 32), **sizes):
    with torch.device("meta"):
        return unravel(resolve(arch, **sizes).eval(), shape)


# -- costs -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "side", "depth"),
    [
        ("resnet56", 32, 56),
        ("plain20", 32, 20),
        ("resnet29-bottleneck-preact", 32, 29),
        ("vgg16", 32, 14),  # 13 convolutions and one linear layer
        ("torchvision:vgg16", 224, 16),
        ("torchvision:resnet50", 224, 50),
        ("torchvision:googlenet", 224, 22),
        ("lenet5", 32, 5),
    ],
)
def test_depth_is_the_one_in_the_name(arch, side, depth):
    assert compare.costs(meta(arch, (3, side, side))).depth == depth


@pytest.mark.parametrize("arch", ["resnet14-w5-B", "plain14", "vgg11-w4-f7", "resnet11-bottleneck"])
def test_costs_are_those_counted_layer_by_layer(arch):
    model, total = resolve(arch), 0

    def add(module, args, out):
        nonlocal total
        per_output = module.weight[0].numel()  # inputs that one output is a sum over
        total += out.numel() * per_output

    hooks = [m.register_forward_hook(add) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    model.eval()(torch.zeros(1, 3, 24, 24))
    for hook in hooks:
        hook.remove()
    found = compare.costs(unravel(model, (3, 24, 24)))
    assert found.multiply_adds == total
    assert found.parameters == sum(p.numel() for p in model.parameters())


def test_auxiliary_heads_are_no_parameters_of_evaluation():
    published = get_model_weights("googlenet").IMAGENET1K_V1.meta
    found = compare.costs(meta("torchvision:googlenet", (3, 224, 224)))
    assert found.parameters == published["num_params"]
    assert found.multiply_adds / 1e9 == pytest.approx(published["_ops"], abs=5e-4)


# -- memory ------------------------------------------------------------------------------------------------------------


def test_live_bytes_of_a_sum_by_hand():
    with LiveBytes() as memory:
        a = torch.zeros(1000)  # 4,000 bytes
        b = a + 1  # 8,000
        view = b[10:]
        b.add_(1)  # in place: nothing new
        assert (memory.live, memory.peak) == (8000, 8000)
        del b
        assert memory.live == 8000  # the view keeps all of it
        del view
        assert memory.live == 4000
        c = a * 2
        del c
        assert (memory.live, memory.peak) == (4000, 8000)
    with LiveBytes([a, a[3:]]) as memory:
        assert memory.peak == 4000


def test_peak_of_a_linear_layer_by_hand():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5, bias=False))
    got = peak_memory(model, (3, 2, 2), batch_size=8, classes=5)
    weights, images, labels, scores = 12 * 5 * 4, 8 * 12 * 4, 8 * 8, 8 * 5 * 4
    # at the end of the backward pass: scores, their gradient, and that of the weights, besides what the loss keeps
    assert weights + images + labels + 2 * scores + weights <= got <= weights + images + labels + 5 * scores + weights


@pytest.mark.parametrize("arch", ["resnet14", "vgg11-w16", "resnet14-preact"])
def test_peak_is_what_the_allocator_saw(arch, monkeypatch):
    """torch's profiler records every allocation, those inside kernels too, which `LiveBytes` does not see.

    oneDNN is off: what its kernels take for themselves depends on the processor (4.5 MB of 17 on one of them).
    """
    shape, size = (3, 32, 32), 32
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    ours = peak_memory(resolve(arch), shape, batch_size=size, classes=10)
    model = resolve(arch).train()
    images, labels = timing.example(shape, size, 10, "cpu")
    there = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers(), images, labels))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        timing.step(model, images, labels)
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    assert ours <= there + peak
    assert ours == pytest.approx(there + peak, rel=0.08)


# -- the table ---------------------------------------------------------------------------------------------------------


def lesion_rows(name, intact, deleted):
    row = dict.fromkeys(lesion.LESION.keys)
    row |= {"network": name, "images": 200, "error_low": intact - 1, "error_high": intact + 1}
    rows = [{**row, "block": INTACT, "error": intact}]
    row |= {"error_low": 1.0, "error_high": 99.0}
    return rows + [
        {**row, "block": f"unit{i}", "index": i, "error": e, "resizes": i == 1} for i, e in enumerate(deleted)
    ]


def example_tables():
    lesions = lesion_rows("a", 5.0, [7.0, 30.0, 6.0, 8.0]) + lesion_rows("b", 10.0, [90.0, 88.0, 91.0])
    counted = [paths.counted({"module": [(1, 1)] * 3, "layer": [(0, 1)] + [(1, 0, 1)] * 3}, "a"),
               paths.counted({"module": [(1,)] * 3, "layer": [(0, 1)] * 3}, "b")]  # fmt: skip
    return (
        Result("lesion", lesion.LESION.keys, tuple(lesions), {"classes": 10}),
        Result("paths", paths.PATHS.keys, tuple(row for each in counted for row in each.rows), {}),
    )


def measured(name, **more):
    return compare.Measured(name, compare.Costs(1000, 50_000, 7), 10, trained=True, **more)


def test_the_table_has_the_columns_of_the_design_and_the_numbers_of_its_parts():
    times = [timing.Timing(n, timing.Times(n, 0.1 * n), timing.Times(3 * n, 0.3 * n)) for n in (64, 16)]
    full = measured("a", timings=tuple(times), batches=100, peak_memory=2_500_000, batch_size=64)
    result = compare.compared([full, replace(measured("b"), trained=False)], *example_tables())
    assert result.columns[:11] == (
        "network", "parameters", "flops", "depth", "error", "worst_lesion", "median_lesion",
        "forward_ms", "forward_ms_std", "backward_ms", "backward_ms_std",
    )  # fmt: skip
    a, b = result.rows
    assert list(a.values())[:11] == ["a", 1000, 50_000, 7, 5.0, 30.0, 7.5, 64, 6.4, 192, pytest.approx(19.2)]
    assert (a["worst_unit"], a["units"], a["error_low"], a["error_high"]) == ("unit1", 4, 4.0, 6.0)
    assert (a["paths"], a["mean_path_length"], a["mean_path_modules"], a["chance"]) == (8, 4.0, 1.5, 90.0)
    assert (a["batch_size"], a["timed_batches"], a["peak_memory_mb"], a["images"]) == (64, 100, 2.5, 200)
    assert [a[f"{kind}_16{end}"] for kind in ("forward_ms", "backward_ms") for end in ("", "_std")] == [
        16, 1.6, 48, pytest.approx(4.8),
    ]  # fmt: skip
    assert (b["error"], b["worst_lesion"], b["median_lesion"], b["paths"], b["trained"]) == (10.0, 91.0, 90.0, 1, False)
    assert b["forward_ms"] is b["backward_ms_16_std"] is b["peak_memory_mb"] is b["batch_size"] is None
    assert result.settings["unit_of_flops"].startswith("multiply-adds")


def test_numbers_of_paths_stay_exact():
    lesions, _ = example_tables()
    deep = paths.counted({"module": [(1, 1)] * 600, "layer": [(1, 0, 1)] * 600}, "a")
    (row,) = compare.compared([measured("a")], lesions, deep).rows
    assert (row["paths"], row["mean_path_length"]) == (2**600, 600.0)


def test_a_network_that_a_table_does_not_have_is_named():
    with pytest.raises(ValueError, match="table lesion has no rows of c; give one table with all networks"):
        compare.compared([measured("c")], *example_tables())


# -- figures -----------------------------------------------------------------------------------------------------------


def drawn():
    lesions, counted = example_tables()
    table = compare.compared([measured("a"), measured("b")], lesions, counted)
    rows = [{"network": n, "index": i, "std": 0.1 * (i + 1), "part": "trunk"} for n in "ab" for i in range(4)]
    return table, lesions, Result("responses", tuple(rows[0]), tuple(rows), {}), counted


def points(axes, colour):
    """Positions and whether they are filled, of the markers of one network."""
    from matplotlib.colors import to_hex

    found = []
    for scatter in axes.collections:
        edges = {to_hex(c).upper() for c in getattr(scatter, "get_edgecolors", list)()}
        if len(scatter.get_offsets()) and hasattr(scatter, "get_sizes") and edges == {colour}:
            filled = [to_hex(c).upper() == colour for c in scatter.get_facecolors()]
            found += [(*map(float, xy), f) for xy, f in zip(scatter.get_offsets(), filled, strict=True)]
    return found


def test_lesions_are_overlaid_by_position_with_open_markers_where_units_resize():
    from resnet_probe.figures import network_colours

    figure = compare.plot(*drawn())
    left, middle, right = figure.axes
    colours = [look["color"] for look in network_colours("ab").values()]
    assert points(left, colours[0]) == [
        (0.0, 7.0, True), (pytest.approx(1 / 3), 30.0, False), (pytest.approx(2 / 3), 6.0, True), (1.0, 8.0, True),
    ]  # fmt: skip
    assert points(left, colours[1]) == [(0.0, 90.0, True), (0.5, 88.0, False), (1.0, 91.0, True)]
    level = {line.get_ydata()[0]: line.get_color() for line in left.lines if len(line.get_xdata()) == 2}
    assert (level[5.0], level[10.0]) == tuple(colours)
    assert 90.0 in level  # chance
    assert points(middle, colours[0]) == [(i, pytest.approx(0.1 * (i + 1)), True) for i in range(4)]
    curves = {line.get_color(): line.get_xydata().tolist() for line in right.lines if line.get_marker() != "None"}
    assert curves[colours[0]] == [[1, pytest.approx(1 / 3)], [3, 1], [5, 1], [7, pytest.approx(1 / 3)]]
    assert curves[colours[1]] == [[3, 1]]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["a", "b", "intact", "unit that resizes", "chance"]


def test_responses_of_unequal_depth_are_drawn_over_relative_position():
    table, lesions, answers, counted = drawn()
    rows = answers.rows[:6]  # four layers and two
    middle = compare.plot(table, lesions, Result("responses", answers.columns, rows, {}), counted).axes[1]
    assert [line.get_xdata()[-1] for line in middle.lines] == [1, 1]
    assert middle.get_xlabel() == "layer (0 first, 1 last)"


def test_a_missing_table_has_no_panel():
    table, lesions, answers, counted = drawn()
    assert len(compare.plot(table, lesions, None, counted).axes) == 2
    assert len(compare.plot(table, None, answers).axes) == 1
    with pytest.raises(ValueError, match="nothing to compare"):
        compare.plot(table)


def test_costs_have_a_panel_of_times_only_where_there_are_times():
    table = drawn()[0]
    assert len(compare.plot_costs(table).axes) == 2
    times = dict(zip(("forward_ms", "forward_ms_std", "backward_ms", "backward_ms_std"), (10, 1, 30, 2), strict=True))
    timed = Result("compare", table.columns, tuple({**row, **times, "batch_size": 64} for row in table.rows), {})
    bars = [patch.get_height() for patch in compare.plot_costs(timed).axes[2].patches]
    assert bars == [10, 30, 10, 30, 0, 0]
    with pytest.raises(ValueError, match=r"compare\.csv has no rows"):
        compare.plot_costs(Result("compare", table.columns, (), {}))
