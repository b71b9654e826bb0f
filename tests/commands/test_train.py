"""`train`: files that other commands read, the same end after any interruption, one line for what cannot be."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from resnet_probe import checkpoint
from resnet_probe.cli import main
from resnet_probe.commands.hardware import in_software
from resnet_probe.data import load_data
from resnet_probe.tables import read
from tests.commands.running import ran
from tests.commands.subjects import is_one_line
from tests.evaluate.runs import COMMAND, PYTHON, Fork, finish, start

QUICK = ("--arch", "resnet8-w4", "--data", "digits", "--limit", "60", "--epochs", "2", "--batch-size", "20",
         "--format", "png", "--out", "out")  # fmt: skip


def run(capsys, *words):
    return ran(capsys, "train", *words)


def weights(path):
    return checkpoint.load(path).model.state_dict()


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_leaves_weights_that_err_as_the_table_says(capsys):
    code, out, err = run(capsys, *QUICK)
    assert (code, err) == (0, "")
    curve = read(Path("out"), "curves")
    assert [(row["epoch"], row["iteration"]) for row in curve.rows] == [(1, 3), (2, 6)]
    found = checkpoint.load("out/resnet8-w4.safetensors")
    data = load_data("digits", limit=60)
    with torch.no_grad():
        wrong = sum(int((found.model(x).argmax(1) != y).sum()) for x, y in data.batches(60))
    assert curve.rows[-1]["test_error"] == pytest.approx(100 * wrong / 60)
    assert found.metadata["error"] == pytest.approx(100 * wrong / 60)
    assert found.metadata["recipe"]["learning_rate"] == 0.1
    assert (found.metadata["data"], found.metadata["normalize"], found.input_size) == ("digits", "digits", 8)
    settings = json.loads(Path("out/curves.json").read_text())
    assert settings["recipe"]["pad"] == 1
    assert settings["recipe_name"] == "digits"
    assert "epoch 2 of 2: loss" in out
    assert f", test {curve.rows[-1]['test_loss']:.4g} and" in out
    assert "curves.csv, curves.json, curves.png" in out
    assert main(["lesion", "--ckpt", "out/resnet8-w4.safetensors", "--limit", "20", "--format", "png", "-q"]) == 0


def test_values_of_a_recipe_can_be_replaced(capsys):
    words = ("--recipe", "he2016", "--optimizer", "adamw", "--learning-rate", "0.001", "--label-smoothing", "0.1",
             "--milestones", "1,1.5", "--no-flip", "--warmup", "2", "--weight-decay", "0.05", "--seed",
             "3")  # fmt: skip
    assert run(capsys, *QUICK, *words)[0] == 0
    recipe = json.loads(Path("out/curves.json").read_text())["recipe"]
    expected = {"optimizer": "adamw", "learning_rate": 0.001, "label_smoothing": 0.1, "milestones": [1.0, 1.5],
                "flip": False, "warmup": 2.0, "weight_decay": 0.05, "seed": 3, "pad": 1, "epochs": 2.0}  # fmt: skip
    assert expected.items() <= recipe.items()


def test_a_validation_split_is_held_out_of_the_training_images(capsys):
    code, out, _ = run(capsys, *QUICK, "--validation", "15")
    assert code == 0
    assert "validation error" in out
    settings = json.loads(Path("out/curves.json").read_text())
    assert (settings["train_images"], settings["test_images"], settings["measured_on"]) == (45, 15, "validation")
    assert read(Path("out"), "curves").rows[0]["images"] == 45


def test_the_same_command_does_not_train_again_unless_told(capsys):
    run(capsys, *QUICK)
    first = weights("out/resnet8-w4.safetensors")
    again = run(capsys, *QUICK)[1]
    assert "epoch" not in again.replace("epochs", "").replace("going on from step 6 of 6, epoch", "")
    assert same(weights("out/resnet8-w4.safetensors"), first)
    code, _, err = run(capsys, *QUICK, "--seed", "1")
    assert code == 2
    assert is_one_line(err)
    assert "its seed is 0, not 1" in err
    assert "epoch 1 of 2" in run(capsys, *QUICK, "--seed", "1", "--fresh")[1]
    assert not same(weights("out/resnet8-w4.safetensors"), first)


def test_the_table_has_every_epoch_that_was_finished_before_it_stopped(capsys, monkeypatch):
    from resnet_probe.training import trainer

    real = trainer._Job._step

    def fails(self, parts):
        if self.step == 4:
            raise OSError(5, "Input/output error")
        return real(self, parts)

    monkeypatch.setattr(trainer._Job, "_step", fails)
    assert run(capsys, *QUICK)[0] == 1
    assert [row["iteration"] for row in read(Path("out"), "curves").rows] == [3]


def test_the_recipes_of_the_option_are_those_there_are():
    from resnet_probe import training
    from resnet_probe.commands import training_options

    assert sorted(training_options.RECIPES) == sorted(training.RECIPES)
    assert list(training_options.STYLES) == list(training.STYLES)


@pytest.mark.parametrize("told", [(), ("--no-resized-crop",)])
def test_images_of_many_sizes_are_cut_at_random_unless_told(capsys, monkeypatch, told):
    from PIL import Image

    from resnet_probe.data import folder

    monkeypatch.setattr(folder, "MEMORY", 0)
    monkeypatch.setattr(folder.load_folder, "__kwdefaults__", {"memory": 0})
    for split in ("train", "test"):
        for label in range(2):
            Path(f"images/{split}/{label}").mkdir(parents=True)
            for number in range(4):
                Image.new("RGB", (20 + number, 24), (60 * number, 90, 9)).save(f"images/{split}/{label}/{number}.png")
    words = ("--arch", "resnet8-w4", "--data", "./images", "--size", "16", "--recipe", "fast", "--epochs", "1",
             "--batch-size", "4", "--format", "png", "--out", "out")  # fmt: skip
    code, out, err = run(capsys, *words, *(told or ("--workers", "0")))
    assert (code, err) == (0, "")
    assert json.loads(Path("out/curves.json").read_text())["recipe"]["resized_crop"] is (told == ())
    assert ("the images differ in size" in out) == (told == ())


@pytest.mark.parametrize("idle", [("--workers", "2"), ("--sync-batch-norm",), ("--accelerator", "cuda")])
def test_options_for_what_is_not_there_are_refused(capsys, idle):
    code, out, err = run(capsys, *QUICK, "--device", "cpu", *idle)
    assert (code, out, is_one_line(err)) == (2, "", True)
    assert f"{idle[0]} " in err
    assert not Path("out/resnet8-w4.safetensors").exists()


def test_tensorboard_has_the_curve(capsys):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert run(capsys, *QUICK, "--tensorboard")[0] == 0
    events = event_accumulator.EventAccumulator("out/tensorboard")
    events.Reload()
    expected = [(row["iteration"], pytest.approx(row["test_error"])) for row in read(Path("out"), "curves").rows]
    assert [(event.step, event.value) for event in events.Scalars("error/held out")] == expected


FACTORY = """
from torch import nn
def network(num_classes=10, in_channels=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))
def nothing(num_classes=10, in_channels=3):
    return 5
"""


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--data", "digits"), 2, "give --arch NAME"),
        (("--arch", "resnet8"), 2, "give --data NAME|FOLDER"),
        (("--arch", "resnet9", "--data", "digits"), 2, "near 8 and 14"),
        (("--arch", "vgg12", "--data", "digits"), 2, "there is no vgg12"),
        (("--arch", "made.py:network", "--data", "digits"), 2, "7), but digits has 10 classes"),
        (("--arch", "made.py:nothing", "--data", "digits"), 2, "made.py:nothing"),
        ((*QUICK, "--batch-size", "100"), 2, "a batch of 100 is more than the 60 images"),
        ((*QUICK, "--learning-rate", "1e30"), 2, "the training diverged; try a learning rate below 1e+30"),
        ((*QUICK, "--iterations", "5"), 2, "as epochs or as iterations, one of the two"),
        ((*QUICK, "--resume", "made.py"), 2, "made.py is no training state"),
        ((*QUICK, "--validation", "60"), 2, "60 images held out of 60: hold out fewer"),
        ((*QUICK, "--milestones", "a"), 2, "'a' is no list of numbers"),
        (
            (*QUICK, "--survival", "0.5"),
            2,
            "--survival given, which only the style stochastic-depth uses; leave it out",
        ),
        ((*QUICK, "--training-style", "stochastic-depth", "--kept", "1"), 2, "--kept given, which only the style eff"),
        ((*QUICK, "--no-rescale"), 2, "--rescale given, which only the style"),
        ((*QUICK, "--milestones", "1"), 2, "--milestones given, which only the schedule steps uses"),
        ((*QUICK, "--optimizer", "adam", "--momentum", "0.5"), 2, "--momentum given, which only the optimizer sgd"),
        ((*QUICK, "--warmup", "0", "--warmup-rate", "0.1"), 2, "--warmup-rate given, which only a warmup"),
        ((*QUICK, "--resized-crop", "--pad", "2"), 2, "--pad given, which only a recipe without resized crops uses"),
        ((*QUICK[:3], "./nowhere"), 2, "no data './nowhere'"),
    ],
)
def test_bad_input_is_one_line(capsys, words, code, message):
    Path("made.py").write_text(FACTORY)
    found, _, err = run(capsys, *words)
    assert found == code
    assert is_one_line(err)
    assert message in err
    assert not Path("results/train-resnet9").exists()


def test_a_state_of_another_network_is_refused(capsys):
    run(capsys, *QUICK)
    (state,) = Path("out/states").iterdir()
    other = [{"resnet8-w4": "resnet14-w4", "out": "other"}.get(word, word) for word in QUICK]
    code, _, err = run(capsys, *other, "--resume", str(state))
    assert (code, is_one_line(err)) == (2, True)
    assert "its network is resnet8-w4, not resnet14-w4" in err


# The command, with a pause at each step so that there is time to interrupt it.
SLOWLY = """
import sys, time
from resnet_probe import cli
from resnet_probe.training import trainer
step = trainer._Job._step
def slow(self, parts):
    time.sleep(0.1)
    return step(self, parts)
trainer._Job._step = slow
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_stopped_or_killed_at_a_random_moment_it_ends_in_the_same_bits():
    words = [*QUICK[:-2], "--epochs", "8", "--save-every", "0.2", "--no-flip", "-q", "--out"]
    # in a process of its own, too: another number of threads may end in other bits
    code, _, err = finish(Fork(COMMAND, "train", *words, Path("whole").resolve()))
    assert code == 0, err
    folder = Path("broken").resolve()
    for how, wait in ((signal.SIGTERM, 0.3), (signal.SIGKILL, 0.5), (signal.SIGINT, 0.7), (signal.SIGKILL, 0.1)):
        process = Fork(SLOWLY, "train", *words, folder)
        begun = set(folder.glob("states/*.pt"))
        deadline = time.monotonic() + 120
        while set(folder.glob("states/*.pt")) <= begun and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(wait)
        process.send_signal(how)
        code, _, err = finish(process)
        if how == signal.SIGKILL:
            assert code == -signal.SIGKILL
        else:
            assert code == 130, err
            assert "finished work is kept, and the same command goes on from there" in err
    code, _, err = finish(Fork(COMMAND, "train", *words, folder))
    assert code == 0, err
    assert same(weights(folder / "resnet8-w4.safetensors"), weights("whole/resnet8-w4.safetensors"))
    expected, found = (read(Path(name), "curves") for name in ("whole", "broken"))
    strip = [{k: v for k, v in row.items() if k != "seconds"} for row in expected.rows]
    assert [{k: v for k, v in row.items() if k != "seconds"} for row in found.rows] == strip


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path):
    """Two gloo processes at the same global batch: with shared batch norm the same weights, to rounding."""
    words = ["--arch", "resnet8-w4", "--data", "digits", "--limit", "61", "--epochs", "2", "--batch-size", "21",
             "--pad", "1", "--flip", "--format", "png", "-q", "--precision", "fp32",
             "--learning-rate", "0.02"]  # fmt: skip
    code, _, err = finish(Fork(COMMAND, "train", *words, "--out", tmp_path / "one"))
    assert code == 0, err
    many = ["--devices", "2", "--accelerator", "cpu", "--sync-batch-norm", "--out", str(tmp_path / "two")]
    code, _, err = finish(start(*PYTHON, "-m", "resnet_probe", "train", *words, *many))
    assert code == 0, err
    first, second = (weights(tmp_path / name / "resnet8-w4.safetensors") for name in ("one", "two"))
    for name, tensor in first.items():
        assert torch.allclose(tensor, second[name], rtol=1e-3, atol=1e-4), name
    one, two = (read(tmp_path / name, "curves").rows for name in ("one", "two"))
    assert [row["images"] for row in two] == [61, 61]
    for a, b in zip(one, two, strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-3)
        assert a["test_loss"] == pytest.approx(b["test_loss"], rel=1e-3)


@pytest.mark.slow
def test_two_processes_test_the_network_that_is_saved(tmp_path):
    """Without shared batch norm each has statistics of its own images; the table is of those that are saved."""
    words = ["--arch", "resnet8-w4", "--data", "digits", "--limit", "60", "--epochs", "1", "--batch-size", "12",
             "--format", "png", "-q", "--devices", "2", "--accelerator", "cpu", "--out", str(tmp_path)]  # fmt: skip
    code, _, err = finish(start(*PYTHON, "-m", "resnet_probe", "train", *words))
    assert code == 0, err
    (row,), data = read(tmp_path, "curves").rows, load_data("digits", limit=60)
    found = checkpoint.load(tmp_path / "resnet8-w4.safetensors").model
    with torch.no_grad():
        losses = [torch.nn.functional.cross_entropy(found(x), y).item() for x, y in data.batches(60)]
    assert row["test_loss"] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.slow
def test_what_the_first_process_cannot_save_ends_all_of_them(tmp_path):
    (tmp_path / "states").write_text("a file where a folder should be")
    words = ["--arch", "resnet8-w4", "--data", "digits", "--limit", "60", "--epochs", "1", "--batch-size", "20",
             "--devices", "2", "--accelerator", "cpu", "-q", "--out", str(tmp_path)]  # fmt: skip
    code, _, err = finish(start(*PYTHON, "-m", "resnet_probe", "train", *words), timeout=100)
    assert code == 2
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    assert "cannot save the training at step 3" in lines[0]


def test_os_environment_is_left_alone(capsys):
    before = dict(os.environ)
    run(capsys, *QUICK)
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("precision", "device", "processor", "told"),
    [
        ("bf16", "cpu", "AVX2", True), ("bf16", "cpu", "AVX512", False), ("fp32", "cpu", "AVX2", False),
        ("bf16", "cuda", "AVX2", False),
    ],
)  # fmt: skip
def test_a_precision_without_instructions_is_told(monkeypatch, precision, device, processor, told):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: processor)
    assert (in_software(precision, device) is not None) is told
