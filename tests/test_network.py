"""No command asks a network for anything where its data are local; seen from a process that notes every attempt."""

import pytest
from torchvision import datasets

from resnet_probe import checkpoint
from resnet_probe.models import resolve
from tests.evaluate.runs import Fork, finish
from tests.networks import trained

PROGRAM = """
import os, sys

os.chdir(sys.argv.pop(1))
os.environ["XDG_CACHE_HOME"] = "cache"

asked = []

def hook(event, args):
    if event in ("socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        asked.append(f"{event} {args}")
        raise OSError("there is no network here")

sys.addaudithook(hook)
from resnet_probe.cli import main
code = main(sys.argv[1:])
print(asked, file=sys.stderr)
sys.exit(code)
"""


def network(folder):
    arch = "resnet8-w2"
    checkpoint.save(folder / "tiny.safetensors", trained(lambda: resolve(arch)), arch=arch, metadata={"data": "fake"})


def run(tmp_path, *words):
    """Exit code of a command, and what it asked of a network."""
    code, _, err = finish(Fork(PROGRAM, tmp_path, *words))
    return code, err.splitlines()[-1]


@pytest.mark.slow
def test_no_analysis_of_local_data_needs_a_network(tmp_path):
    network(tmp_path)
    words = ("--data", "fake", "--quick", "--limit", "30", "--draws", "2", "--format", "svg", "--out", "out", "--quiet")
    assert run(tmp_path, "study", "tiny.safetensors", *words) == (0, "[]")


def test_a_data_set_that_has_to_be_fetched_is_the_only_one_that_asks(tmp_path):
    network(tmp_path)
    code, asked = run(tmp_path, "lesion", "--ckpt", "tiny.safetensors", "--data", "cifar10", "--quiet")
    assert code != 0
    assert "socket.getaddrinfo" in asked
    assert "443" in asked


@pytest.mark.parametrize("kind", [datasets.CIFAR10, datasets.CIFAR100])
def test_what_is_fetched_comes_over_https_and_has_a_checksum(kind):
    assert kind.url.startswith("https://")
    assert len(bytes.fromhex(kind.tgz_md5)) == 16
