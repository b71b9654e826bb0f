import csv

import pytest

from resnet_probe import checkpoint
from tests.commands.running import ran


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small network of our own format, untrained."""
    folder = tmp_path_factory.mktemp("networks")

    def make(arch):
        model = checkpoint.untrained(arch, num_classes=10, in_channels=1).model
        about = {"data": "digits", "normalize": "digits", "input_size": 8}
        return str(checkpoint.save(folder / f"{arch}.safetensors", model, arch=arch, metadata=about))

    return make


def run(capsys, *words):
    return ran(capsys, *words, "--format", "png")


def test_the_table_begins_with_the_trained_order_and_a_second_run_repeats_it(trained, tmp_path, capsys):
    words = ("reorder", "--ckpt", trained("resnet20-w4"), "--limit", "40", "--swaps", "1:2", "--draws", "3")
    code, out, err = run(capsys, *words, "--out", str(tmp_path))
    assert (code, err) == (0, "")
    assert "trained order" in out
    rows = list(csv.DictReader((tmp_path / "reorder.csv").read_text(encoding="utf-8").splitlines()))
    assert (rows[0]["swaps"], rows[0]["kendall_tau"], rows[0]["order"]) == ("0", "1.0", "0 1 2 3 4 5 6 7 8")
    assert [row["swaps"] for row in rows] == ["0", "1", "1", "1", "2", "2", "2"]
    before = (tmp_path / "reorder.csv").read_bytes()
    assert run(capsys, *words, "--out", str(tmp_path))[0] == 0
    assert (tmp_path / "reorder.csv").read_bytes() == before
    code, _, err = run(capsys, *words[:-1], "4", "--out", str(tmp_path))
    assert code == 2
    assert "another draws (3, now 4)" in err


def test_a_network_without_blocks_is_refused_in_one_line(trained, tmp_path, capsys):
    code, _, err = run(capsys, "reorder", "--ckpt", trained("vgg11-w4"), "--limit", "40", "--out", str(tmp_path))
    assert code == 2
    assert err.count("\n") == 1
    assert "no residual blocks" in err


def test_another_network_under_the_same_name_is_not_read_from_the_journal(tmp_path, capsys):
    factory = tmp_path / "net.py"
    text = """import torch
from resnet_probe.models import resolve

def make():
    torch.manual_seed({seed})
    return resolve("resnet8-w4")
"""
    words = ("lesion", "--arch", f"{factory}:make", "--data", "fake", "--limit", "20", "--out", str(tmp_path / "out"))
    factory.write_text(text.format(seed=1), encoding="utf-8")
    assert run(capsys, *words)[0] == 0
    factory.write_text(text.format(seed=2), encoding="utf-8")
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "holds results of another network (weights and code)" in err
