"""States: resumed anywhere a training ends in the same bits; nothing else is gone on from; nothing whole is lost."""

import errno
import random
import zipfile

import pytest
import torch

from resnet_probe.data import load_data
from resnet_probe.models import resolve
from resnet_probe.training import Keeper, StateError, TrainingError, fit, seeded

HOW = {
    "epochs": 3, "learning_rate": 0.1, "batch_size": 16, "pad": 1, "flip": True, "warmup": 0.2, "nesterov": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", split="train", limit=64)


def network(arch="resnet8-w4"):
    with seeded(0):
        return resolve(arch, in_channels=1)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def rows(history):
    return [[getattr(row, name) for name in ("epoch", "iteration", "train_loss", "train_error", "test_loss")]
            for row in history.rows]  # fmt: skip


STYLES = [{}, {"style": "stochastic-depth"}, {"optimizer": "adam"}, {"warmup_rate": 0.02, "warmup_error": 85.0},
          {"accumulate": 2}, {"arch": "resnet8-w4-dropout0.5"},
          {"arch": "resnet8-w4-dropout0.5", "resized_crop": True, "workers": 0}]  # fmt: skip
CASES = [how if how in STYLES[:2] else pytest.param(how, marks=pytest.mark.slow) for how in STYLES]


@pytest.mark.slow
@pytest.mark.parametrize("how", CASES, ids=str)
def test_a_training_killed_at_any_step_ends_in_the_same_bits(tmp_path, digits, how):
    arch = how.get("arch", "resnet8-w4")
    how = {**HOW, **{key: value for key, value in how.items() if key != "arch"}}
    whole = network(arch)
    expected = rows(fit(whole, digits, test=digits, **how))
    for step in (1, 3, 4, 5, 8, 11):
        keeper = Keeper(tmp_path / str(step), {"network": "a"})
        calls = 0

        def stop(step=step):
            nonlocal calls
            calls += 1
            return calls == step

        with pytest.raises(KeyboardInterrupt):
            fit(network(arch), digits, test=digits, keeper=keeper, stop=stop, **how)
        assert [path.name for path in keeper.paths()] == [f"state-{step:08d}.pt"]
        torch.manual_seed(step)  # the global state must not matter
        model = network(arch)
        history = fit(model, digits, test=digits, keeper=keeper, **how)
        assert rows(history) == expected
        assert same(weights(model), weights(whole)), step


def test_states_inside_an_epoch_are_saved_when_they_are_due_and_rotated(tmp_path, digits):
    keeper = Keeper(tmp_path, {}, every=-1.0, least=-1.0)
    fit(network(), digits, keeper=keeper, **HOW)
    assert [path.name for path in keeper.paths()] == ["state-00000011.pt", "state-00000012.pt"]
    again = network()
    assert len(fit(again, digits, keeper=keeper, **HOW).rows) == 3  # finished: nothing is trained any more
    expected = network()
    fit(expected, digits, **HOW)
    assert same(weights(again), weights(expected))


def test_a_damaged_state_is_passed_over_for_the_one_before(tmp_path, digits):
    keeper = Keeper(tmp_path, {}, every=-1.0)
    fit(network(), digits, keeper=keeper, **HOW)
    older, newest = keeper.paths()
    newest.write_bytes(newest.read_bytes()[:1000])
    assert keeper.load()["step"] == 11
    with pytest.raises(StateError, match="is no training state"):
        Keeper(tmp_path, {}, resume=newest).load()
    newest.unlink()
    older.write_bytes(b"")
    assert keeper.load() is None


def test_a_flipped_bit_is_never_trained_with(tmp_path):
    """The state as it was saved, or the one before it with a line that says so."""
    told = []
    keeper = Keeper(tmp_path, {"network": "x"}, notify=told.append)
    keeper.save(1, {"step": 1, "weights": torch.arange(300.0)})
    path = keeper.save(2, {"step": 2, "weights": torch.arange(300.0) + 1})
    content, generator, passed_over = path.read_bytes(), random.Random(0), 0
    for _ in range(500):
        place, bit = generator.randrange(len(content)), generator.randrange(8)
        damaged = bytearray(content)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        told.clear()
        state = keeper.load()
        assert torch.equal(state["weights"], torch.arange(300.0) + state["step"] - 1), (place, bit)
        passed_over += state["step"] == 1
        assert len(told) == (state["step"] == 1)
        assert all(str(path) in line and "\n" not in line for line in told)
    assert passed_over > 100


def test_another_training_is_refused_by_what_differs(tmp_path, digits):
    Keeper(tmp_path, {"network": "resnet8", "recipe": {"seed": 0, "epochs": 3}}).save(4, {})
    other = Keeper(tmp_path, {"network": "resnet8", "recipe": {"seed": 0, "epochs": 5}})
    with pytest.raises(StateError, match=r"its epochs is 3, not 5\); give another --out, or --fresh"):
        other.load()
    with pytest.raises(StateError, match="its network is resnet8, not resnet14"):
        Keeper(tmp_path / "else", {"network": "resnet14"}, resume=tmp_path / "state-00000004.pt").load()
    with pytest.raises(StateError, match="no training state"):
        Keeper(tmp_path, {}, resume=tmp_path / "none.pt").load()
    assert Keeper(tmp_path, {"network": "resnet8"}, fresh=True).load() is None
    assert other.paths() == []


def test_a_state_of_another_folder_begins_a_training_that_then_goes_on_by_itself(tmp_path):
    """What the folder has of the same training counts if it is newer, and of another training is never mixed in."""
    given = Keeper(tmp_path / "given", {"network": "a"}).save(5, {"step": 5})
    mine = Keeper(tmp_path / "mine", {"network": "a"}, resume=given)
    assert mine.load()["step"] == 5
    mine.save(8, {"step": 8})
    assert mine.load()["step"] == 8
    Keeper(tmp_path / "other", {"network": "b"}).save(7, {"step": 7})
    with pytest.raises(StateError, match="its network is b, not a"):
        Keeper(tmp_path / "other", {"network": "a"}, resume=given).load()


def test_going_back_to_an_earlier_state_leaves_the_later_ones(tmp_path):
    keeper = Keeper(tmp_path, {})
    early, _ = keeper.save(10, {"step": 10}), keeper.save(20, {"step": 20})
    again = Keeper(tmp_path, {}, resume=early)
    assert again.load()["step"] == 10
    again.save(11, {"step": 11})
    assert [path.name for path in keeper.paths()] == ["state-00000010.pt", "state-00000011.pt"]
    assert keeper.load()["step"] == 11


def test_a_full_disk_keeps_the_states_there_are(tmp_path, digits, monkeypatch):
    keeper = Keeper(tmp_path, {}, every=-1.0)
    save, saved = torch.save, 0

    def full(content, file):
        nonlocal saved
        saved += 1
        if saved == 3:
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(content, file)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(StateError, match=r"cannot save .* \(No space left on device\); step 2 is still there"):
        fit(network(), digits, keeper=keeper, **HOW)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state-00000001.pt", "state-00000002.pt"]
    monkeypatch.undo()
    model, expected = network(), network()
    fit(model, digits, keeper=keeper, **HOW)
    fit(expected, digits, **HOW)
    assert same(weights(model), weights(expected))


@pytest.mark.parametrize("broken", ["the loss is nan", "a weight is not finite"])
def test_a_diverged_training_names_the_last_good_state(tmp_path, digits, broken):
    """By a weight in the state it goes on from, or by a gradient after a good loss; nothing broken is ever saved."""
    keeper = Keeper(tmp_path, {}, every=-1.0, least=-1.0)
    calls = 0
    model = network()

    def stop():
        nonlocal calls
        calls += 1
        return calls == 2

    with pytest.raises(KeyboardInterrupt):
        fit(network(), digits, keeper=keeper, stop=stop, **HOW)
    if broken == "the loss is nan":
        state = keeper.load()
        state["model"]["fc.weight"][:] = float("nan")
        keeper.save(2, state)
    else:
        model.fc.weight.register_hook(lambda gradient: gradient * float("inf"))
    before = [path.name for path in keeper.paths()]
    with pytest.raises(TrainingError, match=f"{broken} by step 3 .* the state of step 2 is kept in"):
        fit(model, digits, keeper=keeper, **HOW)
    assert [path.name for path in keeper.paths()] == before


class Sized:
    def __reduce__(self):
        return bytearray, (1,)


def test_a_small_state_that_would_fill_the_memory(tmp_path):
    keeper = Keeper(tmp_path, {})
    path = keeper.save(1, {"step": 1, "more": Sized()})
    with pytest.raises(StateError, match="is no training state, or is damaged") as caught:
        Keeper(tmp_path, {}, resume=path).load()
    assert str(path) in str(caught.value)
    path = Keeper(tmp_path, {}).save(2, {"step": 2})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file, file.open("more", "w") as entry:
        for _ in range(300):
            entry.write(bytes(2**20))
    with pytest.raises(StateError, match="CostlyError"):
        Keeper(tmp_path, {}, resume=path).load()
