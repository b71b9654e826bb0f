"""Other tasks than classification on the command line."""

import csv
import json

import pytest

from resnet_probe import checkpoint
from resnet_probe.models import resolve
from tests.commands.running import ran

CANVASES = ["--data", "canvases", "--limit", "5"]


@pytest.fixture
def run(capsys):
    """Runs a command; gives what it says, an error's line where it is to fail."""

    def runs(*words, code=0):
        found, out, err = ran(capsys, *map(str, words))
        assert found == code, err
        return err if code else out

    return runs


def table(folder, name):
    with (folder / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    """Weights of a small FCN, as drawn, in a file of our own."""
    path = tmp_path_factory.mktemp("fcn") / "fcn.safetensors"
    model = resolve("fcn_resnet18", num_classes=11)
    checkpoint.save(
        path, model, arch="fcn_resnet18", metadata={"task": "segmentation", "data": "canvases", "normalize": "none"}
    )
    return path


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    """Weights of a small GPT, as drawn."""
    path = tmp_path_factory.mktemp("gpt") / "gpt.safetensors"
    metadata = {"task": "language", "data": "pydoc", "input_size": 16}
    checkpoint.save(path, resolve("gpt2-w32"), arch="gpt2-w32", metadata=metadata)
    return path


def test_the_task_of_a_file_needs_no_option(run, segmenter, tmp_path):
    run("lesion", "--ckpt", segmenter, "--limit", 3, "--out", tmp_path, "--format", "png")
    rows, measures = table(tmp_path, "lesion"), table(tmp_path, "lesion_measures")
    assert [row["block"] for row in rows] == [
        "(intact)",
        *(f"backbone.layer{s}.{b}" for s in (1, 2, 3, 4) for b in (0, 1)),
    ]
    assert all(row["wrong"] == row["p"] == row["newly_wrong"] == "" for row in rows)
    assert all(float(row["error_low"]) <= float(row["error"]) <= float(row["error_high"]) for row in rows)
    assert {row["measure"] for row in measures} == {"error", "loss", "iou"}
    assert [row["class"] for row in measures if row["measure"] == "iou"][:3] == ["", "background", "0"]
    errors = {row["block"]: row["value"] for row in measures if row["measure"] == "error"}
    assert errors == {row["block"]: row["error"] for row in rows}
    about = json.loads((tmp_path / "lesion.json").read_text())["networks"]["fcn"]
    assert about["task"] == "segmentation"
    assert (tmp_path / "lesion.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("words", "name", "rows"),
    [
        (["lesion", "--multi", "1:2", "--draws", "2"], "lesion_multi", 5),
        (["lesion", "--pairs"], "lesion_pairs", 6),
        (["lesion", "--scales"], "lesion_scales", 60),
        (["reorder", "--swaps", "1:1", "--draws", "2"], "reorder", 3),
        (["responses", "--layers", "all"], "responses", 10),
        (["importance"], "importance", 8),
        (["prune", "--orders", "greedy,lesion,shapley,influence", "--choose-limit", "6"], "prune", 13),
    ],
)
def test_every_analysis_that_takes_tasks(run, writer, tmp_path, words, name, rows):  # noqa: PLR0917
    command, *options = words
    run(command, "--ckpt", writer, "--limit", 4, *options, "--out", tmp_path, "--format", "png")
    found = table(tmp_path, name)
    assert len(found) == rows
    assert (tmp_path / f"{name}.png").is_file()
    if name == "importance":  # values share out what all blocks are worth
        about = json.loads((tmp_path / "importance.json").read_text())["networks"]["gpt"]["values"]["loss"]
        shares = [float(row["shapley"]) for row in found if row["measure"] == "loss"]
        assert sum(shares) == pytest.approx(about["all"] - about["none"], abs=1e-9)
    if name == "prune":
        whole = [row for row in found if row["removed"] == "4"]
        assert len({row["error"] for row in whole}) == 1  # without any block all orders are the same network
        assert {row["order"] for row in found} == {"(intact)", "greedy", "lesion", "shapley"}
    if name == "lesion_pairs":
        for row in found:
            assert float(row["interaction_low"]) <= float(row["interaction"]) <= float(row["interaction_high"])


def test_one_window_has_no_interval(run, writer, tmp_path):
    run("lesion", "--ckpt", writer, "--limit", 1, "--out", tmp_path, "--format", "png")
    assert {(row["error_low"], row["difference_high"]) for row in table(tmp_path, "lesion")} == {("", "")}


ALIKE = """
import torch
data = lambda: [(torch.rand(3, 8, 8), torch.zeros(10)) for _ in range(4)]
"""


def test_an_error_that_is_not_defined_is_refused(run, tmp_path):
    (tmp_path / "own.py").write_text(ALIKE)
    words = ["--data", f"{tmp_path / 'own.py'}:data", "--out", tmp_path]
    said = run("lesion", *words, "--task", "regression", "--arch", "resnet8", code=2)
    assert "is not defined on these 4 images" in said
    assert "own.py:data has no boxes" in run(
        "lesion", *words, "--task", "detection", "--arch", "fasterrcnn_resnet18_fpn", code=2
    )


def test_an_analysis_of_classifiers_says_so(run, writer, tmp_path):
    said = run("iterative", "--ckpt", writer, "--out", tmp_path, code=2)
    assert "gpt is for language" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--arch", "gpt2-w32", "--task", "langage", "--data", "pydoc"], "no task 'langage'; did you mean language?"),
        (["--arch", "gpt2-w32", "--task", "language", "--data", "nowhere.txt"], "no text 'nowhere.txt'"),
        (["--arch", "gpt2-w32", "--task", "language", "--data", "pydoc", "--split", "val"], "text has no split 'val'"),
        (["--arch", "fcn_resnet18", "--task", "segmentation", *CANVASES], "canvases has 11 classes"),
        (["--arch", "resnet8", "--task", "segmentation", *CANVASES], "segmentation takes networks that return a map"),
        (["--arch", "resnet8", "--task", "detection", *CANVASES], "ResNet has no backbone"),
        (["--arch", "gpt2-w32", "--task", "language", "--data", "pydoc", "--until", "1"], "is for classification"),
        (["--arch", "gpt3-w33", "--task", "language", "--data", "pydoc"], "a multiple of 32"),
    ],
)  # fmt: skip
def test_wrong_use(run, tmp_path, words, said):
    found = run("lesion", *words, "--limit", 4, "--out", tmp_path, code=2)
    assert said in found
    assert found.count("\n") == 1


def test_text_files_and_arrays_of_tokens(run, writer, tmp_path):
    import numpy as np

    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 30)
    np.save(tmp_path / "train.npy", np.frombuffer(text.read_bytes(), np.uint8).astype(np.int64))
    np.save(tmp_path / "test.npy", np.frombuffer(text.read_bytes(), np.uint8)[-135:].astype(np.int64))
    errors = []
    for data in (text, tmp_path):
        run("lesion", "--ckpt", writer, "--data", data, "--out", tmp_path / "out", "--format", "png", "--fresh")
        rows = table(tmp_path / "out", "lesion")
        assert rows[0]["images"] == "8"  # windows of 16 in a tenth of 1,350 bytes
        errors.append([row["error"] for row in rows])
    assert errors[0] == errors[1]


@pytest.mark.slow
def test_a_study_of_another_task_has_its_analyses_and_a_report(run, writer, tmp_path):
    run("study", writer, "--quick", "--limit", 6, "--out", tmp_path)
    notes = json.loads((tmp_path / "study.json").read_text())["steps"]
    assert {step["state"] for step in notes} == {"done"}
    assert {step["table"] for step in notes} == {
        *("inspect", "lesion", "lesion_multi", "importance", "prune", "reorder", "responses"),
    }
    page = (tmp_path / "report.html").read_text()
    assert "perplexity" in page
    assert 'href="#method-resamples"' in page
    assert 'href="#method-wilson"' not in page
    assert "iterative has not been run" not in page
