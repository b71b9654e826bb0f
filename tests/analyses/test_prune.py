"""Orders and searches against plain loops over edited copies of the model, and what the tables promise."""

from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from itertools import combinations, pairwise, permutations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import kendalltau, ttest_1samp
from torch.utils.flop_counter import FlopCounterMode

from resnet_probe.analyses import prune
from resnet_probe.analyses.prune import ORDERS, Parameters, heal, stability, times
from resnet_probe.analyses.registry import facts_of
from resnet_probe.analyses.runtime import Runtime
from resnet_probe.analyses.subject import Subject
from resnet_probe.checkpoint import load, save
from resnet_probe.evaluate import recalibrate
from resnet_probe.statistics import paired_difference
from resnet_probe.unraveled import unravel
from tests.analyses.running import tables as tables_of
from tests.anatomy.test_residual import NESTED
from tests.evaluate.cases import images, loop, network, without
from tests.networks import trained

NAMES = ["layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1"]


@pytest.fixture(scope="module")
def case():
    """Model, chain, images that choose and images that report."""
    model, net = network("resnet14-w4", seed=4)
    return model, net, replace(images(30, seed=5), split="train"), images(40)


def subject(net, chooses, reports):
    def more(*, split, limit=None):
        return (chooses if split == "train" else reports).subset(slice(limit))

    return Subject("tiny", net, reports, images=more)


def measured(case, runtime=None, **how):
    _, *rest = case
    made = prune.run(subject(*rest), Parameters(**{"resizing": True, "draws": 3} | how), runtime)
    return {table.name: table for table in made}


@pytest.fixture(scope="module")
def tables(case):
    return measured(case, orders=tuple(ORDERS))


@pytest.fixture(scope="module")
def lost(case):
    """Loss on the images that choose of the model without some blocks, from a loop; `loss(frozenset)`."""
    model, _, chooses, _ = case

    @cache
    def loss(gone):
        out = loop({"": without(model, *gone)}, chooses)[""]
        return F.cross_entropy(out, chooses.labels).item()

    return loss


def path(tables, order, draw=None):
    """The removed blocks for every number of them, as the table has them."""
    rows = [row for row in tables["prune"].rows if (row["order"], row["draw"]) == (order, draw)]
    assert [row["removed"] for row in rows] == list(range(1, len(NAMES) + 1))
    return [row["blocks"].split() for row in rows]


def in_order(tables, order):
    """The blocks in the order in which they go; every set is the one before it and one block more."""
    sets = path(tables, order)
    assert all(before == after[:-1] for before, after in pairwise(sets))
    return sets[-1]


def test_greedy_is_the_loop_that_takes_the_best_next_block(tables, lost):
    gone = []
    while len(gone) < len(NAMES):
        left = [name for name in NAMES if name not in gone]
        gone.append(min(left, key=lambda name: lost(frozenset({*gone, name}))))
    assert in_order(tables, "greedy") == gone != NAMES


def test_beam_is_the_loop_that_keeps_several(tables, lost):
    beam, best = [frozenset()], []
    for _ in NAMES:
        wanted = {each | {name} for each in beam for name in NAMES if name not in each}
        beam = sorted(wanted, key=lost)[:4]
        best.append(set(beam[0]))
    assert [set(each) for each in path(tables, "beam")] == best


def test_exhaustive_finds_the_best_set_of_each_size(tables, lost):
    best = [set(min(map(frozenset, combinations(NAMES, k)), key=lost)) for k in range(1, 7)]
    assert [set(each) for each in path(tables, "exhaustive")] == best


def test_runs_are_the_best_that_are_consecutive(tables, lost):
    best = [min((frozenset(NAMES[i : i + k]) for i in range(7 - k)), key=lost) for k in range(1, 7)]
    assert [set(each) for each in path(tables, "runs")] == [set(each) for each in best]


def test_orders_by_a_score_are_those_of_the_other_analyses(case, tables):
    """Lesions, measures of iterative inference and Shapley values on the images that choose."""
    _, net, chooses, _ = case
    lesion = tables_of("lesion", net, chooses, name="tiny")["lesion"].rows[1:]
    iterative = tables_of("iterative", net, chooses, name="tiny")["iterative"].rows
    shapley = tables_of("importance", net, chooses, name="tiny")["importance"].rows
    by = {
        "lesion": [row["error"] for row in lesion],
        "lesion_loss": [row["loss"] for row in lesion],
        "shapley": [row["shapley"] for row in shapley if row["measure"] == "accuracy"],
        "shapley_loss": [row["shapley"] for row in shapley if row["measure"] == "loss"],
    }
    by |= {name: [row[name] for row in iterative] for name in ("influence", "angular", "ratio", "first_order")}
    for name, scores in by.items():
        places = [NAMES.index(block) for block in in_order(tables, name)]
        ordered = [scores[place] for place in places]
        assert ordered == pytest.approx(sorted(scores), abs=1e-9), name


def test_weights_last_and_random(case, tables):
    model, *_ = case
    norms = {}
    for name in NAMES:
        block = model.get_submodule(name)
        norms[name] = sum(c.weight.square().sum().item() for c in (block.conv1, block.conv2))
    assert in_order(tables, "weights") == sorted(NAMES, key=norms.__getitem__)
    assert in_order(tables, "last") == NAMES[::-1]
    drawn = [path(tables, "random", draw)[-1] for draw in range(3)]
    assert all(sorted(each) == NAMES for each in drawn)
    assert len(set(map(tuple, drawn))) == 3


def test_rows_are_those_of_a_loop_on_the_images_that_report(case, tables):
    model, _, chooses, reports = case
    rows = tables["prune"].rows
    assert (rows[0]["order"], rows[0]["removed"], rows[0]["difference"]) == ("(intact)", 0, None)
    intact = (loop({"": model}, reports)[""].argmax(1) != reports.labels).numpy()
    assert rows[0]["wrong"] == intact.sum()
    for order, removed in (("greedy", 2), ("shapley", 4), ("last", 1)):
        (row,) = (row for row in rows if (row["order"], row["removed"]) == (order, removed))
        edited = without(model, *row["blocks"].split())
        out = loop({"": edited}, reports)[""]
        wrong = (out.argmax(1) != reports.labels).numpy()
        assert (row["images"], row["wrong"], row["choose_images"]) == (40, wrong.sum(), 30)
        assert row["loss"] == pytest.approx(F.cross_entropy(out, reports.labels).item(), abs=1e-5)
        counts = int((wrong & ~intact).sum()), int((intact & ~wrong).sum())
        assert (row["newly_wrong"], row["newly_right"]) == counts
        found = row["difference"], row["difference_low"], row["difference_high"]
        assert found == paired_difference(*counts, 40)
        if row["chosen_loss"] is not None:
            chosen = loop({"": edited}, chooses)[""]
            assert row["chosen_loss"] == pytest.approx(F.cross_entropy(chosen, chooses.labels).item(), abs=1e-5)
    greedy = {row["removed"]: row for row in rows if row["order"] == "greedy"}
    for row in rows[1:]:
        if row["order"] != "greedy":
            expected = row["error"] - greedy[row["removed"]]["error"]
            assert row["over_greedy"] == pytest.approx(expected)
            assert row["over_greedy_low"] <= expected + 1e-9
            assert row["over_greedy_high"] >= expected - 1e-9


def test_costs_are_those_of_the_exported_network(case, tables):
    _, net, *_ = case
    for row in tables["prune"].rows[::17]:
        module = net.delete(*(row["blocks"] or "").split()).to_module()
        assert row["parameters"] == sum(p.numel() for p in module.parameters())
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(torch.zeros(1, *net.input_shape))
        assert row["flops"] == counter.get_total_flops() // 2


def test_columns_are_those_of_the_contract(tables):
    contract = (
        "network, order, removed, blocks, images, wrong, error, loss, parameters, flops, difference, difference_low, "
        "difference_high, choose_images"
    )
    assert tables["prune"].columns[:14] == tuple(contract.split(", "))


def test_greedy_costs_less_than_its_loop(case):
    """A loop measures n (n + 1) / 2 sets; each is measured once, and blocks before the first difference too."""
    table = measured(case, orders=("greedy",))["prune"]
    cost = table.settings["costs"]["greedy"]
    assert cost["sets"] >= 6 * 7 / 2
    assert cost["block_runs"] < 0.75 * cost["block_runs_of_a_loop"]
    assert table.settings["costs"]["intact"] == {"sets": 1, "block_runs": 6, "block_runs_of_a_loop": 6}


def test_stability_is_that_of_orders_found_anew(tables):
    rows = {(row["order"], row["compared"]): row for row in tables["prune_stability"].rows}
    assert {order for order, _ in rows} == set(ORDERS) - {"weights", "last", "random", "beam", "exhaustive", "runs"}
    assert rows["greedy", "halves"]["repeats"] == 1
    row = rows["lesion_loss", "halves"]
    assert (row["images"], row["repeats"], row["first"]) == (30, stability.REPEATS, 2)
    assert -1 <= row["tau_low"] <= row["kendall_tau"] <= row["tau_high"] <= 1
    assert rows["lesion_loss", "resamples"]["kendall_tau"] > row["kendall_tau"]


def test_stability_of_known_scores():
    generator = np.random.default_rng(0)
    noisy = np.arange(8.0) + generator.normal(scale=20, size=(50, 8))

    def order(part):
        return tuple(np.argsort(noisy[part].mean(0)))

    halves, samples = stability.of_score(order, 50, seed=0)
    splits = stability.random_halves(50, 0)
    taus = []
    for _ in range(stability.REPEATS):
        one, other = next(splits)
        assert sorted([*one, *other]) == list(range(50))
        taus.append(kendalltau(noisy[one].mean(0), noisy[other].mean(0)).statistic)
    assert halves["kendall_tau"] == pytest.approx(np.mean(taus))
    assert (halves["tau_low"], halves["tau_high"]) == pytest.approx(np.quantile(taus, [0.025, 0.975]))
    assert samples["kendall_tau"] > halves["kendall_tau"]
    same = stability.compared([((0, 1, 2), (0, 1, 2))])
    assert (same["kendall_tau"], same["overlap"], same["tau_low"]) == (1, 1, None)
    assert stability.compared([((0, 1, 2, 3), (3, 2, 1, 0))])["kendall_tau"] == -1


def test_the_same_images_are_refused_unless_asked_for(case):
    _, net, _, reports = case
    with pytest.raises(ValueError, match="of split 'test' would choose blocks and report on them"):
        measured(case, choose_split="test", orders=("last",))
    with pytest.raises(ValueError, match="of split 'train' would choose"):
        measured(case, report_split="train", orders=("last",))
    disguised = replace(reports, split="train")
    with pytest.raises(ValueError, match="would choose blocks and report"):
        prune.run(subject(net, disguised, reports), Parameters(orders=("last",), resizing=True))
    table = measured(case, choose_split="test", same_images=True, orders=("lesion",))["prune"]
    assert table.settings["same_images"]
    assert table.rows[0]["choose_images"] == table.rows[0]["images"] == 40
    facts = {fact.label: fact.text for fact in facts_of(table)["tiny"]}
    assert "the same images" in facts["images"]
    assert not measured(case, orders=("last",))["prune"].settings["same_images"]


def test_settings_name_the_images_that_report(case):
    """Those of --report-split, not of --split."""
    _, net, chooses, reports = case
    other = replace(images(25, seed=6), split="val")

    def more(*, split, limit=None):
        return {"train": chooses, "val": other}[split].subset(slice(limit))

    one = Subject("tiny", net, reports, images=more)
    for table in prune.run(one, Parameters(orders=("last", "runs"), resizing=True, report_split="val")):
        about = table.settings
        assert (about["data_set"]["split"], about["data_set"]["images"]) == ("val", 25)
        assert about["data_fingerprint"] == about["report"]["data_fingerprint"] == other.fingerprint


def test_blocks_inside_a_unit_go_like_others():
    """Of a network without links, against its own code without them: every search, and the error of every row."""
    make, names, _ = NESTED["conditioned"]
    model = trained(make)
    net = unravel(model, (3, 8, 8))
    inside = [unit.name for unit in net.blocks]
    assert all(unit.plan.inside for unit in net.blocks)
    chooses, reports = replace(images(30, seed=5, classes=5), split="train"), images(40, classes=5)

    @torch.no_grad()
    def outputs(gone, data):
        x, _ = next(data.batches(64))
        return model.head(model.middle(model.stem(x), gone=[names[inside.index(each)] for each in gone]).mean((2, 3)))

    @cache
    def loss(gone):
        return F.cross_entropy(outputs(gone, chooses), chooses.labels).item()

    said = []
    how = Parameters(orders=("greedy", "exhaustive", "shapley_loss", "influence", "weights"))
    table, _ = prune.run(subject(net, chooses, reports), how, Runtime(say=said.append))
    found = {(row["order"], row["removed"]): row["blocks"].split() for row in table.rows[1:]}
    assert {order for order, _ in found} == {"greedy", "exhaustive", "shapley_loss"}
    assert said[-1].endswith("left out: influence, weights")
    gone = []
    for k in range(1, 4):
        gone.append(min((name for name in inside if name not in gone), key=lambda name: loss(frozenset({*gone, name}))))
        assert found["greedy", k] == gone
        assert set(found["exhaustive", k]) == set(min(map(frozenset, combinations(inside, k)), key=loss))
    orders = list(permutations(inside))
    values = {
        name: np.mean([loss(frozenset(o[: o.index(name) + 1])) - loss(frozenset(o[: o.index(name)])) for o in orders])
        for name in inside
    }
    assert found["shapley_loss", 3] == sorted(inside, key=values.__getitem__)
    for row in table.rows:
        wrong = outputs((row["blocks"] or "").split(), reports).argmax(1) != reports.labels
        assert row["wrong"] == wrong.sum()
        module = net.delete(*(row["blocks"] or "").split()).to_module()
        assert row["parameters"] == sum(p.numel() for p in module.parameters())
    with pytest.raises(ValueError, match="lie inside units"):
        prune.run(subject(net, chooses, reports), Parameters(orders=("ratio",)))
    with pytest.raises(ValueError, match="random is many"):
        prune.run(subject(net, chooses, reports), Parameters(orders=("ratio", "random"), heal=1))


def test_what_cannot_be_pruned_is_said(case):
    with pytest.raises(ValueError, match="no order 'best'"):
        prune.Parameters.__dataclass_fields__["orders"].metadata["option"].parse("greedy,best")
    _, net = network("resnet8-w4")
    with pytest.raises(ValueError, match="1 residual blocks to remove"):
        prune.run(subject(net, case[2], case[3]), Parameters())
    _, deep = network("resnet32-w4")
    with pytest.raises(ValueError, match="has 13 blocks, more than 12"):
        prune.run(subject(deep, case[2], case[3]), Parameters(orders=("exhaustive",)))


def test_many_blocks_have_sampled_shapley_values(case, monkeypatch):
    from resnet_probe.analyses.prune import scores

    exact = measured(case, orders=("shapley_loss",))
    monkeypatch.setattr(scores, "MOST_EXHAUSTIVE", 3)
    found = measured(case, orders=("shapley_loss",), draws=60)
    places = [[NAMES.index(block) for block in in_order(each, "shapley_loss")] for each in (exact, found)]
    assert kendalltau(*(np.argsort(each) for each in places)).statistic > 0.7


def test_an_interrupted_run_goes_on_where_it_stopped(case, tmp_path):
    first = measured(case, Runtime(folder=tmp_path), orders=("greedy", "lesion"))
    journals = {path.name for path in tmp_path.glob("*.journal")}
    assert {"prune.journal", "prune.lesion.journal", "prune.greedy-2.journal"} <= journals
    again = measured(case, Runtime(folder=tmp_path), orders=("greedy", "lesion"))
    assert [again[name].rows for name in again] == [first[name].rows for name in first]


def test_cut_networks_are_healed_and_kept(case, tmp_path):
    model, _, chooses, reports = case
    save(tmp_path / "tiny.safetensors", model, arch="resnet14-w4", metadata={"input_size": 8})
    source = load(tmp_path / "tiny.safetensors")

    def more(*, split, limit=None):
        return (chooses if split == "train" else reports).subset(slice(limit))

    one = Subject("tiny", unravel(source.model, (3, 8, 8)), reports, checkpoint=source, images=more)
    how = Parameters(orders=("last", "greedy"), resizing=True, heal=5, save=2)
    before = {name: value.clone() for name, value in source.model.state_dict().items()}
    table, _ = prune.run(one, how, Runtime(folder=tmp_path))
    healed = [row for row in table.rows if row["healing"]]
    assert [(row["removed"], row["healing"]) for row in healed] == [
        (removed, healing) for removed in (1, 3, 4, 2) for healing in ("statistics", "trained")
    ]
    assert all(torch.equal(value, before[name]) for name, value in source.model.state_dict().items())
    for row in healed:
        names = row["blocks"].split()
        assert names == NAMES[::-1][: row["removed"]]
        if row["healing"] == "statistics":
            edited = without(model, *names)
            recalibrate(edited, chooses)
        else:
            edited = load(tmp_path / f"tiny-without-{row['removed']}-healed.safetensors").model
        out = loop({"": edited}, reports)[""]
        assert row["loss"] == pytest.approx(F.cross_entropy(out, reports.labels).item(), abs=1e-4)
        assert row["wrong"] == (out.argmax(1) != reports.labels).sum()
    kept = load(tmp_path / "tiny-without-2.safetensors").model
    cut = {row["removed"]: row for row in table.rows if row["order"] == "last" and not row["healing"]}
    for row in healed:
        assert all(row[key] == cut[row["removed"]][key] for key in ("order", "blocks", "parameters", "flops"))
        assert {row[key] for key in ("over_greedy", "over_greedy_low", "chosen_error", "chosen_loss")} == {None}
    assert None not in {cut[1][key] for key in ("over_greedy", "over_greedy_low", "chosen_error", "chosen_loss")}
    loss = F.cross_entropy(loop({"": kept}, reports)[""], reports.labels).item()
    assert cut[2]["loss"] == pytest.approx(loss, abs=1e-5)
    facts = {fact.label for fact in facts_of(table)["tiny"]}
    assert "3 removed, fine-tuned" in facts


def test_an_interrupted_healing_goes_on_to_the_same_bytes(case, tmp_path):
    """Stopped in the second network, after the first was healed."""
    model, _, chooses, reports = case
    save(tmp_path / "tiny.safetensors", model, arch="resnet14-w4", metadata={"input_size": 8})
    source = load(tmp_path / "tiny.safetensors")

    def healed(folder, stop=None):
        said = []

        @contextmanager
        def progress(what):
            def report(done, total):
                said.append((what, done))
                if (what, done) == stop:
                    raise KeyboardInterrupt

            yield report

        def more(*, split, limit=None):
            return (chooses if split == "train" else reports).subset(slice(limit))

        folder.mkdir(exist_ok=True)
        one = Subject("tiny", unravel(source.model, (3, 8, 8)), reports, checkpoint=source, images=more)
        how = Parameters(orders=("last",), resizing=True, heal=4)
        table, _ = prune.run(one, how, Runtime(folder=folder, progress=progress))
        files = {path.name: path.read_bytes() for path in folder.glob("*healed.safetensors")}
        return table.rows, files, [done for what, done in said if "healing of tiny, 1 blocks" in what]

    whole = healed(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        healed(tmp_path / "part", stop=("healing of tiny, 3 blocks removed", 2))
    assert len(list((tmp_path / "part").glob("*healed.safetensors"))) == 1
    *found, steps = healed(tmp_path / "part")
    assert found == [*whole[:2]]
    assert (steps, whole[2]) == ([4], [0, 1, 2, 3, 4])
    assert len(whole[1]) == 3
    assert not list(tmp_path.glob("*/*-healing"))


def test_what_is_healed_is_an_order_that_there_is(case):
    for more in ({"heal": 3}, {"save": 1}):
        with pytest.raises(ValueError, match="random is many"):
            measured(case, orders=("random", "last"), **more)
    with pytest.raises(ValueError, match="has 6 blocks that can go"):
        measured(case, orders=("last",), save=7)
    assert heal.where(25) == [6, 12, 18]
    assert heal.where(2) == [1]


def test_cut_networks_are_timed_once_for_each_shape_of_what_is_left(case, monkeypatch):
    """On a clock by the books: a block costs 10 ms at batch 1 and 2 ms in batches of 32, what else there is nothing."""
    calls = []

    def clock(module, shape, *, batch_size, seconds, device):
        blocks = len({name.rpartition(".conv")[0] for name, _ in module.named_modules() if name.endswith("conv2")})
        calls.append((blocks, batch_size))
        return blocks * {1: 10.0, 8: 3.0, 32: 2.0, 128: 4.0}[batch_size]

    monkeypatch.setattr(times, "time_forward", clock)
    table = measured(case, orders=("last", "weights", "random"), time=True, resizing=False)["prune"]
    for row in table.rows:
        assert (row["time_1"], row["time_best"]) == (10.0 * (6 - row["removed"]), 2.0 * (6 - row["removed"]))
    assert table.settings["best_batch"] == 32
    assert calls[:3] == [(6, 8), (6, 32), (6, 128)]
    stages = {tuple(sorted(block[:6] for block in (row["blocks"] or "").split())) for row in table.rows}
    assert len(calls) - 3 == 2 * len(stages)
    assert "time of an image" in {fact.label for fact in facts_of(table)["tiny"]}
    assert {row["time_1"] for row in measured(case, orders=("last",))["prune"].rows} == {None}


def test_every_run_is_measured_on_the_images_that_report(case, tables):
    """Each against a loop; late against early ones by scipy's interval of a mean of paired differences."""
    model, _, _, reports = case
    table = tables["prune_runs"]
    assert [(row["length"], row["start"]) for row in table.rows] == [
        (0, None), *((k, start) for k in range(1, 7) for start in range(7 - k))
    ]  # fmt: skip
    wrong = {}
    for row in table.rows:
        names = NAMES[row["start"] :][: row["length"]] if row["length"] else []
        assert (row["blocks"] or "").split() == names
        out = loop({"": without(model, *names)}, reports)[""]
        wrong[row["length"], row["start"]] = (out.argmax(1) != reports.labels).numpy()
        assert row["wrong"] == wrong[row["length"], row["start"]].sum()
        assert row["loss"] == pytest.approx(F.cross_entropy(out, reports.labels).item(), abs=1e-5)
        assert row["difference"] in (None, pytest.approx(row["error"] - table.rows[0]["error"]))
    sides = {1: ([3, 4, 5], [0, 1, 2]), 2: ([3, 4], [0, 1]), 3: ([2, 3], [0, 1]), 4: ([2], [0]), 5: ([1], [0])}
    assert [half["length"] for half in table.settings["halves"]] == [*sides]
    for half in table.settings["halves"]:
        late, early = (np.mean([wrong[half["length"], i] for i in side], axis=0) for side in sides[half["length"]])
        found = ttest_1samp(100 * (late - early), 0).confidence_interval()
        assert (half["late"], half["early"]) == tuple(map(len, sides[half["length"]]))
        assert half["difference"] == pytest.approx(100 * (late - early).mean())
        assert (half["low"], half["high"]) == pytest.approx((found.low, found.high))
    assert "run that is missed least" in {fact.label for fact in facts_of(table)["tiny"]}
    assert "prune_runs" not in measured(case, orders=("last",))


def test_a_block_falls_where_it_is_gone_for_good():
    """Of sets that do not contain each other; read from the figure's cells."""
    gone = {"exhaustive": ["b", "a c", "a b c"], "last": ["c", "c b", "c b a"]}
    intact = dict.fromkeys(prune.PRUNE.keys) | {"network": "n", "order": "(intact)", "removed": 0}
    rows = [intact] + [
        {**intact, "order": order, "removed": k, "blocks": blocks}
        for order, sets in gone.items()
        for k, blocks in enumerate(sets, 1)
    ]
    figure = prune.plot_orders(prune.PRUNE.result(rows, players=["a", "b", "c"], stages=[1, 1, 1]))
    cells = np.asarray(figure.axes[0].collections[0].get_array()).reshape(2, 3)
    assert cells.tolist() == [[2, 3, 2], [3, 2, 1]]


def test_a_block_without_a_score_has_none_of_the_others():
    """A dead one, whose input and output are zero on every image, goes as if it did nothing; no warning."""
    from resnet_probe.analyses.prune.scores import order_by

    score = np.array([[0.5, np.nan, np.nan], [0.1, np.nan, -1.0]])
    assert order_by(score) == (2, 1, 0)
    assert order_by(score, np.array([0])) == (1, 2, 0)
