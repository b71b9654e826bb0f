"""Networks that are a part of a model: the part by the prefix tree, the rest of the model around it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from resnet_probe import unravel
from resnet_probe.anatomy import reaching
from resnet_probe.data import load_data
from resnet_probe.evaluate import Journal, Sweep, evaluate, executors, fingerprint
from resnet_probe.tasks import Detection

from .cases import finder

EXACT = Sweep(fold=False)


@pytest.fixture(scope="module")
def case():
    model, data = finder()
    task = Detection()
    (inputs, _), *_ = task.batches(data, 1, torch.device("cpu"))
    network = unravel(model, inputs, at="backbone.body", output="level3")
    variants = {"": network.steps} | {unit.name: network.delete(unit.name).steps for unit in network.blocks}
    variants["two"] = network.delete("blocks.1", "blocks.3").steps
    variants["order"] = network.reorder(["blocks.2", "blocks.0", "blocks.1"]).steps
    return model, data, network, variants


def by_hand(model, data, network, variants):
    """The records and losses of each variant, image by image, with the edited part installed in the model."""
    task, found = Detection(), {}
    with torch.inference_mode():
        for name, steps in variants.items():
            rows = []
            with network.with_steps(steps).install() as edited:
                for inputs, targets in task.batches(data, 1, torch.device("cpu")):
                    outputs = task.run(edited, inputs, targets)
                    rows.append({key: value[0] for key, value in task.measure(outputs, targets, outputs).items()})
            found[name] = rows
    return found


def assert_same(scores, expected):
    for name, rows in expected.items():
        kept = scores[name].kept
        assert set(kept) == set(rows[0]) == {"detections", "objects", "loss_box", "loss_size"}
        for number, row in enumerate(rows):
            for key, value in row.items():
                assert np.allclose(np.ravel(kept[key][number]), np.ravel(value), atol=1e-5), (name, number, key)


def test_the_taps_are_the_levels_that_the_part_returns(case):
    _, _, network, _ = case
    assert [unit.kind for unit in network.units] == ["layer", "block", "block", "block", "block"]
    assert network.taps == (2, 4, 5)


def test_every_edit_of_the_part_is_that_of_a_loop_by_hand(case):
    model, data, network, variants = case
    before = model.backbone.body
    scores = evaluate(network, variants, data, task=Detection(), sweep=EXACT)
    expected = by_hand(model, data, network, variants)
    assert_same(scores, expected)
    assert not np.allclose(scores[""].kept["loss_box"], scores["blocks.0"].kept["loss_box"])
    assert model.backbone.body is before


def test_blocks_that_lie_before_all_levels_are_run_once(case, monkeypatch):
    _, data, network, variants = case
    one = data.subset(slice(0, 1))
    seen = []
    run_tree = executors.run_tree
    monkeypatch.setattr(
        executors, "run_tree", lambda tree, *rest, **how: seen.append(tree) or run_tree(tree, *rest, **how)
    )
    evaluate(network, {name: variants[name] for name in ("", "blocks.3")}, one, task=Detection(), sweep=EXACT)
    assert len(seen[-1].edges) == 5  # a loop runs nine: five units, and four without the last block
    assert len(seen[-1].finals) == 6


def test_a_part_whose_levels_are_no_trunk_is_run_variant_by_variant(case):
    model, data, _, _ = case
    (inputs, _), *_ = Detection().batches(data, 1, torch.device("cpu"))
    whole = unravel(model, inputs, at="backbone.body")
    variants = {"": whole.steps, "one": whole.delete("blocks.2").steps, "two": whole.delete("blocks.0").steps}
    scores = evaluate(whole, variants, data, task=Detection(), sweep=EXACT)
    assert_same(scores, by_hand(model, data, whole, variants))


def test_a_sweep_that_was_stopped_goes_on_to_the_same_scores(case, tmp_path, monkeypatch):
    _, data, network, variants = case
    plain = evaluate(network, variants, data, task=Detection(), sweep=EXACT)
    run_tree, left = executors.run_tree, iter([True] * 4)

    def stopping(*args, **how):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return run_tree(*args, **how)

    monkeypatch.setattr(executors, "run_tree", stopping)
    journal = Journal.open(tmp_path / "j", {"of": "this"})
    with pytest.raises(KeyboardInterrupt):
        evaluate(network, variants, data, task=Detection(), sweep=EXACT, journal=journal)
    assert 0 < len(journal.done()) < 7
    monkeypatch.undo()
    again = evaluate(network, variants, data, task=Detection(), sweep=EXACT, journal=journal)
    journal.close()
    for name, score in plain.items():
        for key, value in score.kept.items():
            assert [np.asarray(a).tobytes() for a in value] == [np.asarray(b).tobytes() for b in again[name].kept[key]]


def test_a_part_is_timed_on_what_reaches_it(case, monkeypatch):
    _, data, network, variants = case
    (inputs, _), *_ = Detection().batches(data, 1, torch.device("cpu"))
    executor = executors.Executor(network, list(variants.values()), torch.device("cpu"))
    executor.device = SimpleNamespace(type="cuda")
    monkeypatch.setattr(executors, "calibrate", lambda units, images, **how: units.network(images))
    planned = executor.plan(inputs, len(data), memory=10**9)
    assert torch.equal(planned, network(reaching(*network.place, inputs)))


def test_other_weights_around_the_part_are_another_network(case):
    model, _, network, _ = case
    before, bias = fingerprint(network), model.head.bias.detach().clone()
    with torch.no_grad():
        model.head.bias += 1
        changed = fingerprint(network)
        model.head.bias.copy_(bias)
    assert changed != before == fingerprint(network)
    model.threshold = 0.5
    changed = fingerprint(network)
    del model.threshold
    assert changed != before == fingerprint(network)


def test_the_model_is_as_it_was_after_an_error(case):
    model, data, network, _ = case
    body, modes = model.backbone.body, [module.training for module in model.modules()]
    task = Detection()
    task.run = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        evaluate(network, {"": network.steps}, data, task=task, sweep=EXACT)
    assert model.backbone.body is body
    assert [module.training for module in model.modules()] == modes


class Two(torch.nn.Module):
    """A whole network that returns two tensors, one of them beside the way to the other."""

    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Conv2d(1, 10, 3), torch.nn.Conv2d(1, 7, 3)

    def forward(self, x):
        return {"scores": self.first(x).mean((2, 3)), "rest": self.second(x).mean((2, 3))}


def test_of_a_whole_network_only_the_output_that_is_followed_is_run():
    model, data = Two().eval(), load_data("digits", limit=20)
    network = unravel(model, data.input_shape, output="scores")
    scores = evaluate(network, {"": network.steps}, data)
    ((x, y),) = data.batches(20)
    assert scores[""].wrong == int((model(x)["scores"].argmax(1) != y).sum())
