import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest
import torch

from resnet_probe.analyses.compare import ANALYSIS
from resnet_probe.checkpoint import load, save
from resnet_probe.cli import main
from resnet_probe.commands.request import Request
from resnet_probe.commands.session import Session
from resnet_probe.data import load_data
from resnet_probe.models import resolve
from resnet_probe.tables import read
from tests.commands.running import ran
from tests.commands.subjects import is_one_line, write_good

SHARED = Path(__file__).parents[3] / "shared"
FIGURES = ("compare", "compare_costs", "lesion", "responses", "paths")

TABLES = ("compare", "lesion", "responses", "paths")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    write_good(folder, "one", "resnet8-w3")
    write_good(folder, "two", "plain8-w3")
    return folder


@pytest.fixture(autouse=True)
def in_a_folder_of_links(tmp_path, files):
    for path in files.glob("*.safetensors"):
        (tmp_path / path.name).symlink_to(path)


def run(capsys, *words):
    return ran(capsys, "compare", *words)


@pytest.fixture(scope="module")
def finished(files):
    """The folder of a run without times; whoever writes into it takes a copy."""
    folder = files / "finished"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(files)
        assert main(["compare", *BOTH, *UNTIMED[:4], "--out", str(folder), "--no-timing", "--quiet", *SMALL]) == 0
    return folder


BOTH = ("--ckpt", "one.safetensors", "--ckpt", "two.safetensors")
SMALL = ("--batch-size", "12")
QUICK = ("--limit", "30", "--format", "svg", *SMALL, "--out", "out")
UNTIMED = (*QUICK, "--no-timing")


def test_a_run_writes_all_tables_with_all_networks_and_says_what_they_say(capsys):
    code, out, err = run(capsys, *BOTH, *QUICK, "--timing-batches", "2")
    assert (code, err) == (0, "")
    names = {path.name for path in Path("out").iterdir()}
    assert {f"{table}.{end}" for table in TABLES for end in ("csv", "json")} <= names
    assert {f"{figure}.svg" for figure in FIGURES} <= names
    for table in TABLES:
        result = read(Path("out"), table)
        assert list(dict.fromkeys(row["network"] for row in result.rows)) == ["one", "two"]
        assert set(result.settings["networks"]) == {"one", "two"}
        assert result.settings["networks"]["two"]["arch"] == "plain8-w3"
        assert result.settings["command"].startswith("resnet-probe compare --ckpt one.safetensors")
    one, two = read(Path("out"), "compare").rows
    lesions = [row for row in read(Path("out"), "lesion").rows if row["network"] == "one"]
    assert (one["error"], one["worst_lesion"]) == (lesions[0]["error"], max(row["error"] for row in lesions[1:]))
    assert (one["depth"], two["depth"], one["paths"], two["paths"]) == (8, 8, 8, 1)
    assert one["parameters"] == two["parameters"] == sum(p.numel() for p in load("one.safetensors").model.parameters())
    assert (one["batch_size"], one["timed_batches"], one["images"]) == (12, 2, 30)
    assert one["backward_ms"] > one["forward_ms"] > 0
    assert one["forward_ms_16"] > 0
    assert one["peak_memory_mb"] > 0
    assert re.search(rf"one +{one['parameters']:,} +{one['flops']:,} +8 +{one['error']:.4g} ", out)
    assert "means over 2 batches of 12 on cpu" in out


@pytest.mark.slow
def test_errors_are_paired_with_those_of_the_first_network(finished):
    from statsmodels.stats.contingency_tables import mcnemar

    data = load_data("digits", limit=30)
    ((images, labels),) = data.batches(30)
    wrong = []
    for name in ("one", "two"):
        model = load(f"{name}.safetensors").model.eval()
        with torch.no_grad():
            wrong.append((model(images).argmax(1) != labels).numpy())
    one, two = read(finished, "compare").rows
    assert (one["against"], one["p"], one["newly_wrong"]) == (None, None, None)
    counts = int((~wrong[0] & wrong[1]).sum()), int((wrong[0] & ~wrong[1]).sum())
    assert (two["against"], two["newly_wrong"], two["newly_right"]) == ("one", *counts)
    assert two["increase"] == pytest.approx(two["error"] - one["error"])
    assert two["increase_low"] <= two["increase"] <= two["increase_high"]
    assert two["p"] == pytest.approx(mcnemar([[0, counts[0]], [counts[1], 0]], exact=True).pvalue)


@pytest.mark.slow
def test_tables_are_those_of_the_single_commands(finished):
    for command in ("lesion", "responses"):
        for name in ("one", "two"):
            words = ("--ckpt", f"{name}.safetensors", "--limit", "30", "--format", "svg", "--out", f"{command}-{name}")
            assert main([command, *words, "--batch-size", "12", "--quiet"]) == 0
            single = read(Path(f"{command}-{name}"), command).rows
            assert [row for row in read(finished, command).rows if row["network"] == name] == list(single)
    assert main(["paths", *BOTH, "--format", "svg", "--out", "lengths", "--quiet"]) == 0
    assert read(finished, "paths").rows == read(Path("lengths"), "paths").rows


@pytest.mark.slow
def test_a_replot_is_the_same_and_needs_every_table_only_for_its_panel(finished):
    copytree(finished, "out")
    before = {name: Path(f"out/{name}.svg").read_bytes() for name in FIGURES}
    assert main(["replot", "--run", "out", "--format", "svg", "--quiet"]) == 0
    assert {name: Path(f"out/{name}.svg").read_bytes() for name in FIGURES} == before
    Path("out/responses.csv").unlink()
    assert main(["replot", "--run", "out", "--format", "svg", "--quiet"]) == 0
    assert Path("out/compare.svg").read_bytes() != before["compare"]
    assert Path("out/compare_costs.svg").read_bytes() == before["compare_costs"]


@pytest.mark.slow
def test_what_is_finished_when_a_run_stops_is_not_done_again(capsys, monkeypatch, finished):
    from resnet_probe.analyses import lesion

    done, whole = [], lesion.run

    def stops(subject, parameters, runtime):
        if subject.name == "two":
            raise KeyboardInterrupt
        return whole(subject, parameters, runtime)

    monkeypatch.setattr(lesion, "run", stops)
    assert run(capsys, *BOTH, *UNTIMED)[0] == 130
    assert Path("out/lesion.one.journal").is_file()

    def watched(subject, parameters, runtime):
        def bar(what):
            return nullcontext(lambda now, total: done.append((subject.name, now, total)))

        return whole(subject, parameters, replace(runtime, progress=bar))

    monkeypatch.setattr(lesion, "run", watched)
    assert run(capsys, *BOTH, *UNTIMED)[0] == 0
    assert [now for name, now, total in done if name == "one" and now < total] == []
    assert [now for name, now, total in done if name == "two" and now < total] != []
    monkeypatch.setattr(lesion, "run", whole)
    table = Path("out/lesion.csv").read_bytes()
    assert (finished / "lesion.csv").read_bytes() == table


@pytest.mark.slow
def test_untrained_networks_stand_beside_checkpoints_on_the_same_images(capsys):
    code, out, err = run(capsys, "--ckpt", "one.safetensors", "--arch", "vgg11-w2", *UNTIMED)
    assert (code, err) == (0, "")
    rows = read(Path("out"), "compare").rows
    assert [(row["network"], row["trained"], row["units"]) for row in rows] == [
        ("one", True, 3),
        ("vgg11-w2", False, 8),
    ]
    assert rows[0]["forward_ms"] is rows[0]["peak_memory_mb"] is None
    about = read(Path("out"), "compare").settings["networks"]
    assert {each["normalization"] for each in about.values()} == {"digits"}
    assert "the weights are random" in out


def test_a_checkpoint_and_an_untrained_network_of_one_name_are_told_apart():
    Path("resnet8-w3.safetensors").symlink_to("one.safetensors")
    request = Request(ckpts=(Path("resnet8-w3.safetensors"),), arch=("resnet8-w3",))
    found = Session().networks(request, ANALYSIS.needs)
    assert [each.name for each in found] == ["resnet8-w3", "resnet8-w3 untrained"]


def test_a_checkpoint_is_read_as_what_it_is_said_to_be():
    torch.save(load("two.safetensors").model.state_dict(), "plain.pth")
    files = (Path("one.safetensors"), Path("plain.pth"))
    archs = [each.checkpoint.arch for each in Session().networks(Request(ckpts=files), ANALYSIS.needs)]
    assert archs == ["resnet8-w3", "resnet8-w3"]  # the weights do not tell
    archs = [
        each.checkpoint.arch
        for each in Session().networks(Request(ckpts=files, read_as=("auto", "plain8-w3")), ANALYSIS.needs)
    ]
    assert archs == ["resnet8-w3", "plain8-w3"]


@pytest.mark.slow
def test_networks_without_such_layers_are_left_out_of_the_responses(capsys):
    code, out, _ = run(capsys, "--arch", "lenet5", "--arch", "resnet8-w2", "--data", "fake", *UNTIMED)
    assert code == 0
    assert "note: lenet5 is left out of the responses: " in out
    assert {row["network"] for row in read(Path("out"), "responses").rows} == {"resnet8-w2"}
    assert len(read(Path("out"), "compare").rows) == 2


@pytest.mark.parametrize(
    ("given", "applied"),
    [((), ["digits", "digits"]), (("half",), ["half", "half"]), (("none", "half"), ["none", "half"])],
)
def test_each_network_may_have_its_own_normalization(given, applied):
    session = Session()
    request = Request(ckpts=(Path("one.safetensors"), Path("two.safetensors")), normalize=given, limit=20)
    found = session.subjects(session.networks(request, ANALYSIS.needs), request, ANALYSIS.needs, "cpu", images=True)
    assert [each.data.normalization for each in found] == applied
    assert [each.provenance()["normalization"] for each in found] == applied


def test_other_data_than_a_network_was_trained_for_is_one_line(capsys):
    code, _, err = run(capsys, *BOTH, "--data", "fake", "--normalize", "none", *UNTIMED)
    assert (code, is_one_line(err)) == (2, True)
    assert "one takes images of 1 channels and fake has 3; give the data the network was trained for" in err
    about = {"data": "fake", "normalize": "none", "input_size": 8}
    save(Path("other.safetensors"), resolve("resnet8-w2"), arch="resnet8-w2", metadata=about)
    code, _, err = run(capsys, *BOTH, "--ckpt", "other.safetensors", *UNTIMED)
    assert (code, is_one_line(err)) == (2, True)
    assert "one was trained for digits and other for fake; give --data, so that both see the same images" in err
    assert not Path("out/lesion.csv").exists()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "no network given; give --ckpt FILE or --arch NAME, several times, or --zoo"),
        (["--ckpt", "one.safetensors", "--arch", "resnet9"], "resnet9"),
        (["--arch", "resnet8"], "no images given; give --data digits"),
        (["--arch", "resnet8", "--arch", "resnet8", "--data", "fake"], "the same --arch given twice"),
        (["--ckpt", "one.safetensors", "--ckpt", "one.safetensors"], "the same checkpoint given twice"),
        ([*BOTH, *["--normalize", "half"] * 3], "3 times --normalize given for 2 networks; give it once for all"),
        ([*BOTH, "--read-as", "auto"], "1 times --read-as given for 2 checkpoints; give it once for each"),
        ([*BOTH, "--timing-batches", "1"], "1 is not in the range x>=2"),
        (["--zoo", "--arch", "resnet8"], "zoo is counted without a network and images; leave out --arch"),
        (["--zoo", "--untrained"], "--untrained"),
        (["--zoo", "--layers", "conv"], "--layers given without --ckpt or --arch"),
        ([*BOTH, "--no-timing", "--timing-batches", "5"], "--timing-batches and --no-timing given"),
        ([*BOTH, "--out", "one.safetensors"], "cannot write to the folder one.safetensors"),
    ],
)
def test_wrong_use(capsys, words, problem):
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert is_one_line(err)
    assert problem in err


def test_tables_of_other_networks_are_not_written_over(capsys):
    assert main(["lesion", *BOTH[:2], "--limit", "30", "--format", "svg", "--out", "out", "--quiet"]) == 0
    code, _, err = run(capsys, *BOTH, *UNTIMED)
    assert (code, is_one_line(err)) == (2, True)
    assert "out holds lesion.csv of other networks" in err


@pytest.mark.slow
def test_the_zoo_needs_no_data(capsys, monkeypatch):
    from resnet_probe.analyses.compare import zoo

    few = tuple(entry for entry in zoo.ZOO if entry.title in ("LeNet-5", "ResNet-18", "ResNet-20"))
    monkeypatch.setattr(zoo.run_zoo, "__kwdefaults__", {**zoo.run_zoo.__kwdefaults__, "entries": few})
    code, out, err = run(capsys, "--zoo", "--format", "svg")
    assert (code, err) == (0, "")
    folder = Path("results/compare-zoo")
    result = read(folder, "zoo")
    assert [row["title"] for row in result.rows] == ["LeNet-5", "ResNet-18", "ResNet-20"]
    assert re.search(r"ResNet-18 +3x224x224 +18 +11,689,512 +1 +1,814,073,344 +1.008 +0.9971\n", out)
    before = {name: (folder / f"{name}.svg").read_bytes() for name in ("zoo", "zoo_scatter")}
    assert main(["replot", "--run", str(folder), "--format", "svg", "--quiet"]) == 0
    assert {name: (folder / f"{name}.svg").read_bytes() for name in before} == before
