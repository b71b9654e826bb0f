import json
from pathlib import Path

import pytest

from resnet_probe.analyses.lesion import single
from resnet_probe.cli import main
from resnet_probe.tables import read
from tests.commands.subjects import STUDIED, study, write_good

SHARED = Path(__file__).parents[3] / "shared"
WORDS = STUDIED
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    write_good(folder, "tiny", "resnet14-w3")
    write_good(folder, "other", "plain14-w3")
    return folder


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """A finished study, which others read, too."""
    return study(tmp_path_factory)


def tables(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.csv"))}


def test_one_command_makes_every_table_and_the_report(studied):
    out = studied
    names = set(tables(out))
    assert {f"{name}.csv" for name in ("compare", "lesion", "responses", "paths", "claims")} <= names
    alone = ("inspect", "lesion_multi", "reorder", "paths", "gradients", "iterative", "iterative_ranks")
    alone += ("importance", "importance_subsets", "importance_pairs", "prune", "prune_stability")
    assert {f"tiny/{name}.csv" for name in alone} <= names
    assert "other/inspect.csv" in names
    assert {row["network"] for row in read(out, "lesion").rows} == {"tiny", "other"}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "This run is not complete" not in page
    assert page.count('<svg class="anatomy"') == 2
    steps = json.loads((out / "study.json").read_text(encoding="utf-8"))["steps"]
    assert [step["state"] for step in steps] == ["done"] * 9


def test_each_table_has_the_command_line_that_makes_it_alone(studied, tmp_path):
    out = studied
    made = read(out / "tiny", "reorder")
    words = made.settings["command"].split()
    assert words[:2] == ["resnet-probe", "reorder"]
    words[words.index("--out") + 1] = str(tmp_path)
    assert main(words[1:]) == 0
    assert (tmp_path / "reorder.csv").read_bytes() == (out / "tiny" / "reorder.csv").read_bytes()


def test_a_second_study_keeps_what_is_there_and_makes_again_what_is_gone_or_of_other_options(files, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["study", str(files / "tiny.safetensors"), "--against", str(files / "other.safetensors"), *WORDS]
    words += ["--out", str(out)]
    assert main(words) == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.csv") if path.stem != "claims"}
    capsys.readouterr()
    assert main(words) == 0
    assert "0 done, 9 kept, 0 failed" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in before} == before
    before = tables(out)
    (out / "tiny" / "reorder.csv").unlink()
    (out / "tiny" / "reorder.journal").unlink()
    settings = out / "tiny" / "iterative.json"
    settings.write_text(settings.read_text(encoding="utf-8").replace('"limit": 30', '"limit": 29'), encoding="utf-8")
    gradients = out / "tiny" / "gradients.json"
    known = json.loads(gradients.read_text(encoding="utf-8"))["data_fingerprint"]
    gradients.write_text(gradients.read_text(encoding="utf-8").replace(known, "0" * 64), encoding="utf-8")
    assert main(words) == 0
    assert "3 done, 6 kept, 0 failed" in capsys.readouterr().out
    assert tables(out) == before


def test_fresh_replaces_everything_after_another_training(tmp_path, capsys):
    """A retrained checkpoint of the same name, and tables of the first one in the folder."""
    words = ["study", str(tmp_path / "net.safetensors"), "--out", str(tmp_path / "out"), *WORDS, "--quiet"]
    write_good(tmp_path, "net", "resnet14-w3")
    assert main(words) == 0
    write_good(tmp_path, "net", "resnet8-w3")
    assert main([*words, "--fresh"]) == 0, capsys.readouterr()
    made = [read(path.parent, path.stem) for path in (tmp_path / "out").rglob("*.csv") if path.stem != "claims"]
    assert len({table.settings["checkpoint_sha256"] for table in made}) == 1
    assert {table.about("net")["arch"] for table in made if table.networks} == {"resnet8-w3"}


def test_damage_that_is_measured_later_reaches_the_table_of_blocks(files, tmp_path, monkeypatch):
    words = ["study", str(files / "tiny.safetensors"), "--out", str(tmp_path), *WORDS, "--quiet"]
    real = single.run
    monkeypatch.setattr(single, "run", lambda *_: (_ for _ in ()).throw(ValueError("no")))
    assert main(words) == 1
    assert {row["lesion_error"] for row in read(tmp_path / "tiny", "iterative").rows} == {None}
    monkeypatch.setattr(single, "run", real)
    assert main(words) == 0
    assert None not in {row["lesion_error"] for row in read(tmp_path / "tiny", "iterative").rows}
    assert (tmp_path / "tiny" / "iterative_ranks.csv").is_file()


def test_a_step_that_fails_is_named_and_does_not_stop_the_others(files, tmp_path, capsys):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "reorder.journal").write_text("no journal", encoding="utf-8")
    assert main(["study", str(files / "tiny.safetensors"), *WORDS, "--out", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "8 done, 0 kept, 1 failed" in out
    assert "Orders of tiny: " in out
    assert (tmp_path / "tiny" / "iterative.csv").is_file()  # comes after it
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    (failed,) = [s for s in json.loads((tmp_path / "study.json").read_text())["steps"] if s["state"] == "failed"]
    assert "This run is not complete" in page
    assert failed["reason"].split(";")[0][:40] in page


def test_an_interruption_ends_the_study(files, tmp_path, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("resnet_probe.analyses.reorder.run", stop)
    assert main(["study", str(files / "tiny.safetensors"), *WORDS, "--out", str(tmp_path), "--quiet"]) == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    assert not (tmp_path / "tiny" / "iterative.csv").exists()
    assert main(["report", "--run", str(tmp_path), "--quiet"]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Changing the order" in page
    assert "resnet-probe reorder" in page


def test_wrong_use_is_told_before_anything_runs(files, tmp_path, capsys):
    (tmp_path / "again").mkdir()
    twin = tmp_path / "again" / "tiny.safetensors"
    twin.write_bytes((files / "tiny.safetensors").read_bytes())
    words = ["study", str(files / "tiny.safetensors"), "--against", str(twin), "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert "two checkpoints called tiny" in capsys.readouterr().err
    assert main(["study", "nothing.pth"]) == 2
    assert main(["study", str(files / "tiny.safetensors"), "--draws", "0"]) == 2


@pytest.mark.real
@pytest.mark.skipif(not (SHARED / "checkpoints").is_dir(), reason="needs ../shared/checkpoints and ../shared/data")
def test_study_of_a_real_resnet_against_a_real_vgg(tmp_path):
    resnet, vgg = (SHARED / "checkpoints" / name for name in ("resnet56-4bfd9763.th", "vgg16_half_jpeg.pth"))
    words = ["--data", str(SHARED / "data" / "cifar10"), "--normalize", "imagenet", "--limit", "40", "--draws", "2"]
    assert (
        main(["study", str(resnet), "--against", str(vgg), *words, "--quick", "--quiet", "--out", str(tmp_path)]) == 0
    )
    resnet, vgg = read(tmp_path, "compare").rows
    assert (resnet["depth"], resnet["parameters"], resnet["paths"]) == (56, 853_018, 2**27)
    assert resnet["flops"] == 125_485_696
    assert resnet["mean_path_length"] == 29
    assert (vgg["depth"], vgg["paths"], vgg["units"]) == (14, 1, 13)
    # Veit et al. 2016, Fig. 3: any one layer of the VGG, to chance; one block, to almost nothing
    assert resnet["median_lesion"] < 20
    assert vgg["median_lesion"] > 75
    verdicts = {(row["claim"], row["network"]): row["verdict"] for row in read(tmp_path, "claims").rows}
    assert verdicts[1, "resnet56-4bfd9763"] == "holds"
    assert verdicts[2, "resnet56-4bfd9763"] == "cannot say"
    assert verdicts[11, "resnet56-4bfd9763"] == "holds"
    assert (6, "vgg16_half_jpeg") in verdicts
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "853,018 parameters" in page
    assert "134,217,728" in page
    assert "This run is not complete" not in page
