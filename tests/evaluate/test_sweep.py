from itertools import combinations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from resnet_probe.evaluate import (
    Executor,
    FastUnits,
    Journal,
    Sweep,
    changed_by_precision,
    evaluate,
    executors,
    grow,
    run_tree,
)
from resnet_probe.evaluate import sweep as sweep_module
from resnet_probe.evaluate.calibrate import ChunkPlan, memory_bound
from tests.evaluate.cases import SHAPE, images, in_order, loop, network, without


@pytest.fixture(scope="module")
def case():
    """Model, chain, images, variants of three kinds and the same as edited copies of the model."""
    model, net = network()
    names = [unit.name for unit in net.blocks]
    models, variants = {"": model}, {"": net.steps}
    for chosen in [*[(n,) for n in names], *list(combinations(names, 2))[::4], tuple(names[3:8]), tuple(names)]:
        models[" ".join(chosen)], variants[" ".join(chosen)] = without(model, *chosen), net.delete(*chosen).steps
    for order in ([1, 0, 2, 3, 4, 5, 6, 7, 8], [2, 0, 1, 3, 5, 4, 6, 8, 7], [0, 1, 2, 3, 5, 4, 6, 7, 8]):
        key = str(order)
        models[key] = in_order(model, names, order)
        variants[key] = net.reorder([names[i] for i in order]).steps
    return model, net, images(), variants, models


@pytest.fixture(scope="module")
def expected(case):
    _, _, data, _, models = case
    outputs = loop(models, data)
    predicted = {name: out.argmax(1) for name, out in outputs.items()}
    return {
        name: (
            (predicted[name] != data.labels).numpy(),
            int((predicted[name] != predicted[""]).sum()),
            F.cross_entropy(outputs[name], data.labels).item(),
        )
        for name in models
    }


def agree(scores, expected, loss=1e-5):
    assert list(scores) == list(expected) or set(scores) == set(expected)
    for name, score in scores.items():
        wrong, changed, mean_loss = expected[name]
        np.testing.assert_array_equal(score.flags, wrong, err_msg=name)
        assert (score.images, score.wrong, score.changed) == (len(wrong), wrong.sum(), changed), name
        assert score.loss == pytest.approx(mean_loss, rel=loss)
        assert score.error == pytest.approx(100 * wrong.mean())


def with_budget(monkeypatch, chunk, stack):
    monkeypatch.setattr(Executor, "plan", lambda *_, **__: ChunkPlan(chunk, stack))


def test_the_oracle_is_worth_comparing_with(expected):
    assert len({wrong.tobytes() for wrong, _, _ in expected.values()}) > len(expected) / 2
    assert sum(changed > 0 for _, changed, _ in expected.values()) > len(expected) / 2


@pytest.mark.parametrize("batch_size", [None, 1, 5, 16, 64])
def test_every_variant_is_the_edited_model_whatever_the_batch_size(case, expected, batch_size):
    _, net, data, variants, _ = case
    agree(evaluate(net, variants, data, sweep=Sweep(batch_size=batch_size)), expected)


@pytest.mark.slow
@pytest.mark.parametrize(("chunk", "stack"), [(4, 4), (4, 12), (3, 1000), (40, 7), (1, 8)])
def test_stacking_changes_nothing(case, expected, monkeypatch, chunk, stack):
    _, net, data, variants, _ = case
    with_budget(monkeypatch, chunk, stack)
    agree(evaluate(net, variants, data), expected)


def test_states_that_differ_are_run_as_one_batch(case, monkeypatch):
    _, net, data, variants, _ = case
    calls = {}

    def count(self, *steps):
        module = prepared(self, *steps)

        def call(x):
            calls[stack] = calls.get(stack, 0) + 1
            return module(x)

        return call

    prepared = FastUnits.__call__
    monkeypatch.setattr(FastUnits, "__call__", count)
    tree = grow(list(variants.values()), net.is_identity)
    x = next(data.batches(2))[0]
    with torch.no_grad():
        for stack in (2, 1000):
            run_tree(tree, FastUnits(net), x, stack=stack)
    assert calls[1000] < calls[2] / 3


def test_the_order_of_variants_changes_nothing(case, expected):
    _, net, data, variants, _ = case
    backwards = {"": variants[""]} | dict(reversed(variants.items()))
    agree(evaluate(net, backwards, data), expected)


def test_changed_refers_to_the_first_variant(case):
    _, net, data, variants, models = case
    name = list(variants)[-1]
    turned = {name: variants[name], "": variants[""]}
    outputs = loop({key: models[key] for key in turned}, data)
    scores = evaluate(net, turned, data)
    assert scores[name].changed == 0
    assert scores[""].changed == int((outputs[name].argmax(1) != outputs[""].argmax(1)).sum()) > 0


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 700, 10**9])
def test_the_size_of_a_shard_changes_nothing(case, monkeypatch, steps):
    _, net, data, variants, _ = case
    ordinary = evaluate(net, variants, data, sweep=Sweep(batch_size=2))
    monkeypatch.setattr(sweep_module, "SHARD_STEPS", steps)
    monkeypatch.setattr(sweep_module, "LEAST_SHARDS", 1)
    scores = evaluate(net, variants, data, sweep=Sweep(batch_size=2))
    for name, score in scores.items():
        assert score == ordinary[name]
        np.testing.assert_array_equal(score.flags, ordinary[name].flags)


def test_without_folding_a_sweep_is_bit_equal_to_the_model(case):
    _, net, data, variants, models = case
    tree = grow(list(variants.values()), net.is_identity)
    for batch, _ in data.batches(16):
        x = batch.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            outputs = run_tree(tree, FastUnits(net, fold=False), x, stack=16)
            for name, output in zip(variants, outputs, strict=True):
                copied = models[name].to(memory_format=torch.channels_last)
                assert torch.equal(output, copied(x)), name
    models[""].to(memory_format=torch.contiguous_format)


def test_equal_chains_are_run_once(case):
    _, net, data, variants, _ = case
    first, second = net.blocks[1].name, net.blocks[2].name
    again = variants | {
        "again": variants[""],
        "twice": net.delete(first).delete(second).steps,
        "turned": net.delete(second, first).steps,
    }
    before, after = (grow(list(v.values()), net.is_identity) for v in (variants, again))
    assert f"{first} {second}" not in variants or len(after.edges) == len(before.edges)
    assert after.finals[-1] == after.finals[-2]
    assert after.finals[0] == after.finals[-3]
    scores = evaluate(net, again, data)
    assert scores["again"] == scores[""]
    assert scores["twice"] == scores["turned"]


def test_a_deleted_identity_block_costs_nothing():
    _, net = network()
    keeps = [unit.name for unit in net.blocks if unit.has_identity_shortcut]
    whole = len(grow([net.steps], net.is_identity).edges)
    assert len(keeps) == 7
    assert len(grow([net.delete(*keeps).steps], net.is_identity).edges) == whole - 7
    tree = grow([net.delete(keeps[-1]).steps], net.is_identity)
    assert not {net.units[edge.step.unit].name for edge in tree.edges} & {keeps[-1]}


@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_single_deletions_cost_half_the_square_of_the_depth(n):
    _, net = network(f"resnet{6 * n + 2}-w4")
    variants = [net.steps] + [net.delete(unit.name).steps for unit in net.blocks]
    blocks = len(net.blocks)
    tree = grow(variants, net.is_identity)
    runs = sum(net.units[edge.step.unit].kind == "block" and edge.step.mode == "whole" for edge in tree.edges)
    assert blocks == 3 * n
    assert runs == blocks + blocks * (blocks - 1) // 2  # the intact chain, and what follows each deleted block


def test_chains_that_meet_in_another_order_of_positions(case):
    """The same steps may stand at different positions of two variants: a deleted block in front shifts them."""
    model, net, data, _, _ = case
    names = [unit.name for unit in net.blocks[:3]]
    turned = net.reorder([names[1], names[0], names[2]])
    variants = {"": net.steps, "cut": net.delete(names[0]).steps, "turned": turned.steps}
    variants["turned, cut"] = turned.delete(names[2]).steps
    order = [1, 0, *range(2, 9)]
    all_names = [unit.name for unit in net.blocks]
    models = {"": model, "cut": without(model, names[0]), "turned": in_order(model, all_names, order)}
    models["turned, cut"] = without(in_order(model, all_names, order), names[2])
    outputs = loop(models, data)
    for keys in (list(variants), list(reversed(variants))):
        scores = evaluate(net, {key: variants[key] for key in keys}, data)
        for key in keys:
            np.testing.assert_array_equal(scores[key].flags, (outputs[key].argmax(1) != data.labels).numpy())


def exhausted(monkeypatch, most):
    """Units that run out of memory for more than `most` images; the list of what was tried."""
    tried = []
    prepared = FastUnits.__call__

    def call(self, *steps):
        module = prepared(self, *steps)

        def unit(x):
            tried.append(len(x))
            if len(x) > most:
                raise torch.OutOfMemoryError("tried to allocate 2 GiB")
            return module(x)

        return unit

    monkeypatch.setattr(FastUnits, "__call__", call)
    return tried


def test_a_chunk_that_does_not_fit_is_halved(case, expected, monkeypatch):
    _, net, data, variants, _ = case
    with_budget(monkeypatch, 24, 24)
    tried = exhausted(monkeypatch, 5)
    agree(evaluate(net, variants, data), expected)
    assert max(tried) == 24
    assert tried.count(24) == 1


def test_a_stack_that_does_not_fit_is_halved_too(case, expected, monkeypatch):
    _, net, data, variants, _ = case
    with_budget(monkeypatch, 8, 64)
    tried = exhausted(monkeypatch, 16)
    agree(evaluate(net, variants, data), expected)
    assert max(tried) > 16


def test_the_calibration_halves_too(case, expected, monkeypatch):
    _, net, data, variants, _ = case
    exhausted(monkeypatch, 10)
    agree(evaluate(net, variants, data), expected)


def test_one_image_that_does_not_fit_is_an_error(case, monkeypatch):
    _, net, data, variants, _ = case
    with_budget(monkeypatch, 4, 4)
    exhausted(monkeypatch, 0)
    with pytest.raises(RuntimeError, match="2 GiB"):
        evaluate(net, variants, data)


def test_other_errors_are_not_swallowed(case, monkeypatch):
    _, net, data, variants, _ = case
    with_budget(monkeypatch, 4, 4)
    monkeypatch.setattr(executors, "run_tree", _broken(executors.run_tree))
    with pytest.raises(RuntimeError, match="shapes"):
        evaluate(net, variants, data)


def _broken(run):
    def fail(tree, units, x, *, stack):
        if len(x) > 1:
            raise RuntimeError("shapes do not match")
        return run(tree, units, x, stack=stack)

    return fail


def test_less_memory_means_smaller_batches(case, expected, monkeypatch):
    _, net, data, variants, _ = case
    tree = grow(list(variants.values()), net.is_identity)
    enough = next(m for m in range(10**3, 10**8, 10**3) if _fits(net, tree, m) >= 3)
    tried = exhausted(monkeypatch, 10**6)
    agree(evaluate(net, variants, data, sweep=Sweep(memory=enough)), expected)
    assert max(tried) <= 3
    agree(evaluate(net, variants, data, sweep=Sweep(memory=enough, batch_size=30)), expected)
    assert max(tried) <= 3


def _fits(net, tree, memory):
    try:
        return memory_bound(net, tree, torch.float32, memory)
    except ValueError:
        return 0


def test_memory_for_no_image_is_an_error(case):
    _, net, data, variants, _ = case
    with pytest.raises(ValueError, match=r"does not hold one image.*--memory"):
        evaluate(net, variants, data, sweep=Sweep(memory=1000))


@pytest.mark.slow
@pytest.mark.parametrize(("stack", "which"), [(4, "mixed"), (12, "mixed"), (4, "orders"), (16, "orders")])
def test_values_alive_at_a_time_stay_within_the_bound(case, monkeypatch, stack, which):
    """All values between units that exist while a tree is run, against what the bound counts for them."""
    import random
    import weakref

    _, net, data, variants, _ = case
    if which == "orders":
        model, _ = network("resnet50-w4")
        from resnet_probe.unraveled import unravel

        net = unravel(model, SHAPE)
        names = [unit.name for unit in net.blocks[:8]]
        generator = random.Random(0)
        variants = {i: net.reorder(generator.sample(names, 8)).steps for i in range(60)}
    tree = grow(list(variants.values()), net.is_identity)
    assert tree.ways == {"mixed": 4, "orders": 8}[which]
    x = next(data.batches(4))[0]
    alive, most = {}, 0
    prepared = FastUnits.__call__

    def call(self, *steps):
        module = prepared(self, *steps)

        def unit(value):
            nonlocal most
            result = module(value)
            storage = result.untyped_storage()
            alive[storage.data_ptr()] = (weakref.ref(storage), storage.nbytes())
            most = max(most, sum(size for ref, size in alive.values() if ref() is not None))
            return result

        return unit

    monkeypatch.setattr(FastUnits, "__call__", call)
    with torch.inference_mode():
        run_tree(tree, FastUnits(net), x, stack=stack)
    allowed = 10**9 / memory_bound(net, tree, torch.float32, 10**9)
    assert 0 < most / stack <= allowed


def test_the_smallest_batch_that_is_about_as_fast_as_the_best(case, monkeypatch):
    from resnet_probe.evaluate import calibrate as module

    _, net, data, _, _ = case
    x = next(data.batches(5))[0]
    monkeypatch.setattr(module, "_seconds", lambda tree, units, batch, device: len(batch) / min(len(batch), 32))
    found = module.calibrate(FastUnits(net), x, count=500, at_most=1000, device=torch.device("cpu"))
    assert found == ChunkPlan(32, 32)


@pytest.mark.parametrize(("count", "at_most"), [(3, 1000), (500, 1000), (500, 20), (3, 2)])
def test_few_images_are_filled_up_by_stacking(case, count, at_most):
    from resnet_probe.evaluate.calibrate import calibrate

    _, net, data, _, _ = case
    x = next(data.batches(5))[0]
    with torch.inference_mode():
        budget = calibrate(FastUnits(net), x, count=count, at_most=at_most, device=torch.device("cpu"))
    assert budget.chunk == min(budget.stack, count)
    assert 8 <= budget.stack <= min(128, at_most) or budget.stack == at_most == 2


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_stays_close(case, expected, precision):
    _, net, data, variants, _ = case
    scores = evaluate(net, variants, data, sweep=Sweep(precision=precision))
    differ = sum((score.flags != expected[name][0]).sum() for name, score in scores.items())
    assert differ <= 0.08 * len(data) * len(variants)
    assert any(scores[name].loss != expected[name][2] for name in scores)
    for name, score in scores.items():
        assert score.loss == pytest.approx(expected[name][2], rel=0.05), name


def test_predictions_changed_by_precision_are_counted(case):
    _, net, data, variants, _ = case
    found = changed_by_precision(net, variants, data, precision="bf16")
    assert found["compared"] == len(variants) * len(data)
    assert 0 <= found["differ"] < 0.1 * found["compared"]
    assert changed_by_precision(net, variants, data, precision="fp32")["differ"] == 0


def test_the_model_and_the_random_state_stay_as_they_were(case):
    model, net, data, variants, _ = case
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    layouts = [p.stride() for p in model.parameters()]
    state = torch.get_rng_state()
    evaluate(net, variants, data, sweep=Sweep(precision="bf16"))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.training
    assert [p.stride() for p in model.parameters()] == layouts
    assert torch.equal(torch.get_rng_state(), state)
    model.eval()


def test_a_sweep_with_a_journal_ends_in_the_same_scores_and_goes_on(case, tmp_path, monkeypatch):
    _, net, data, variants, _ = case
    plain = evaluate(net, variants, data, sweep=Sweep(batch_size=4))
    monkeypatch.setattr(executors, "run_tree", _interrupted(executors.run_tree, after=4))
    journal = Journal.open(tmp_path / "j", {"of": "this"})
    with pytest.raises(KeyboardInterrupt):
        evaluate(net, variants, data, sweep=Sweep(batch_size=4), journal=journal)
    done = journal.done()
    assert 0 < len(done) < 9
    monkeypatch.undo()
    seen = []
    count = _counted(executors.run_tree, seen)
    monkeypatch.setattr(executors, "run_tree", count)
    reports = []
    again = evaluate(
        net, variants, data, sweep=Sweep(batch_size=4), journal=journal, progress=lambda *x: reports.append(x)
    )
    journal.close()
    assert {name: (score, score.flags.tobytes()) for name, score in again.items()} == {
        name: (score, score.flags.tobytes()) for name, score in plain.items()
    }
    assert sum(seen) == 1 + len(data) - 4 * len(done)  # one image to see whether network and data fit
    total = len(data) * len(variants)
    assert reports[0] == (4 * len(done) * len(variants), total)
    assert reports[-1] == (total, total)
    assert reports == sorted(reports)


def _interrupted(run, after):
    calls = []

    def stop(*args, **how):
        calls.append(1)
        if len(calls) > after:
            raise KeyboardInterrupt
        return run(*args, **how)

    return stop


def _counted(run, seen):
    def count(tree, units, x, *, stack):
        seen.append(len(x))
        return run(tree, units, x, stack=stack)

    return count


def test_outputs_that_are_not_finite_still_have_a_loss(case):
    model, _, data, _, _ = case
    from copy import deepcopy

    from resnet_probe.unraveled import unravel

    broken = deepcopy(model)
    net = unravel(broken, SHAPE)
    with torch.no_grad():
        broken.fc.bias[0] = float("nan")
    score = evaluate(net, {"": net.steps}, data)[""]
    assert score.loss == pytest.approx(1e5)
    assert np.isfinite(score.loss)


def test_no_variants_and_other_classes_are_errors(case):
    _, net, _, variants, _ = case
    with pytest.raises(ValueError, match="no variants"):
        evaluate(net, {}, images())
    with pytest.raises(ValueError, match="4 classes and noise has 6"):
        evaluate(net, variants, images(classes=6))
    with pytest.raises(ValueError, match="unknown precision 'fp8'"):
        evaluate(net, variants, images(), sweep=Sweep(precision="fp8"))


def test_steps_that_were_shifted_by_a_deletion_are_run_in_order():
    """Without activations in between, a chain with a deleted block may begin as a turned one does, a place later."""
    from resnet_probe.unraveled import unravel
    from tests.evaluate.cases import SHAPE

    model, _ = network("resnet20-w4-preact")
    net = unravel(model, SHAPE)
    names = [unit.name for unit in net.blocks if unit.has_identity_shortcut][:3]
    chains = [net, net.delete(names[0]), net.reorder([names[1], names[0], names[2]])]
    tree = grow([chain.steps for chain in chains], net.is_identity)
    made = {edge.target: edge.position for edge in tree.edges}
    assert all(edge.position > made.get(edge.source, -1) for edge in tree.edges)
    x = next(images(5).batches(5))[0]
    with torch.no_grad():
        for output, chain in zip(run_tree(tree, FastUnits(net), x, stack=5), chains, strict=True):
            torch.testing.assert_close(output, chain(x), rtol=1e-4, atol=1e-5)
