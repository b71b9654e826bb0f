"""A measure of one's own, swept with prefix sharing, journal and resume, against a loop by hand."""

import functools

import pytest
import torch
from torch import nn

from resnet_probe.data import Data
from resnet_probe.evaluate import Journal, JournalError, Sweep, evaluate
from resnet_probe.tasks import Measured
from resnet_probe.unraveled import unravel
from tests.evaluate.cases import images, network, without
from tests.networks import SHAPE, Bypassed, trained


def wrong_by_class(outputs, labels):
    predicted = outputs.argmax(1)
    return {f"class {c}": (predicted != labels) & (labels == c) for c in range(4)} | {"margin": outputs.amax(1)}


def squared_error(outputs, targets):
    return {"squared error": (outputs[:, 0] - targets) ** 2}


def stopped_and_resumed(net, variants, data, measure, path):
    """The scores of a run that was interrupted and went on, and how many shards it had finished before."""

    def stop(done, total):
        if 0 < done < total:
            raise KeyboardInterrupt

    how = {"sweep": Sweep(batch_size=4), "measure": measure}
    journal = Journal.open(path, {"of": "this"})
    with pytest.raises(KeyboardInterrupt):
        evaluate(net, variants, data, journal=journal, progress=stop, **how)
    before = len(journal.done())
    scores = evaluate(net, variants, data, journal=journal, **how)
    journal.close()
    return scores, before


def test_errors_by_class_of_all_single_deletions_are_those_of_a_loop(tmp_path):
    model, net = network("resnet14-w4")
    data = images(40)
    names = [unit.name for unit in net.blocks]
    variants = {"": net.steps} | {name: net.delete(name).steps for name in names}
    scores, before = stopped_and_resumed(net, variants, data, wrong_by_class, tmp_path / "j")
    assert before == 1
    differing = set()
    for name in variants:
        edited = without(model, *([name] if name else []))
        with torch.no_grad():
            outputs = torch.cat([edited(x) for x, _ in data.batches(40)])
        wrong = outputs.argmax(1) != data.labels
        for c in range(4):
            mine = data.labels == c
            assert scores[name].sums[f"class {c}"] == int((wrong & mine).sum())
            assert scores[name].kept[f"class {c}"].tolist() == (wrong & mine).tolist()
        torch.testing.assert_close(
            torch.tensor(scores[name].kept["margin"]), outputs.amax(1).double(), rtol=1e-4, atol=1e-4
        )
        differing.add(tuple(scores[name].sums[f"class {c}"] for c in range(4)))
    assert len(differing) > 1


class Regressor(nn.Module):
    """Two residual blocks and one output."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.head = nn.Linear(3, 1)

    def forward(self, x):
        x = x + self.one(x).relu()
        x = x + self.two(x).relu()
        return self.head(x.mean((2, 3)))


def test_squared_errors_of_a_network_with_one_output_are_those_of_a_loop(tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Regressor().eval()
        pixels = torch.randint(0, 256, (24, 3, 8, 8), dtype=torch.uint8)
        targets = torch.randn(24)
    data = Data("made", "test", pixels, targets, (), "none")
    assert data.fingerprint != Data("made", "test", pixels, targets + 0.01, (), "none").fingerprint
    net = unravel(model, (3, 8, 8))
    first, second = (unit.name for unit in net.blocks)
    variants = {"": net.steps, first: net.delete(first).steps, second: net.delete(second).steps}
    scores, _ = stopped_and_resumed(net, variants, data, squared_error, tmp_path / "j")
    x, _ = next(data.batches(24))
    with torch.no_grad():
        one = x + model.one(x).relu()
        by_hand = {"": one + model.two(one).relu(), first: x + model.two(x).relu(), second: one}
        for name, value in by_hand.items():
            expected = (model.head(value.mean((2, 3)))[:, 0] - targets) ** 2
            torch.testing.assert_close(
                torch.tensor(scores[name].kept["squared error"]), expected.double(), rtol=1e-4, atol=1e-6
            )
            assert scores[name].mean("squared error") == pytest.approx(expected.mean().item(), rel=1e-4)


def test_a_journal_of_another_measure_is_refused(tmp_path):
    _, net = network("resnet8-w4")
    data, variants = images(8), {"": net.steps}
    journal = Journal.open(tmp_path / "j", {})
    evaluate(net, variants, data, journal=journal)
    with pytest.raises(JournalError, match="another task; give another --out"):
        evaluate(net, variants, data, journal=journal, measure=wrong_by_class)
    journal.close()


def above(limit):
    return lambda outputs, labels: {"above": outputs.amax(1) > limit}


def test_a_measure_whose_code_or_values_changed_is_another_one(tmp_path):
    _, net = network("resnet8-w4")
    data, variants = images(8), {"": net.steps}
    journal = Journal.open(tmp_path / "j", {})
    (low,) = evaluate(net, variants, data, journal=journal, measure=above(-1e9)).values()
    (again,) = evaluate(net, variants, data, journal=journal, measure=above(-1e9)).values()
    assert low.sums == again.sums == {"above": 8}
    for other in (above(1e9), lambda outputs, labels: {"above": outputs.amax(1) > 1e9}):
        with pytest.raises(JournalError, match="another task"):
            evaluate(net, variants, data, journal=journal, measure=other)
    journal.close()


def test_a_partial_function_and_a_callable_object_measure_too():
    class Above:
        def __call__(self, outputs, labels):
            return {"above": outputs.amax(1) > 1e9}

    def over(outputs, labels, limit):
        return {"above": outputs.amax(1) > limit}

    _, net = network("resnet8-w4")
    for measure in (Above(), functools.partial(over, limit=1e9)):
        (found,) = evaluate(net, {"": net.steps}, images(8), measure=measure).values()
        assert found.sums == {"above": 0}
    assert Measured(functools.partial(over, limit=1)).identity != Measured(functools.partial(over, limit=2)).identity


def test_other_variants_under_the_same_names_are_refused(tmp_path):
    _, net = network("resnet14-w4")
    first, second, *_ = (unit.name for unit in net.blocks)
    data, journal = images(8), Journal.open(tmp_path / "j", {})
    evaluate(net, {"": net.steps, "edited": net.delete(first).steps}, data, journal=journal)
    for variants in (
        {"": net.steps, "edited": net.delete(second).steps},
        {"": net.steps, "edited": net.delete(first).steps, "new": net.delete(second).steps},
    ):
        with pytest.raises(JournalError, match="another list of variants"):
            evaluate(net, variants, data, journal=journal)
    journal.close()


def test_a_measure_of_another_shape_is_named():
    _, net = network("resnet8-w4")
    with pytest.raises(ValueError, match=r"gives \(1, 4\) for scores on 1 examples; return a mapping"):
        evaluate(net, {"": net.steps}, images(8), measure=lambda outputs, labels: {"scores": outputs})


def test_other_variants_inside_a_unit_are_refused_too(tmp_path):
    net = unravel(trained(Bypassed), SHAPE)
    first, second = (unit.name for unit in net.blocks)
    data, journal = images(8, classes=5), Journal.open(tmp_path / "j", {})
    evaluate(net, {"edited": net.delete(first).steps}, data, journal=journal)
    with pytest.raises(JournalError, match="another list of variants"):
        evaluate(net, {"edited": net.delete(second).steps}, data, journal=journal)
    journal.close()
