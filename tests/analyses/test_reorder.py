from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binomtest, kendalltau, spearmanr

from resnet_probe.analyses import reorder
from resnet_probe.analyses.runtime import Runtime
from resnet_probe.analyses.subject import Subject
from resnet_probe.tables import Result, read
from tests.evaluate.cases import compared, in_order, loop, network

GROUPS = [[0, 1, 2], [3], [4, 5]]


def test_swaps_stay_within_blocks_of_equal_shape():
    orders = reorder.draw_orders(GROUPS, 6, [1, 4, 9], 30, seed=0)
    # 3! * 2! = 12 orders, half of them even; one swap reaches 3 + 1 of the odd ones
    assert [number for number, _ in orders] == [1] * 4 + [4] * 6 + [9] * 6
    assert len(set(orders)) == len(orders)
    for _, order in orders:
        assert order[3] == 3
        assert set(order[:3]) == {0, 1, 2}
        assert set(order[4:]) == {4, 5}


def test_one_swap_exchanges_two_and_parity_follows_the_number_of_swaps():
    orders = reorder.draw_orders(GROUPS, 6, [1, 2, 3], 40, seed=0)
    for number, order in orders:
        moved = sum(i != place for i, place in enumerate(order))
        inversions = sum(a > b for a, b in combinations(order, 2))
        assert inversions % 2 == number % 2
        assert moved == 2 if number == 1 else moved <= 2 * number
    assert len({order for number, order in orders if number == 1}) == 4  # all four pairs come up


def test_the_seed_decides():
    one, again, other = (reorder.draw_orders(GROUPS, 6, [3], 10, seed=seed) for seed in (1, 1, 2))
    assert one == again != other


@pytest.mark.parametrize(
    ("groups", "swaps", "draws", "message"),
    [
        ([[0], [1]], [1], 1, "no two residual blocks"),
        (GROUPS, [0], 1, "at least one"),
        (GROUPS, [1], 0, "at least one"),
    ],
)
def test_what_cannot_be_swapped_is_refused(groups, swaps, draws, message):
    with pytest.raises(ValueError, match=message):
        reorder.draw_orders(groups, 6, swaps, draws, 0)


@pytest.fixture(scope="module")
def table(case):
    _, net, data = case
    parameters = reorder.Parameters(swaps=range(1, 6, 4), draws=7)
    (result,) = reorder.run(Subject("tiny", net, data), parameters, Runtime(seed=2))
    return result


def test_each_row_is_the_model_with_its_blocks_in_that_order(case, table):
    model, net, data = case
    names = [unit.name for unit in net.blocks]
    contract = "network, swaps, draw, kendall_tau, order, images, wrong, error, loss"
    assert table.columns[:9] == tuple(contract.split(", "))
    orders = [[int(word) for word in row["order"].split()] for row in table.rows]
    assert orders[0] == list(range(9))
    assert [(row["swaps"], row["draw"]) for row in table.rows] == [
        (0, 0),
        *((1, draw) for draw in range(5)),  # 3 + 1 + 1 pairs can change places, so there are no more orders
        *((5, draw) for draw in range(7)),
    ]
    assert len({row["order"] for row in table.rows if row["swaps"] == 5}) == 7
    assert [row["again"] for row in table.rows] == [order in orders[:i] for i, order in enumerate(orders)]
    assert 0 < sum(row["again"] for row in table.rows) < 7
    outputs = loop({i: in_order(model, names, order) for i, order in enumerate(orders)}, data)
    for i, (row, order) in enumerate(zip(table.rows, orders, strict=True)):
        predicted = outputs[i].argmax(1)
        wrong = int((predicted != data.labels).sum())
        assert (row["images"], row["wrong"], row["error"]) == (40, wrong, 2.5 * wrong)
        assert row["changed"] == int((predicted != outputs[0].argmax(1)).sum())
        expected = compared(data.labels, outputs[0].argmax(1), predicted)
        assert {key: row[key] for key in expected} == (expected if i else dict.fromkeys(expected))
        assert row["kendall_tau"] == pytest.approx(kendalltau(range(9), order).statistic)
        inverted = sum(a > b for a, b in combinations(order, 2))
        assert row["kendall_tau"] == pytest.approx(1 - 2 * inverted / 36)
        interval = binomtest(wrong, 40).proportion_ci(method="wilson")
        assert (row["error_low"], row["error_high"]) == pytest.approx((100 * interval.low, 100 * interval.high))
        shapes = [(net.unit(name).plan.in_shape, net.unit(name).plan.out_shape) for name in names]
        assert [shapes[place] for place in order] == shapes


def test_the_settings_say_what_each_number_of_swaps_does(table):
    steps = table.settings["by_swaps"]
    assert [step["swaps"] for step in steps] == [0, 1, 5]
    for step in steps:
        mine = [row for row in table.rows if row["swaps"] == step["swaps"]]
        assert step["draws"] == len(mine)
        assert step["error"] == pytest.approx(np.mean([row["error"] for row in mine]))
        assert step["kendall_tau"] == pytest.approx(np.mean([row["kendall_tau"] for row in mine]))
        assert step["over_images"][0] <= step["error"] <= step["over_images"][1]
    assert steps[0]["over_draws"] == [None, None]
    assert steps[2]["over_draws"][0] <= steps[2]["error"] <= steps[2]["over_draws"][1]
    assert steps[2]["over_both"][1] - steps[2]["over_both"][0] > steps[2]["over_draws"][1] - steps[2]["over_draws"][0]
    drawn = {row["order"]: row for row in table.rows}  # each order once
    drawn.pop(table.rows[0]["order"])  # the trained order is no draw
    drawn = list(drawn.values())
    assert len(drawn) < len(table.rows) - 1
    disorder, errors = [1 - row["kendall_tau"] for row in drawn], [row["error"] for row in drawn]
    assert table.settings["spearman"] == pytest.approx(spearmanr(disorder, errors).statistic)
    assert -1 <= table.settings["spearman_low"] <= table.settings["spearman"] <= table.settings["spearman_high"] <= 1


def test_a_network_without_blocks_of_equal_shape_is_refused(case):
    _, _, data = case
    _, net = network("resnet8-w4")
    with pytest.raises(ValueError, match="no two residual blocks have the same shape"):
        reorder.run(Subject("short", net, data))


def test_the_figure_can_be_drawn_from_the_table_alone(table, tmp_path):
    table.save(tmp_path)
    axes = reorder.plot(read(tmp_path, "reorder")).axes[0]
    points, sizes = axes.collections[0].get_offsets().tolist(), axes.collections[0].get_sizes()
    orders = {row["order"]: (row["kendall_tau"], row["error"]) for row in table.rows}
    found = Counter(point for order, point in orders.items() if order != table.rows[0]["order"])
    assert {tuple(point): size / 6 for point, size in zip(points, sizes, strict=True)} == dict(found)
    assert axes.xaxis_inverted()


def test_orders_that_coincide_are_one_larger_point_and_redraws_count_once():
    taus, errors = [1, 1, 0.9, 0.9, 0.9, 0.9, 0.8], [5, 5, 10, 10, 10, 16, 30]
    rows = [
        {"network": "net", "kendall_tau": t, "error": e, "order": order}
        for t, e, order in zip(taus, errors, "ttabbcd", strict=True)
    ]
    figure = reorder.plot(Result("reorder", tuple(rows[0]), tuple(rows), {}))
    points = figure.axes[0].collections[0]
    assert points.get_offsets().tolist() == [[0.9, 10], [0.9, 16], [0.8, 30]]
    assert points.get_sizes().tolist() == [12, 6, 6]
    means = next(line for line in figure.axes[0].lines if line.get_marker() == "o")
    assert means.get_xydata().tolist() == [[pytest.approx(0.9), 12]]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["net (area: 1 to 2 orders)", "mean in bins of tau", "trained order"]


def test_orders_that_are_all_the_trained_one_leave_a_figure_without_points():
    rows = [{"network": "net", "kendall_tau": 1.0, "error": 5.0, "order": "0 1"}] * 2
    figure = reorder.plot(Result("reorder", tuple(rows[0]), tuple(rows), {}))
    assert len(figure.axes[0].collections[0].get_offsets()) == 0
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["net", "trained order"]


def test_facts_are_means_of_the_orders_and_the_rank_correlation(table):
    facts = {fact.label: fact for fact in reorder.facts(table, "tiny")}
    assert facts["trained order"].value == table.rows[0]["error"]
    for swaps, label in ((1, "1 swap"), (5, "5 swaps")):
        errors = [row["error"] for row in table.rows if row["swaps"] == swaps]
        assert facts[label].value == pytest.approx(np.mean(errors))
    assert facts["worst order"].value == max(row["error"] for row in table.rows)
    assert facts["rank correlation"].value == table.settings["spearman"]


def test_distance_is_the_fewest_swaps():
    """Against breadth-first search over all orders of five blocks."""
    found, frontier, steps = {tuple(range(5)): 0}, [tuple(range(5))], 0
    while frontier:
        steps += 1
        reached = set()
        for order in frontier:
            for i, j in combinations(range(5), 2):
                swapped = list(order)
                swapped[i], swapped[j] = swapped[j], swapped[i]
                reached.add(tuple(swapped))
        frontier = [order for order in reached if order not in found]
        found |= dict.fromkeys(frontier, steps)
    assert len(found) == 120
    assert {order: reorder.distance(order) for order in found} == found
