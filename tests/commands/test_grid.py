"""`grid`: every combination once, resumable, the tables and figures of the papers."""

import json
import shutil
from pathlib import Path
from statistics import mean, stdev

import pytest
import torch

from resnet_probe import checkpoint
from resnet_probe.analyses.grid import PRESETS, cells_of, describe
from resnet_probe.cli import main
from resnet_probe.models import resolve
from resnet_probe.tables import read
from tests.commands.running import ran
from tests.commands.subjects import is_one_line

QUICK = ("--data", "digits", "--limit", "40", "--epochs", "1", "--batch-size", "20", "--format", "png", "--out", "out")
SMALL = ("--arch", "plain{depth}-w4", "--arch", "resnet{depth}-w4", "--depths", "8,14", "--seeds", "2", *QUICK)


def run(capsys, *words):
    return ran(capsys, "grid", *words)


def without_time(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.mark.slow
def test_a_grid_is_its_cells_trained_alone(capsys):
    code, out, err = run(capsys, *SMALL)
    assert (code, err) == (0, "")
    rows = read(Path("out"), "grid").rows
    assert [row["cell"] for row in rows] == [
        f"{family}{depth}-w4-seed{seed}" for seed in (0, 1) for family in ("plain", "resnet") for depth in (8, 14)
    ]
    assert {(row["family"], row["depth"], row["seed"], row["status"]) for row in rows} == {
        (family, depth, seed, "done") for family in ("plain", "resnet") for depth in (8, 14) for seed in (0, 1)
    }
    alone = ("--arch", "resnet14-w4", "--seed", "1", *QUICK[:-1], "alone", "-q")
    assert main(["train", *alone]) == 0
    ours = checkpoint.load("out/resnet14-w4-seed1.safetensors").model.state_dict()
    theirs = checkpoint.load("alone/resnet14-w4.safetensors").model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    summary = {row["arch"]: row for row in read(Path("out"), "grid_summary").rows}
    errors = [row["test_error"] for row in rows if row["arch"] == "plain14-w4"]
    assert summary["plain14-w4"]["test_error"] == pytest.approx(mean(errors))
    assert summary["plain14-w4"]["test_error_std"] == pytest.approx(stdev(errors))
    assert {path.name for path in Path("out").glob("*.png")} == {"curves.png", "grid.png"}
    assert "8 of 8 cells" in out
    assert list(Path("out/states").iterdir()) == []


@pytest.mark.slow
def test_a_finished_cell_is_never_trained_twice_and_any_can_be_alone(capsys, monkeypatch):
    run(capsys, *SMALL)
    rows = read(Path("out"), "grid").rows
    from resnet_probe import training

    trained = []
    fit = training.fit
    monkeypatch.setattr(
        training, "fit", lambda model, *args, **how: trained.append(model.arch) or fit(model, *args, **how)
    )
    assert run(capsys, *SMALL)[0] == 0
    assert trained == []
    assert read(Path("out"), "grid").rows == rows
    assert run(capsys, *SMALL, "--only", "resnet8-w4-seed1", "--fresh")[0] == 0
    assert trained == ["resnet8-w4"]
    assert len(read(Path("out"), "grid").rows) == 8  # the others' rows stay
    assert run(capsys, *SMALL)[0] == 0
    assert without_time(read(Path("out"), "grid").rows) == without_time(rows)
    code, out, _ = run(capsys, *SMALL, "--seeds", "1")
    assert code == 0
    assert len(read(Path("out"), "grid").rows) == 4
    assert "resnet8-w4-seed1" in next(line for line in out.splitlines() if "not in the tables" in line)
    code, _, err = run(capsys, *SMALL, "--learning-rate", "0.05")
    assert (code, is_one_line(err)) == (2, True)
    assert "of another training (another recipe)" in err
    code, _, err = run(capsys, *SMALL, "--only", "resnet8-w4-seed7")
    assert code == 2
    assert "the grid has no cell 'resnet8-w4-seed7'; did you mean" in err


@pytest.mark.slow
def test_an_interrupted_grid_goes_on_from_inside_its_cell(capsys, monkeypatch):
    from resnet_probe.analyses.grid import engine

    words = (*SMALL[:-2], "--epochs", "2", "--out")
    run(capsys, *words, "whole")
    real, calls = engine.train_cell, 0

    def stopped(*args, stop=None, **how):
        nonlocal calls
        steps = 0

        def third():
            nonlocal steps
            steps += 1
            return calls == 3 and steps == 3

        calls += 1
        return real(*args, stop=third, **how)

    with monkeypatch.context() as changed:
        changed.setattr(engine, "train_cell", stopped)
        assert run(capsys, *words, "broken")[0] == 130
    assert [path.name for path in Path("broken/states/resnet8-w4-seed0").iterdir()] == ["state-00000003.pt"]
    assert run(capsys, *words, "broken")[0] == 0
    whole, broken = (without_time(read(Path(name), "curves").rows) for name in ("whole", "broken"))
    assert whole == broken


@pytest.mark.slow
def test_cells_in_parallel_processes_end_alike(capsys):
    run(capsys, *SMALL[:-1], "one")
    assert run(capsys, *SMALL[:-1], "two", "--jobs", "2")[0] == 0
    one, two = (without_time(read(Path(name), "grid").rows) for name in ("one", "two"))
    assert [row["cell"] for row in one] == [row["cell"] for row in two]
    for a, b in zip(one, two, strict=True):
        assert a["test_loss"] == pytest.approx(b["test_loss"], rel=1e-3)


@pytest.mark.slow
def test_parallel_processes_are_stopped_with_their_states_saved():
    from resnet_probe.analyses.grid import Grid, Images

    endless = {"epochs": 100_000, "learning_rate": 0.1}
    cells = cells_of(PRESETS["degradation"], endless, [0])[:2]
    grid = Grid(cells, Images("digits", limit=40), Path.cwd(), jobs=2)
    with pytest.raises(KeyboardInterrupt):
        grid.train(stop=lambda: True)


def test_a_cell_that_failed_keeps_its_last_good_state(capsys, monkeypatch):
    from resnet_probe.analyses.grid import engine
    from resnet_probe.training import DivergedError

    def fails(*args, keeper, **how):
        keeper.save(1, {})
        raise DivergedError(f"the loss is nan; {keeper.newest()}")

    monkeypatch.setattr(engine, "train_cell", fails)
    assert run(capsys, "--arch", "resnet8-w4", *QUICK)[0] == 0
    (row,) = read(Path("out"), "grid").rows
    assert "the state of step 1 is kept in out/states/resnet8-w4-seed0/state-00000001.pt" in row["status"]
    assert Path("out/states/resnet8-w4-seed0/state-00000001.pt").is_file()


@pytest.mark.slow
def test_styles_end_with_the_lesions_of_each(capsys):
    code, _, err = run(capsys, "--preset", "styles", "--arch", "resnet8-w4", "--seeds", "1", *QUICK)
    assert (code, err) == (0, "")
    assert [row["style"] for row in read(Path("out"), "grid").rows] == ["normal", "stochastic-depth", "effective-paths"]
    lesions = read(Path("out"), "lesion").rows
    assert {row["network"] for row in lesions} == {
        "resnet8-w4-seed0", "resnet8-w4-stochastic-depth-seed0", "resnet8-w4-effective-paths-seed0",
    }  # fmt: skip
    grid = {row["cell"]: row["test_error"] for row in read(Path("out"), "grid").rows}
    for row in lesions:
        if row["block"] == "(intact)":
            assert row["error"] == pytest.approx(grid[row["network"]])
    added = read(Path("out"), "grid_lesions").rows
    assert len(added) == 3 * 3
    for row in added:
        (error,) = [r["error"] for r in lesions if (r["network"], r["block"]) == (row["cell"], row["block"])]
        assert row["increase"] == pytest.approx(error - grid[row["cell"]])
    assert Path("out/grid_lesions.png").is_file()


def test_a_cell_that_diverges_is_a_result_and_the_others_go_on(capsys):
    words = ("--arch", "vgg5-c4.M.4-nobn", "--arch", "resnet8-w4", "--seeds", "1", *QUICK, "--learning-rate", "1e30")
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert all("diverged" in row["status"] for row in read(Path("out"), "grid").rows)
    assert "failed: the loss is" in out


def test_a_mistake_is_no_result(capsys):
    """A network that does not fit the data stops the grid, and is not kept as a cell that failed."""
    Path("made.py").write_text(
        "from torch import nn\n"
        "def network(num_classes=10, in_channels=1):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))\n"
    )
    code, _, err = run(capsys, "--arch", "made.py:network", "--seeds", "1", *QUICK)
    assert (code, is_one_line(err)) == (2, True)
    assert "but digits has 10 classes" in err
    assert run(capsys, "--arch", "made.py:network", "--seeds", "1", *QUICK)[0] == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_the_presets_are_networks_that_can_be_built(name):
    cells = cells_of(PRESETS[name], {}, [0])
    assert len({cell.name for cell in cells}) == len(cells)
    for cell in cells:
        with torch.device("meta"):
            resolve(cell.arch)
        assert describe(cell.arch).depth == 110 or name == "degradation"


def test_the_presets_are_the_papers_tables():
    from resnet_probe.models.variants import HE2016_TABLE1, HE2016_TABLE2

    for name, table in (("shortcuts", HE2016_TABLE1), ("activations", HE2016_TABLE2)):
        expected = [variant.arch(110) for variant in table.values()]
        assert [cell.arch for cell in cells_of(PRESETS[name], {}, [0])] == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--preset", "degradation"), "no images given; give --data"),
        (("--data", "digits"), "give --preset"),
        (("--arch", "plain{depth}", "--data", "digits"), "--arch with {depth} needs --depths"),
        (("--preset", "degradation", "--depths", "8,9", "--data", "digits"), "near 8 and 14"),
        (("--preset", "degradation", "--depths", "x", "--data", "digits"), "'x' is no list of depths"),
        (("--arch", "resnet8", "--depths", "8", "--data", "digits"), "--depths given, and no --arch holds {depth}"),
        (
            ("--arch", "resnet8", "--data", "digits", "--kept", "1"),
            "--kept given, which only the style effective-paths",
        ),
    ],
)
def test_bad_input_is_one_line(capsys, words, message):
    code, _, err = run(capsys, *words)
    assert (code, is_one_line(err)) == (2, True)
    assert message in err


def test_list_trains_nothing(capsys):
    assert run(capsys, *SMALL, "--list")[1].splitlines()[0] == "plain8-w4-seed0"
    assert not Path("out").exists()


@pytest.mark.slow
def test_a_grid_in_another_place_is_drawn_again(capsys):
    run(capsys, *SMALL)
    shutil.rmtree("out/states")
    for path in Path("out").glob("*.png"):
        path.unlink()
    assert main(["replot", "--run", "out", "--format", "png", "-q"]) == 0
    assert {path.name for path in Path("out").glob("*.png")} == {"curves.png", "grid.png"}
    assert json.loads(Path("out/grid.json").read_text())["source"] == "no paper"
