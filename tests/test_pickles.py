"""Small files that would take all memory or time: each is refused in one line, before the loader begins."""

import pickle
import resource
import struct
import time
import zipfile
from pathlib import Path

import pytest
import torch

from resnet_probe.checkpoint import CheckpointError
from resnet_probe.checkpoint.weights import read_weights
from resnet_probe.limits import MOST_STEPS
from resnet_probe.pickles import check
from resnet_probe.training import Keeper, StateError


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value


def call(name, *arguments):
    return b"c" + name.replace(".", "\n").encode() + b"\n(" + b"".join(arguments) + b"tR"


def whole(number):
    content = number.to_bytes(8, "little")
    return b"\x8a" + bytes([len(content)]) + content


def storage(key, elements, location=b"cpu"):
    return b"(" + text(b"storage") + b"ctorch\nFloatStorage\n" + key + text(location) + whole(elements) + b"NtQ"


def tensor(stored, elements):
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + stored + b"K\x00" + whole(elements) + b"\x85K\x01\x85\x89}tR"


DOUBLED = b"N\x85q\x00" + b"".join(b"h%ch%c\x86q%c" % (n, n, n + 1) for n in range(64)) + b"h\x40"

COSTLY = {
    "a bytearray of 5 GB": call("__builtin__.bytearray", whole(5 * 10**9)),
    "a bytearray by its new name": call("builtins.bytearray", whole(5 * 10**9)),
    "a tensor without a file": call("torch.FloatTensor", whole(10**10)),
    "a storage without a file": call("torch.FloatStorage", whole(10**10)),
    "a tensor with the call in it": call("torch._tensor._rebuild_from_type_v2", b"N", b"N", b")", b"N"),
    "tuples that double, as a key": b"}" + DOUBLED + b"Ns",
    "tuples that double, in a set": b"c__builtin__\nset\n]" + DOUBLED + b"a\x85R",
    "tuples that double, called": DOUBLED + b")R",
    "tuples that double, as a storage": storage(DOUBLED, 1),
    "punycode": call("_codecs.encode", text(b"\xc3\xa9" * 100_000), text(b"punycode")),
    "hexadecimal of hexadecimal": call("_codecs.encode", text(b"a"), text(b"hex")),
    "a long list, counted many times": b"](" + b"N" * 10**6 + b"eq\x00" + b"ccollections\nCounter\nh\x00\x85R" * 10_000,
    "a long dict, taken over many times": b"}(" + b"".join(b"M" + struct.pack("<H", n) + b"N" for n in range(2**16))
    + b"uq\x00" + b"ccollections\nOrderedDict\n)Rh\x00b" * 10_000,
    "too many instructions": b"(" + b"N" * (MOST_STEPS + 10) + b"t",
    "an uninitialised storage": b"}" + text(b"w") + tensor(storage(text(b"0"), 10**9), 10**9) + b"s",
}  # fmt: skip


def legacy(path, content):
    """A legacy file with that pickle."""
    first = [pickle.dumps(each, 2) for each in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    path.write_bytes(b"".join(first) + b"\x80\x02" + content + b"." + pickle.dumps([], 2))
    return path


def archive(path, content, method=zipfile.ZIP_STORED):
    """A zip file with that pickle."""
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("a/data.pkl", b"\x80\x02" + content + b".")
        file.writestr("a/version", b"3\n")
    return path


def refused_at_once(path):
    """The message, after no more than a second or two and 300 MB."""
    begin, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError) as caught:
        read_weights(path)
    assert time.process_time() - begin < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
    message = str(caught.value)
    assert str(path) in message
    assert len(message) < 600
    assert "\n" not in message
    return message


@pytest.mark.timeout(60)
@pytest.mark.parametrize("make", [legacy, archive])
@pytest.mark.parametrize("case", COSTLY)
def test_pickles_that_the_safe_loader_allows(tmp_path, case, make):
    message = refused_at_once(make(tmp_path / "a.pt", COSTLY[case]))
    assert "is refused" in message or (make is archive and case == "an uninitialised storage")  # it has no entry


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_an_archive_that_unpacks_to_much_more_than_it_is(tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"w": torch.zeros(10)}, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file, file.open("a/data/1", "w") as entry:
        for _ in range(300):
            entry.write(bytes(2**20))
    assert path.stat().st_size < 2**20
    assert "unpack to 314," in refused_at_once(path)


def test_compressed_weights_are_read(tmp_path):
    """Whoever packs a file again gets the same weights."""
    content = {"w": torch.randn(1000, generator=torch.Generator().manual_seed(0)), "b": torch.zeros(100_000)}
    torch.save(content, tmp_path / "a.pt")
    packed = tmp_path / "b.pt"
    with zipfile.ZipFile(tmp_path / "a.pt") as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert packed.stat().st_size < 10_000
    assert all(torch.equal(tensor, content[name]) for name, tensor in read_weights(packed).tensors.items())


def test_an_entry_that_torch_would_take_for_a_folder(tmp_path):
    """It reads none of its bytes, and the weights are what the memory held before."""
    path = tmp_path / "a.pt"
    torch.save({"w": torch.arange(50.0)}, path)
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"a/data/0") - 46
    assert content[entry : entry + 4] == b"PK\x01\x02"
    content[entry + 38] |= 0x10
    path.write_bytes(content)
    assert "its entry 'a/data/0' is marked as a folder" in refused_at_once(path)
    with pytest.raises(StateError, match=r"a\.pt is no training state, or is damaged"):
        Keeper(tmp_path, {}, resume=path).load()


class Sized:
    """Becomes a `bytearray` of a number of bytes that the file does not hold."""

    def __reduce__(self):
        return bytearray, (1,)


@pytest.mark.slow
@pytest.mark.parametrize("legacy_", [False, True])
def test_long_pickles_are_followed_to_their_end(tmp_path, legacy_):
    """What is costly stands behind more than the first part that is looked at."""
    content = {f"layer{n}.weight": torch.zeros(1) for n in range(3000)}
    torch.save({**content, "z": Sized()}, tmp_path / "a.pt", _use_new_zipfile_serialization=not legacy_)
    assert "bytearray, which could take any memory" in refused_at_once(tmp_path / "a.pt")
    torch.save(content, tmp_path / "b.pt", _use_new_zipfile_serialization=not legacy_)
    assert len(read_weights(tmp_path / "b.pt").tensors) == 3000


def test_what_training_programs_save_beside_the_weights_is_no_cost(tmp_path):
    """Optimizers, random states, sets, nested settings, arrays: nothing of it is refused."""
    model = torch.nn.Linear(3, 3)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.zeros(1, 3)).sum().backward()
    optimizer.step()
    beside = {
        "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state(), "seen": {1, 2, 3}, "z": 1j,
        "nested": {"a": [(1, (2, (3, [4])))] * 100}, "bytes": b"\x00\xff" * 1000, "device": torch.device("cpu"),
        "shape": torch.Size([1, 2]), "dtype": torch.float16, "sparse": torch.eye(2).to_sparse(),
    }  # fmt: skip
    for legacy_ in (False, True):
        path = tmp_path / "a.pt"
        torch.save({"state_dict": model.state_dict(), **beside}, path, _use_new_zipfile_serialization=not legacy_)
        assert torch.equal(read_weights(path).tensors["weight"], model.weight)


def test_large_values_are_finite_although_their_sum_is_not(tmp_path):
    torch.save({"w": torch.full((10,), 3e38)}, tmp_path / "a.pt")
    assert read_weights(Path(tmp_path / "a.pt")).tensors["w"].isfinite().all()


@pytest.mark.parametrize("archive", [True, False])
def test_tensors_with_attributes_buffers_and_bytes_beside_the_weights_are_read(tmp_path, archive):
    noted = torch.ones(3)
    noted.note = "x"
    saved = {
        "state_dict": {"a": noted},
        "b": torch.nn.Buffer(torch.ones(3)),
        "c": bytearray(b"abc\xff"),
        "d": bytearray(),
    }
    torch.save(saved, tmp_path / "a.pt", _use_new_zipfile_serialization=archive)
    check(tmp_path / "a.pt")
    assert torch.load(tmp_path / "a.pt", weights_only=True)["c"] == b"abc\xff"
