"""Pipes, devices, sockets, holes, links in a circle, files of the kernel: one line that names the file, at once."""

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from resnet_probe import checkpoint, cli, files
from resnet_probe.data import DataError, load_data
from resnet_probe.evaluate import Journal
from resnet_probe.files import regular
from resnet_probe.tables import Result, read_run
from resnet_probe.training import Keeper, StateError

pytestmark = pytest.mark.timeout(20)


def hole(path):
    path.touch()
    os.truncate(path, 2**42)


def circle(path):
    path.symlink_to(path.with_name("other"))
    path.with_name("other").symlink_to(path)


def sock(path):
    short = os.path.relpath(path)  # the name of a socket has at most 107 bytes
    with socket.socket(socket.AF_UNIX) as each:
        each.bind(short if len(short) < len(str(path)) else str(path))


KINDS = {
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "socket": sock,
    "hole": hole,
    "kernel": lambda path: path.symlink_to("/proc/self/maps"),
    "circle": circle,
    "folder": lambda path: path.mkdir(),
    "nowhere": lambda path: path.symlink_to("absent"),
}


@pytest.fixture(params=KINDS)
def strange(request, tmp_path):
    """Makes a path into something that is no regular file."""
    return KINDS[request.param]


def test_regular_files_only(tmp_path, strange):
    path = tmp_path / "a"
    strange(path)
    with pytest.raises((ValueError, OSError), match="a"):
        regular(path)
    (tmp_path / "b").write_text("x")
    assert regular(tmp_path / "b").read_text() == "x"


def test_a_file_system_that_counts_no_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "HOLES", 2**14)
    stat = Path.stat

    def without_blocks(path):
        about = stat(path)
        return SimpleNamespace(st_mode=about.st_mode, st_size=about.st_size, st_blocks=0)

    monkeypatch.setattr(Path, "stat", without_blocks)
    full, hollow = tmp_path / "full", tmp_path / "hollow"
    full.write_bytes(b"x" * 2**16)
    hollow.touch()
    os.truncate(hollow, 2**20)
    assert regular(full) == full
    with pytest.raises(ValueError, match="1,048,576 bytes of holes"):
        regular(hollow)


def test_checkpoints(tmp_path, strange):
    path = tmp_path / "a.pt"
    strange(path)
    with pytest.raises(checkpoint.CheckpointError) as caught:
        checkpoint.load(path)
    assert str(path) in str(caught.value)


def test_images(tmp_path, strange):
    (tmp_path / "data" / "a").mkdir(parents=True)
    strange(tmp_path / "data" / "a" / "1.png")
    with pytest.raises(DataError, match="data"):
        load_data(tmp_path / "data")


def test_tables_and_their_settings(tmp_path, strange, capsys):
    Result("lesion", ("network", "error"), ({"network": "a", "error": 1.5},), {"seed": 0}).save(tmp_path)
    strange(tmp_path / "paths.csv")
    assert [path.name for path, _ in read_run([tmp_path]).broken] in (["paths.csv"], [])
    for ending in (".json", ".csv"):
        path = tmp_path / f"lesion{ending}"
        path.unlink()
        for name in ("other", "absent"):
            (tmp_path / name).unlink(missing_ok=True)
        strange(path)
        run = read_run([tmp_path])
        assert all("\n" not in reason for _, reason in run.broken)
        assert run.altered == ()
        code = cli.main(["replot", str(tmp_path), "--out", str(tmp_path / "new")])
        _, err = capsys.readouterr()
        assert code in (0, 1, 2)
        assert err == "" or (err.startswith("error: ") and err.count("\n") == 1)


def test_states(tmp_path, strange):
    path = tmp_path / "state-00000009.pt"
    strange(path)
    with pytest.raises(StateError) as caught:
        Keeper(tmp_path, {}, resume=path).load()
    assert str(path) in str(caught.value)
    told = []
    Keeper(tmp_path, {}).save(3, {"step": 3})
    assert Keeper(tmp_path, {}, notify=told.append).load()["step"] == 3


def test_journals(tmp_path, strange):
    path = tmp_path / "a.journal"
    strange(path)
    if path.is_symlink() and not path.exists() and path.readlink().name == "absent":
        Journal.open(path, {"checkpoint": "a"}).close()  # it is made there
        return
    with pytest.raises((ValueError, OSError), match=r"a\.journal"):
        Journal.open(path, {"checkpoint": "a"})


def test_folders_that_link_to_each_other(tmp_path):
    """Each image is read once, where links double the ways to it at every step, and where they lead back."""
    inside = tmp_path / "a"
    for _ in range(30):
        inside.mkdir(parents=True)
        (inside / "again").symlink_to(tmp_path / "a")
        (inside / "double").symlink_to(inside / "deep")
        inside /= "deep"
    inside.mkdir()
    Image.new("RGB", (4, 4)).save(inside / "1.png")
    (tmp_path / "b").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "b" / "1.png")
    (tmp_path / "b" / "kernel").symlink_to("/proc/self")
    data = load_data(tmp_path)
    assert data.labels.tolist() == [0, 1]
    assert torch.equal(data.images, torch.zeros(2, 3, 4, 4, dtype=torch.uint8))
    with pytest.raises(DataError, match="of the kernel"):
        load_data("/proc/self")
