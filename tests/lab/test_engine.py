"""The engine: its counts are those of `lesion`, and it runs no more than it must."""

import random

import pytest
import torch

from resnet_probe.analyses import lesion
from resnet_probe.analyses.subject import Subject
from resnet_probe.data import Data, load_data
from resnet_probe.evaluate import evaluate
from resnet_probe.lab import about
from resnet_probe.lab.engine import STATES, Engine
from resnet_probe.models import resolve
from resnet_probe.unraveled import unravel
from tests.networks import MADE, SHAPE, Bypassed, make, trained


@pytest.fixture(scope="module")
def subject():
    model = trained(lambda: resolve("resnet14-w3", in_channels=1))
    return Subject("tiny", unravel(model, (1, 8, 8)), load_data("digits", limit=150))


@pytest.fixture
def engine(subject):
    return Engine(subject)


def finished(engine, steps):
    while engine.advance(steps) < len(engine.chunks):
        pass
    return engine.answer(steps)


def test_counts_are_those_of_lesion(subject, engine):
    (table,) = lesion.run(subject)
    for row in table.rows:
        edited = subject.network if row["block"] == "(intact)" else subject.network.delete(row["block"])
        found = finished(engine, edited.steps)
        for ours, theirs in {"images": "images", "wrong": "wrong", "changed": "changed", "error": "error"}.items():
            assert found[ours] == row[theirs]
        assert found["loss"] == pytest.approx(row["loss"], abs=1e-6)
        if row["block"] != "(intact)":
            for same in ("newly_wrong", "newly_right", "increase", "increase_low", "increase_high", "p"):
                assert found[same] == row[same]


def test_scaled_and_moved_blocks_are_those_of_the_sweep(subject, engine):
    network, blocks = subject.network, [unit.name for unit in subject.network.links]
    edits = [[{"scale": {blocks[2]: 0.35, blocks[4]: 1.4}}], [{"delete": [blocks[0]]}, {"reorder": blocks[1::-1]}]]
    chains = {"intact": network.steps} | {str(i): network.edit(each).steps for i, each in enumerate(edits)}
    for name, score in evaluate(network, chains, engine.data).items():
        found = finished(engine, chains[name])
        assert (found["wrong"], found["changed"], found["loss"]) == (score.wrong, score.changed, score.loss)


def test_a_late_edit_runs_late_units_only(subject, engine, monkeypatch):
    ran = []
    apply = Engine._apply
    monkeypatch.setattr(Engine, "_apply", lambda self, group, value: ran.append(group) or apply(self, group, value))
    engine.advance(subject.network.steps)
    everything = len(ran)
    last = subject.network.links[-1].name
    ran.clear()
    engine.advance(subject.network.delete(last).steps)
    assert 0 < len(ran) < 5 < everything
    ran.clear()
    engine.advance(subject.network.scale({last: 0.5}).steps)
    assert len(ran) < 5


def test_memory_is_bounded_and_numbers_stay_right(subject):
    engine = Engine(subject, memory=300_000)
    draw, names = random.Random(0), [unit.name for unit in subject.network.blocks]
    for _ in range(2 * STATES):
        edits = [{"delete": draw.sample(names, 2)}, {"scale": {draw.choice(names): draw.random()}}]
        steps = subject.network.edit(edits).steps
        engine.advance(steps)
        assert engine.kept.bytes <= 300_000
    assert len(engine._rows) <= STATES
    alone = Engine(subject)
    assert finished(engine, steps) == finished(alone, steps)


def test_confusions_and_examples_add_up(subject, engine):
    steps = subject.network.delete(subject.network.links[0].name).steps
    found = finished(engine, steps)
    confusion = torch.tensor(found["confusion"])
    assert confusion.sum() == found["images"]
    assert confusion.sum() - confusion.trace() == found["wrong"] == sum(row[2] for row in found["classes"])
    assert sum(row[1] for row in found["classes"]) == found["intact"]["wrong"]
    assert len(found["examples"]) == min(found["changed"], 24)
    for each in found["examples"]:
        assert each["before"] != each["after"]
        assert engine.data.classes[engine.data.labels[each["number"]]] == each["label"]


def test_profile_is_the_deviation_of_each_output(subject, engine):
    x = torch.cat([x for x, _ in engine.data.subset(slice(0, engine.chunks[engine.sample - 1].stop)).batches(32)])
    with torch.no_grad():
        for name, std in engine.profile(subject.network.steps)[:3]:
            unit = next(u for u in subject.network.units if u.name == name)
            value = x
            for step in subject.network.steps:
                value = subject.network.run_step(step, value)
                if subject.network.units[step.unit] is unit:
                    break
            if unit.kind == "block":
                value = value.relu()  # an activation belongs to the unit before it
            assert std == pytest.approx(value.std(unbiased=False).item(), rel=1e-4)


@pytest.mark.parametrize("name", [*sorted(MADE), Bypassed])
def test_networks_of_every_kind_are_scaled_and_deleted_as_in_the_sweep(name):
    """Those with blocks inside units, tokens first, projections, none at all."""
    network = unravel(make(name), SHAPE)
    if not network.surgical:
        pytest.skip("nothing to delete")
    classes = network(torch.zeros(1, *SHAPE)).shape[-1]
    pixels = torch.randint(256, (70, *SHAPE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    data = Data("noise", "test", pixels, torch.arange(70) % classes, tuple(map(str, range(classes))), "none")
    engine = Engine(Subject(name, network, data))
    edits = [[{"delete": [unit.name]}] for unit in network.surgical]
    edits += [[{"scale": {block.name: 0.3}}] for block in network.blocks]
    chains = {"intact": network.steps} | {str(number): network.edit(each).steps for number, each in enumerate(edits)}
    for each, score in evaluate(network, chains, engine.data).items():
        found = finished(engine, chains[each])
        assert (found["wrong"], found["changed"]) == (score.wrong, score.changed)
        assert found["loss"] == pytest.approx(score.loss, rel=1e-6)
    engine.profile(network.steps)
    about.units(network)
    about.lengths(network, network.steps)
