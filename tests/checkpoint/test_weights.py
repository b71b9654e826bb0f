"""Reading weight files: what is found in them, and one line for each way in which a file can be bad."""

import argparse
import collections
import contextlib
import hashlib
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

from resnet_probe.checkpoint import load
from resnet_probe.checkpoint.weights import CheckpointError, read_weights


def weights(**more):
    generator = torch.Generator().manual_seed(0)
    return {"conv1.weight": torch.randn(4, 3, 3, 3, generator=generator), "fc.bias": torch.zeros(10), **more}


def saved(path, content, **options):
    torch.save(content, path, **options)
    return path


def refusal(path):
    with pytest.raises(CheckpointError) as caught:
        read_weights(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


class Runs:
    """Pickled, it makes a folder when it is loaded by a loader that runs what a pickle says."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "nest",
    [(), ("state_dict",), ("model",), ("net",), ("model_state_dict",), ("ema", "state_dict"), ("model", "model")],
)
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.module."])
def test_nested_and_prefixed(tmp_path, legacy, nest, prefix):
    content = {prefix + name: tensor for name, tensor in weights().items()}
    for key in reversed(nest):
        content = {"epoch": 3, key: content}
    read = read_weights(saved(tmp_path / "a.pt", content, _use_new_zipfile_serialization=not legacy))
    assert list(read.tensors) == list(weights())
    assert all(torch.equal(tensor, weights()[name]) for name, tensor in read.tensors.items())
    assert read.metadata == ({"epoch": 3} if nest else {})
    assert (read.own, read.notes) == (False, ())
    assert read.shapes["conv1.weight"] == (4, 3, 3, 3)


def test_a_prefix_that_not_all_names_share_stays(tmp_path):
    content = {"model.fc.weight": torch.zeros(2, 2), "fc.weight": torch.ones(2, 2)}
    assert set(read_weights(saved(tmp_path / "a.pt", content)).tensors) == set(content)


def test_a_shared_word_can_be_taken_off(tmp_path):
    content = {f"net.{name}": tensor for name, tensor in weights().items()}
    beside = {"criterion.weight": torch.ones(10), "seen": torch.tensor(3)}
    read = read_weights(saved(tmp_path / "a.pt", {**content, **beside}))
    assert set(read.tensors) == {*content, *beside}
    inside = read.unwrapped()
    assert list(inside.tensors) == list(weights())
    assert inside.notes == (
        "names of the weights begin with net., which is taken off; left out beside them: criterion.weight, seen",
    )
    other = {"adapter.weight": torch.ones(3, 3, 1, 1)}  # a layer: without it the network would be another one
    assert read_weights(saved(tmp_path / "b.pt", {**content, **other})).unwrapped() is None
    assert read_weights(saved(tmp_path / "c.pt", {"weight": torch.ones(2, 2)})).unwrapped() is None


def test_averaged_and_partly_compiled_models(tmp_path):
    content = {"n_averaged": torch.tensor(5), **{f"module.{name}": tensor for name, tensor in weights().items()}}
    assert list(read_weights(saved(tmp_path / "a.pt", content)).tensors) == list(weights())
    content = {"layer1._orig_mod.0.conv1.weight": torch.zeros(2), "fc.weight": torch.zeros(2)}
    assert "layer1.0.conv1.weight" in read_weights(saved(tmp_path / "b.pt", content)).tensors


def test_what_is_decided_is_said(tmp_path):
    content = {"ema": weights(), "state_dict": weights(**{"fc.bias": torch.ones(10)})}
    read = read_weights(saved(tmp_path / "a.pt", content))
    assert read.tensors["fc.bias"].sum() == 10
    assert "state_dict and ema; those under state_dict are read" in read.notes[0]
    read = read_weights(saved(tmp_path / "b.pt", weights(version=3)))
    assert read.notes == ("not tensors, left out: version",)
    read = read_weights(saved(tmp_path / "c.pt", {name: tensor.half() for name, tensor in weights().items()}))
    assert read.notes == ("weights are float16; used as float32",)
    assert torch.equal(read.tensors["conv1.weight"], weights()["conv1.weight"].half().float())


def test_parameters_and_ordered_dicts(tmp_path):
    content = collections.OrderedDict((name, nn.Parameter(tensor)) for name, tensor in weights().items())
    tensors = read_weights(saved(tmp_path / "a.pt", content)).tensors
    assert not any(tensor.requires_grad for tensor in tensors.values())


def test_saved_on_a_gpu(tmp_path):
    """The location in the file is what map_location replaces; a file from a GPU differs in nothing else."""
    path = saved(tmp_path / "cpu.pt", weights())
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "gpu.pt", "w", zipfile.ZIP_STORED) as target:
        for entry in source.namelist():
            # each storage names its device: a string of 3 characters becomes one of 6
            content = source.read(entry).replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:1")
            target.writestr(entry, content)
    assert b"cuda:1" in (tmp_path / "gpu.pt").read_bytes()
    tensors = read_weights(tmp_path / "gpu.pt").tensors
    assert torch.equal(tensors["conv1.weight"], weights()["conv1.weight"])
    assert tensors["conv1.weight"].device.type == "cpu"


def test_settings_beside_the_weights_do_no_harm(tmp_path):
    """They are skipped without being built."""
    allowed = set(torch.serialization.get_safe_globals())
    beside = {
        "args": argparse.Namespace(lr=0.1, out=tmp_path),
        "best": np.float64(3.5),
        "losses": np.arange(3),
        "arch": "resnet8",
    }
    for legacy in (False, True):
        path = saved(tmp_path / "a.pt", {"state_dict": weights(), **beside}, _use_new_zipfile_serialization=legacy)
        read = read_weights(path)
        assert torch.equal(read.tensors["conv1.weight"], weights()["conv1.weight"])
        assert read.metadata == {"arch": "resnet8"}
    assert set(torch.serialization.get_safe_globals()) == allowed


def test_hash(tmp_path):
    path = saved(tmp_path / "a.pt", weights())
    assert read_weights(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("legacy", [False, True])
def test_code_is_refused_by_name_and_not_run(tmp_path, legacy, protocol):
    target = tmp_path / "made"
    content = {"state_dict": weights(), "extra": Runs(target)}
    path = saved(tmp_path / "a.pt", content, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol)
    assert f"its pickle names {os.mkdir.__module__}.mkdir, which could run code" in refusal(path)
    assert not target.exists()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_code_in_a_bare_pickle(tmp_path, protocol):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(Runs(tmp_path / "made"), protocol=protocol))
    assert f"{os.mkdir.__module__}.mkdir" in refusal(path)
    path.write_bytes(pickle.dumps({"run": print}, protocol=protocol))
    assert "names print," in refusal(path).replace("builtins.", "").replace("__builtin__.", "")
    assert not (tmp_path / "made").exists()


def test_a_whole_pickled_model(tmp_path):
    assert "torch.nn.modules.linear.Linear" in refusal(saved(tmp_path / "a.pt", nn.Linear(2, 2)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_model(tmp_path):
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "a.pt")
    assert "TorchScript program, which is code" in refusal(tmp_path / "a.pt")


def test_no_file_and_no_checkpoint(tmp_path):
    assert "no file" in refusal(tmp_path / "absent.pth")
    assert "is a folder" in refusal(tmp_path)
    (tmp_path / "a.txt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4bfd\n")
    assert "a text file that begins with 'version https://git-lfs" in refusal(tmp_path / "a.txt")
    (tmp_path / "b.txt").write_text("é" * 600)
    assert "a text file" in refusal(tmp_path / "b.txt")
    (tmp_path / "empty").write_bytes(b"")
    assert "an empty file" in refusal(tmp_path / "empty")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert "a binary file of another kind" in refusal(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "hello")
    refusal(tmp_path / "a.zip")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_truncated(tmp_path, legacy, kept):
    content = saved(tmp_path / "a.pt", weights(), _use_new_zipfile_serialization=not legacy).read_bytes()
    (tmp_path / "a.pt").write_bytes(content[: int(kept * len(content))])
    assert "damaged or truncated" in refusal(tmp_path / "a.pt")


@pytest.mark.parametrize("kept", [0.02, 0.1, 0.5, 0.99])
def test_truncated_safetensors(tmp_path, kept):
    content = save(weights())
    (tmp_path / "a.safetensors").write_bytes(content[: int(kept * len(content))])
    assert "damaged or truncated" in refusal(tmp_path / "a.safetensors")


@pytest.mark.parametrize("seed", range(40))
def test_damaged_bytes_never_show_a_traceback(tmp_path, seed):
    """Bytes of the pickle are replaced at random: the file is read, or refused like any other."""
    content = bytearray(saved(tmp_path / "a.pt", weights(), _use_new_zipfile_serialization=False).read_bytes())
    generator = np.random.default_rng(seed)
    for position in generator.integers(15, 400, size=4):
        content[position] = generator.integers(256)
    (tmp_path / "a.pt").write_bytes(content)
    with contextlib.suppress(CheckpointError):
        read_weights(tmp_path / "a.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite(tmp_path, value):
    bad = torch.zeros(6)
    bad[[1, 4]] = value
    content = {f"module.{name}": tensor for name, tensor in weights(**{"layer2.3.bn1.weight": bad}).items()}
    message = refusal(saved(tmp_path / "a.pt", {"state_dict": content}))
    assert "layer2.3.bn1.weight has NaN or infinite values (2 of 6)" in message


def test_no_weights(tmp_path):
    assert "a dict of epoch, optimizer" in refusal(saved(tmp_path / "a.pt", {"epoch": 3, "optimizer": {"lr": 0.1}}))
    assert "has no weights but Tensor" in refusal(saved(tmp_path / "b.pt", torch.zeros(3)))
    assert "has no weights but list" in refusal(saved(tmp_path / "c.pt", [torch.zeros(3)]))
    assert "has no tensors" in refusal(saved(tmp_path / "d.pt", {"n_averaged": torch.tensor(1)}))


def test_tensors_that_are_no_weights(tmp_path):
    sparse = torch.sparse_coo_tensor([[0], [1]], [1.0], (2, 2), check_invariants=True)
    for tensor in (sparse, torch.zeros(2, dtype=torch.complex64), torch.zeros(2, device="meta")):
        assert "fc.weight is no ordinary tensor" in refusal(saved(tmp_path / "a.pt", {"fc.weight": tensor}))


def test_a_tensor_that_claims_more_than_the_file_holds(tmp_path):
    """1.6 kB that would take 12 GB; small repeated tensors are read."""
    path = saved(tmp_path / "net.pth", {"w": torch.zeros(1).expand(3 * 10**9), "b": torch.zeros(2)})
    assert "w claims 12,000,000,000 bytes and has 4" in refusal(path)
    found = read_weights(saved(path, {"w": torch.ones(1).expand(1000)}))
    assert float(found.tensors["w"].sum()) == 1000


@pytest.mark.timeout(20)
def test_numbers_that_jump_count_nothing(tmp_path):
    names = ("conv1.weight", "layer99999999.0.conv1.weight", "layer1.99999999.conv1.weight")
    path = saved(tmp_path / "net.pth", {name: torch.zeros(16, 16, 3, 3) for name in names})
    with pytest.raises(CheckpointError, match="weights of no known network"):
        load(path)
