"""What the page is told of networks, edits and runs; the command, and the lab in a notebook."""

import math
import shlex
from pathlib import Path

import httpx
import pytest

import resnet_probe
from resnet_probe.analyses import lesion
from resnet_probe.cli import main
from resnet_probe.data import load_data
from resnet_probe.lab import about, server
from resnet_probe.lab.engine import Engine
from resnet_probe.models import resolve
from resnet_probe.surgery import export
from resnet_probe.tables import read
from resnet_probe.unraveled import unravel
from tests.commands.subjects import write_good
from tests.lab.labs import IMAGES, lab_in, subject_in
from tests.networks import trained


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    return subject_in(tmp_path_factory.mktemp("about"))


def test_a_network_without_blocks_offers_its_layers():
    vgg = unravel(trained(lambda: resolve("vgg11-w4", in_channels=1)), (1, 8, 8))
    found = about.units(vgg)
    editable = [each["name"] for each in found if each["editable"]]
    assert editable == [unit.name for unit in vgg.layers]
    assert not any(each["scalable"] for each in found)


def test_path_lengths_are_binomial(subject):
    n = len(subject.network.blocks)
    found = about.lengths(subject.network, subject.network.steps)
    assert found["total"] == str(2**n)
    assert found["mean"] == n / 2
    assert found["shares"] == [math.comb(n, k) / 2**n for k in range(n + 1)]
    assert about.lengths(subject.network, subject.network.delete("layer1.0").steps)["mean"] == (n - 1) / 2


def test_large_numbers_of_paths_are_written_in_powers():
    class Deep:
        def polynomials(self, step):
            return (1, 1), (1, 1)

    assert about.lengths(Deep(), range(54))["total"] == "1.80 × 10^16"  # 2^54 = 18,014,398,509,481,984


def test_lines_do_what_the_edits_do(subject, tmp_path):
    network, blocks = subject.network, [unit.name for unit in subject.network.links]
    edits = [{"delete": [blocks[0]]}, {"scale": {blocks[2]: 0.35, blocks[3]: 1.25}}, {"reorder": blocks[1::-1]}]
    file = tmp_path / about.file_name("tiny", edits)
    source = subject.checkpoint
    ckpt = write_good(tmp_path, "source")
    images = ("evaluate", "--data", "digits", "--limit", str(IMAGES))
    lines = about.Lines(("surgery", "--ckpt", str(ckpt)), ("lesion",), images)
    surgery, evaluate = (shlex.split(line) for line in lines.of(edits, file))
    assert main([*surgery[1:], "-q"]) == 0
    export(source, network, edits, tmp_path / "direct.safetensors")
    assert file.read_bytes()[-1000:] == (tmp_path / "direct.safetensors").read_bytes()[-1000:]
    assert main([*evaluate[1:], "--out", str(tmp_path / "out"), "-q", "--format", "svg"]) == 0
    engine = Engine(subject)
    steps = network.edit(edits).steps
    while engine.advance(steps) < len(engine.chunks):
        pass
    row, found = read(tmp_path / "out", "evaluate").rows[0], engine.answer(steps)
    assert (row["images"], row["wrong"]) == (found["images"], found["wrong"])


def test_the_cloud_has_the_rows_of_this_network(tmp_path):
    empty = {column.key: None for column in lesion.MULTI.columns}
    drawn = (("tiny", 1, 50.0), ("other", 1, 60.0), ("tiny", 2, 70.0))
    rows = [{**empty, "network": name, "deleted": number, "error": error} for name, number, error in drawn]
    lesion.MULTI.result(rows).save(tmp_path)
    assert about.cloud([tmp_path], "tiny") == [(1, 50.0), (2, 70.0)]
    assert about.cloud([], "tiny") == []


def test_the_command_prints_an_address_with_a_token(tmp_path, monkeypatch, capsys):
    ckpt = write_good(tmp_path)
    labs = []

    class Interrupted:
        def __init__(self, lab, hosts):
            labs.append(lab)

        def run(self, sockets):
            for each in sockets:
                each.close()
            raise KeyboardInterrupt

    monkeypatch.setattr(server, "serving", Interrupted)
    assert main(["lab", str(ckpt), "--no-open", "--limit", "40", "--out", str(tmp_path / "out")]) == 0
    ((bench,), token) = labs[0].benches, labs[0].token
    assert f"/{token}/" in capsys.readouterr().out
    assert len(token) >= 32
    line = shlex.join(["resnet-probe", "lesion", "--ckpt", str(ckpt), "--limit", "40"])
    assert bench.lines.of([{"delete": ["layer1.0"]}], Path("x"))[0] == line


def test_a_port_that_is_taken_is_told(tmp_path, capsys):
    opened, hosts = server.listen()
    with opened:
        port = hosts[0].split(":")[1]
        assert main(["lab", str(write_good(tmp_path)), "--no-open", "--port", port, "--out", str(tmp_path / "o")]) == 2
    assert f"port {port}" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_notebook_shows_it_in_a_frame(subject, tmp_path):
    frame = resnet_probe.lab(subject.network, load_data("digits", limit=40), name="mine", out=tmp_path)
    try:
        assert f'<iframe src="{frame.url}"' in frame._repr_html_()
        shown = httpx.get(f"{frame.url}networks", timeout=60)
        assert shown.json()[0]["name"] == "mine"
        assert "frame-ancestors http://127.0.0.1:*" in shown.headers["content-security-policy"]
    finally:
        frame.close()
    assert "frame-ancestors 'none'" in str(lab_in(tmp_path).app(["x"]).headers)
