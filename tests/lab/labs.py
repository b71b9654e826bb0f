"""A lab of a tiny network on digits, served in this process; each file that asks has its own."""

from contextlib import contextmanager

from resnet_probe import checkpoint
from resnet_probe.analyses.subject import Subject
from resnet_probe.data import load_data
from resnet_probe.lab.about import Lines
from resnet_probe.lab.engine import Engine
from resnet_probe.lab.server import Bench, Lab, start
from resnet_probe.unraveled import unravel
from tests.commands.subjects import write_good

IMAGES = 300
LESION = ("lesion", "--data", "digits", "--limit", str(IMAGES))


def subject_in(folder, name="tiny", **how):
    """A network that knows digits a little, as a checkpoint in the folder."""
    file = folder / f"{name}.safetensors"
    if not file.is_file():
        write_good(folder, name, **how)
    loaded = checkpoint.load(file)
    images = load_data("digits", limit=IMAGES)
    return Subject(name, unravel(loaded.model, images.input_shape), images, checkpoint=loaded)


def lab_in(folder, names=("tiny",), cloud=()):
    benches = []
    for name in names:
        file = str(folder / f"{name}.safetensors")
        lines = Lines(("surgery", "--ckpt", file), (*LESION, "--ckpt", file), ("evaluate", *LESION[1:]))
        benches.append(Bench(Engine(subject_in(folder, name)), lines, cloud))
    return Lab(benches, folder / "out")


@contextmanager
def served(lab):
    """The address of the lab, for as long as the context lasts."""
    url, server = start(lab)
    try:
        yield url
    finally:
        server.should_exit = True
