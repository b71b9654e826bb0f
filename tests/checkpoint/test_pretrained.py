"""Published weights: fetched from a hub on the loopback, or found where torchvision keeps them."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import safetensors.torch
import torch
import torchvision

from resnet_probe.checkpoint import CheckpointError, load
from resnet_probe.checkpoint.pretrained import fetch
from resnet_probe.models import resolve
from tests.commands.running import ran

SQUEEZENET = "squeezenet1_1"


@pytest.fixture
def hub():
    """A server of what is put into `files`; `asked` lists what was asked for."""
    files, asked = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, body):
            asked.append(self.path)
            content = files.get(self.path)
            self.send_response(404 if content is None else 200)
            content = content or b""
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.files, server.asked, server.address = files, asked, f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()


def seeded(name, **sizes):
    torch.manual_seed(0)
    return resolve(name, **sizes)


def test_an_address_is_fetched_once_and_checked(hub, tmp_path):
    model = seeded("resnet8-w4")
    content = safetensors.torch.save(model.state_dict())
    hub.files["/own%20net.safetensors"] = content
    address = f"{hub.address}/own%20net.safetensors#sha256={hashlib.sha256(content).hexdigest()}"
    told = []
    file = fetch(address, tmp_path, told.append)
    assert file.name == "own-net.safetensors"
    assert file.read_bytes() == content
    assert fetch(address, tmp_path, told.append) == file
    assert len(hub.asked) == len(told) == 1
    assert load(file).arch == "resnet8-w4"


@pytest.mark.parametrize("fragment", ["", "#sha256=12", f"#sha256={'0' * 64}"])
def test_another_file_or_no_checksum_leaves_nothing(hub, tmp_path, fragment):
    hub.files["/a.pth"] = b"something else"
    with pytest.raises(CheckpointError, match=r"checksum|SHA-256"):
        fetch(f"{hub.address}/a.pth{fragment}", tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_is_not_there_says_what_to_do(hub, tmp_path):
    with pytest.raises(CheckpointError, match=r"404.*FILE") as found:
        fetch(f"{hub.address}/a.pth#sha256={'0' * 64}", tmp_path)
    assert "\n" not in str(found.value)


@pytest.fixture
def torchs_folder(tmp_path, monkeypatch):
    """Random weights where torchvision keeps those that it has downloaded."""
    model = seeded(f"torchvision:{SQUEEZENET}")
    url = torchvision.models.get_model_weights(SQUEEZENET).DEFAULT.url
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(model.state_dict(), folder / url.rpartition("/")[2])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return model


@pytest.mark.parametrize("version", ["", "@IMAGENET1K_V1"])
def test_torchvisions_weights_keep_their_normalisation_and_classes(torchs_folder, tmp_path, version):
    found = load(fetch(f"torchvision:{SQUEEZENET}{version}", tmp_path))
    expected = torchs_folder.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in found.model.state_dict().items())
    assert (found.arch, found.input_size) == (f"torchvision:{SQUEEZENET}", 224)
    assert found.metadata["normalize"] == "0.485,0.456,0.406;0.229,0.224,0.225"
    assert found.metadata["classes"][:2] == ["tench", "goldfish"]
    assert len(found.metadata["classes"]) == 1000


def test_a_command_takes_the_name(torchs_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code, text, told = ran(capsys, "inspect", f"torchvision:{SQUEEZENET}")
    assert len(told.splitlines()) == 1
    assert ran(capsys, "inspect", f"torchvision:{SQUEEZENET}")[2] == ""
    assert (code, f"{sum(p.numel() for p in torchs_folder.parameters()):,}" in text) == (0, True)


@pytest.mark.parametrize(
    ("name", "said"),
    [("torchvision:resnet1", "no classification network"), (f"torchvision:{SQUEEZENET}@V9", "IMAGENET1K_V1")],
)
def test_weights_that_do_not_exist_are_named(tmp_path, name, said):
    with pytest.raises(CheckpointError, match=said):
        fetch(name, tmp_path)


@pytest.mark.slow
def test_timms_weights_come_from_the_hub_as_safetensors(hub, tmp_path):
    """In a process of its own, because the hub's address is read when its library is imported."""
    pytest.importorskip("timm")
    model = seeded("timm:test_resnet")
    hub.files["/timm/test_resnet.r160_in1k/resolve/main/model.safetensors"] = safetensors.torch.save(model.state_dict())
    code = (
        "import sys; from pathlib import Path; from resnet_probe.checkpoint.pretrained import fetch; "
        "print(fetch(sys.argv[1], Path(sys.argv[2])))"
    )
    environment = os.environ | {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-c", code, "timm:test_resnet.r160_in1k", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:] + json.dumps(hub.asked)
    found = load(done.stdout.strip())
    expected = model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in found.model.state_dict().items())
    assert (found.arch, found.input_size) == ("timm:test_resnet", 160)
    assert not any(path.endswith((".bin", ".pth")) for path in hub.asked)
