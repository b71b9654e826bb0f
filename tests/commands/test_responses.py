from pathlib import Path

import pytest
import torch
from torch import nn

from resnet_probe.analyses import responses
from resnet_probe.analyses.responses import KINDS, MODES
from resnet_probe.checkpoint import save
from resnet_probe.cli import main
from resnet_probe.models import resolve
from resnet_probe.tables import read
from tests.commands.running import ran
from tests.networks import trained

SHARED = Path(__file__).parents[3] / "shared"


def checkpoint(path, arch, seed=0):
    model = trained(lambda: resolve(arch, in_channels=1), seed)
    save(path, model, arch=arch, metadata={"data": "digits", "normalize": "none"})
    return str(path)


def run(capsys, *words):
    return ran(capsys, "responses", "--limit", "40", *words)


def test_several_networks_are_overlaid_in_one_table_and_figure(capsys):
    files = [checkpoint(Path(f"{arch}.safetensors"), arch) for arch in ("resnet8-w4", "plain8-w4", "resnet8-w4-preact")]
    code, out, err = run(capsys, *(word for file in files for word in ("--ckpt", file)), "--out", "run", "--channels")
    assert (code, err) == (0, "")
    assert {path.name for path in Path("run").iterdir()} == {
        *(f"responses.{end}" for end in ("csv", "json", "pdf", "svg", "png")),
        "responses_channels.csv", "responses_channels.json",
    }  # fmt: skip
    table = read(Path("run"), "responses")
    assert table.columns[:7] == ("network", "layer", "index", "rank", "mean", "std", "values")
    assert [row["network"] for row in table.rows] == ["resnet8-w4"] * 7 + ["plain8-w4"] * 7 + ["resnet8-w4-preact"] * 7
    assert "measured after batch norm" in out
    assert "pre-activation network" in out
    assert table.about("resnet8-w4-preact")["measured"].startswith("pre-activation network")
    hashes = table.settings["checkpoint_sha256"].split(", ")
    assert len(set(hashes)) == 3
    assert {about["checkpoint_sha256"] for about in table.settings["networks"].values()} == set(hashes)
    assert len(read(Path("run"), "responses_channels").rows) == 3 * (3 * 4 + 2 * 8 + 2 * 16)


def test_an_architecture_alone_has_a_folder_of_its_own(capsys):
    code, _, err = run(capsys, "--arch", "resnet8-w4", "--data", "fake", "--format", "png")
    assert (code, err) == (0, "")
    assert len(read(Path("results/responses-resnet8-w4"), "responses").rows) == 7


def test_layers_and_mode_are_told_in_the_settings(capsys):
    file = checkpoint(Path("r.safetensors"), "resnet8-w4-B")
    code, _, _ = run(capsys, "--ckpt", file, "--layers", "all", "--mode", "train", "--out", "run", "--format", "svg")
    assert code == 0
    table = read(Path("run"), "responses")
    about = table.about(table.networks[0])
    assert (about["layers"], about["mode"], about["batch_size"]) == ("all", "train", 64)
    assert len(table.rows) == 7 + 2 + 1


def test_a_replot_is_the_same(capsys):
    run(capsys, "--ckpt", checkpoint(Path("r.safetensors"), "resnet8-w4"), "--out", "run", "--format", "svg")
    before = Path("run/responses.svg").read_bytes()
    assert main(["replot", "--run", "run", "--format", "svg"]) == 0
    assert Path("run/responses.svg").read_bytes() == before


def test_wrong_use(capsys):
    one = checkpoint(Path("r.safetensors"), "resnet8-w4")
    for words, problem in (
        ([], "no network given"),
        (["--ckpt", one, "--ckpt", one], "the same checkpoint given twice"),
        (["--ckpt", one, "--ckpt", one, "--arch", "resnet8-w4"], "give it with a single --ckpt"),
        (["--ckpt", one, "--layers", "conv5"], "'conv5' is not one of"),
    ):
        code, _, err = run(capsys, *words)
        assert (code, err.count("\n")) == (2, 1)
        assert problem in err


def test_what_is_done_is_written_before_an_error_at_a_later_network(capsys):
    files = [checkpoint(Path(f"{name}.safetensors"), "resnet8-w4") for name in ("one", "two")]
    words = ("--ckpt", files[0], "--ckpt", files[1])
    measured = responses.table.run

    def failing(subject, parameters, runtime):
        if subject.name == "two" and Path("fail").exists():
            raise RuntimeError("out of memory")
        return measured(subject, parameters, runtime)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(responses.table, "run", failing)
        Path("fail").touch()
        code, out, err = run(capsys, *words, "--out", "out", "--format", "svg")
        assert code != 0
        assert "out of memory" in err
        assert "two failed; one done" in out
        kept = read(Path("out"), "responses")
        assert kept.networks == ["one"]
        assert kept.settings["not_measured"] == ["two"]
        Path("fail").unlink()
        assert run(capsys, *words, "--out", "out", "--format", "svg")[0] == 0
    both = read(Path("out"), "responses")
    assert both.networks == ["one", "two"]
    assert both.of("one") == kept.of("one")
    assert "not_measured" not in both.settings


def test_tables_of_other_options_are_replaced_and_that_is_said(capsys):
    file = checkpoint(Path("one.safetensors"), "resnet8-w4")
    words = ("--ckpt", file, "--out", "out", "--format", "svg")
    assert run(capsys, *words, "--limit", "20")[0] == 0
    for more, option in ((("--limit", "30"), "--limit"), (("--limit", "30", "--layers", "conv"), "--layers")):
        code, out, _ = run(capsys, *words, *more)
        assert code == 0
        assert f"out/responses.csv is of another {option}; it is replaced" in out
    assert "is replaced" not in run(capsys, *words, "--limit", "30", "--layers", "conv")[1]


def test_the_choices_are_those_of_the_analysis():
    from resnet_probe.analyses import responses

    assert (KINDS, MODES) == (responses.KINDS, responses.MODES)


@pytest.mark.real
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared")
def test_real_checkpoints_equal_two_passes_over_copies(capsys):
    from resnet_probe.checkpoint import load
    from resnet_probe.data import load_data

    files = [SHARED / "checkpoints" / name for name in
             ("resnet20-12fca82f.th", "resnet56-4bfd9763.th", "vgg16_half_jpeg.pth")]  # fmt: skip
    words = [word for file in files for word in ("--ckpt", str(file))]
    images = SHARED / "data" / "cifar10"
    code, _, _ = run(capsys, *words, "--data", str(images), "--batch-size", "13", "--out", "run", "--format", "png")
    assert code == 0
    table = read(Path("run"), "responses")
    assert {settings["images"] for settings in table.settings["networks"].values()} == {40}
    data = load_data(str(images), limit=40, seed=0, normalize="imagenet", size=32)
    x, _ = next(data.batches(40))
    for file in files:
        loaded = load(file)
        rows = {row["layer"]: row for row in table.rows if row["network"] == loaded.name}
        norms = [name for name, m in loaded.model.named_modules() if isinstance(m, nn.BatchNorm2d)]
        convs = [name for name, m in loaded.model.named_modules() if isinstance(m, nn.Conv2d)]
        assert list(rows) == convs
        seen = {}
        for name in norms:
            loaded.model.get_submodule(name).register_forward_hook(
                lambda m, a, out, name=name, seen=seen: seen.__setitem__(name, out.double())
            )
        with torch.no_grad():
            loaded.model(x)
        for conv, norm in zip(convs, norms, strict=True):
            assert rows[conv]["std"] == pytest.approx(seen[norm].std(correction=0).item(), rel=1e-6)
            assert rows[conv]["mean"] == pytest.approx(seen[norm].mean().item(), rel=1e-6, abs=1e-7)
            assert rows[conv]["values"] == seen[norm].numel()
