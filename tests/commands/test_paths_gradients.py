import json
import math
from pathlib import Path

import networkx as nx
import pytest
import torch

from resnet_probe import checkpoint
from resnet_probe.analyses.registry import facts_of
from resnet_probe.cli import main
from resnet_probe.models import resolve
from resnet_probe.tables import read
from tests.commands.running import ran

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
DIGITS = ("--data", "digits", "--limit", "12", "--samples", "6", "--format", "png")


def saved(name, arch="resnet8-w4", seed=0, spoil=False):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = resolve(arch, in_channels=1)
    if spoil:
        next(model.parameters()).data[0] = math.nan
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(path, model, arch=arch, metadata={"normalize": "none"})
    return str(path)


def run(capsys, *words):
    return ran(capsys, "paths", *words)


def facts(folder, table, network):
    return {fact.label: fact for fact in facts_of(read(Path(folder), table))[network]}


@pytest.mark.slow
def test_images_give_gradients_beside_the_lengths(capsys):
    code, out, err = run(capsys, "--ckpt", saved("net.safetensors"), *DIGITS)
    assert (code, err) == (0, "")
    folder = Path("results/paths-net")
    assert {path.name for path in folder.iterdir()} == {
        *("paths.csv", "paths.json", "paths.png", "gradients.csv", "gradients.json", "gradients.png")
    }
    result = read(folder, "gradients")
    assert [row["count"] for row in result.rows] == [1, 3, 3, 1]
    assert {row["samples"] for row in result.rows} == {6}
    assert result.settings["networks"]["net"]["identity_error"] < 1e-5
    assert len(result.settings["data_fingerprint"]) == 64
    assert result.about("net")["normalization"] == "none"
    assert result.settings["checkpoint_sha256"]
    about, told = result.about("net"), facts(folder, "gradients", "net")
    assert told["identity"].text in out
    assert told["identity"].value == about["identity_error"]
    assert told["largest class"].value == about["peak"]
    for label, key, mean in (
        ("exact shares", "exact", "mean_length"),
        ("count x norm", "effective", "effective_mean_length"),
    ):
        assert (told[label].low, told[label].high) == (about[key]["low"], about[key]["high"])
        assert told[label].value == about[mean]
    line = about["decay"]
    decay = told["norm of a path"]
    assert (decay.value, decay.low, decay.high) == (line["slope"], line["slope_low"], line["slope_high"])
    assert "5 to 17 of 54" in told["Veit et al. 2016"].text
    assert main(["replot", "--run", str(folder), "--out", "again", "--format", "png", "--quiet"]) == 0
    assert Path("again/gradients.png").read_bytes() == (folder / "gradients.png").read_bytes()


def test_without_images_lengths_alone_and_how_to_get_the_rest(capsys):
    code, out, _ = run(capsys, "--ckpt", saved("net.safetensors"), "--format", "png")
    assert code == 0
    assert "gradients of net are not measured without images" in out
    assert not Path("results/paths-net/gradients.csv").exists()


def test_a_network_without_blocks_is_not_told_that_its_gradients_are_missing(capsys):
    code, out, _ = run(capsys, "--ckpt", saved("net.safetensors", "vgg11-w4"), "--format", "png")
    assert code == 0
    assert "gradients" not in out


@pytest.mark.slow
def test_two_checkpoints_of_one_name_are_drawn_together(capsys):
    words = ["--ckpt", saved("a/net.safetensors"), "--ckpt", saved("b/net.safetensors", seed=1), "--out", "out"]
    code, out, _ = run(capsys, *words, *DIGITS)
    assert code == 0
    result = read(Path("out"), "gradients")
    assert list(dict.fromkeys(row["network"] for row in result.rows)) == ["a/net", "b/net"]
    assert set(result.settings["networks"]) == {"a/net", "b/net"}
    assert out.count("identity") == 2
    assert run(capsys, *words[:2], *words[:2])[0] == 2


@pytest.mark.slow
def test_a_network_beside_itself_untrained(capsys):
    arch = "resnet8-w4"
    model = resolve(arch)
    checkpoint.save(Path("net.safetensors"), model, arch=arch, metadata={"normalize": "cifar10"})
    code, _, err = run(
        capsys, "--ckpt", "net.safetensors", "--untrained", "--data", "fake", *DIGITS[2:], "--out", "out"
    )
    assert (code, err) == (0, "")
    result = read(Path("out"), "gradients")
    assert list(dict.fromkeys(row["network"] for row in result.rows)) == ["net", "net untrained"]
    assert result.about("net untrained")["normalization"] == "cifar10"
    assert run(capsys, "--arch", "resnet8-w4", "--untrained")[0] == 2


@pytest.mark.slow
def test_training_mode_uses_whole_batches(capsys):
    words = ("--ckpt", saved("net.safetensors"), *DIGITS, "--batch-norm", "train", "--batch-size", "6", "--out", "out")
    assert run(capsys, *words)[0] == 0
    about = read(Path("out"), "gradients").settings["networks"]["net"]
    assert (about["batch_norm"], about["images_at_a_time"]) == ("train", 6)


def test_deleted_blocks_move_the_distribution(capsys):
    words = ("--ckpt", saved("net.safetensors"), "--delete", "layer1.0,layer2.0", *DIGITS, "--out", "out")
    code, out, _ = run(capsys, *words)
    assert code == 0
    rows = read(Path("out"), "survival").rows
    assert [row["surviving"] for row in rows if row["unit"] == "module"] == [1, 1, 0, 0]
    name = "net without layer1.0, layer2.0"
    assert [row["count"] for row in read(Path("out"), "gradients").rows if row["network"] == name] == [1, 1]
    assert facts("out", "survival", name)["surviving paths"].value == 25
    assert name in out
    assert {row["network"] for row in read(Path("out"), "paths").rows} == {"net", name}


def test_deletion_by_depth_needs_no_network(capsys):
    code, out, _ = run(capsys, "--depth", "20", "--delete", "layer1.0,layer3.2", "--format", "png", "--out", "out")
    assert code == 0
    told = facts("out", "survival", "resnet20 without layer1.0, layer3.2")
    assert told["surviving paths"].value == 25
    assert told["share by length x"].value < 1e-12
    assert told["share by length x"].text in out
    for unit in ("module", "layer"):
        rows = [row for row in read(Path("out"), "survival").rows if row["unit"] == unit]
        assert [row["surviving"] for row in rows] == [math.comb(7, x) for x in range(10)]
    assert run(capsys, "--depth", "20", "--delete", "layer4.0")[0] == 2


@pytest.mark.slow
def test_pictures_and_graph(capsys):
    net = saved("net.safetensors")
    table = Path("lesion.csv")
    table.write_text("block,error\n(intact),5\nlayer1.0,10\nlayer2.0,20\nlayer3.0,30\n")
    words = ("--ckpt", net, "--draw", "--format", "svg", "--out", "out")
    code, out, err = run(capsys, *words, "--colour", "lesion.csv:error")
    assert (code, err) == (0, "")
    assert {"unraveled.svg", "anatomy.svg", "anatomy.graphml", "anatomy.graph.json"} <= {
        p.name for p in Path("out").iterdir()
    }
    graph = nx.node_link_graph(json.loads(Path("out/anatomy.graph.json").read_text()), edges="edges")
    assert graph.nodes["layer2.0"]["value"] == 20
    assert "anatomy.graphml" in out
    assert "no column 'loss'" in run(capsys, *words, "--colour", "lesion.csv:loss")[2]
    table.write_text("block,error\nother,5\n")
    assert "units in lesion.csv:error is one of net" in run(capsys, *words, "--colour", "lesion.csv:error")[2]
    assert "give a table and a column, such as" in run(capsys, *words, "--colour", "missing.csv:error")[2]


@pytest.mark.slow
def test_every_network_has_its_picture_the_lesioned_one_too(capsys):
    words = ("--ckpt", saved("a.safetensors"), "--ckpt", saved("b.safetensors", seed=1), "--delete", "layer1.0")
    assert run(capsys, *words, "--draw", "--format", "svg", "--out", "out")[0] == 0
    sizes = [
        len(json.loads(Path(f"out/anatomy{end}.graph.json").read_text())["nodes"]) for end in ("", "-2", "-3", "-4")
    ]
    assert sizes[0] == sizes[2] > sizes[1] == sizes[3]


@pytest.mark.slow
def test_the_papers_picture_of_three_blocks_needs_no_network(capsys):
    assert run(capsys, "--depth", "8", "--draw", "--format", "svg", "--out", "out")[0] == 0
    assert Path("out/unraveled.svg").is_file()
    code, _, err = run(capsys, "--depth", "20", "--draw", "--out", "other")
    assert code == 2
    assert "2^9 paths cannot be drawn" in err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--depth", "20", "--data", "digits"], "resnet20 is counted without a network and images; leave out --data"),
        (["--depth", "8", "--colour", "x.csv:y"], "--colour given without --draw; alone it has no effect"),
        (["--arch", "resnet8-w4", "--data", "digits"], "takes images of 3 channels and digits has 1"),
        (["--arch", "resnet8-w4", "--data", "fake", "--memory", "nothing"], "is no amount of memory"),
        (["--arch", "resnet8-w4", "--data", "fake", "--limit", "4", "--memory", "9000000G"], "but the machine has"),
        (["--arch", "resnet8-w4", "--data", "fake", "--limit", "4", "--memory", "10k"], "one image needs about"),
        (["--arch", "resnet8-w4", "--data", "fake", "--samples", "-1"], "-1"),
        (["--arch", "resnet8-w4", "--delete", "layer9.0"], "no block or layer named 'layer9.0'"),
    ],
)
def test_wrong_use_is_one_line(capsys, words, problem):
    code, _, err = run(capsys, *words)
    assert (code, err.count("\n")) == (2, 1)
    assert problem in err
    assert not list(Path().glob("results/*/gradients.*"))


def test_nan_weights_are_named(capsys):
    code, out, err = run(capsys, "--ckpt", saved("net.safetensors", spoil=True), *DIGITS)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "conv1.weight has NaN or infinite values" in err


def test_a_network_without_blocks_says_that_there_is_one_path(capsys):
    code, out, _ = run(capsys, "--ckpt", saved("net.safetensors", "vgg11-w4"), *DIGITS)
    assert code == 0
    assert facts("results/paths-net", "paths", "net")["paths"].value == 1
    told = facts("results/paths-net", "gradients", "net")
    assert set(told) == {"identity", "gradient"}
    assert told["gradient"].text in out


def test_one_image_is_enough(capsys):
    words = (
        "--ckpt",
        saved("net.safetensors"),
        "--data",
        "digits",
        "--limit",
        "1",
        "--samples",
        "3",
        "--format",
        "png",
    )
    assert run(capsys, *words)[0] == 0
    rows = read(Path("results/paths-net"), "gradients").rows
    assert {(row["images"], row["class_norm_std"]) for row in rows} == {(1, 0)}


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="no folder ../shared")
def test_a_real_resnet56_has_short_effective_paths(capsys):
    code, _, _ = run(
        capsys, "--ckpt", str(SHARED / "checkpoints/resnet56-4bfd9763.th"), "--data", str(SHARED / "data/cifar10"),
        "--split", "test", "--normalize", "imagenet", "--limit", "32", "--samples", "8", "--out", "out",
    )  # fmt: skip
    assert code == 0
    about = read(Path("out"), "gradients").settings["networks"]["resnet56-4bfd9763"]
    assert about["identity_error"] < 1e-5
    assert 5 <= about["peak"] <= 8
    assert about["exact"]["high"] < 13.5  # the middle of all path lengths
    assert about["decay"]["r2"] > 0.9
