"""Checkpoints and image folders for the commands: a small good one, and bad ones of every kind."""

import os

import numpy as np
import torch
from PIL import Image

from resnet_probe import checkpoint
from resnet_probe.cli import main
from resnet_probe.data import load_data
from resnet_probe.models import resolve
from tests.evaluate.runs import once
from tests.networks import trained


def write_good(folder, name="tiny", arch="resnet14-w3", **metadata):
    """A checkpoint in our own format, for the digits; its classifier is fitted to them, its convolutions are random."""
    model = trained(lambda: resolve(arch, in_channels=1))
    fit(model)
    described = {"data": "digits", "normalize": "digits", "input_size": 8, **metadata}
    return checkpoint.save(folder / f"{name}.safetensors", model, arch=arch, metadata=described)


STUDIED = ("--quick", "--limit", "30", "--draws", "2", "--format", "svg")


def study(factory):
    """The folder of a finished study of two networks, for all tests together."""

    def make(folder):
        files = [write_good(folder, name, arch) for name, arch in (("tiny", "resnet14-w3"), ("other", "plain14-w3"))]
        assert main(["study", str(files[0]), "--against", str(files[1]), *STUDIED, "-q", "--out", f"{folder}/out"]) == 0

    return once(factory, "study", make) / "out"


def fit(model):
    """Least squares from the features to the classes."""
    found = []
    hook = model.fc.register_forward_pre_hook(lambda _, args: found.append(args[0]))
    (x, y), *_ = load_data("digits", split="train", limit=500).batches(500)
    with torch.no_grad():
        model(x)
        features = torch.cat([found[0], torch.ones(len(x), 1)], 1).double()
        weights = torch.linalg.lstsq(features, torch.eye(10, dtype=torch.float64)[y], driver="gelsd").solution.T.float()
        model.fc.weight.copy_(weights[:, :-1])
        model.fc.bias.copy_(weights[:, -1])
    hook.remove()


class Runs:
    """A pickle that runs a command when it is loaded."""

    def __reduce__(self):
        return os.system, ("true",)


def write_bad(folder):
    """Files that no command can work with, each with a part of the line that says so."""
    state = trained(lambda: resolve("resnet8-w2", in_channels=1)).state_dict()
    torch.save(state, folder / "whole.pt")
    content = (folder / "whole.pt").read_bytes()
    (folder / "truncated.pt").write_bytes(content[: len(content) // 2])
    (folder / "text.pt").write_text("not a checkpoint\n", encoding="utf-8")
    torch.save({"state_dict": state, "hook": Runs()}, folder / "code.pt")
    torch.save({"some.weight": torch.ones(3, 3), "other": torch.ones(2)}, folder / "unknown.pt")
    for name, value in (("nan", float("nan")), ("infinite", float("inf"))):
        broken = {key: tensor.clone() for key, tensor in state.items()}
        broken["conv1.weight"].view(-1)[0] = value
        torch.save(broken, folder / f"{name}.pt")
    return BAD_FILES


BAD_FILES = {
    "missing.pt": "'missing.pt' does not exist",
    "text.pt": "text.pt is no checkpoint but a text file that begins with 'not a checkpoint'",
    "truncated.pt": "truncated.pt is damaged or truncated",
    "code.pt": "code.pt is refused: its pickle names posix.system, which could run code",
    "unknown.pt": "unknown.pt: weights of no known network (2 tensors: some.weight, other); name it with --arch",
    "nan.pt": "nan.pt: conv1.weight has NaN or infinite values (1 of 18); the network diverged",
    "infinite.pt": "infinite.pt: conv1.weight has NaN or infinite values",
    ".": "File '.' is a directory",
}


def write_images(folder):
    """Folders of images: an empty one, one with a broken image, one with another number of classes."""
    (folder / "empty").mkdir()
    for name, classes in (("broken", "ab"), ("two", "ab")):
        for label in classes:
            (folder / name / label).mkdir(parents=True)
            Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / name / label / "1.png")
    (folder / "broken" / "a" / "2.png").write_bytes(b"\x89PNG and no more")


def is_one_line(text):
    return text.startswith("error: ") and text.endswith("\n") and text.count("\n") == 1 and "Traceback" not in text
