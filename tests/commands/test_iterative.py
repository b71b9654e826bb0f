from pathlib import Path

import pytest

from resnet_probe.cli import main
from resnet_probe.tables import read
from tests.commands.running import ran
from tests.commands.test_responses import checkpoint

SHARED = Path(__file__).parents[3] / "shared"


def run(capsys, *words):
    return ran(capsys, "iterative", "--limit", "40", *words)


def lesion_table(folder, file, *words):
    assert main(["lesion", "--ckpt", file, "--limit", "40", "--out", folder, "--format", "png", "--quiet", *words]) == 0


@pytest.mark.slow
def test_without_a_lesion_table(capsys):
    file = checkpoint(Path("r.safetensors"), "resnet8-w4")
    code, out, err = run(capsys, "--ckpt", file)
    assert (code, err) == (0, "")
    folder = Path("results/iterative-r")
    assert {path.name for path in folder.iterdir()} == {
        f"iterative.{end}" for end in ("csv", "json", "pdf", "svg", "png")
    }
    assert "no lesion table; give --lesion FILE" in out
    assert {row["lesion_error"] for row in read(folder, "iterative").rows} == {None}


@pytest.mark.slow
def test_the_lesion_table_of_the_run_folder_is_used_and_may_be_named(capsys):
    file = checkpoint(Path("r.safetensors"), "resnet20-w4")
    lesion_table("run", file)
    code, out, err = run(capsys, "--ckpt", file, "--out", "run", "--adapter", "--format", "svg")
    assert (code, err) == (0, "")
    assert "best predictors of the loss, all blocks" in out  # every deletion of these random weights has one error
    assert "other images" not in out
    table, ranks = read(Path("run"), "iterative"), read(Path("run"), "iterative_ranks")
    lesions = {row["block"]: row for row in read(Path("run"), "lesion").rows}
    for row in table.rows:
        assert row["lesion_loss"] == pytest.approx(lesions[row["block"]]["loss"] - lesions["(intact)"]["loss"])
        assert row["adapter_accuracy"] is not None
    assert table.about(table.networks[0])["lesion_on_the_same_images"] is True
    assert ranks.settings["command"] == table.settings["command"]
    assert {row["blocks"] for row in ranks.rows if row["measure"] == "ratio"} == {7, 9}
    again = run(capsys, "--ckpt", file, "--out", "again", "--adapter", "--lesion", "run/lesion.csv", "--format", "svg")
    assert again[0] == 0
    assert Path("again/iterative.csv").read_bytes() == Path("run/iterative.csv").read_bytes()
    assert Path("again/iterative_ranks.csv").read_bytes() == Path("run/iterative_ranks.csv").read_bytes()
    before = {name: Path(f"again/{name}.svg").read_bytes() for name in ("iterative", "iterative_ranks")}
    assert main(["replot", "--run", "again", "--format", "svg"]) == 0
    assert {name: Path(f"again/{name}.svg").read_bytes() for name in before} == before


@pytest.mark.slow
def test_damage_on_other_images_is_noted(capsys):
    file = checkpoint(Path("r.safetensors"), "resnet20-w4")
    lesion_table("run", file, "--limit", "30")
    _, out, _ = run(capsys, "--ckpt", file, "--out", "run", "--format", "png")
    assert "lesion.csv was measured on other images" in out


@pytest.mark.slow
def test_too_few_blocks_for_ranks(capsys):
    file = checkpoint(Path("r.safetensors"), "resnet8-w4")
    lesion_table("run", file)
    code, _, _ = run(capsys, "--ckpt", file, "--out", "run", "--format", "png")
    assert code == 0
    assert read(Path("run"), "iterative_ranks").rows == ()
    assert not Path("run/iterative_ranks.png").exists()


def test_wrong_use(capsys):
    file = checkpoint(Path("r.safetensors"), "resnet8-w4")
    other = checkpoint(Path("s.safetensors"), "resnet8-w4")
    lesion_table("run", file)
    Path("swapped").mkdir()
    swapped = checkpoint(Path("swapped/r.safetensors"), "resnet8-w4", seed=1)
    Path("table.txt").write_text("x")
    vgg = checkpoint(Path("v.safetensors"), "vgg11-w4")
    for words, problem in (
        ([], "no network given"),
        (["--ckpt", other, "--lesion", "run/lesion.csv"], "run/lesion.csv is of r, not of s; give its own table"),
        (["--ckpt", swapped, "--lesion", "run/lesion.csv"], "measured on another checkpoint called r"),
        (["--ckpt", file, "--lesion", "table.txt"], "--lesion table.txt is no CSV table"),
        (["--ckpt", file, "--lesion", "missing.csv"], "'missing.csv' does not exist"),
        (["--ckpt", vgg], "no residual blocks"),
    ):
        code, _, err = run(capsys, *words)
        assert (code, err.count("\n")) == (2, 1)
        assert problem in err


@pytest.mark.real
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared")
def test_the_last_block_of_a_real_resnet56_opposes_the_gradient(capsys):
    """Jastrzebski et al. 2018 print about -0.1 at the last block of a ResNet-110; here it is about -0.2."""
    words = ["--ckpt", str(SHARED / "checkpoints" / "resnet56-4bfd9763.th"), "--data", str(SHARED / "data" / "cifar10")]
    code, _, _ = run(capsys, *words, "--out", "run", "--format", "png")
    assert code == 0
    rows = read(Path("run"), "iterative").rows
    assert len(rows) == 27
    assert -0.3 < rows[-1]["cos_gradient"] < -0.1
    (settings,) = read(Path("run"), "iterative").settings["networks"].values()
    assert rows[-1]["exit_accuracy"] == pytest.approx(100 - settings["error"])
