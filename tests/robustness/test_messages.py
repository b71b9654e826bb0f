"""What files may hold that was never meant: each time one line on standard error that names the file."""

import json
import struct

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file

from resnet_probe.checkpoint import CheckpointError, load
from resnet_probe.cli import main
from resnet_probe.models import resolve
from resnet_probe.tables import Result, read, read_run


@pytest.fixture(scope="module")
def state():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return resolve("resnet8-w2", in_channels=1).state_dict()


def cast(tensor, dtype):
    """The tensor with numbers of another type, whatever their values."""
    if dtype == "float4_e2m1fn_x2":
        return torch.zeros(tensor.shape, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    return tensor.abs().to(torch.float64 if "float" in dtype else torch.int64).to(getattr(torch, dtype))


WHOLE = ("int8", "uint8", "int16", "int64", "uint16", "uint64", "bool")
HALF = ("float16", "bfloat16", "float64", "float8_e4m3fn", "float8_e5m2")


@pytest.mark.parametrize("dtype", [*WHOLE, *HALF, "float4_e2m1fn_x2"])
@pytest.mark.parametrize("which", ["", "conv1.weight", "bn1.running_var", "fc.bias"])
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_numbers_of_every_type(tmp_path, state, dtype, which, ending):
    changed = {
        name: cast(tensor, dtype) if which in ("", name) and tensor.dim() else tensor for name, tensor in state.items()
    }
    path = tmp_path / f"a.{ending}"
    try:
        (torch.save if ending == "pt" else save_file)(changed, path)
    except KeyError:
        pytest.skip(f"this version of safetensors writes no {dtype}")
    if dtype in HALF:
        loaded = load(path).model.state_dict()
        assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in loaded.values())
        assert torch.equal(loaded["fc.bias"], changed["fc.bias"].float())
    else:
        with pytest.raises(CheckpointError, match=dtype) as caught:
            load(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda name, tensor: tensor[:0] if name == "fc.weight" else tensor, "no classes"),
        (lambda name, tensor: tensor[:0] if tensor.dim() else tensor, "cannot be built"),
        (lambda name, tensor: tensor[:, :0] if name == "conv1.weight" else tensor, "conv1.weight is 2x0x3x3"),
        (lambda name, tensor: tensor[:, :, :0] if name == "conv1.weight" else tensor, "no known network"),
        (lambda name, tensor: torch.tensor(1.0) if name == "fc.weight" else tensor, "fc.weight is one number"),
        (lambda name, tensor: -tensor if name.endswith("running_var") else tensor, "negative variances"),
    ],
)
def test_tensors_of_impossible_shapes_and_values(tmp_path, state, capfd, change, problem):
    path = tmp_path / "a.pt"
    torch.save({name: change(name, tensor) for name, tensor in state.items()}, path)
    assert main(["inspect", "--ckpt", str(path), "--out", str(tmp_path / "run")]) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert str(path) in err
    assert problem in err


@pytest.mark.parametrize("number", ["9" * 5000, "1e99999", "NaN", "-Infinity", "[" * 100_000, '{"a":' * 50_000])
def test_numbers_of_5000_digits_and_deep_nesting(tmp_path, state, number):
    """In the description of a checkpoint, in the settings of a table, and in a cell."""
    about = json.dumps({"arch": "resnet8-w2", "format": 1}).replace("1", number, 1) if number[0] in "[{" else None
    about = about or f'{{"arch": "resnet8-w2", "format": {number}}}'
    save_file(state, tmp_path / "a.safetensors", metadata={"resnet-probe": about})
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        load(tmp_path / "a.safetensors")
    made = Result("lesion", ("network", "n"), ({"network": "a", "n": 1},), {"seed": 0})
    table, settings = made.save(tmp_path)
    settings.write_text(f'{{"seed": {number}}}')
    run = read_run([tmp_path])
    assert len(run.tables) + len(run.broken) == 1
    made.save(tmp_path)
    if number[0] not in "[{":
        table.write_text(f"network,n\na,{number}\n")
        assert len(read_run([tmp_path]).tables) + len(read_run([tmp_path]).broken) == 1
    if number == "9" * 5000:
        with pytest.raises(ValueError, match=r"lesion\.csv"):
            read(tmp_path, "lesion")


def test_a_header_of_safetensors_that_is_too_long(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", 2**31) + b"{" + b" " * 1000)
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        load(tmp_path / "a.safetensors")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_libraries_are_silent_about_images(tmp_path, capfd, state):
    """Pillow warns about odd metadata, without a name; the pixels are whole."""
    torch.save({**state, "conv1.weight": state["conv1.weight"].expand(-1, 3, -1, -1).contiguous()}, tmp_path / "a.pt")
    for number in range(10):
        (tmp_path / "data" / str(number)).mkdir(parents=True)
        image = Image.fromarray(np.full((8, 8), number, np.uint8)).convert("P")
        about = PngImagePlugin.PngInfo()
        about.add(b"eXIf", b"MM\x00*\x00\x00\x00\x08\xff\xff\x01\x00\x00\x04\xff\xff\xff\xff")
        image.save(tmp_path / "data" / str(number) / "1.png", transparency=b"\x00" * 256, pnginfo=about)
    words = ["evaluate", "--ckpt", str(tmp_path / "a.pt"), "--data", str(tmp_path / "data")]
    assert main([*words, "--out", str(tmp_path / "run"), "--format", "svg"]) == 0
    assert capfd.readouterr().err == ""
